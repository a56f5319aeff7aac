//! Where did the counters stand when they were set to zero?
//!
//! The data plane's counters only grow; zeroing remembers where they stood, as IPVS does, and rates stay right.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::core::desired::ServiceId;
use crate::io::bpf::{ServiceReading, TrafficSum};
use crate::io::store::{Found, Item, Store};

/// Where counters stood, by service and real server; `None` is the service as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Zeroed(HashMap<Key, TrafficSum>);

type Key = (String, Option<SocketAddr>);

/// As it is written down.
#[derive(Serialize, Deserialize)]
struct Row {
    service: String,
    real: Option<SocketAddr>,
    words: [u64; 5],
}

impl Zeroed {
    /// As it was written down; nothing if that cannot be read.
    pub(super) fn remembered(store: &Store) -> Self {
        match store.read(Item::Zeroed) {
            Ok(Found::Remembered(bytes)) => match serde_json::from_slice::<Vec<Row>>(&bytes) {
                Ok(rows) => Self(
                    rows.into_iter()
                        .map(|row| ((row.service, row.real), TrafficSum::from_words(row.words)))
                        .collect(),
                ),
                Err(err) => {
                    warn!("counters begin as they are: {err}");
                    Self::default()
                }
            },
            Ok(Found::Nothing) => Self::default(),
            Ok(Found::Unusable(unusable)) => {
                warn!("counters begin as they are: {unusable}");
                Self::default()
            }
            Err(err) => {
                warn!("counters begin as they are: {err}");
                Self::default()
            }
        }
    }

    /// Sets a service's counters to zero, and those of its real servers.
    pub(super) fn zero(&mut self, service: &ServiceReading) {
        let id = service.id.to_string();
        self.0.retain(|(of, _), _| *of != id);
        for real in service.reals.iter().chain(&service.draining) {
            self.0.insert((id.clone(), Some(real.addr)), real.traffic);
        }
        self.0.insert((id, None), service.traffic);
    }

    /// Forgets services that are gone, and writes the rest down.
    pub(super) fn keep(&mut self, services: &[ServiceReading], store: &Store) {
        let there: Vec<String> = services
            .iter()
            .map(|service| service.id.to_string())
            .collect();
        self.0.retain(|(of, _), _| there.contains(of));
        let rows: Vec<Row> = self
            .0
            .iter()
            .map(|((service, real), sum)| Row {
                service: service.clone(),
                real: *real,
                words: sum.to_words(),
            })
            .collect();
        let written = serde_json::to_vec(&rows).map_err(|err| err.to_string());
        if let Err(err) = written.and_then(|bytes| {
            store
                .write(Item::Zeroed, &bytes)
                .map_err(|err| err.to_string())
        }) {
            warn!("the counters' zero is not kept over a restart: {err}");
        }
    }

    /// What was counted since.
    pub(super) fn since(
        &self,
        service: ServiceId,
        real: Option<SocketAddr>,
        now: TrafficSum,
    ) -> TrafficSum {
        match self.0.get(&(service.to_string(), real)) {
            None => now,
            Some(then) => {
                let mut words = now.to_words();
                // A counter that is less than it was is a new one: the service or real server was made again.
                let anew = words
                    .iter()
                    .zip(then.to_words())
                    .any(|(now, then)| *now < then);
                if !anew {
                    for (now, then) in words.iter_mut().zip(then.to_words()) {
                        *now -= then;
                    }
                }
                TrafficSum::from_words(words)
            }
        }
    }
}
