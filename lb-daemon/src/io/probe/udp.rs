//! Sends a datagram. Silence may be good; an ICMP error never is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::error::ProbeError;
use super::talk::quoted;
use super::{Good, Path, Place, vip};
use crate::core::health::probe::Udp;

pub(super) async fn ask(udp: &Udp, to: &Place<'_>, patience: Duration) -> Result<Good, ProbeError> {
    let mut socket = open(to).await?;
    to.talk.sent(&udp.send);
    socket.send(&udp.send).await?;
    let Some(expect) = &udp.expect else {
        to.talk.begin("listening for an error");
        return match timeout(patience, socket.receive()).await {
            Ok(Ok(answer)) => {
                to.talk.got(&answer);
                Ok(Good::new(format!("answered {}", quoted(&answer))))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Good::new("no error came back")),
        };
    };
    to.talk.begin("waiting for the expected answer");
    let answer = socket.receive().await?;
    to.talk.got(&answer);
    if expect.is_met(&answer) {
        Ok(Good::new(format!("answered {}", quoted(&answer))))
    } else {
        Err(ProbeError::Unexpected(format!(
            "it answered {}",
            quoted(&answer)
        )))
    }
}

/// A way for datagrams to one real server and back.
pub(super) enum Datagrams {
    Plain(UdpSocket),
    Vip(vip::Datagrams),
}

/// Opens the way.
pub(super) async fn open(to: &Place<'_>) -> Result<Datagrams, ProbeError> {
    let address = match to.path().await? {
        Path::Plain(address) => address,
        Path::Vip(gate, way) => return Ok(Datagrams::Vip(gate.datagrams(way).await?)),
    };
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))
        .await
        .map_err(|error| ProbeError::Cannot(error.to_string()))?;
    // Connected, so that the kernel tells of ICMP errors and passes on nothing but what this address sends.
    socket.connect(address).await.map_err(ProbeError::Connect)?;
    to.talk.note(format!("to {address} over UDP"));
    Ok(Datagrams::Plain(socket))
}

impl Datagrams {
    /// Sends one.
    pub(super) async fn send(&self, bytes: &[u8]) -> Result<(), ProbeError> {
        match self {
            Self::Plain(socket) => socket
                .send(bytes)
                .await
                .map(|_| ())
                .map_err(|error| refused(error, "sending")),
            Self::Vip(datagrams) => datagrams.send(bytes),
        }
    }

    /// Waits for one.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, ProbeError> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Vip(datagrams) => return datagrams.receive().await,
        };
        let mut answer = vec![0; 65_535];
        let len = socket
            .recv(&mut answer)
            .await
            .map_err(|error| refused(error, "waiting for an answer"))?;
        answer.truncate(len);
        Ok(answer)
    }
}

fn refused(error: io::Error, stage: &'static str) -> ProbeError {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return ProbeError::Refused("by ICMP that the port is unreachable".to_owned());
    }
    ProbeError::Io { stage, error }
}
