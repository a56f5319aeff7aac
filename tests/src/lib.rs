//! The shared fixtures of the tests.

pub mod fuzz;
pub mod lab;
pub mod plane;
pub mod replay;
