//! The steps of a packet as functions that the verifier checks one by one.
//!
//! A function that other files may call (`extern "C"`, its name as it is) is *global* to the kernel: it is checked once,
//! for any argument, instead of once for each way that leads to it. In turn it may only be given the context, numbers, and
//! memory of a known size, and must look whether the memory is there.

use core::marker::PhantomData;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::program;
use lb_common::counter::Counter;
use lb_common::forward::{self, Journey, Outcome, Steps};
use lb_common::net::{Be32, Be128};
use lb_common::packet::Bytes;
use lb_common::packet::wire::{ETHERTYPE_IPV6, Ethernet};

use crate::ctx::Frame;
use crate::env::Kernel;
use crate::maps;

/// The steps for the frame of a context that holds a packet of the family.
pub(crate) struct Subprograms<A> {
    ctx: *mut xdp_md,
    family: PhantomData<A>,
}

impl<A> Subprograms<A> {
    /// The steps for the frame of a context.
    #[inline(always)]
    pub(crate) const fn new(ctx: *mut xdp_md) -> Self {
        Self {
            ctx,
            family: PhantomData,
        }
    }
}

/// Steps that need the frame.
macro_rules! with_frame {
    ($family:ty: $($step:ident as $name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(ctx: *mut xdp_md, journey: *mut Journey<$family>) -> u32 {
                // SAFETY: the verifier makes sure that a pointer is null or that of a `Journey`, which callers own.
                if let Some(journey) = unsafe { journey.as_mut() } {
                    forward::$step(&Kernel::new(ctx), &mut Frame::new(ctx), journey);
                }
                0
            }
        )+
    };
}

/// Steps that need none: the context may not be an argument, for the compiler would leave out what is not used.
macro_rules! without_frame {
    ($family:ty: $($step:ident as $name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(journey: *mut Journey<$family>) -> u32 {
                // SAFETY: the verifier makes sure that a pointer is null or that of a `Journey`, which callers own.
                if let Some(journey) = unsafe { journey.as_mut() } {
                    forward::$step(&Kernel::<$family>::without_context(), journey);
                }
                0
            }
        )+
    };
}

macro_rules! call {
    ($family:ty: $($step:ident as $name:ident($($argument:ident)?))+) => {
        impl Steps for Subprograms<$family> {
            type Addr = $family;

            $(
                #[inline(always)]
                fn $step(&mut self, journey: &mut Journey<$family>) {
                    $name($(self.$argument,)? journey);
                }
            )+
        }
    };
}

/// The steps of a family, under names of its own.
macro_rules! steps {
    ($family:ty:
        with a frame $($framed:ident as $framed_name:ident)+;
        without $($step:ident as $name:ident)+;
    ) => {
        with_frame!($family: $($framed as $framed_name)+);
        without_frame!($family: $($step as $name)+);
        call!($family: $($framed as $framed_name(ctx))+ $($step as $name())+);
    };
}

steps! {
    Be32:
    with a frame
        look as look4 note as note4 deliver as deliver4 refuse as refuse4 reply as reply4 give_back as give_back4 quote as quote4
        related as related4;
    without
        open as open4 recall as recall4 schedule as schedule4 bind as bind4 hash as hash4 record as record4;
}

steps! {
    Be128:
    with a frame
        look as look6 note as note6 deliver as deliver6 refuse as refuse6 reply as reply6 give_back as give_back6 quote as quote6
        related as related6;
    without
        open as open6 recall as recall6 schedule as schedule6 bind as bind6 hash as hash6 record as record6;
}

/// Takes an IPv6 packet for which no short cut led to an end through its steps: how it ended.
#[inline(always)]
pub(crate) fn travel6(ctx: *mut xdp_md) -> Outcome {
    let Some(journey) = maps::JOURNEY6.get_ptr_mut(0) else {
        return Outcome::end(Counter::DropInternal);
    };
    // SAFETY: the element is this CPU's own, and programs on one CPU do not interrupt each other here.
    let journey = unsafe { &mut *journey };
    forward::travel_in(&mut Subprograms::<Be128>::new(ctx), journey)
}

/// Hands a fragment that is not the first of its datagram over to the program for those. Where this returns, the packet is none, or
/// there is no such program.
#[inline(always)]
pub(crate) fn hand_over_fragment(ctx: &XdpContext, outcome: Outcome, to: u32) {
    if outcome.counter == Counter::PassFragment {
        // SAFETY: nothing is held here that would have to be dropped.
        unsafe { maps::PROGRAMS.tail_call(ctx, to) };
    }
}

/// Hands a packet of IPv6 over to its program. Where this returns, it is none, or there is no such program.
#[inline(always)]
pub(crate) fn hand_over(ctx: &XdpContext) {
    let is_ipv6 = Frame::new(ctx.ctx)
        .header::<Ethernet>(0)
        .is_some_and(|eth| eth.ethertype() == ETHERTYPE_IPV6);
    if is_ipv6 {
        // SAFETY: nothing is held here that would have to be dropped.
        unsafe { maps::PROGRAMS.tail_call(ctx, program::IPV6) };
    }
}
