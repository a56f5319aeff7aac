//! The director's program in an edition that logs what becomes of each packet.
//!
//! It is an object of its own, which `lbd --log-packets` loads in place of the usual one: that has nothing of this in it, not even
//! the question whether to log.
#![no_std]
#![no_main]
#![expect(
    clippy::needless_pass_by_value,
    reason = "a program is handed its context by value"
)]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "the only way to the kernel's atomic instructions: see the atomic module"
)]

mod act;
mod atomic;
mod ctx;
mod env;
mod fib;
mod maps;
mod report;
mod required;
mod steps;

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::forward;

use crate::act::act;
use crate::steps::Subprograms;

/// Balances packets to virtual services, and says what becomes of each.
#[xdp]
fn lb(ctx: XdpContext) -> u32 {
    report::arrive(ctx.ctx);
    // The short cut of established connections leads to the same ends.
    let (action, counter) = act(forward::travel(&mut Subprograms::new(ctx.ctx)));
    env::count(counter);
    report::end(ctx.ctx, action, counter);
    action
}
