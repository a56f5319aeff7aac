//! The shared fixtures of the tests.

pub mod lab;
pub mod replay;
