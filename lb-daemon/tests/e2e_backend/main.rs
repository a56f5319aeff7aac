//! `lbctl backend` and `lbd --backend` on real servers in namespaces.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

mod daemon;
mod neighbours;
#[path = "../netns/mod.rs"]
mod netns;
mod prepare;
mod real;
mod script;
mod units;
