//! What the benchmark and its harness program tell each other.
//!
//! `tests/src/bench` has this file too: it is the layout of the one value of the map `RUN`.

/// Length of the frames that are sent: Ethernet, IPv4, TCP and six bytes of payload, the least that goes on a wire.
pub(crate) const FRAME_LEN: usize = 60;

/// A series of packets, and what became of it.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The frame as words of its bytes; client address, client port and the two checksums are zero.
    pub(crate) frame: [u64; 8],
    /// Ones' complement sum of the IPv4 header of `frame`.
    pub(crate) ip_sum: u32,
    /// Ones' complement sum of the segment of `frame`, with its pseudo header.
    pub(crate) tcp_sum: u32,
    /// Number of the flow that the next packet is of.
    pub(crate) flow: u32,
    /// Flows are gone through from this one …
    pub(crate) first_flow: u32,
    /// … up to this one, and round.
    pub(crate) end_flow: u32,
    /// How many packets to send.
    pub(crate) packets: u32,
    /// How many were sent.
    pub(crate) sent: u32,
    /// How many came out of the program otherwise than expected.
    pub(crate) wrong: u32,
    /// The first eight bytes that must come out, where `want_mask` has ones.
    pub(crate) want: u64,
    /// Which bits of the first eight bytes are compared.
    pub(crate) want_mask: u64,
    /// The next four bytes that must come out, if anything is compared.
    pub(crate) want_rest: u32,
    /// How much longer than [`FRAME_LEN`] the frame must come out.
    pub(crate) want_longer: u32,
    /// The clock before the first packet, in nanoseconds.
    pub(crate) began: u64,
    /// The clock after the last packet, in nanoseconds.
    pub(crate) ended: u64,
}

/// The client's address and port of a flow, in host order.
#[inline(always)]
pub(crate) const fn client(flow: u32) -> (u32, u16) {
    (0x0A01_0000 + (flow >> 14), 16_384 + (flow & 0x3FFF) as u16)
}
