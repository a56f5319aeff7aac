//! Network-order integers: the bytes as they stand in a packet, moved as whole words.
//!
//! Byte arrays would say the same, but the BPF target copies them byte by byte.

/// An IPv4 address, in network order.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Be32(pub u32);

impl Be32 {
    /// From a number in host order.
    #[inline(always)]
    pub const fn from_host(n: u32) -> Self {
        Self(n.to_be())
    }

    /// The number in host order.
    #[inline(always)]
    pub const fn to_host(self) -> u32 {
        u32::from_be(self.0)
    }

    /// From the four bytes as they stand in a packet.
    #[inline(always)]
    pub const fn from_bytes(b: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(b))
    }

    /// The four bytes as they stand in a packet.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }
}

/// A port, in network order.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Be16(pub u16);

impl Be16 {
    /// From a number in host order.
    #[inline(always)]
    pub const fn from_host(n: u16) -> Self {
        Self(n.to_be())
    }

    /// The number in host order.
    #[inline(always)]
    pub const fn to_host(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// The transport protocols that a service can have, by their IP protocol number.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Proto {
    /// TCP, IP protocol 6.
    Tcp = 6,
    /// UDP, IP protocol 17.
    Udp = 17,
}

impl Proto {
    /// The protocol of an IP protocol number, if it is one that can be balanced.
    #[inline(always)]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// One direction of a flow as the client sends it: what identifies a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow4 {
    /// The client's address (CIP).
    pub client: Be32,
    /// The virtual address (VIP).
    pub vip: Be32,
    /// The client's port.
    pub client_port: Be16,
    /// The virtual service's port.
    pub vip_port: Be16,
    /// The transport protocol.
    pub proto: Proto,
}
