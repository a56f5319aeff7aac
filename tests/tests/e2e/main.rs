//! Does real traffic arrive, whatever happens to the director?
//!
//! Each test makes a lab of its own: see [`tests::lab`].

mod backend;
mod bad_input;
mod clients;
mod closed;
mod configuration;
mod counts;
mod demo;
mod doctor;
mod doctor_ipv6;
mod drain;
mod echo;
mod foresight;
mod fragments;
mod health;
mod ipv6;
mod lab;
mod load;
mod methods;
mod neighbours;
mod packets;
mod paths;
mod refusals;
mod restart;
mod rules;
mod shares;
mod sites;
mod timeouts;
mod vrrp;
