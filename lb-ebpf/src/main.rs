//! The XDP programs: `lb` on a director, `decap` on a real server, `pass` for the far end of a veth pair.
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
mod required;
mod steps;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::program;
use lb_common::counter::Counter;
use lb_common::decap::{self, Decap};
use lb_common::forward::{self, Outcome};
use lb_common::net::{Be32, Be128};

use crate::act::act;
use crate::ctx::Frame;
use crate::env::Kernel;
use crate::steps::{Subprograms, hand_over, hand_over_fragment, travel6};

/// Balances packets to virtual services: those of IPv4 itself, and those of IPv6 by another program.
#[xdp(frags)]
fn lb(ctx: XdpContext) -> u32 {
    let action = established4(ctx.ctx);
    if action == NOT_IPV4 {
        hand_over(&ctx);
        return end(Outcome::end(Counter::PassNotIp));
    }
    if action != NOT_YET {
        return action;
    }
    let outcome = forward::travel(&mut Subprograms::<Be32>::new(ctx.ctx));
    hand_over_fragment(&ctx, outcome, program::FRAGMENTS4);
    end(outcome)
}

/// Balances packets of IPv6, which [`lb`] hands over.
#[xdp(frags)]
fn lb6(ctx: XdpContext) -> u32 {
    let action = established6(ctx.ctx);
    if action != NOT_YET {
        return action;
    }
    let outcome = travel6(ctx.ctx);
    hand_over_fragment(&ctx, outcome, program::FRAGMENTS6);
    end(outcome)
}

/// Forwards fragments of IPv4 that are not the first of their datagram, which [`lb`] hands over.
#[xdp(frags)]
fn fragments4(ctx: XdpContext) -> u32 {
    end(forward::later(
        &Kernel::<Be32>::new(ctx.ctx),
        &mut Frame::new(ctx.ctx),
    ))
}

/// The same for IPv6, which [`lb6`] hands over.
#[xdp(frags)]
fn fragments6(ctx: XdpContext) -> u32 {
    end(forward::later(
        &Kernel::<Be128>::new(ctx.ctx),
        &mut Frame::new(ctx.ctx),
    ))
}

/// What the functions below answer for a packet that takes more than they do.
const NOT_YET: u32 = u32::MAX;
/// What the one for IPv4 answers for what is something else.
const NOT_IPV4: u32 = u32::MAX - 1;

/// Forwards a packet of an established connection, or ends one of no concern: what nearly every packet needs. A function of its
/// own, for its stack is free again when another way has to be gone.
#[unsafe(no_mangle)]
extern "C" fn established4(ctx: *mut xdp_md) -> u32 {
    match forward::established(&Kernel::<Be32>::new(ctx), &mut Frame::new(ctx)) {
        Some(outcome) if outcome.counter == Counter::PassNotIp => NOT_IPV4,
        Some(outcome) => end(outcome),
        None => NOT_YET,
    }
}

/// The same for IPv6.
#[unsafe(no_mangle)]
extern "C" fn established6(ctx: *mut xdp_md) -> u32 {
    match forward::established(&Kernel::<Be128>::new(ctx), &mut Frame::new(ctx)) {
        Some(outcome) => end(outcome),
        None => NOT_YET,
    }
}

/// Takes packets out of the tunnels that end here, for the stack.
#[xdp(frags)]
fn decap(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(ctx.ctx);
    let ended = decap::handle(&mut frame, |addr| maps::TUNNELS.get_ptr(addr).is_some());
    if let Some(count) = maps::DECAPS.get_ptr_mut(ended as u32) {
        // SAFETY: the element is this CPU's own, and the program is not preempted by another of its kind.
        unsafe { *count = (*count).wrapping_add(1) };
    }
    match ended {
        Decap::Congested => XDP_DROP,
        Decap::TakenOff | Decap::NotOurs | Decap::Left => XDP_PASS,
    }
}

/// Leaves every packet to the stack: a veth takes frames that a program sends it only while it has a program itself.
#[xdp(frags)]
fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Counts how a packet ended; the kernel's name for what is to be done with it.
#[inline(always)]
fn end(outcome: Outcome) -> u32 {
    let (action, counter) = act(outcome);
    env::count(counter);
    action
}
