//! The director's daemon and its command line, as a library.

pub mod api;
pub mod cli;
pub mod config;
pub mod core;
pub mod daemon;
pub mod engine;
pub mod io;
pub mod stop;
