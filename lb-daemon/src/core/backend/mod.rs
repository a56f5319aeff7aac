//! What must a machine be like to be a real server, and what has to change for it?
//!
//! A [`Role`] says what it is to be, [`Facts`] what it is like. [`plan::prepare`] tells the changes from one to the
//! other, [`plan::undo`] those back, and [`check::check`] what is not as it must be, and why that matters.

pub mod check;
pub mod facts;
pub mod plan;
pub mod refusal;
pub mod role;
pub mod setting;
mod wanted;

pub use facts::Facts;
pub use refusal::Refusal;
pub use role::{Method, Role};
pub use setting::{Change, Setting};
pub use wanted::lasting;

#[cfg(test)]
mod tests;
