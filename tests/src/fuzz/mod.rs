//! What must hold whatever bytes come from outside?
//!
//! A [`Target`] takes any bytes as somebody outside would give them, and panics where what must hold does not. A test hands
//! it each file of `tests/fuzz/corpus`, and `cargo xtask fuzz` what libFuzzer thinks of.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be made on this machine ends the run"
)]

mod answers;
mod api;
mod config;
mod frames;
mod neighbour;
mod netlink;
mod state;
mod vrrp;

/// A decoder, or several that stand behind one another.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of the folder with its corpus.
    pub name: &'static str,
    /// Gives it bytes; panics where what must hold does not.
    pub take: fn(&[u8]),
}

/// Every one.
pub const TARGETS: [Target; 8] = [
    target("answers", answers::take),
    target("api", api::take),
    target("config", config::take),
    target("frames", frames::take),
    target("neighbour", neighbour::take),
    target("netlink", netlink::take),
    target("state", state::take),
    target("vrrp", vrrp::take),
];

const fn target(name: &'static str, take: fn(&[u8])) -> Target {
    Target { name, take }
}

/// Gives bytes to the target of a name.
///
/// # Panics
///
/// There is none of that name, or what must hold does not.
pub fn take(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of that name").take)(bytes);
}

/// The first byte, which chooses, and the rest.
fn choice(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes.split_first() {
        Some((first, rest)) => (usize::from(*first), rest),
        None => (0, bytes),
    }
}
