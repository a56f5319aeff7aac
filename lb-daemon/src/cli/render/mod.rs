//! How do answers look on a terminal? Pure functions from API types to lines of text.

pub mod backend;
pub mod conns;
pub mod doctor;
pub mod foresight;
pub mod health;
pub mod list;
pub mod number;
pub mod plan;
pub mod stats;
pub mod status;
pub mod style;
pub mod vrrp;
pub mod words;

#[cfg(test)]
mod tests;
