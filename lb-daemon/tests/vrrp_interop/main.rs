//! Our director and keepalived's on one network, each as master and as backup, and what becomes of the addresses when one of
//! them dies, is stopped, loses its link or sleeps; and what strangers can do to them.
//!
//! Debian's keepalived (`--vrrp`) runs beside ours in network namespaces. Every takeover is timed and printed beside what
//! the timers allow.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

mod dissector;
mod flaps;
mod flood;
mod forgery;
mod frr;
mod garbage;
mod keepalived;
#[path = "../netns/mod.rs"]
mod netns;
mod ours;
mod rank;
mod rollout;
mod site;
mod sources;
mod strangers;
mod takeover;
mod virtual_mac;
mod weather;
mod wire;
