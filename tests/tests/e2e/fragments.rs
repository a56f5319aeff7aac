//! Do datagrams come through that are too long for one packet, there and back?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::{Arms, Host, Site, Vip, poll};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};
use crate::sites::{counted, two_armed};

/// UDP's echo service.
const ECHO: u16 = 7;
/// Where NAT leads to.
const NAT_ECHO: u16 = 7007;
/// What fits into no packet.
const LENGTH: usize = 8192;

/// Gives every datagram to these addresses of a host back to its sender, until the test ends.
fn echo(host: &Host, addresses: &[SocketAddr]) -> Result<()> {
    for address in addresses {
        let socket = host.inside(|| {
            UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))
        })?;
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], client);
            }
        });
    }
    Ok(())
}

/// A service of each method, all of them on the same real servers.
fn balance(site: &mut Site) -> Result<()> {
    let mut configuration = Configuration::new(Arms::Two);
    for method in Method::ALL {
        let (vip, port) = (method.vip().address(), target(method));
        let name = format!("{method:?}").to_lowercase();
        configuration.service(&name, "udp", &format!("{vip}:{ECHO}"), method);
        for real in &site.reals {
            configuration.real(&format!("{}:{port}", real.address), 1);
        }
    }
    for real in &site.reals {
        let [dr, tun] = [Method::Dr, Method::Tun].map(|method| method.vip().address());
        echo(
            &real.host,
            &[
                SocketAddr::new(dr.into(), ECHO),
                SocketAddr::new(tun.into(), ECHO),
                SocketAddr::new(real.address.into(), NAT_ECHO),
            ],
        )?;
    }
    site.balance(configuration.text())
}

fn target(method: Method) -> u16 {
    match method {
        Method::Nat => NAT_ECHO,
        Method::Dr | Method::Tun => ECHO,
    }
}

/// Sends a long datagram from a port, and waits for it to come back.
fn ask(server: SocketAddr, port: u16) -> Result<()> {
    let sent: Vec<u8> = (0..LENGTH)
        .map(|at| (at / 7 + usize::from(port)) as u8)
        .collect();
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, port)).context("cannot bind")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.send(&sent).context("cannot send")?;
    let mut received = vec![0; 1 << 16];
    let length = socket.recv(&mut received).context("no answer")?;
    ensure!(received[..length] == sent, "another datagram came back");
    Ok(())
}

/// Long datagrams come back from ten ports.
fn come_back(site: &Site, server: SocketAddr) -> Result<()> {
    for port in 21_000..21_010 {
        // With a tunnel the client learns first that its packets have to be smaller.
        poll("a long datagram", Duration::from_secs(5), || {
            site.client.inside(|| ask(server, port))
        })?;
    }
    Ok(())
}

#[test]
fn long_datagrams_come_back_by_each_method() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(2)?;
    balance(&mut site)?;
    for method in Method::ALL {
        let server = SocketAddr::new(method.vip().address().into(), ECHO);
        come_back(&site, server).with_context(|| format!("{method:?}"))?;
        let packets = counted(&site, method.counter())?;
        ensure!(packets >= 60, "{method:?}: {packets} packets");
    }
    // All of six fragments a datagram.
    let replies = counted(&site, "forwarded_reply")?;
    ensure!(replies >= 60, "{replies} packets of replies");
    Ok(())
}

#[test]
fn long_datagrams_come_back_over_ipv6() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(1)?;
    site.add_ipv6()?;
    let (dr, nat) = (Vip::Dr.address6(), Vip::Nat.address6());
    let mut configuration = Configuration::new(Arms::Two);
    for real in &site.reals {
        real.prepare_for([dr.into()], "dr")?;
        echo(
            &real.host,
            &[
                SocketAddr::new(dr.into(), ECHO),
                SocketAddr::new(real.address6().into(), NAT_ECHO),
            ],
        )?;
        for (vip, method) in [(dr, Method::Dr), (nat, Method::Nat)] {
            let name = format!("{method:?}").to_lowercase();
            configuration.service(&name, "udp", &format!("\"[{vip}]:{ECHO}\""), method);
            let port = target(method);
            configuration.real(&format!("\"[{}]:{port}\"", real.address6()), 1);
        }
    }
    site.balance(configuration.text())?;
    for vip in [dr, nat] {
        come_back(&site, SocketAddr::new(vip.into(), ECHO)).with_context(|| vip.to_string())?;
    }
    for label in ["forwarded_dr", "forwarded_nat", "forwarded_reply"] {
        let packets = counted(&site, label)?;
        ensure!(packets >= 60, "{label}: {packets} packets");
    }
    Ok(())
}

#[test]
fn where_links_are_wide_long_datagrams_are_one_packet_each() -> Result<()> {
    needs_lab!();
    let mut site = two_armed(1)?;
    site.set_mtu(9000)?;
    balance(&mut site)?;
    for method in Method::ALL {
        let server = SocketAddr::new(method.vip().address().into(), ECHO);
        come_back(&site, server).with_context(|| format!("{method:?}"))?;
        let packets = counted(&site, method.counter())?;
        ensure!(packets == 10, "{method:?}: {packets} packets");
    }
    let replies = counted(&site, "forwarded_reply")?;
    ensure!(replies == 10, "{replies} packets of replies");
    Ok(())
}
