//! Where would the kernel send a packet?

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_fib_lookup;
use lb_common::env::{Query, Route};
use lb_common::packet::wire::MacPair;

use crate::family::Family;

/// `struct bpf_fib_lookup`, its MACs in pieces that are aligned.
#[repr(C)]
struct Lookup {
    family: u8,
    l4_proto: u8,
    sport: u16,
    dport: u16,
    total_len: u16,
    ifindex: u32,
    /// TOS; with IPv6 traffic class and flow label as they stand in the packet.
    class: u32,
    src: [u32; 4],
    dst: [u32; 4],
    vlan: u32,
    src_mac: [u16; 3],
    dst_mac: [u16; 3],
}

const _: () = {
    assert!(size_of::<Lookup>() == 64);
    assert!(core::mem::offset_of!(Lookup, src_mac) == 52);
};

/// `BPF_FIB_LKUP_RET_SUCCESS`.
const FOUND: i64 = 0;
/// `BPF_FIB_LKUP_RET_FRAG_NEEDED`.
const TOO_BIG: i64 = 8;

/// Asks the routing table, with all its rules, as for a packet that came in by `ingress`.
#[inline(always)]
pub(crate) fn route<A: Family>(ctx: *mut xdp_md, ingress: u32, query: &Query<A>) -> Route {
    let mut lookup = Lookup {
        family: A::AF,
        l4_proto: 0,
        sport: 0,
        dport: 0,
        total_len: query.len,
        ifindex: ingress,
        class: A::class(query.tos),
        src: query.src.words(),
        dst: query.dst.words(),
        vlan: 0,
        src_mac: [0; 3],
        dst_mac: [0; 3],
    };
    // SAFETY: the context is valid, and the structure is the kernel's, of the size that is given.
    let result = unsafe {
        bpf_fib_lookup(
            ctx.cast(),
            (&raw mut lookup).cast(),
            size_of::<Lookup>() as i32,
            0,
        )
    };
    match result {
        FOUND => Route::Via {
            ifindex: lookup.ifindex,
            macs: MacPair {
                dst: word(lookup.dst_mac),
                src: word(lookup.src_mac),
            },
        },
        TOO_BIG => Route::TooBig,
        _ => Route::Stack,
    }
}

/// A MAC as a word, byte 0 lowest.
#[inline(always)]
const fn word(mac: [u16; 3]) -> u64 {
    u16::from_le(mac[0]) as u64
        | (u16::from_le(mac[1]) as u64) << 16
        | (u16::from_le(mac[2]) as u64) << 32
}
