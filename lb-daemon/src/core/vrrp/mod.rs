//! VRRP, versions 2 and 3: who is master of a virtual router, and what follows from it.
//!
//! Nothing here reads a clock or a socket: packets and `now` come in, [`Effect`]s go out, and whoever carries
//! them out is told nothing else.
//!
//! ```text
//!   bytes ── packet ──► Packet ── receive ──► Heard ──┐
//!                         │ Reject (counted)          ├──► Machine ──► Effect
//!   timers, tracking, operator ──────────── Event ────┘       ▲
//!                                                             │ of one mind
//!                                                          Group
//! ```

mod announce;
mod frame;
mod group;
mod machine;
pub mod packet;
mod priority;
mod receive;
mod seal;
mod settings;
mod timing;
mod tracking;

pub(crate) use announce::{ADVERTISED_ADDRESS, ARP_ADDRESS};
pub use announce::{announced, gratuitous_arp, neighbour_advertisement};
pub use frame::{advertisement, virtual_mac};
pub use group::{Instance, Router};
pub use machine::{Cause, Effect, Event, Heard, Machine, State};
pub use packet::{
    Auth, Claim, Datagram, Freshness, Key, Mode, Packet, Password, Reject, Signing, Version,
    multicast_group,
};
pub use priority::Priority;
pub use receive::{Arrival, admit};
pub use seal::Seal;
pub use settings::{Announcements, InitialState, Preempt, Settings};
pub use timing::{Interval, Timing};
pub use tracking::{Debounce, Tracked, Weight, standing};
