//! What the balancer decides, without I/O: no clock, socket, map or log. `now` is an argument, and a decision
//! is a value that somebody else carries out.

pub mod backend;
pub mod desired;
pub mod diff;
pub mod doctor;
pub mod health;
pub mod hop;
pub mod neighbour;
pub mod outlook;
pub mod schedule;
pub mod station;
pub mod template;
pub mod vrrp;
