//! Advertisements: what is heeded is what somebody could have sent, and the state machine takes all of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use lb_daemon::core::vrrp::{
    Arrival, Auth, Datagram, Event, Freshness, Interval, Key, Mode, Packet, Password, Reject,
    Router, Seal, Settings, Signing, State, Version, admit, multicast_group,
};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 1);
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 2);
const PEER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// The first byte chooses the virtual router; then come packets, each behind two bytes with its length.
pub(super) fn take(bytes: &[u8]) {
    let (choice, mut rest) = super::choice(bytes);
    let settings = &ROUTERS[choice % ROUTERS.len()];
    let v6 = settings.addresses.iter().all(IpAddr::is_ipv6);
    let own: IpAddr = if v6 { OWN6.into() } else { OWN.into() };
    let mut now = Instant::now();
    let (mut router, mut seal, mut effects) = (Router::new(), Seal::default(), Vec::new());
    let slot = router.add("VI_1".to_owned(), settings.clone(), own, None);
    router.handle(now, slot, Event::Start, &mut effects);
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (packet, behind) = behind.split_at(length);
        rest = behind;
        now += Duration::from_millis(300);
        router.tick(now, &mut effects);
        let machine = router.instances()[slot].machine();
        let arrival = Arrival {
            own,
            known_master: machine.master().map(|heard| heard.source),
            wall: Duration::from_secs(1_700_000_000),
        };
        let datagram = if v6 {
            Ok(arrived(settings, own, packet))
        } else {
            Datagram::from_ipv4(packet)
        };
        let heard = datagram.and_then(|datagram| {
            is_as_sent(&datagram);
            admit(settings, &arrival, &mut seal, &datagram)
        });
        match heard {
            Ok(heard) => {
                assert_ne!(heard.source, own, "its own word was heeded");
                router.handle(now, slot, Event::Advert(heard), &mut effects);
            }
            Err(reject) => assert!(Reject::ALL.contains(&reject)),
        }
        let machine = router.instances()[slot].machine();
        assert!(matches!(machine.state(), State::Backup | State::Master));
        let due = machine.due().expect("it waits for something");
        assert!(
            due <= now + Duration::from_secs(1_000),
            "it would wait for ever"
        );
    }
}

/// The datagram of a message of IPv6, whose header the kernel has taken off.
fn arrived<'b>(settings: &Settings, own: IpAddr, payload: &'b [u8]) -> Datagram<'b> {
    let unicast = !settings.peers.is_empty();
    Datagram {
        source: PEER6.into(),
        destination: if unicast { own } else { multicast_group(own) },
        ttl: 255,
        payload,
    }
}

/// What can be read is written as the same again, whoever it is for.
fn is_as_sent(datagram: &Datagram<'_>) {
    let Ok(packet) = Packet::decode(datagram) else {
        return;
    };
    let Datagram {
        source,
        destination,
        ..
    } = *datagram;
    let written = packet.encode(source, destination);
    let again = Packet::decode(&Datagram {
        payload: &written,
        ..*datagram
    });
    assert_eq!(again.as_ref(), Ok(&packet));
}

/// Virtual routers of each sort.
static ROUTERS: LazyLock<Vec<Settings>> = LazyLock::new(|| {
    let v4: Vec<IpAddr> = vec![Ipv4Addr::new(10, 5, 0, 80).into()];
    let v6: Vec<IpAddr> = vec![Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x80).into()];
    let signing = Signing {
        keys: vec![Key::new(1, &"k".repeat(32)).unwrap()],
        active: 1,
        mode: Mode::Permissive,
        freshness: Freshness::Growing,
    };
    let second = Interval::seconds(1).unwrap();
    let tenth = Interval::centis(10).unwrap();
    let two = Settings {
        auth: Auth::Pass(Password::new("1111").unwrap()),
        ..Settings::new(Version::V2, 51, second, v4.clone())
    };
    let three = Settings::new(Version::V3, 51, tenth, v4);
    let six = Settings::new(Version::V3, 51, tenth, v6);
    let signed = |settings: &Settings| Settings {
        signing: Some(Arc::new(signing.clone())),
        ..settings.clone()
    };
    let by_unicast = |settings: &Settings, peer: IpAddr| Settings {
        peers: vec![peer],
        ..settings.clone()
    };
    vec![
        signed(&three),
        signed(&six),
        by_unicast(&three, PEER.into()),
        by_unicast(&six, PEER6.into()),
        two,
        three,
        six,
    ]
});
