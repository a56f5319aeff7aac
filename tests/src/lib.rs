//! The shared fixtures of the tests.
