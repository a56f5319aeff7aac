//! Do the counters agree with what went by?

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{Stats, Totals};
use lb_daemon::core::desired::Proto;
use tests::lab::{Site, Sum, Tap, poll};
use tests::needs_lab;

use crate::configuration::Method;
use crate::sites::{connections, of_all_methods, service};

/// Requests of each kind.
const REQUESTS: u16 = 50;

#[test]
fn packets_bytes_and_connections_are_those_that_the_client_saw() -> Result<()> {
    needs_lab!(beside others);
    let site = of_all_methods(2)?;
    let tap = Tap::start(&site.client, "eth0")?;
    let mut sent = 0;
    for method in Method::ALL {
        let vip = method.vip();
        ensure!(site.client.curl(&vip.url("/"), REQUESTS.into())?.total() == u64::from(REQUESTS));
        ensure!(site.client.dns(vip.dns(), REQUESTS)?.total() == u64::from(REQUESTS));
        for (name, proto, end) in [
            ("web", Proto::Tcp, vip.web()),
            ("dns", Proto::Udp, vip.dns()),
        ] {
            agree(&site, &tap, method, name, proto, end)?;
            sent += u64::from(REQUESTS);
        }
    }
    let stats: Stats = site.director.ask(&["stats"])?;
    ensure!(stats.totals.conns == sent, "{:?}", stats.totals);

    // From zero on, they count again.
    site.director.lbctl(&["zero"])?;
    let stats: Stats = site.director.ask(&["stats"])?;
    ensure!(stats.totals == Totals::default(), "{:?}", stats.totals);
    let vip = Method::Nat.vip();
    let (to, from) = (
        tap.to(Proto::Udp, vip.dns()),
        tap.from(Proto::Udp, vip.dns()),
    );
    ensure!(site.client.dns(vip.dns(), 7)?.total() == 7);
    poll("the counters to agree", Duration::from_secs(5), || {
        let stats: Stats = site.director.ask(&["stats"])?;
        let (more_to, more_from) = (
            tap.to(Proto::Udp, vip.dns()),
            tap.from(Proto::Udp, vip.dns()),
        );
        let expected = Totals {
            // The flows are known.
            conns: 0,
            in_packets: more_to.packets - to.packets,
            in_bytes: more_to.bytes - to.bytes,
            out_packets: more_from.packets - from.packets,
            out_bytes: more_from.bytes - from.bytes,
        };
        ensure!(
            expected.in_packets == 7 && stats.totals == expected,
            "{:?}, not {expected:?}",
            stats.totals
        );
        Ok(())
    })
}

/// A service's counters, and the sum of its real servers', are what the tap has seen.
fn agree(
    site: &Site,
    tap: &Tap,
    method: Method,
    kind: &str,
    proto: Proto,
    end: SocketAddrV4,
) -> Result<()> {
    let name = format!("{method:?}-{kind}").to_lowercase();
    poll(
        &format!("the counters of {name} to agree"),
        Duration::from_secs(5),
        || {
            let (to, back) = (tap.to(proto, end), tap.from(proto, end));
            // By other ways than NAT, replies do not pass the director.
            let from = if method == Method::Nat {
                back
            } else {
                Sum::default()
            };
            let expected = Totals {
                conns: REQUESTS.into(),
                in_packets: to.packets,
                in_bytes: to.bytes,
                out_packets: from.packets,
                out_bytes: from.bytes,
            };
            ensure!(
                to.packets >= REQUESTS.into() && back.packets >= REQUESTS.into(),
                "{to:?}, {back:?}"
            );
            let stats: Stats = site.director.ask(&["stats"])?;
            let service = stats.services.iter().find(|service| service.name == name);
            let service = service.context("it is not listed")?;
            let mut sum = Totals::default();
            for real in &service.reals {
                ensure!(real.totals.conns == u64::from(REQUESTS) / 2, "{real:?}");
                sum.conns += real.totals.conns;
                sum.in_packets += real.totals.in_packets;
                sum.in_bytes += real.totals.in_bytes;
                sum.out_packets += real.totals.out_packets;
                sum.out_bytes += real.totals.out_bytes;
            }
            ensure!(
                service.totals == expected && sum == expected,
                "{:?} and {sum:?}, not {expected:?}",
                service.totals
            );
            Ok(())
        },
    )
}

#[test]
fn list_and_conns_show_the_connections_that_there_are() -> Result<()> {
    needs_lab!(beside others);
    let site = of_all_methods(2)?;
    let ports: BTreeSet<u16> = (22_000..22_010).collect();
    for method in Method::ALL {
        let vip = method.vip().web();
        let mut visits = Vec::new();
        for port in &ports {
            let mut visit = site.client.visit(vip, Some(*port))?;
            visit.ask()?;
            visits.push(visit);
        }
        let name = format!("{method:?}-web").to_lowercase();
        ensure!(
            counts(&site, &name)? == [(5, 0), (5, 0)],
            "{:?}",
            counts(&site, &name)?
        );
        let listed = connections(&site, &["-t", &vip.to_string()])?;
        let clients: BTreeSet<u16> = listed
            .iter()
            .filter(|c| c.state == "ESTABLISHED" && c.vip == vip.to_string())
            .filter_map(|c| c.client.parse::<SocketAddrV4>().ok())
            .map(|client| client.port())
            .collect();
        ensure!(
            clients == ports && listed.len() == ports.len(),
            "{listed:?}"
        );
        drop(visits);
        poll(
            "closed connections to be inactive",
            Duration::from_secs(5),
            || {
                let counts = counts(&site, &name)?;
                ensure!(counts == [(0, 5), (0, 5)], "{counts:?}");
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Active and inactive connections of each real server.
fn counts(site: &Site, name: &str) -> Result<Vec<(u32, u32)>> {
    Ok(service(site, name)?
        .reals
        .iter()
        .map(|real| (real.active, real.inactive))
        .collect())
}

#[test]
fn rates_come_near_what_is_sent() -> Result<()> {
    needs_lab!();
    let site = of_all_methods(2)?;
    let stop = AtomicBool::new(false);
    let server = Method::Dr.vip().dns();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            site.client.inside(|| {
                let socket = std::net::UdpSocket::bind("0.0.0.0:23000")?;
                let (began, mut sent) = (Instant::now(), 0_u32);
                while !stop.load(Ordering::Relaxed) {
                    socket.send_to(&[0; 72], server)?;
                    sent += 1;
                    // A hundred a second on the whole, however long each pause took.
                    let next = began + Duration::from_millis(10) * sent;
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
                Ok(())
            })
        });
        // A quarter of the way every two seconds: after five looks, three quarters of it.
        let near = poll("the rate", Duration::from_secs(30), || {
            let stats: Stats = site.director.ask(&["stats", "--rate"])?;
            let rates = stats.rates;
            ensure!(
                (75..=110).contains(&rates.in_packets)
                    && rates.in_bytes.abs_diff(rates.in_packets * 100) <= 100,
                "{rates:?}"
            );
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let sent = sender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        near.and(sent)
    })
}
