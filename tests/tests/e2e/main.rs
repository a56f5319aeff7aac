//! Does real traffic arrive, whatever happens to the director?
//!
//! Each test makes a lab of its own: see [`tests::lab`].

mod configuration;
mod demo;
mod lab;
mod load;
mod methods;
mod neighbours;
mod refusals;
mod restart;
mod shares;
