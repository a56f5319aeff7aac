//! The steps of a packet as functions that the verifier checks one by one.
//!
//! A function that other files may call (`extern "C"`, its name as it is) is *global* to the kernel: it is checked once,
//! for any argument, instead of once for each way that leads to it. In turn it may only be given the context, numbers, and
//! memory of a known size, and must look whether the memory is there.

use aya_ebpf::bindings::xdp_md;
use lb_common::forward::{self, Journey, Steps};

use crate::ctx::Frame;
use crate::env::Kernel;

/// The steps for the frame of a context.
pub(crate) struct Subprograms {
    ctx: *mut xdp_md,
}

/// Steps that need the frame.
macro_rules! with_frame {
    ($($step:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $step(ctx: *mut xdp_md, journey: *mut Journey) -> u32 {
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
    ($($step:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $step(journey: *mut Journey) -> u32 {
                // SAFETY: the verifier makes sure that a pointer is null or that of a `Journey`, which callers own.
                if let Some(journey) = unsafe { journey.as_mut() } {
                    forward::$step(&Kernel::without_context(), journey);
                }
                0
            }
        )+
    };
}

with_frame!(look deliver refuse reply give_back quote related);
without_frame!(open recall schedule bind hash record);

impl Subprograms {
    /// The steps for the frame of a context.
    #[inline(always)]
    pub(crate) const fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }
}

macro_rules! call {
    ($($step:ident($($argument:ident)?))+) => {
        impl Steps for Subprograms {
            $(
                #[inline(always)]
                fn $step(&mut self, journey: &mut Journey) {
                    $step($(self.$argument,)? journey);
                }
            )+
        }
    };
}

call! {
    look(ctx)
    open()
    recall()
    schedule()
    bind()
    hash()
    record()
    deliver(ctx)
    refuse(ctx)
    reply(ctx)
    give_back(ctx)
    quote(ctx)
    related(ctx)
}
