//! The shared fixtures of the tests.

pub mod lab;
pub mod plane;
pub mod replay;
