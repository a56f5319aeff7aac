//! Datagrams to a VIP through one real server.

use super::super::error::ProbeError;
use super::flows::Flow;
use super::packet::{self, Arrival};

/// A way for datagrams.
#[derive(Debug)]
pub(in super::super) struct Datagrams {
    flow: Flow,
}

impl Datagrams {
    pub(super) fn new(flow: Flow) -> Self {
        Self { flow }
    }

    /// Sends one.
    pub(in super::super) fn send(&self, payload: &[u8]) -> Result<(), ProbeError> {
        let packet =
            packet::datagram(&self.flow.way, self.flow.port, payload).ok_or_else(|| {
                ProbeError::Cannot("the datagram does not fit into a packet".to_owned())
            })?;
        self.flow.send(&packet).map_err(|error| ProbeError::Io {
            stage: "sending",
            error,
        })
    }

    /// Waits for one.
    pub(in super::super) async fn receive(&mut self) -> Result<Vec<u8>, ProbeError> {
        loop {
            match self.flow.arrivals.recv().await {
                Some(Arrival::Packet(bytes)) => {
                    if let Some(payload) = packet::payload(&bytes) {
                        return Ok(payload);
                    }
                }
                Some(Arrival::Unreachable) => {
                    return Err(ProbeError::Refused(
                        "by ICMP that the port is unreachable".to_owned(),
                    ));
                }
                None => return Err(ProbeError::Closed("waiting for an answer")),
            }
        }
    }
}
