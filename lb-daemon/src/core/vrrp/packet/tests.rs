use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let nibble = |c: &u8| char::from(*c).to_digit(16).unwrap() as u8;
    let hex = hex.as_bytes();
    hex.chunks(2)
        .map(|p| nibble(&p[0]) << 4 | nibble(&p[1]))
        .collect()
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn datagram<'b>(source: IpAddr, payload: &'b [u8]) -> Datagram<'b> {
    Datagram {
        source,
        destination: multicast_group(source),
        ttl: 255,
        payload,
    }
}

/// Packets as other implementations write them.
fn known() -> Vec<(IpAddr, Vec<u8>, Packet)> {
    let priority = |n| Claim::Priority(Priority::new(n).unwrap());
    vec![
        (
            v4(10),
            bytes("3133640200644326c0000250c0000251"),
            Packet {
                version: Version::V3,
                vrid: 51,
                claim: priority(100),
                interval: Interval::centis(100).unwrap(),
                auth: Auth::None,
                addresses: vec![v4(80), v4(81)],
            },
        ),
        (
            "fe80::1".parse().unwrap(),
            bytes(
                "3107ff02000aa574fe80000000000000000000000000000720010db8000000000000000000000007",
            ),
            Packet {
                version: Version::V3,
                vrid: 7,
                claim: priority(255),
                interval: Interval::centis(10).unwrap(),
                auth: Auth::None,
                addresses: ["fe80::7", "2001:db8::7"]
                    .map(|a| a.parse().unwrap())
                    .to_vec(),
            },
        ),
        (
            v4(10),
            bytes("2133640101015517c00002503131313100000000"),
            Packet {
                version: Version::V2,
                vrid: 51,
                claim: priority(100),
                interval: Interval::seconds(1).unwrap(),
                auth: Auth::Pass(Password::new("1111").unwrap()),
                addresses: vec![v4(80)],
            },
        ),
        (
            Ipv4Addr::new(192, 168, 0, 30).into(),
            bytes("210164010001ba52c0a800010000000000000000"),
            Packet {
                version: Version::V2,
                vrid: 1,
                claim: priority(100),
                interval: Interval::seconds(1).unwrap(),
                auth: Auth::None,
                addresses: vec![Ipv4Addr::new(192, 168, 0, 1).into()],
            },
        ),
    ]
}

#[test]
fn packets_of_others_are_read_and_ours_are_the_same_bytes() {
    for (source, bytes, packet) in known() {
        assert_eq!(
            Packet::decode(&datagram(source, &bytes)),
            Ok(packet.clone())
        );
        assert_eq!(packet.encode(source, multicast_group(source)), bytes);
    }
}

#[test]
fn each_reason_to_reject_a_packet_is_found() {
    let good = &known()[2].1;
    let decode = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        Packet::decode(&datagram(v4(10), &bad))
    };
    let resummed = |change: &dyn Fn(&mut Vec<u8>)| {
        decode(&|bytes| {
            change(bytes);
            let sum = checksum::of(Version::V2, &datagram(v4(10), bytes));
            bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        })
    };
    assert!(decode(&|_| ()).is_ok());
    assert_eq!(decode(&|b| b.truncate(7)), Err(Reject::Length));
    assert_eq!(decode(&|b| b.truncate(0)), Err(Reject::Length));
    assert_eq!(decode(&|b| b.push(0)), Err(Reject::Length));
    assert_eq!(decode(&|b| b[3] = 2), Err(Reject::Length));
    assert_eq!(decode(&|b| b[3] = 0), Err(Reject::Count));
    assert_eq!(decode(&|b| b[0] = 0x41), Err(Reject::Version));
    assert_eq!(decode(&|b| b[0] = 0x22), Err(Reject::Type));
    assert_eq!(decode(&|b| b[6] ^= 1), Err(Reject::Checksum));
    assert_eq!(
        decode(&|b| b[13] ^= 1),
        Err(Reject::Checksum),
        "the password counts"
    );
    assert_eq!(resummed(&|b| b[4] = 2), Err(Reject::AuthType));
    assert_eq!(resummed(&|b| b[5] = 0), Err(Reject::Interval));
    // Version 2 has no IPv6.
    let over6 = datagram("fe80::1".parse().unwrap(), good);
    assert_eq!(Packet::decode(&over6), Err(Reject::Version));
}

#[test]
fn the_reserved_bits_of_version_3_are_ignored() {
    let (source, mut bytes, packet) = known().swap_remove(0);
    bytes[4] |= 0xF0;
    let sum = checksum::of(Version::V3, &datagram(source, &bytes));
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(Packet::decode(&datagram(source, &bytes)), Ok(packet));
}

#[test]
fn the_ip_header_may_have_options_and_must_not_lie() {
    let ip = |ihl: u8, length: u16, rest: &[u8]| {
        let mut packet = vec![0x40 | ihl, 0xC0];
        packet.extend(length.to_be_bytes());
        packet.extend([
            0, 0, 0, 0, 255, PROTOCOL, 0, 0, 192, 0, 2, 10, 224, 0, 0, 18,
        ]);
        packet.extend(rest);
        packet
    };
    let plain = ip(5, 24, &[1, 2, 3, 4, 9, 9]);
    let read = Datagram::from_ipv4(&plain).unwrap();
    assert_eq!(
        (read.source, read.destination),
        (v4(10), multicast_group(v4(10)))
    );
    assert_eq!((read.ttl, read.payload), (255, &[1, 2, 3, 4][..]));
    let options = ip(6, 28, &[0x94, 4, 0, 0, 1, 2, 3, 4]);
    assert_eq!(Datagram::from_ipv4(&options).unwrap().payload, [1, 2, 3, 4]);
    for bad in [
        ip(4, 24, &[0; 4]),
        ip(5, 25, &[0; 4]),
        ip(5, 19, &[0; 4]),
        ip(15, 24, &[0; 4]),
        plain[..19].to_vec(),
    ] {
        assert_eq!(Datagram::from_ipv4(&bad).unwrap_err(), Reject::Ip);
    }
    for (at, value) in [(0, 0x65), (9, 6), (6, 0x20), (7, 1)] {
        let mut bad = plain.clone();
        bad[at] = value;
        assert_eq!(Datagram::from_ipv4(&bad).unwrap_err(), Reject::Ip);
    }
}

#[test]
fn passwords_are_one_to_eight_bytes_and_never_shown() {
    assert!(Password::new("").is_none());
    assert!(Password::new("123456789").is_none());
    let password = Password::new("12345678").unwrap();
    assert_eq!(password.reveal(), "12345678");
    assert!(!format!("{password:?} {:?}", Auth::Pass(password)).contains('1'));
    assert_ne!(password, Password::new("12345679").unwrap());
    assert_eq!(Password::new("a").unwrap().reveal(), "a");
}

#[test]
fn every_reject_has_a_counter_of_its_own() {
    let names: std::collections::HashSet<_> = Reject::ALL.iter().map(|r| r.name()).collect();
    assert_eq!(names.len(), Reject::ALL.len());
}

fn addresses(v6: bool) -> BoxedStrategy<Vec<IpAddr>> {
    if v6 {
        vec(
            any::<[u8; 16]>().prop_map(|a| Ipv6Addr::from(a).into()),
            1..30,
        )
        .boxed()
    } else {
        vec(
            any::<[u8; 4]>().prop_map(|a| Ipv4Addr::from(a).into()),
            1..255,
        )
        .boxed()
    }
}

fn packet() -> impl Strategy<Value = (IpAddr, Packet)> {
    let kind = prop_oneof![Just((2, false)), Just((3, false)), Just((3, true))];
    kind.prop_flat_map(|(version, v6)| {
        let pass = proptest::option::of("[!-~]{1,8}");
        (
            any::<u8>(),
            any::<u8>(),
            1u16..=4095,
            pass,
            addresses(v6),
            addresses(v6),
        )
            .prop_map(move |(vrid, priority, time, pass, sources, addresses)| {
                let v2 = version == 2;
                let pass = pass.filter(|_| v2).and_then(|p| Password::new(&p));
                let seconds = Interval::seconds((time % 255 + 1) as u8);
                let packet = Packet {
                    version: if v2 { Version::V2 } else { Version::V3 },
                    vrid,
                    claim: Claim::from_byte(priority),
                    interval: if v2 { seconds } else { Interval::centis(time) }.unwrap(),
                    auth: pass.map_or(Auth::None, Auth::Pass),
                    addresses,
                };
                (sources[0], packet)
            })
    })
}

proptest! {
    #[test]
    fn any_packet_survives_the_wire((source, packet) in packet()) {
        let bytes = packet.encode(source, multicast_group(source));
        prop_assert_eq!(Packet::decode(&datagram(source, &bytes)), Ok(packet));
    }

    #[test]
    fn a_packet_with_a_wrong_byte_or_cut_short_is_rejected(
        (source, packet) in packet(),
        at in any::<Index>(),
        flip in 1u8..,
    ) {
        let good = packet.encode(source, multicast_group(source));
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= flip;
        // The four reserved bits of version 3 are the only ones that mean nothing, and the checksum covers them.
        prop_assert!(Packet::decode(&datagram(source, &bad)).is_err());
        prop_assert!(Packet::decode(&datagram(source, &good[..at])).is_err());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(payload: Vec<u8>, v6: bool, version in 2u8..4) {
        let source = if v6 { Ipv6Addr::LOCALHOST.into() } else { v4(1) };
        let _ = Packet::decode(&datagram(source, &payload));
        let _ = Datagram::from_ipv4(&payload);
        let mut likely = payload;
        if let Some(first) = likely.first_mut() {
            *first = version << 4 | 1;
        }
        let _ = Packet::decode(&datagram(source, &likely));
    }
}
