//! Which packets wake us? Only those of our own virtual routers: the kernel drops all others before they are queued.

use std::collections::BTreeSet;

use socket2::SockFilter;

/// As much of a packet as is let through: all of it.
const ALL: u32 = 0xFFFF;

/// Lets through VRRP of these virtual routers. A raw IPv4 socket is shown the IP header first, whose length varies; an IPv6
/// socket is shown the message.
pub(super) fn of(v6: bool, vrids: &BTreeSet<u8>) -> Vec<SockFilter> {
    const LDX_HEADER: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
    const LD_AFTER: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_IND) as u16;
    const LD_AT: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const JEQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RET: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = SockFilter::new;
    // The number of the virtual router is the second byte of the message.
    let mut program = if v6 {
        vec![op(LD_AT, 0, 0, 1)]
    } else {
        vec![op(LDX_HEADER, 0, 0, 0), op(LD_AFTER, 0, 0, 1)]
    };
    for vrid in vrids {
        program.extend([op(JEQ, 0, 1, u32::from(*vrid)), op(RET, 0, 0, ALL)]);
    }
    program.push(op(RET, 0, 0, 0));
    program
}
