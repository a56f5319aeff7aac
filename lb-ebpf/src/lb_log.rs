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
mod family;
mod fib;
mod maps;
mod report;
mod required;
mod steps;

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::program;
use lb_common::counter::Counter;
use lb_common::forward::{self, Outcome};
use lb_common::net::{Be32, Be128};

use crate::act::act;
use crate::ctx::Frame;
use crate::env::Kernel;
use crate::steps::{Subprograms, hand_over, hand_over_fragment, travel6};

/// Balances packets to virtual services, and says what becomes of each.
#[xdp(frags)]
fn lb(ctx: XdpContext) -> u32 {
    hand_over(&ctx);
    report::arrive4(ctx.ctx);
    // The short cut of established connections leads to the same ends.
    let outcome = forward::travel(&mut Subprograms::<Be32>::new(ctx.ctx));
    hand_over_fragment(&ctx, outcome, program::FRAGMENTS4);
    let (action, counter) = counted(outcome);
    report::end4(ctx.ctx, action, counter);
    action
}

/// The same for packets of IPv6, which [`lb`] hands over.
#[xdp(frags)]
fn lb6(ctx: XdpContext) -> u32 {
    report::arrive6(ctx.ctx);
    let outcome = travel6(ctx.ctx);
    hand_over_fragment(&ctx, outcome, program::FRAGMENTS6);
    let (action, counter) = counted(outcome);
    report::end6(ctx.ctx, action, counter);
    action
}

/// Forwards fragments that are not the first of their datagram, which [`lb`] hands over, and says what becomes of each.
#[xdp(frags)]
fn fragments4(ctx: XdpContext) -> u32 {
    let kernel = Kernel::<Be32>::new(ctx.ctx);
    let (action, counter) = counted(forward::later(&kernel, &mut Frame::new(ctx.ctx)));
    report::end4(ctx.ctx, action, counter);
    action
}

/// The same for IPv6, which [`lb6`] hands over.
#[xdp(frags)]
fn fragments6(ctx: XdpContext) -> u32 {
    let kernel = Kernel::<Be128>::new(ctx.ctx);
    let (action, counter) = counted(forward::later(&kernel, &mut Frame::new(ctx.ctx)));
    report::end6(ctx.ctx, action, counter);
    action
}

/// Counts how a packet ended, and what is to be done with it.
#[inline(always)]
fn counted(outcome: Outcome) -> (u32, Counter) {
    let (action, counter) = act(outcome);
    env::count(counter);
    (action, counter)
}
