//! The end of IPv6 tunnels on a host whose kernel has no device for them: what is in them is given to the host itself.

use std::convert::Infallible;
use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

/// IPv6 in IPv6 (RFC 2473).
const IN_TUNNEL: i32 = libc::IPPROTO_IPV6;
/// Length of the header of IPv6, and where the destination begins in it.
const HEADER: usize = 40;
const DESTINATION: usize = 24;

/// Takes packets out until it is killed.
pub(crate) fn run() -> Result<bool> {
    match take_off()? {}
}

fn take_off() -> Result<Infallible> {
    let raw = |protocol| Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(protocol)));
    let tunnel = raw(IN_TUNNEL).context("cannot listen to tunnels")?;
    // What is sent by this one has its own header.
    let host = raw(libc::IPPROTO_RAW).context("cannot give packets to the host")?;
    let mut room = vec![0; 1 << 16];
    loop {
        let length = std::io::Read::read(&mut &tunnel, &mut room)?;
        let packet = room.get(..length).unwrap_or_default();
        let destination = packet
            .get(DESTINATION..HEADER)
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        if let Some(destination) = destination.filter(|_| packet[0] >> 4 == 6) {
            let destination = SocketAddr::new(Ipv6Addr::from(destination).into(), 0);
            // A packet that the host does not take is lost, as it would be in a tunnel.
            let _ = host.send_to(packet, &destination.into());
        }
    }
}
