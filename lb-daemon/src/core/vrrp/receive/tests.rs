use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::core::vrrp::{Claim, Freshness, Interval, Key, Mode, Password, Priority, Signing};

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn settings(version: Version) -> Settings {
    let interval = Interval::seconds(1).unwrap();
    Settings::new(version, 51, interval, vec![address(80), address(81)])
}

fn packet(version: Version) -> Packet {
    Packet {
        version,
        vrid: 51,
        claim: Claim::Priority(Priority::DEFAULT),
        interval: Interval::seconds(1).unwrap(),
        auth: Auth::None,
        addresses: vec![address(81), address(80)],
    }
}

const ARRIVAL: Arrival = Arrival {
    own: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
    known_master: None,
    wall: Duration::ZERO,
};

/// What is heard of a packet from 192.0.2.20, after changes to the settings, the packet and the datagram.
fn hear(
    version: Version,
    settings_change: impl FnOnce(&mut Settings),
    packet_change: impl FnOnce(&mut Packet),
    datagram_change: impl FnOnce(&mut Datagram<'_>),
) -> Result<Heard, Reject> {
    let mut settings = settings(version);
    settings_change(&mut settings);
    let mut packet = packet(version);
    packet_change(&mut packet);
    let (source, destination) = (address(20), multicast_group(address(20)));
    let payload = packet.encode(source, destination);
    let mut datagram = Datagram {
        source,
        destination,
        ttl: 255,
        payload: &payload,
    };
    datagram_change(&mut datagram);
    admit(&settings, &ARRIVAL, &mut Seal::default(), &datagram)
}

#[test]
fn what_another_says_is_heard_whatever_the_order_of_its_addresses() {
    for version in [Version::V2, Version::V3] {
        let heard = hear(version, |_| (), |_| (), |_| ()).unwrap();
        assert_eq!(heard.source, address(20));
        assert_eq!(heard.claim, Claim::Priority(Priority::DEFAULT));
    }
}

#[test]
fn each_reason_not_to_heed_is_found() {
    use Version::{V2, V3};
    let pass = |text| Auth::Pass(Password::new(text).unwrap());
    let rejects = [
        (hear(V3, |_| (), |_| (), |d| d.ttl = 254), Reject::Ttl),
        (
            hear(V3, |_| (), |_| (), |d| d.destination = address(10)),
            Reject::Destination,
        ),
        (
            hear(V3, |_| (), |_| (), |d| d.source = address(10)),
            Reject::OwnSource,
        ),
        (hear(V3, |_| (), |p| p.vrid = 52, |_| ()), Reject::Vrid),
        (
            hear(V3, |s| s.version = V2, |_| (), |_| ()),
            Reject::Version,
        ),
        (
            hear(V3, |_| (), |p| p.addresses.truncate(1), |_| ()),
            Reject::Addresses,
        ),
        (
            hear(V3, |_| (), |p| p.addresses[0] = address(82), |_| ()),
            Reject::Addresses,
        ),
        (
            hear(
                V2,
                |_| (),
                |p| p.interval = Interval::seconds(2).unwrap(),
                |_| (),
            ),
            Reject::Interval,
        ),
        (
            hear(V2, |s| s.auth = pass("1111"), |_| (), |_| ()),
            Reject::AuthType,
        ),
        (
            hear(V2, |_| (), |p| p.auth = pass("1111"), |_| ()),
            Reject::AuthType,
        ),
        (
            hear(
                V2,
                |s| s.auth = pass("1111"),
                |p| p.auth = pass("1112"),
                |_| (),
            ),
            Reject::AuthPass,
        ),
        // A source that was changed on the way breaks the pseudo-header.
        (
            hear(V3, |_| (), |_| (), |d| d.source = address(21)),
            Reject::Checksum,
        ),
    ];
    for (n, (found, expected)) in rejects.into_iter().enumerate() {
        assert_eq!(found, Err(expected), "case {n}");
    }
}

#[test]
fn version_3_may_have_another_interval_and_the_known_master_other_addresses() {
    let tenth = Interval::centis(10).unwrap();
    let heard = hear(Version::V3, |_| (), |p| p.interval = tenth, |_| ()).unwrap();
    assert_eq!(heard.interval, tenth);
    let other = |p: &mut Packet| p.addresses[0] = address(82);
    assert!(hear(Version::V3, |s| s.check_addresses = false, other, |_| ()).is_ok());
    let payload = {
        let mut packet = packet(Version::V3);
        other(&mut packet);
        packet.encode(address(20), multicast_group(address(20)))
    };
    let datagram = Datagram {
        source: address(20),
        destination: multicast_group(address(20)),
        ttl: 255,
        payload: &payload,
    };
    let known = Arrival {
        known_master: Some(address(20)),
        ..ARRIVAL
    };
    assert!(
        admit(
            &settings(Version::V3),
            &known,
            &mut Seal::default(),
            &datagram
        )
        .is_ok()
    );
}

#[test]
fn among_peers_only_they_are_heard_and_a_router_may_be_between() {
    let payload = packet(Version::V3).encode(address(20), address(10));
    let datagram = Datagram {
        source: address(20),
        destination: address(10),
        ttl: 60,
        payload: &payload,
    };
    let mut settings = settings(Version::V3);
    settings.peers = vec![address(20)];
    assert!(admit(&settings, &ARRIVAL, &mut Seal::default(), &datagram).is_ok());
    settings.peers = vec![address(30)];
    assert_eq!(
        admit(&settings, &ARRIVAL, &mut Seal::default(), &datagram),
        Err(Reject::Peer)
    );
    let to_group = Datagram {
        destination: multicast_group(address(20)),
        ..datagram
    };
    assert_eq!(
        admit(&settings, &ARRIVAL, &mut Seal::default(), &to_group),
        Err(Reject::Destination)
    );
}

#[test]
fn with_keys_only_what_they_have_signed_is_heeded() {
    let signing = Arc::new(Signing {
        keys: vec![Key::new(1, &"k".repeat(32)).unwrap()],
        active: 1,
        mode: Mode::Enforce,
        freshness: Freshness::Growing,
    });
    for version in [Version::V2, Version::V3] {
        let mut settings = settings(version);
        let to = multicast_group(address(20));
        let encode = |signing| packet(version).encode_signed(address(20), to, signing);
        let signed = encode(Some((&*signing, 1)));
        let heed = |settings: &Settings, seal: &mut Seal, payload: &[u8]| {
            let datagram = Datagram {
                source: address(20),
                destination: to,
                ttl: 255,
                payload,
            };
            admit(settings, &ARRIVAL, seal, &datagram).map(|heard| heard.source)
        };
        let seal = &mut Seal::default();
        let unsigned = heed(&settings, seal, &signed);
        assert_eq!(unsigned, Err(Reject::Length), "who knows no trailer");
        settings.signing = Some(signing.clone());
        assert_eq!(heed(&settings, seal, &signed), Ok(address(20)));
        assert_eq!(heed(&settings, seal, &signed), Err(Reject::AuthReplay));
        assert_eq!(
            heed(&settings, seal, &encode(None)),
            Err(Reject::AuthMissing)
        );
        // Another message before a trailer that somebody has heard.
        let mut owner = packet(version);
        owner.claim = Claim::Priority(Priority::OWNER);
        let mut forged = owner.encode(address(20), to);
        let next = encode(Some((&*signing, 2)));
        forged.extend(&next[Trailer::strip(&next).len()..]);
        assert_eq!(heed(&settings, seal, &forged), Err(Reject::AuthHmac));
        assert_eq!(heed(&settings, seal, &next), Ok(address(20)));
    }
}
