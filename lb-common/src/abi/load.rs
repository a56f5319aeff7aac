//! What is counted of a real server.

/// The connections that a real server has now: changed by one atomic addition, read by one load.
///
/// Loads of neighbouring slots share a cache line, so that a least-connection scheduler compares eight real
/// servers with one memory access.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Load {
    /// All connections, active and inactive, in the low 32 bits; active ones in the 31 above; and
    /// [`Load::OVERLOADED`].
    pub conns: u64,
}

impl Load {
    /// Set from when all connections reach the upper threshold until they fall below the lower, by an atomic OR
    /// and AND: additions never reach it.
    pub const OVERLOADED: u64 = 1 << 63;
    /// What an active connection adds, beside [`Load::ONE`].
    pub const ACTIVE: u64 = 1 << 32;
    /// What any connection adds.
    pub const ONE: u64 = 1;

    /// Active connections.
    #[inline(always)]
    pub const fn active(self) -> u32 {
        (self.conns >> 32) as u32 & 0x7FFF_FFFF
    }

    /// All connections, active and inactive, without persistence templates.
    #[inline(always)]
    pub const fn total(self) -> u32 {
        self.conns as u32
    }

    /// Inactive connections.
    #[inline(always)]
    pub const fn inactive(self) -> u32 {
        self.total().saturating_sub(self.active())
    }

    /// Whether the upper threshold was reached and the lower not yet.
    #[inline(always)]
    pub const fn overloaded(self) -> bool {
        self.conns & Self::OVERLOADED != 0
    }
}

/// What one real server was sent and sent back, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Connections scheduled to it.
    pub conns: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Bytes from clients, from the IP header on.
    pub in_bytes: u64,
    /// Packets to clients (NAT only: the others' replies do not pass the director).
    pub out_packets: u64,
    /// Bytes to clients, from the IP header on.
    pub out_bytes: u64,
}

impl Traffic {
    /// Counts an IP packet of this length from a client.
    #[inline(always)]
    pub const fn count_in(&mut self, len: u32) {
        self.in_packets = self.in_packets.wrapping_add(1);
        self.in_bytes = self.in_bytes.wrapping_add(len as u64);
    }

    /// Counts an IP packet of this length to a client.
    #[inline(always)]
    pub const fn count_out(&mut self, len: u32) {
        self.out_packets = self.out_packets.wrapping_add(1);
        self.out_bytes = self.out_bytes.wrapping_add(len as u64);
    }
}
