//! What does the kernel do with a frame that the data plane has decided on?

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX};
use aya_ebpf::helpers::generated::bpf_redirect;
use lb_common::counter::Counter;
use lb_common::forward::{Outcome, Verdict};

use crate::maps;

/// The kernel's name for a verdict, and what is counted in the end.
#[inline(always)]
pub(crate) fn act(outcome: Outcome) -> (u32, Counter) {
    let action = match outcome.verdict {
        Verdict::Pass => XDP_PASS,
        Verdict::Drop => XDP_DROP,
        Verdict::Tx => XDP_TX,
        Verdict::Slot => maps::EGRESS
            .redirect(outcome.to, XDP_DROP.into())
            .unwrap_or(XDP_DROP),
        // SAFETY: the helper has no conditions.
        Verdict::Interface => (unsafe { bpf_redirect(outcome.to, 0) }) as u32,
    };
    let lost =
        action != XDP_REDIRECT && matches!(outcome.verdict, Verdict::Slot | Verdict::Interface);
    (
        action,
        if lost {
            Counter::DropInternal
        } else {
            outcome.counter
        },
    )
}
