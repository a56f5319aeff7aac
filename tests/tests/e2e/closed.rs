//! Who answers at ports of no service on an address of services?

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tests::lab::{Site, Vip};
use tests::needs_lab;

use crate::sites::{counted, two_armed};

/// Where the director itself listens.
const PORT: u16 = 2222;
/// Who has not answered by then does not.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Port {
    Open,
    Silent,
    Refused,
}

fn configuration(site: &Site, setting: &str) -> String {
    let real = &site.reals[0];
    format!(
        "interfaces: [eth0, eth1]\nconnections: {{max: 20000}}\nforwarding: {{vip_default: {setting}}}\nservices:\n  \
         - {{name: four, address: \"{}\", method: dr, scheduler: rr, reals: [\"{}\"]}}\n  \
         - {{name: six, address: \"[{}]:80\", method: dr, scheduler: rr, reals: [\"[{}]:80\"]}}\n",
        Vip::Dr.web(),
        real.web(),
        Vip::Dr.address6(),
        real.address6()
    )
}

/// How a port is to a client that connects.
fn tcp(site: &Site, to: SocketAddr) -> Result<Port> {
    let connect = || Ok(TcpStream::connect_timeout(&to, PATIENCE).map_err(|error| error.kind()));
    match site.client.inside(connect)? {
        Ok(_) => Ok(Port::Open),
        Err(ErrorKind::ConnectionRefused) => Ok(Port::Refused),
        Err(ErrorKind::TimedOut) => Ok(Port::Silent),
        Err(kind) => bail!("tcp {to}: {kind}"),
    }
}

/// How a port is to a client that sends a datagram, which the director's own program gives back.
fn udp(site: &Site, to: SocketAddr, own: &UdpSocket) -> Result<Port> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = site.client.inside(|| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.send(b"?")?;
        Ok(socket)
    })?;
    own.set_read_timeout(Some(PATIENCE / 2))?;
    if own.recv(&mut [0; 8]).is_ok() {
        return Ok(Port::Open);
    }
    socket.set_read_timeout(Some(PATIENCE / 2))?;
    match socket.recv(&mut [0; 8]).map_err(|error| error.kind()) {
        Err(ErrorKind::ConnectionRefused) => Ok(Port::Refused),
        Err(ErrorKind::WouldBlock) => Ok(Port::Silent),
        other => bail!("udp {to}: {other:?}"),
    }
}

#[test]
fn ports_of_no_service_are_the_directors_or_closed_as_is_said() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(1)?;
    site.add_ipv6()?;
    site.reals[0].prepare_for([Vip::Dr.address().into(), Vip::Dr.address6().into()], "dr")?;
    let addresses: [IpAddr; 2] = [Vip::Dr.address().into(), Vip::Dr.address6().into()];
    let own = addresses.map(|addr| {
        site.director.host().inside(|| {
            let to = (addr, PORT);
            Ok((TcpListener::bind(to)?, UdpSocket::bind(to)?))
        })
    });
    site.balance(&configuration(&site, "stack"))?;
    for (setting, wanted, counter) in [
        ("stack", Port::Open, None),
        ("drop", Port::Silent, Some("drop_no_port")),
        ("reject", Port::Refused, Some("reject_no_port")),
        ("stack", Port::Open, None),
    ] {
        site.director.configure(&configuration(&site, setting))?;
        site.director.lbctl(&["reload"])?;
        for (addr, own) in addresses.into_iter().zip(&own) {
            let (_, datagrams) = own.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            let to = SocketAddr::new(addr, PORT);
            let found = (tcp(&site, to)?, udp(&site, to, datagrams)?);
            ensure!(found == (wanted, wanted), "{setting}: {to}: {found:?}");
            // What has a service is served, and what is sent back to the director itself arrives.
            let url = format!("http://{}/", SocketAddr::new(addr, 80));
            let answers = site.client.curl(&url, 2)?;
            ensure!(answers.from("r1") == 2, "{setting}: {answers:?}");
            let client = SocketAddr::new(
                match addr {
                    IpAddr::V4(_) => "10.0.1.10".parse()?,
                    IpAddr::V6(_) => "fd00:1::10".parse()?,
                },
                PORT,
            );
            let listener = site.client.inside(|| Ok(TcpListener::bind(client)?))?;
            site.director
                .host()
                .inside(|| Ok(TcpStream::connect_timeout(&client, PATIENCE)?))
                .with_context(|| format!("{setting}: out to {client}"))?;
            drop(listener);
        }
        if let Some(counter) = counter {
            let packets = counted(&site, counter)?;
            ensure!(packets >= 4, "{counter}: {packets} packets");
        }
    }
    Ok(())
}
