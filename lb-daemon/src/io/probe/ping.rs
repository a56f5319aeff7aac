//! Sends an ICMP echo request.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence, SurgeError};
use tokio::sync::OnceCell;

use super::error::ProbeError;
use super::{Good, Place};

/// The sockets for echo requests, opened with the first one.
#[derive(Default)]
pub(super) struct Pings {
    v4: OnceCell<Client>,
    v6: OnceCell<Client>,
    /// Tells requests apart.
    count: AtomicU32,
}

impl std::fmt::Debug for Pings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pings").finish_non_exhaustive()
    }
}

impl Pings {
    pub(super) async fn ask(&self, to: &Place<'_>) -> Result<Good, ProbeError> {
        let host = to.address().ip();
        let (cell, kind) = match host {
            IpAddr::V4(_) => (&self.v4, ICMP::V4),
            IpAddr::V6(_) => (&self.v6, ICMP::V6),
        };
        let client = cell
            .get_or_try_init(|| async { Client::new(&Config::builder().kind(kind).build()) })
            .await
            .map_err(|error| ProbeError::Cannot(format!("no socket for ICMP: {error}")))?;
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let (high, low) = ((count >> 16) as u16, count as u16);
        to.talk.begin("waiting for the echo");
        to.talk.note(format!("> echo request to {host}"));
        let mut pinger = client.pinger(host, PingIdentifier(high)).await;
        // The probe's own timeout ends the wait.
        pinger.timeout(std::time::Duration::from_secs(3600));
        match pinger.ping(PingSequence(low), b"lbd health check").await {
            Ok((_, latency)) => {
                to.talk.note(format!("< echo reply after {latency:?}"));
                Ok(Good::new("echo reply"))
            }
            Err(SurgeError::IOError(error)) => Err(ProbeError::Connect(error)),
            Err(error) => Err(ProbeError::Cannot(error.to_string())),
        }
    }
}
