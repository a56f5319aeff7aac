//! What do the headers look like on the wire?
//!
//! Every header is `packed`: it may lie at any address, and its fields are copied out by value. The BPF target is
//! told that memory accesses need no alignment, so each field is one load or store; without that it would be one a byte.

use crate::net::{Be16, Be32};

/// Length of an Ethernet header.
pub const ETH_LEN: usize = 14;
/// Length of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Length of a TCP header without options.
pub const TCP_LEN: usize = 20;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: Be16 = Be16::from_host(0x0800);

/// IP protocol number of ICMP.
pub const PROTO_ICMP: u8 = 1;
/// IP protocol number of IP-in-IP.
pub const PROTO_IPIP: u8 = 4;

/// Flags of the 13th byte of a TCP header.
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 1 << 0;
    /// Opens a connection.
    pub const SYN: u8 = 1 << 1;
    /// Breaks a connection off.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 1 << 4;
}

/// A header that may be laid over any bytes of its size.
///
/// # Safety
///
/// An implementor is `repr(C, packed)`, has no padding, and every bit pattern of it is a value.
pub unsafe trait Header: Copy {
    /// The header that `bytes` are, if their number is right.
    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Option<&Self> {
        // SAFETY: the length is checked, and by the trait's contract any address and any bytes will do.
        (bytes.len() == size_of::<Self>()).then(|| unsafe { &*bytes.as_ptr().cast() })
    }

    /// The header that `bytes` are, for writing, if their number is right.
    #[inline(always)]
    fn from_bytes_mut(bytes: &mut [u8]) -> Option<&mut Self> {
        // SAFETY: the length is checked, and by the trait's contract any address and any bytes will do, before and
        // after writing.
        (bytes.len() == size_of::<Self>()).then(|| unsafe { &mut *bytes.as_mut_ptr().cast() })
    }
}

macro_rules! headers {
    ($($(#[$meta:meta])* $name:ident [$len:expr] { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)+ })+) => {
        $(
            $(#[$meta])*
            #[repr(C, packed)]
            #[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $ty,)+
            }
            const _: () = assert!(size_of::<$name>() == $len);
            // SAFETY: packed, so neither alignment nor padding; all fields are integers or wrap one.
            unsafe impl Header for $name {}
        )+
    };
}

headers! {
    /// Ethernet.
    ///
    /// The two addresses are held as the words that a rewrite stores: see [`MacPair`].
    Ethernet [ETH_LEN] {
        /// The destination (low 48 bits, byte 0 lowest) and the first two bytes of the source.
        dst_src: u64,
        /// The last four bytes of the source.
        src_rest: u32,
        /// What the frame carries.
        ethertype: Be16,
    }

    /// IPv4, without its options.
    Ipv4 [IPV4_LEN] {
        /// Version in the high four bits, header length in 32-bit words in the low four.
        version_ihl: u8,
        /// DSCP in the high six bits, ECN in the low two.
        tos: u8,
        /// Length of header and payload.
        total_len: Be16,
        /// Names the datagram that a fragment is of.
        id: Be16,
        /// DF, MF and the fragment offset.
        fragment: Be16,
        /// How many more hops.
        ttl: u8,
        /// What the datagram carries.
        proto: u8,
        /// Checksum of the header.
        checksum: u16,
        /// Source.
        src: Be32,
        /// Destination.
        dst: Be32,
    }

    /// The ports, which TCP and UDP have at the same place, as one word: source port low, destination port high,
    /// each in network order.
    Ports [4] {
        /// The word.
        word: u32,
    }

    /// TCP, without its options.
    Tcp [TCP_LEN] {
        /// Source and destination port, as [`Ports`].
        ports: u32,
        /// Sequence number.
        seq: u32,
        /// Acknowledgement number.
        ack: u32,
        /// Header length in 32-bit words in the high four bits.
        offset: u8,
        /// Bits of [`tcp_flag`].
        flags: u8,
        /// Receive window.
        window: Be16,
        /// Checksum of pseudo-header, header and data.
        checksum: u16,
        /// Urgent pointer.
        urgent: Be16,
    }

    /// UDP.
    Udp [UDP_LEN] {
        /// Source and destination port, as [`Ports`].
        ports: u32,
        /// Length of header and data.
        len: Be16,
        /// Checksum of pseudo-header, header and data; zero is none.
        checksum: u16,
    }

    /// ICMP.
    Icmp [8] {
        /// Kind of message.
        kind: u8,
        /// Which of its kind.
        code: u8,
        /// Checksum of the message.
        checksum: u16,
        /// Depends on the kind.
        rest: u32,
    }

    /// Four bytes of anything.
    Word32 [4] {
        /// The bytes as they stand.
        word: u32,
    }

    /// One byte of anything.
    Byte [1] {
        /// The byte.
        byte: u8,
    }
}

impl Ipv4 {
    /// "Don't fragment".
    pub const DF: u16 = 0x4000;
    /// More fragments follow.
    pub const MF: u16 = 0x2000;
    /// The fragment offset's bits.
    pub const OFFSET: u16 = 0x1fff;
}

/// The low 48 bits of a word that holds a MAC.
pub const MAC_MASK: u64 = (1 << 48) - 1;

/// The two addresses of an Ethernet header, each in the low 48 bits of a word, byte 0 lowest.
///
/// Two stores write both; six-byte arrays would be copied in smaller pieces.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct MacPair {
    /// To whom.
    pub dst: u64,
    /// From whom.
    pub src: u64,
}

impl MacPair {
    /// The pair with the roles changed.
    #[inline(always)]
    pub const fn swapped(self) -> Self {
        Self {
            dst: self.src,
            src: self.dst,
        }
    }
}

impl Ethernet {
    /// A header.
    #[inline(always)]
    pub const fn new(macs: MacPair, ethertype: Be16) -> Self {
        Self {
            dst_src: (macs.dst & MAC_MASK).to_le() | (macs.src << 48).to_le(),
            src_rest: ((macs.src >> 16) as u32).to_le(),
            ethertype,
        }
    }

    /// The two addresses.
    #[inline(always)]
    pub const fn macs(&self) -> MacPair {
        let (low, high) = (u64::from_le(self.dst_src), u32::from_le(self.src_rest));
        MacPair {
            dst: low & MAC_MASK,
            src: (low >> 48) | ((high as u64) << 16),
        }
    }

    /// Writes the two addresses, and leaves the EtherType.
    #[inline(always)]
    pub fn set_macs(&mut self, macs: MacPair) {
        *self = Self::new(macs, self.ethertype);
    }
}

/// A MAC as the word that [`MacPair`] and the maps hold.
#[inline(always)]
pub const fn mac_word(mac: [u8; 6]) -> u64 {
    u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0])
}

/// The six bytes of a MAC word.
#[inline(always)]
pub const fn mac_bytes(word: u64) -> [u8; 6] {
    let b = word.to_le_bytes();
    [b[0], b[1], b[2], b[3], b[4], b[5]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_stand_in_the_frame_in_their_order() {
        let macs = MacPair {
            dst: mac_word([1, 2, 3, 4, 5, 6]),
            src: mac_word([7, 8, 9, 10, 11, 12]),
        };
        let mut bytes = [0u8; ETH_LEN];
        *Ethernet::from_bytes_mut(&mut bytes).unwrap() = Ethernet::new(macs, ETHERTYPE_IPV4);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0]);
        assert_eq!(Ethernet::from_bytes(&bytes).unwrap().macs(), macs);
        Ethernet::from_bytes_mut(&mut bytes)
            .unwrap()
            .set_macs(macs.swapped());
        assert_eq!(bytes, [7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 8, 0]);
        assert_eq!(mac_bytes(macs.dst), [1, 2, 3, 4, 5, 6]);
    }
}
