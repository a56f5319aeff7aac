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

/// An IPv6 address, in network order: its four 32-bit words as they stand in a packet.
///
/// Words of 32 bits rather than more, so that a key of a map with one has no gaps.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Be128(pub [u32; 4]);

impl Be128 {
    /// From the sixteen bytes as they stand in a packet.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_bits(u128::from_be_bytes(bytes))
    }

    /// The sixteen bytes as they stand in a packet.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.to_bits().to_be_bytes()
    }

    /// From a number in host order.
    pub const fn from_bits(n: u128) -> Self {
        Self([
            ((n >> 96) as u32).to_be(),
            ((n >> 64) as u32).to_be(),
            ((n >> 32) as u32).to_be(),
            (n as u32).to_be(),
        ])
    }

    /// The number in host order.
    pub const fn to_bits(self) -> u128 {
        let [a, b, c, d] = self.0;
        (u32::from_be(a) as u128) << 96
            | (u32::from_be(b) as u128) << 64
            | (u32::from_be(c) as u128) << 32
            | u32::from_be(d) as u128
    }

    /// The address of IPv6 that stands for one of IPv4 (RFC 4291, 2.5.5.2).
    #[inline(always)]
    pub const fn mapped(addr: Be32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), addr.0])
    }

    /// The two halves, each in one word as it stands in a packet.
    #[inline(always)]
    pub(crate) const fn halves(self) -> [u64; 2] {
        let [a, b, c, d] = self.0;
        [half(a, b), half(c, d)]
    }

    /// From its two halves.
    #[inline(always)]
    pub(crate) const fn from_halves([high, low]: [u64; 2]) -> Self {
        let ([a, b], [c, d]) = (quarters(high), quarters(low));
        Self([a, b, c, d])
    }
}

/// The word of two words that follow each other in a packet.
#[inline(always)]
const fn half(first: u32, second: u32) -> u64 {
    (first.to_le() as u64 | (second.to_le() as u64) << 32).to_le()
}

/// The two words that a word is of.
#[inline(always)]
const fn quarters(half: u64) -> [u32; 2] {
    let half = u64::from_le(half);
    [u32::from_le(half as u32), u32::from_le((half >> 32) as u32)]
}

/// An address of one of the two families: what the rules that are the same for both need of it.
pub trait Address:
    Copy + Default + Eq + core::hash::Hash + core::fmt::Debug + Send + Sync + 'static
{
    /// How many bits an address has.
    const BITS: u32;

    /// Its words folded by exclusive or, as the kernel's hashes take it.
    fn folded(self) -> Be32;

    /// What the connection table's hash, whose secret `key` is, takes of it: 48 bits or more, of which the low 16 are
    /// mixed with a port.
    fn mixed(self, key: [u64; 2]) -> u64;

    /// The part of it that tells persistent clients apart. `mask` is a netmask in network order with IPv4, and the number of
    /// leading bits with IPv6 ([`Plan::mask`](crate::abi::Plan::mask)).
    #[must_use]
    fn masked(self, mask: u32) -> Self;

    /// The first address of the network around it whose last `host_bits` bits do not matter.
    #[must_use]
    fn network(self, host_bits: u32) -> Self;

    /// Whether it can be no sender's: nothing, loopback, multicast (RFC 1812 5.3.7, RFC 4291 2.7), and with IPv4 what is above.
    fn is_martian(self) -> bool;
}

impl Address for Be32 {
    const BITS: u32 = 32;

    #[inline(always)]
    fn folded(self) -> Be32 {
        self
    }

    #[inline(always)]
    fn mixed(self, _key: [u64; 2]) -> u64 {
        u64::from(self.to_host()) << 16
    }

    #[inline(always)]
    fn masked(self, mask: u32) -> Self {
        Self(self.0 & mask)
    }

    #[inline(always)]
    fn network(self, host_bits: u32) -> Self {
        Self::from_host((u64::from(self.to_host()) >> host_bits << host_bits) as u32)
    }

    #[inline(always)]
    fn is_martian(self) -> bool {
        let [first, ..] = self.to_bytes();
        first == 0 || first == 127 || first >= 224
    }
}

impl Address for Be128 {
    const BITS: u32 = 128;

    #[inline(always)]
    fn folded(self) -> Be32 {
        let [a, b, c, d] = self.0;
        Be32(a ^ b ^ c ^ d)
    }

    /// Two multiplications: without the key nobody can tell which addresses are hashed alike.
    #[inline(always)]
    fn mixed(self, key: [u64; 2]) -> u64 {
        let [high, low] = self.halves();
        let x = (high ^ key[1]).wrapping_mul(key[0] | 1);
        let x = (x ^ x >> 32 ^ low).wrapping_mul(key[1] | 1);
        x ^ x >> 29
    }

    #[inline(always)]
    fn masked(self, mask: u32) -> Self {
        let [a, b, c, d] = self.0;
        Self([
            a & leading(mask),
            b & leading(mask.saturating_sub(32)),
            c & leading(mask.saturating_sub(64)),
            d & leading(mask.saturating_sub(96)),
        ])
    }

    #[inline(always)]
    fn network(self, host_bits: u32) -> Self {
        self.masked(Self::BITS.saturating_sub(host_bits))
    }

    #[inline(always)]
    fn is_martian(self) -> bool {
        let [a, b, c, d] = self.0;
        let starts_with_96_zeros = a | b | c == 0;
        let is_multicast = u32::from_be(a) >> 24 == 0xff;
        is_multicast || starts_with_96_zeros && u32::from_be(d) <= 1
    }
}

/// A word of a netmask, in network order, with so many bits, of which more than 32 are in later words.
#[inline(always)]
const fn leading(bits: u32) -> u32 {
    let bits = if bits > 32 { 32 } else { bits };
    ((0xFFFF_FFFF_0000_0000_u64 >> bits) as u32).to_be()
}

/// One direction of a flow as the client sends it: what identifies a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow<A> {
    /// The client's address (CIP).
    pub client: A,
    /// The virtual address (VIP).
    pub vip: A,
    /// The client's port.
    pub client_port: Be16,
    /// The virtual service's port.
    pub vip_port: Be16,
    /// The transport protocol.
    pub proto: Proto,
}

/// A flow over IPv4.
pub type Flow4 = Flow<Be32>;

/// A flow over IPv6.
pub type Flow6 = Flow<Be128>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn be(text: &str) -> Be128 {
        Be128::from_bytes(text.parse::<Ipv6Addr>().unwrap().octets())
    }

    #[test]
    fn an_address_is_the_same_in_each_form() {
        let bytes: [u8; 16] = core::array::from_fn(|i| i as u8 + 1);
        let addr = Be128::from_bytes(bytes);
        assert_eq!(addr.to_bytes(), bytes);
        assert_eq!(addr.0[1].to_ne_bytes(), [5, 6, 7, 8]);
        assert_eq!(Be128::from_halves(addr.halves()), addr);
        assert_eq!(
            addr.halves()[1].to_ne_bytes(),
            [9, 10, 11, 12, 13, 14, 15, 16]
        );
        assert_eq!(Be128::from_bits(addr.to_bits()), addr);
    }

    #[test]
    fn a_mask_has_any_number_of_bits() {
        let all = Be128([u32::MAX; 4]);
        for bits in 0..=128 {
            let expected = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            assert_eq!(all.masked(bits).to_bits(), expected, "{bits}");
            assert_eq!(all.network(128 - bits).to_bits(), expected, "{bits}");
        }
    }

    #[test]
    fn a_martian_is_nobodys_address() {
        for addr in ["::", "::1", "ff02::1", "ff00::"] {
            assert!(be(addr).is_martian(), "{addr}");
        }
        for addr in ["::2", "2001:db8::1", "fd00::1", "fe80::1", "1::1"] {
            assert!(!be(addr).is_martian(), "{addr}");
        }
        for addr in [[0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
            assert!(Be32::from_bytes(addr).is_martian(), "{addr:?}");
        }
        assert!(!Be32::from_bytes([198, 51, 100, 5]).is_martian());
    }
}
