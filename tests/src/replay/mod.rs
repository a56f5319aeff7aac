//! Plays recordings of the kernel's IPVS to a balancer, and compares.

mod deviation;
mod director;
mod player;
pub mod recording;
mod rules;

pub use deviation::Deviation;
pub use director::{Director, Packet, Seen, Setup, real_addr, real_name};
pub use player::{Report, play};
pub use rules::Rules;
