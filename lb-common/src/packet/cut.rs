//! Which fragments does a datagram go in, and which datagram do fragments make?
//!
//! For tests, and written without the code under test.

use std::vec::Vec;

use super::build::sum_be;

/// Length of an Ethernet header.
const ETH: usize = 14;
/// IPv6's header number of a fragment.
const FRAGMENT: u8 = 44;

/// The frames of fragments of the packet in a frame, whose headers have no options or extensions: `sizes` bytes of data each, all but
/// the last a multiple of eight, and the rest in one more.
///
/// # Panics
///
/// Where there is no such packet.
pub fn cut(frame: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let is_ipv6 = frame[ETH] >> 4 == 6;
    let header = if is_ipv6 { 40 } else { 20 };
    let (head, mut data) = frame.split_at(ETH + header);
    let (mut frames, mut offset) = (Vec::new(), 0);
    let mut sizes = sizes.iter();
    while !data.is_empty() {
        let size = sizes.next().map_or(data.len(), |size| *size);
        let (piece, rest) = data.split_at(size.min(data.len()));
        let more = u16::from(!rest.is_empty());
        let mut frame = head.to_vec();
        if is_ipv6 {
            let next = frame[ETH + 6];
            frame[ETH + 6] = FRAGMENT;
            frame[ETH + 4..ETH + 6].copy_from_slice(&(8 + piece.len() as u16).to_be_bytes());
            frame.extend([next, 0]);
            frame.extend((offset | more).to_be_bytes());
            frame.extend(0x1234_5678_u32.to_be_bytes());
        } else {
            frame[ETH + 2..ETH + 4].copy_from_slice(&(20 + piece.len() as u16).to_be_bytes());
            frame[ETH + 6..ETH + 8].copy_from_slice(&(offset >> 3 | more << 13).to_be_bytes());
            seal(&mut frame[ETH..]);
        }
        frame.extend(piece);
        frames.push(frame);
        offset += piece.len() as u16;
        data = rest;
    }
    frames
}

/// The frame of the datagram of which these are fragments, with the headers of the first one; `None` where one is missing, or they
/// have not the same addresses, identification and Ethernet header.
pub fn join(frames: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut pieces: Vec<Piece<'_>> = frames
        .iter()
        .map(|f| Piece::read(f))
        .collect::<Option<_>>()?;
    pieces.sort_by_key(|piece| piece.offset);
    let (first, last) = (pieces.first()?, pieces.last()?);
    let mut data: Vec<u8> = Vec::new();
    for piece in &pieces {
        let is_last = std::ptr::eq(piece, last);
        let belongs = piece.common == first.common
            && usize::from(piece.offset) == data.len()
            && piece.more != is_last;
        if !belongs {
            return None;
        }
        data.extend(piece.data);
    }
    let mut frame = first.head.clone();
    if frame[ETH] >> 4 == 6 {
        frame[ETH + 4..ETH + 6].copy_from_slice(&(data.len() as u16).to_be_bytes());
    } else {
        let len = frame.len() - ETH + data.len();
        frame[ETH + 2..ETH + 4].copy_from_slice(&(len as u16).to_be_bytes());
        seal(&mut frame[ETH..]);
    }
    frame.extend(data);
    Some(frame)
}

/// A fragment.
struct Piece<'f> {
    /// Ethernet and IP headers as of a whole packet.
    head: Vec<u8>,
    /// What all have in common: Ethernet header, addresses, identification.
    common: Vec<u8>,
    offset: u16,
    more: bool,
    data: &'f [u8],
}

impl<'f> Piece<'f> {
    fn read(frame: &'f [u8]) -> Option<Self> {
        let (eth, ip) = frame.split_at_checked(ETH)?;
        if ip.first()? >> 4 == 6 {
            let (header, rest) = ip.split_at_checked(40)?;
            let (fragment, data) = rest.split_at_checked(8)?;
            let field = u16::from_be_bytes([fragment[2], fragment[3]]);
            let mut head = [eth, header].concat();
            head[ETH + 6] = fragment[0];
            return (header[6] == FRAGMENT).then(|| Self {
                head,
                common: [eth, &header[8..], &fragment[4..]].concat(),
                offset: field & 0xfff8,
                more: field & 1 != 0,
                data,
            });
        }
        let len = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
        let (header, data) = ip.get(..len)?.split_at_checked(20)?;
        let field = u16::from_be_bytes([header[6], header[7]]);
        let mut head = [eth, header].concat();
        head[ETH + 6..ETH + 8].fill(0);
        Some(Self {
            head,
            common: [eth, &header[12..], &header[4..6]].concat(),
            offset: field << 3,
            more: field & 0x2000 != 0,
            data,
        })
    }
}

/// Writes the checksum of an IPv4 header.
fn seal(ip: &mut [u8]) {
    ip[10..12].fill(0);
    let sum = sum_be(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build::{Build, checksums_hold};

    #[test]
    fn what_is_cut_is_whole_again_in_any_order() {
        for build in [
            Build::udp("198.51.100.5:1025", "203.0.113.10:53").dont_fragment(false),
            Build::udp("[2001:db8:c::5]:1025", "[2001:db8:f::10]:53"),
        ] {
            let whole = build.payload(&[7; 1000]).bytes();
            let mut frames = cut(&whole, &[8, 600, 16]);
            assert_eq!(frames.len(), 4);
            assert!(frames.iter().all(|frame| checksums_hold(frame)));
            frames.reverse();
            assert_eq!(join(&frames), Some(whole));
            frames.pop();
            assert_eq!(join(&frames), None);
        }
    }
}
