//! Programs for `cargo xtask bench`: the harness, and what the balancer is compared with.
//!
//! The kernel's own repetition of a test run hands a program the frame as it left it. So the harness writes the frame anew, for
//! the next flow, and then tail-calls the program under test; and as the next round begins with what that
//! program left, every frame that comes out is looked at.
#![no_std]
#![no_main]
#![expect(
    clippy::needless_pass_by_value,
    reason = "a program is handed its context by value"
)]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "the only way to the kernel's atomic instructions"
)]

#[path = "../required.rs"]
mod required;
mod run;

use core::intrinsics::{AtomicOrdering, atomic_xadd};
use core::mem::offset_of;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::{BPF_ANY, xdp_md};
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_xdp_adjust_head};
use aya_ebpf::macros::{btf_map, map, xdp};
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::XdpContext;

use run::{FRAME_LEN, Run, client};

#[btf_map]
static RUN: Array<Run, 1> = Array::new();

/// The program under test.
#[map]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// What `limit` looks up.
#[btf_map]
static FLOWS: HashMap<FlowKey, Macs, 2_097_152> = HashMap::new();

/// What `limit_insert` inserts.
#[btf_map]
static NEW: Array<Macs, 1> = Array::new();

/// A flow, in 16 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct FlowKey {
    src: u32,
    dst: u32,
    ports: u32,
    proto: u32,
}

/// Both addresses of an Ethernet header, in 16 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Macs {
    dst_src: u64,
    src_rest: u32,
    pad: u32,
}

/// Reads or writes a word of the frame. The verifier checks that the caller has compared the frame's end.
macro_rules! word {
    ($data:expr, $at:expr, $word:ty) => {
        (($data + $at) as *mut $word)
    };
}

/// Start and end of the frame.
#[inline(always)]
fn bounds(ctx: *mut xdp_md) -> (usize, usize) {
    // SAFETY: the kernel gives a program a valid context.
    unsafe { ((*ctx).data as usize, (*ctx).data_end as usize) }
}

/// Sends the next packet of the run through the program under test.
#[xdp(frags)]
fn harness(ctx: XdpContext) -> u32 {
    match send(&ctx) {
        // SAFETY: nothing is held over the call, which does not return.
        Some(()) => unsafe { PROGRAMS.tail_call(&ctx, 0) },
        None => return XDP_ABORTED,
    }
    // There is no program under test.
    XDP_PASS
}

/// Writes the next frame; `None` after the last.
#[inline(always)]
fn send(ctx: &XdpContext) -> Option<()> {
    // SAFETY: test runs of this object do not overlap, so nobody else uses the element.
    let run = unsafe { &mut *RUN.get_ptr_mut(0)? };
    let (mut data, mut end) = bounds(ctx.ctx);
    let longer = (end - data) as i32 - FRAME_LEN as i32;
    if run.sent > 0 && run.want_mask != 0 {
        if data + 12 > end {
            return None;
        }
        // SAFETY: the end was compared.
        let (start, rest) = unsafe { (*word!(data, 0, u64), *word!(data, 8, u32)) };
        let differs = (start ^ run.want) & run.want_mask != 0 || rest != run.want_rest;
        run.wrong += u32::from(differs || longer != run.want_longer as i32);
    }
    if run.sent == run.packets {
        // SAFETY: the helper has no conditions.
        run.ended = unsafe { bpf_ktime_get_ns() };
        return None;
    }
    if longer != 0 {
        // SAFETY: the context is valid; the kernel checks the length.
        unsafe { bpf_xdp_adjust_head(ctx.ctx, longer) };
        (data, end) = bounds(ctx.ctx);
    }
    if data + FRAME_LEN > end {
        return None;
    }
    let (addr, port) = client(run.flow);
    let (addr, port) = (addr.to_be(), port.to_be());
    let half_sum = (addr & 0xFFFF) + (addr >> 16);
    // SAFETY: the end was compared.
    unsafe {
        *word!(data, 0, u64) = run.frame[0];
        *word!(data, 8, u64) = run.frame[1];
        *word!(data, 16, u64) = run.frame[2];
        *word!(data, 24, u64) = run.frame[3];
        *word!(data, 32, u64) = run.frame[4];
        *word!(data, 40, u64) = run.frame[5];
        *word!(data, 48, u64) = run.frame[6];
        *word!(data, 56, u32) = run.frame[7] as u32;
        *word!(data, 24, u16) = checksum(run.ip_sum + half_sum);
        *word!(data, 26, u16) = addr as u16;
        *word!(data, 28, u16) = (addr >> 16) as u16;
        *word!(data, 34, u16) = port;
        *word!(data, 50, u16) = checksum(run.tcp_sum + half_sum + u32::from(port));
    }
    let next = run.flow + 1;
    run.flow = if next < run.end_flow {
        next
    } else {
        run.first_flow
    };
    if run.sent == 0 {
        // SAFETY: the helper has no conditions.
        run.began = unsafe { bpf_ktime_get_ns() };
    }
    // An atomic addition waits until all that was written has reached the cache, where a frame that a device wrote would be too.
    // A processor that reads what it is still writing stalls where the two do not overlap exactly, and the program under test would pay for it.
    // SAFETY: the word is valid and aligned.
    unsafe { atomic_xadd::<_, _, { AtomicOrdering::SeqCst }>(&raw mut run.sent, 1u32) };
    Some(())
}

/// The checksum of a sum below 2^32.
#[inline(always)]
const fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xFFFF) + (sum >> 16);
    !((sum & 0xFFFF) + (sum >> 16)) as u16
}

/// Nothing: what the harness costs.
#[xdp(frags)]
fn nothing(_ctx: XdpContext) -> u32 {
    XDP_TX
}

/// A frame that grows by an IPv4 header: half of what it costs over `nothing` is what the harness pays to cut it again.
#[xdp(frags)]
fn grow(ctx: XdpContext) -> u32 {
    // SAFETY: the context is valid; the kernel checks that there is room.
    unsafe { bpf_xdp_adjust_head(ctx.ctx, -20) };
    XDP_TX
}

/// The least that a forwarder does.
#[xdp(frags)]
fn floor(ctx: XdpContext) -> u32 {
    let (data, end) = bounds(ctx.ctx);
    if data + 14 > end {
        return XDP_PASS;
    }
    // SAFETY: the end was compared.
    unsafe {
        let (start, rest) = (*word!(data, 0, u64), *word!(data, 8, u32));
        *word!(data, 0, u64) = start >> 48 | u64::from(rest) << 16 | start << 48;
        *word!(data, 8, u32) = (start >> 16) as u32;
    }
    XDP_TX
}

/// The flow of a TCP segment behind an IPv4 header without options, if the frame is long enough to be one.
#[inline(always)]
fn flow(data: usize, end: usize) -> Option<FlowKey> {
    if data + 54 > end {
        return None;
    }
    // SAFETY: the end was compared.
    let (src, dst, ports) = unsafe {
        (
            *word!(data, 26, u32),
            *word!(data, 30, u32),
            *word!(data, 34, u32),
        )
    };
    Some(FlowKey {
        src,
        dst,
        ports,
        proto: 6,
    })
}

/// The flow of a frame that is a TCP segment indeed.
#[inline(always)]
fn parse(data: usize, end: usize) -> Option<FlowKey> {
    let flow = flow(data, end)?;
    // SAFETY: the end was compared.
    let (ethertype, version_ihl, fragment, proto) = unsafe {
        (
            *word!(data, 12, u16),
            *word!(data, 14, u8),
            *word!(data, 20, u16),
            *word!(data, 23, u8),
        )
    };
    let is_whole = fragment & 0x3FFF_u16.to_be() == 0;
    let is_tcp = ethertype == 0x0800_u16.to_be() && version_ihl == 0x45 && proto == 6;
    (is_tcp && is_whole).then_some(flow)
}

/// Writes both addresses of the frame.
#[inline(always)]
fn rewrite(data: usize, macs: *const Macs) -> u32 {
    // SAFETY: the end was compared by `parse`, and the value is one of a map.
    unsafe {
        *word!(data, 0, u64) = (*macs).dst_src;
        *word!(data, 8, u32) = (*macs).src_rest;
    }
    XDP_TX
}

/// One look-up in the kernel's hash map and the addresses, whatever the frame is.
#[xdp(frags)]
fn lookup(ctx: XdpContext) -> u32 {
    let (data, end) = bounds(ctx.ctx);
    let Some(key) = flow(data, end) else {
        return XDP_PASS;
    };
    match FLOWS.get_ptr(key) {
        Some(macs) => rewrite(data, macs),
        None => XDP_PASS,
    }
}

/// The yardstick: parse, one look-up in the kernel's plain hash map, then the addresses.
#[xdp(frags)]
fn limit(ctx: XdpContext) -> u32 {
    let (data, end) = bounds(ctx.ctx);
    let Some(key) = parse(data, end) else {
        return XDP_PASS;
    };
    match FLOWS.get_ptr(key) {
        Some(macs) => rewrite(data, macs),
        None => XDP_PASS,
    }
}

/// The yardstick for new flows: the same, and an insert on a miss.
#[xdp(frags)]
fn limit_insert(ctx: XdpContext) -> u32 {
    let (data, end) = bounds(ctx.ctx);
    let Some(key) = parse(data, end) else {
        return XDP_PASS;
    };
    if let Some(macs) = FLOWS.get_ptr(key) {
        return rewrite(data, macs);
    }
    let Some(macs) = NEW.get_ptr(0) else {
        return XDP_PASS;
    };
    // SAFETY: the value is one of a map.
    let value = unsafe { &*macs };
    if FLOWS.insert(key, value, BPF_ANY.into()).is_err() {
        return XDP_PASS;
    }
    rewrite(data, macs)
}

const _: () = {
    assert!(size_of::<FlowKey>() == 16 && size_of::<Macs>() == 16);
    assert!(offset_of!(Run, ip_sum) == 64 && size_of::<Run>() == 136);
};
