//! Plays recordings of the kernel's IPVS to a balancer, and compares.

mod deviation;
mod director;
mod player;
mod program;
pub mod recording;
mod rules;
mod run;

pub use deviation::Deviation;
pub use director::{Director, Packet, Seen, Setup, real_addr, real_name};
pub use player::{Report, play};
pub use program::{Program, Runner};
pub use rules::Rules;
pub use run::{Outcome, Summary};
