//! The kernel runs the filters, on a socket that any user may have: what it is given is what a raw socket is shown of IPv4.
//! For IPv6, where a raw socket is shown less, network namespaces are needed (`tests/vrrp_interop`).

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::core::vrrp::packet::PROTOCOL;
use crate::core::vrrp::{
    Arrival, Claim, Datagram, Freshness, Interval, Key, Mode, Packet, Password, Priority, Seal,
    Signing, admit,
};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 1);
const MASTER: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 3);

fn settings(version: Version, auth: Auth, peers: &[Ipv4Addr]) -> Settings {
    let addresses = [80, 81].map(|last| IpAddr::from([10, 5, 0, last]));
    let interval = Interval::seconds(1).unwrap();
    Settings {
        auth,
        peers: peers.iter().map(|p| IpAddr::V4(*p)).collect(),
        ..Settings::new(version, 51, interval, addresses.to_vec())
    }
}

fn password() -> Auth {
    Auth::Pass(Password::new("1111").unwrap())
}

/// What a director of the same settings sends, with its IP header.
fn advert(settings: &Settings, source: Ipv4Addr) -> Vec<u8> {
    let to = match settings.peers.as_slice() {
        [] => multicast_group(source.into()),
        _ => OWN.into(),
    };
    let packet = Packet {
        version: settings.version,
        vrid: settings.vrid,
        claim: Claim::Priority(Priority::DEFAULT),
        interval: settings.interval,
        auth: settings.auth,
        addresses: settings.addresses.clone(),
    };
    let signing = settings.signing.as_deref().map(|s| (s, 1));
    let message = packet.encode_signed(source.into(), to, signing);
    with_header(source, to, 255, &message)
}

fn with_header(source: Ipv4Addr, to: IpAddr, ttl: u8, message: &[u8]) -> Vec<u8> {
    let IpAddr::V4(to) = to else { unreachable!() };
    let length = u16::try_from(20 + message.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0xC0, length[0], length[1], 0, 0, 0, 0];
    packet.extend([ttl, PROTOCOL, 0, 0]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(message);
    packet
}

/// Runs filters in the kernel.
struct Kernel {
    queues: Vec<(Queue, Socket, Socket)>,
}

impl Kernel {
    fn new(expected: &Expected) -> Self {
        let queue = |queue| {
            let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
            near.attach_filter(&expected.filter(false, queue)).unwrap();
            near.set_nonblocking(true).unwrap();
            (queue, near, far)
        };
        Self {
            queues: Queue::ALL.map(queue).into(),
        }
    }

    /// In which queues a packet waits.
    fn queues_of(&self, packet: &[u8]) -> Vec<Queue> {
        let mut waits = Vec::new();
        for (queue, near, far) in &self.queues {
            far.send(packet).unwrap();
            let mut room = [std::mem::MaybeUninit::uninit(); 2_048];
            match near.recv(&mut room) {
                Ok(length) => {
                    assert_eq!(length, packet.len());
                    waits.push(*queue);
                }
                Err(err) => assert_eq!(err.kind(), ErrorKind::WouldBlock),
            }
        }
        waits
    }
}

fn expected(routers: &[&Settings], masters: &[Ipv4Addr]) -> Expected {
    let mut expected = Expected::default();
    routers.iter().for_each(|r| expected.of_router(r));
    masters
        .iter()
        .for_each(|m| expected.of_master(IpAddr::V4(*m)));
    expected
}

fn signed(mut settings: Settings) -> Settings {
    settings.signing = Some(Arc::new(Signing {
        keys: vec![Key::new(1, &"k".repeat(32)).unwrap()],
        active: 1,
        mode: Mode::Permissive,
        freshness: Freshness::Growing,
    }));
    settings
}

fn sorts() -> Vec<Settings> {
    vec![
        settings(Version::V2, Auth::None, &[]),
        settings(Version::V2, password(), &[]),
        settings(Version::V3, Auth::None, &[]),
        settings(Version::V2, password(), &[OTHER, MASTER]),
        settings(Version::V3, Auth::None, &[MASTER, OTHER]),
        signed(settings(Version::V2, Auth::None, &[])),
        signed(settings(Version::V3, Auth::None, &[MASTER])),
    ]
}

#[test]
fn what_a_known_master_sends_waits_apart() {
    for settings in sorts() {
        let kernel = Kernel::new(&expected(&[&settings], &[MASTER]));
        let queues = |source| kernel.queues_of(&advert(&settings, source));
        assert_eq!(queues(MASTER), [Queue::Master], "{settings:?}");
        if settings.peers.is_empty() || settings.peers.contains(&OTHER.into()) {
            assert_eq!(queues(OTHER), [Queue::Plausible], "{settings:?}");
        }
        if settings.signing.is_some() {
            let unsigned = Settings {
                signing: None,
                ..settings.clone()
            };
            let queues = kernel.queues_of(&advert(&unsigned, MASTER));
            assert_eq!(queues, [Queue::Master], "the mode decides");
        }
    }
}

#[test]
fn what_cannot_be_heeded_waits_with_the_strays_whoever_sends_it() {
    for settings in sorts() {
        let kernel = Kernel::new(&expected(&[&settings], &[MASTER]));
        let unicast = !settings.peers.is_empty();
        let good = advert(&settings, MASTER);
        let with = |at: usize, byte: u8| {
            let mut packet = good.clone();
            packet[at] = byte;
            packet
        };
        let mut long = good.clone();
        long.push(0);
        let mut bad = vec![
            with(20, 0x41),
            with(20, good[20] ^ 3),
            with(23, 0),
            with(23, 3),
            good[..good.len() - 1].to_vec(),
            good[..27].to_vec(),
            long,
        ];
        if settings.version == Version::V2 {
            bad.push(with(24, 2));
        }
        if settings.auth != Auth::None {
            bad.push(with(good.len() - 8, b'2'));
            bad.push(with(good.len() - 1, b'2'));
        }
        if unicast {
            bad.push(advert(&settings, Ipv4Addr::new(10, 5, 0, 9)));
        } else {
            bad.push(with(8, 254));
            bad.push(with(19, 17));
        }
        for packet in bad {
            let queues = kernel.queues_of(&packet);
            assert_eq!(queues, [Queue::Stray], "{settings:?} {packet:x?}");
        }
        let other = [with(21, 52), good[..21].to_vec()];
        for packet in other {
            assert_eq!(kernel.queues_of(&packet), [], "of another virtual router");
        }
    }
}

#[test]
fn options_in_the_ip_header_move_the_message() {
    let settings = settings(Version::V2, password(), &[]);
    let kernel = Kernel::new(&expected(&[&settings], &[MASTER]));
    let mut packet = advert(&settings, MASTER);
    packet[0] = 0x46;
    packet[3] += 4;
    packet.splice(20..20, [1, 1, 1, 0]);
    assert_eq!(kernel.queues_of(&packet), [Queue::Master]);
}

#[test]
fn every_number_can_be_expected_of_several_kinds() {
    let mut expected = Expected::default();
    let kinds = sorts();
    for vrid in 1..=255 {
        let mut settings = kinds[usize::from(vrid) % 3].clone();
        settings.vrid = vrid;
        expected.of_router(&settings);
    }
    expected.of_master(MASTER.into());
    let kernel = Kernel::new(&expected);
    for vrid in 1..=255 {
        let mut settings = kinds[usize::from(vrid) % 3].clone();
        settings.vrid = vrid;
        let queues = kernel.queues_of(&advert(&settings, MASTER));
        assert_eq!(queues, [Queue::Master], "{vrid}");
        let queues = kernel.queues_of(&advert(&settings, OTHER));
        assert_eq!(queues, [Queue::Plausible], "{vrid}");
        settings.version = match settings.version {
            Version::V2 => Version::V3,
            Version::V3 => Version::V2,
        };
        let queues = kernel.queues_of(&advert(&settings, MASTER));
        assert_eq!(queues, [Queue::Stray], "{vrid}");
    }
}

#[test]
fn a_filter_that_would_be_too_long_sorts_by_source_and_number_alone() {
    let mut expected = Expected::default();
    for vrid in 1..=255 {
        let peers = [MASTER, OTHER, Ipv4Addr::new(10, 6, 0, vrid)];
        let mut settings = settings(Version::V2, password(), &peers);
        settings.vrid = vrid;
        expected.of_router(&settings);
    }
    expected.of_master(MASTER.into());
    assert!(expected.program(false, Queue::Master, true).len() > MOST);
    let kernel = Kernel::new(&expected);
    let settings = settings(Version::V2, password(), &[MASTER]);
    let mut packet = advert(&settings, MASTER);
    packet[20] = 0;
    assert_eq!(kernel.queues_of(&packet), [Queue::Master]);
    let packet = advert(&settings, Ipv4Addr::new(10, 5, 0, 9));
    assert_eq!(kernel.queues_of(&packet), [Queue::Plausible]);
    packet_of_none(&kernel, &settings);
}

fn packet_of_none(kernel: &Kernel, settings: &Settings) {
    let mut packet = advert(settings, MASTER);
    packet[21] = 0;
    assert_eq!(kernel.queues_of(&packet), []);
}

proptest! {
    /// A filter errs on one side only: what would be heeded is never a stray, and every packet waits in one queue.
    #[test]
    fn what_is_heeded_is_no_stray(
        n in 0..7_usize,
        at in any::<proptest::sample::Index>(),
        byte: u8,
        cut in any::<proptest::sample::Index>(),
        cuts: bool,
        known: bool,
    ) {
        let settings = &sorts()[n];
        let mut packet = advert(settings, MASTER);
        let at = at.index(packet.len());
        packet[at] = byte;
        if cuts {
            packet.truncate(cut.index(packet.len()).max(22));
        }
        // As the kernel would not give it to us: not whole, or no IPv4.
        prop_assume!(packet[0] == 0x45);
        let masters: &[Ipv4Addr] = if known { &[MASTER] } else { &[] };
        let kernel = Kernel::new(&expected(&[settings], masters));
        let queues = kernel.queues_of(&packet);
        let arrival = Arrival { own: OWN.into(), known_master: None, wall: Duration::ZERO };
        let heard = Datagram::from_ipv4(&packet).and_then(|d| admit(settings, &arrival, &mut Seal::default(), &d));
        if packet[21] == settings.vrid {
            prop_assert_eq!(queues.len(), 1);
        } else {
            prop_assert_eq!(queues.len(), 0);
        }
        if let Ok(heard) = heard {
            let queue = if known && heard.source == IpAddr::V4(MASTER) {
                Queue::Master
            } else {
                Queue::Plausible
            };
            prop_assert_eq!(queues, [queue]);
        }
    }
}
