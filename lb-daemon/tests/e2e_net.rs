//! Next hops of real servers, on real networks in namespaces.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

mod netns;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use lb_daemon::core::hop::{Mac, NextHop, Reach, Via};
use lb_daemon::io::net::{Net, NetEvent, NoRoute, Settings, offloads};
use netns::{Host, Lan, eventually, run};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout_at;

const SECOND: Duration = Duration::from_secs(1);

struct Watcher {
    net: Net,
    events: UnboundedReceiver<NetEvent>,
}

impl Watcher {
    /// Waits for an event that `pick` takes, and says how long it took.
    async fn event<T>(
        &mut self,
        within: Duration,
        pick: impl Fn(&NetEvent) -> Option<T>,
    ) -> (T, Duration) {
        let start = Instant::now();
        let mut seen = Vec::new();
        loop {
            match timeout_at((start + within).into(), self.events.recv()).await {
                Ok(Some(event)) => match pick(&event) {
                    Some(found) => return (found, start.elapsed()),
                    None => seen.push(event),
                },
                Ok(None) => panic!("the watcher has ended"),
                Err(_) => panic!("no such event within {within:?}, but {seen:#?}"),
            }
        }
    }

    /// Waits for the hop of `real` to become as wanted.
    async fn hop(
        &mut self,
        real: IpAddr,
        within: Duration,
        wanted: impl Fn(&NextHop) -> bool,
    ) -> (NextHop, Duration) {
        self.event(within, |event| match event {
            NetEvent::HopChanged {
                real: changed,
                hop: Some(hop),
            } if *changed == real && wanted(hop) => Some(hop.clone()),
            _ => None,
        })
        .await
    }

    /// Watches one real server and waits for its MAC.
    async fn resolved(&self, real: IpAddr) -> (NextHop, Duration) {
        self.net.watch([real]).await.unwrap();
        eventually("MAC known", SECOND, || {
            self.net.hop(real).filter(|hop| hop.mac.is_some())
        })
        .await
    }
}

type Test<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs a test on the director, with the network watched.
fn on_director(director: &Host, test: impl FnOnce(&mut Watcher) -> Test<'_> + Send + 'static) {
    director.call(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (net, events) = Net::start(Settings::default()).await.unwrap();
            let mut watcher = Watcher { net, events };
            test(&mut watcher).await;
        });
    });
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

fn set_mac(host: &Host, to: &str) {
    host.run(&format!("ip link set eth0 address {to}"));
}

#[test]
fn an_on_link_real_is_resolved_with_everything_that_forwarding_needs() {
    let mut lan = Lan::new();
    let real = lan.host("10.0.1.11/24");
    set_mac(&real, "02:00:00:00:01:0b");
    let director = lan.host("10.0.1.1/24");
    set_mac(&director, "02:00:00:00:01:01");
    director.run("ip link set eth0 mtu 1400");
    on_director(&director, |w| {
        Box::pin(async move {
            let (hop, took) = w.resolved(ip("10.0.1.11")).await;
            println!("resolved in {took:?}");
            assert_eq!(hop.via, Via::OnLink);
            assert!(hop.is_on_link() && !hop.is_local());
            assert_eq!(&*hop.interface, "eth0");
            assert_eq!(hop.source, Some(ip("10.0.1.1")));
            assert_eq!(hop.src_mac, Some(mac("02:00:00:00:01:01")));
            assert_eq!(hop.mac, Some(mac("02:00:00:00:01:0b")));
            assert_eq!(hop.mtu, 1400);
            assert_eq!(hop.reach, Reach::Reachable);

            let link = w.net.link("eth0").unwrap();
            assert_eq!((link.ifindex, link.mtu, link.up), (hop.ifindex, 1400, true));
            assert_eq!(link.kind.as_deref(), Some("veth"));
            assert_eq!(w.net.link("eth9"), None);
            assert!(w.net.is_local(ip("10.0.1.1")) && w.net.is_local(ip("127.0.0.1")));
            assert!(!w.net.is_local(ip("10.0.1.11")));
        })
    });
}

#[test]
fn a_silent_change_of_mac_is_in_use_within_a_second() {
    let mut lan = Lan::new();
    let real = lan.host("10.0.1.11/24");
    let director = lan.host("10.0.1.1/24");
    on_director(&director, move |w| {
        Box::pin(async move {
            w.resolved(ip("10.0.1.11")).await;
            let mut worst = Duration::ZERO;
            for n in 1..=10 {
                let new = format!("02:00:00:00:02:{n:02x}");
                set_mac(&real, &new);
                let (_, took) = w
                    .hop(ip("10.0.1.11"), SECOND, |hop| hop.mac == Some(mac(&new)))
                    .await;
                worst = worst.max(took);
                // Not in step with the polling.
                tokio::time::sleep(Duration::from_millis(37 * n)).await;
            }
            println!("10 changes of MAC: the slowest was in use after {worst:?}");
        })
    });
}

#[test]
fn a_mac_that_the_kernel_forgets_is_kept() {
    let mut lan = Lan::new();
    let _real = lan.host("10.0.1.11/24");
    let director = lan.host("10.0.1.1/24");
    on_director(&director, |w| {
        Box::pin(async move {
            let (before, _) = w.resolved(ip("10.0.1.11")).await;
            for _ in 0..5 {
                run("ip neigh flush dev eth0");
                let end = Instant::now() + Duration::from_millis(300);
                while Instant::now() < end {
                    assert_eq!(w.net.hop(ip("10.0.1.11")), Some(before.clone()));
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        })
    });
}

#[test]
fn a_real_behind_a_gateway_follows_its_route() {
    let mut lan = Lan::new();
    let first = lan.host("10.0.1.11/24");
    set_mac(&first, "02:00:00:00:01:0b");
    let second = lan.host("10.0.1.12/24");
    set_mac(&second, "02:00:00:00:01:0c");
    let director = lan.host("10.0.1.1/24");
    director.run("ip route add 10.0.2.0/24 via 10.0.1.11");
    on_director(&director, |w| {
        Box::pin(async move {
            let real = ip("10.0.2.5");
            let (hop, _) = w.resolved(real).await;
            assert_eq!(hop.via, Via::Gateway(ip("10.0.1.11")));
            assert_eq!(hop.mac, Some(mac("02:00:00:00:01:0b")));
            assert!(!hop.is_on_link());

            run("ip route replace 10.0.2.0/24 via 10.0.1.12 mtu 1300");
            let new = |hop: &NextHop| hop.mac == Some(mac("02:00:00:00:01:0c"));
            let (hop, took) = w.hop(real, SECOND, new).await;
            println!("another gateway in use after {took:?}");
            assert_eq!((hop.via, hop.mtu), (Via::Gateway(ip("10.0.1.12")), 1300));

            run("ip route add 10.0.2.5/32 via 10.0.1.11");
            w.hop(real, SECOND, |hop| hop.via == Via::Gateway(ip("10.0.1.11")))
                .await;

            run("ip route del 10.0.2.5/32");
            run("ip route del 10.0.2.0/24");
            let gone = |event: &NetEvent| {
                (*event == NetEvent::HopChanged { real, hop: None }).then_some(())
            };
            w.event(SECOND, gone).await;
            assert_eq!(w.net.hop(real), None);

            run("ip route add 10.0.2.0/24 dev eth0");
            w.hop(real, SECOND, NextHop::is_on_link).await;
        })
    });
}

#[test]
fn a_link_that_goes_down_and_comes_back_is_told_and_resolved_again() {
    let mut lan = Lan::new();
    let _real = lan.host("10.0.1.11/24");
    let director = lan.host("10.0.1.1/24");
    on_director(&director, |w| {
        Box::pin(async move {
            let real = ip("10.0.1.11");
            let (before, _) = w.resolved(real).await;
            run("ip link set eth0 down");
            w.event(SECOND, |e| {
                matches!(e, NetEvent::LinkDown(l) if &*l.name == "eth0").then_some(())
            })
            .await;
            eventually("no route", SECOND, || {
                w.net.hop(real).is_none().then_some(())
            })
            .await;
            run("ip link set eth0 up");
            w.event(SECOND, |e| {
                matches!(e, NetEvent::LinkUp(l) if &*l.name == "eth0").then_some(())
            })
            .await;
            let (after, took) = w.hop(real, 2 * SECOND, |hop| hop.mac.is_some()).await;
            println!("resolved again {took:?} after the link");
            assert_eq!(after, before);
        })
    });
}

#[test]
fn a_lost_carrier_is_told_and_the_mac_kept() {
    let real = Host::new();
    let director = Host::new();
    director.cable("eth0", &real, "eth0");
    director.run("ip addr add 10.0.1.1/24 dev eth0");
    real.run("ip addr add 10.0.1.11/24 dev eth0");
    on_director(&director, move |w| {
        Box::pin(async move {
            let addr = ip("10.0.1.11");
            let (before, _) = w.resolved(addr).await;
            real.run("ip link set eth0 down");
            let (hop, took) = w.hop(addr, SECOND, |hop| hop.reach == Reach::Failed).await;
            println!("lost carrier told after {took:?}");
            assert_eq!(hop.mac, before.mac);
            real.run("ip link set eth0 up");
            w.hop(addr, 2 * SECOND, |hop| hop.reach == Reach::Reachable)
                .await;
        })
    });
}

#[test]
fn an_address_of_the_director_itself_is_local_from_when_it_is_added() {
    let mut lan = Lan::new();
    let _real = lan.host("10.0.1.11/24");
    let director = lan.host("10.0.1.1/24");
    on_director(&director, |w| {
        Box::pin(async move {
            let own = ip("10.0.1.1");
            w.net.watch([own, ip("10.0.1.50")]).await.unwrap();
            assert!(w.net.hop(own).unwrap().is_local());
            assert!(w.net.hop(ip("10.0.1.50")).unwrap().is_on_link());
            run("ip addr add 10.0.1.50/32 dev eth0");
            w.event(SECOND, |e| matches!(e, NetEvent::AddressAdded { address, .. } if address.addr() == ip("10.0.1.50")).then_some(())).await;
            w.hop(ip("10.0.1.50"), SECOND, NextHop::is_local).await;
            run("ip addr del 10.0.1.50/32 dev eth0");
            w.hop(ip("10.0.1.50"), SECOND, NextHop::is_on_link).await;
        })
    });
}

#[test]
fn a_real_that_falls_silent_is_reported_within_three_seconds_and_found_when_it_returns() {
    let mut lan = Lan::new();
    let real = lan.host("10.0.1.11/24");
    let director = lan.host("10.0.1.1/24");
    on_director(&director, move |w| {
        Box::pin(async move {
            let addr = ip("10.0.1.11");
            let (before, _) = w.resolved(addr).await;
            real.run("ip link set eth0 arp off");
            let (hop, took) = w
                .hop(addr, 3 * SECOND, |hop| hop.reach == Reach::Failed)
                .await;
            println!("silence reported after {took:?}");
            assert_eq!(hop.mac, before.mac, "the last MAC is kept");
            real.run("ip link set eth0 arp on");
            let (_, took) = w
                .hop(addr, 3 * SECOND, |hop| hop.reach == Reach::Reachable)
                .await;
            println!("return noticed after {took:?}");
        })
    });
}

#[test]
fn a_static_neighbour_is_believed_over_what_answers() {
    let mut lan = Lan::new();
    let _real = lan.host("10.0.1.11/24");
    let director = lan.host("10.0.1.1/24");
    director.run("ip neigh add 10.0.1.11 lladdr 02:00:00:00:09:09 dev eth0 nud permanent");
    on_director(&director, |w| {
        Box::pin(async move {
            let addr = ip("10.0.1.11");
            let fixed = Some(mac("02:00:00:00:09:09"));
            assert_eq!(w.resolved(addr).await.0.mac, fixed);
            tokio::time::sleep(SECOND).await;
            assert_eq!(w.net.hop(addr).unwrap().mac, fixed);
            run("ip neigh del 10.0.1.11 dev eth0");
            w.hop(addr, SECOND, |hop| hop.mac != fixed).await;
        })
    });
}

#[test]
fn two_stations_with_one_address_are_told_and_the_first_is_kept() {
    let mut lan = Lan::new();
    let real = lan.host("10.0.1.11/24");
    set_mac(&real, "02:00:00:00:01:0b");
    let director = lan.host("10.0.1.1/24");
    on_director(&director, move |w| {
        Box::pin(async move {
            let addr = ip("10.0.1.11");
            w.resolved(addr).await;
            let thief = lan.host("10.0.1.11/24");
            set_mac(&thief, "02:00:00:00:01:ff");
            // Its own question announces it.
            thief.call(|| {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(b"who is there?", "10.0.1.1:9").unwrap();
            });
            let conflict = |e: &NetEvent| match e {
                NetEvent::AddressConflict {
                    address,
                    kept,
                    claimed,
                    ..
                } if *address == addr => Some((*kept, *claimed)),
                _ => None,
            };
            let (conflict, _) = w.event(2 * SECOND, conflict).await;
            assert_eq!(
                conflict,
                (mac("02:00:00:00:01:0b"), mac("02:00:00:00:01:ff"))
            );
            assert_eq!(w.net.hop(addr).unwrap().mac, Some(mac("02:00:00:00:01:0b")));
        })
    });
}

#[test]
fn what_has_no_route_says_why() {
    let director = Host::new();
    director.run("ip route add unreachable 10.9.0.0/16");
    on_director(&director, |w| {
        Box::pin(async move {
            for (addr, says) in [
                ("10.8.0.1", "Network is unreachable"),
                ("10.9.0.1", "No route to host"),
            ] {
                let why = w.net.resolve(ip(addr)).await.unwrap_err();
                assert!(matches!(why, NoRoute::Refused(_)), "{why}");
                assert!(why.to_string().contains(says), "{why}");
            }
            w.net.watch([ip("10.8.0.1")]).await.unwrap();
            assert_eq!(w.net.hop(ip("10.8.0.1")), None);
        })
    });
}

#[test]
fn many_reals_are_resolved_at_once_and_answer_for_themselves() {
    let mut lan = Lan::new();
    let real = lan.host("10.0.0.2/16");
    real.call(|| {
        let batch: String = (0..500)
            .map(|n| {
                format!(
                    "addr add 10.0.{}.{}/32 dev eth0\n",
                    1 + n / 250,
                    1 + n % 250
                )
            })
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), batch).unwrap();
        run(&format!("ip -batch {}", file.path().display()));
    });
    let director = lan.host("10.0.0.1/16");
    on_director(&director, |w| {
        Box::pin(async move {
            let reals: Vec<IpAddr> = (0..500)
                .map(|n| ip(&format!("10.0.{}.{}", 1 + n / 250, 1 + n % 250)))
                .collect();
            let start = Instant::now();
            w.net.watch(reals.clone()).await.unwrap();
            println!("500 routes looked up in {:?}", start.elapsed());
            let known = || {
                reals
                    .iter()
                    .all(|real| w.net.hop(*real).is_some_and(|hop| hop.mac.is_some()))
                    .then_some(())
            };
            let (_, took) = eventually("500 MACs known", 2 * SECOND, known).await;
            println!("500 MACs known after {took:?}");
        })
    });
}

#[test]
fn after_lost_events_the_tables_are_read_again() {
    let mut lan = Lan::new();
    let director = lan.host("10.0.1.1/24");
    on_director(&director, |w| {
        Box::pin(async move {
            // The runtime has this one thread: while the command runs nobody reads the socket, and its buffer overflows.
            let flood: String = (0..4000)
                .map(|n| format!("route add 10.{}.{}.0/24 dev eth0\n", 20 + n / 250, n % 250))
                .collect();
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), flood + "addr add 10.0.7.7/24 dev eth0\n").unwrap();
            run(&format!("ip -batch {}", file.path().display()));
            eventually("the new address", 5 * SECOND, || {
                w.net.is_local(ip("10.0.7.7")).then_some(())
            })
            .await;
            let (address, _) = w
                .event(SECOND, |e| {
                    if let NetEvent::AddressAdded { address, .. } = e {
                        Some(*address)
                    } else {
                        None
                    }
                })
                .await;
            assert_eq!(address.addr(), ip("10.0.7.7"));
        })
    });
}

#[test]
fn offloads_are_read_as_they_are_set() {
    let mut lan = Lan::new();
    let host = lan.host("10.0.1.1/24");
    host.call(|| {
        run("ethtool -K eth0 tx off gro off");
        let off = offloads("eth0").unwrap();
        assert!(!off.tx_checksum && !off.gro && !off.lro);
        run("ethtool -K eth0 tx on gro on");
        let on = offloads("eth0").unwrap();
        assert!(on.tx_checksum && on.gro);
        assert!(offloads("nothing0").is_err());
        assert!(offloads("a-name-longer-than-any").is_err());
    });
}
