//! The XDP programs by themselves: loaded, given maps and frames, asked for their verdicts. No interface, no traffic.

mod family;
mod golden;
mod kernel;
mod raw;
mod room;
mod twin;

pub use family::Family;
pub use golden::{Case, Event, Golden, Host, Step, frame_of, same};
pub use kernel::{Program, Run, Size, Verdict};
pub use room::{NETWORK, Room, none_wrong};
pub use twin::{Disturbed, Twin, undisturbed};
