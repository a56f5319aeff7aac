//! Asks real servers: the checks of `core::health`, performed.
//!
//! Whatever the other side does, a probe ends: it is bounded in time by its timeout, and in bytes by `stream`.

mod dns;
mod error;
mod file;
mod grpc;
mod http;
mod ping;
mod redis;
mod script;
mod smtp;
mod stream;
mod talk;
mod tasks;
mod tcp;
mod tls;
mod udp;
mod vip;
mod zookeeper;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::core::health::Outcome;
use crate::core::health::plan::{Check, Target};
use crate::core::health::probe::Probe;
use crate::io::clock;
use crate::io::net::Net;

pub use error::ProbeError;
use ping::Pings;
use talk::Talk;
use tls::Trust;
use vip::Gate;

/// The longest description of an answer.
const WORDS: usize = 200;

/// What probes share: trust in certificates, the socket for echo requests, and the way to VIPs.
#[derive(Debug, Default)]
pub struct Prober {
    trust: Trust,
    pings: Pings,
    gate: Option<Gate>,
}

/// More than it takes to kill a script that has run too long.
const KILLING: Duration = Duration::from_secs(1);

/// A good answer.
#[derive(Debug, Default)]
struct Good {
    words: String,
    weight: Option<u16>,
}

impl Good {
    fn new(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            weight: None,
        }
    }
}

impl Prober {
    /// With a network, checks can be made at the VIP too.
    pub fn new(net: Option<Net>) -> Self {
        Self {
            gate: net.map(Gate::new),
            ..Self::default()
        }
    }

    /// Asks once.
    pub async fn ask(&self, check: &Check) -> Outcome {
        self.ask_with(check, &Talk::silent()).await
    }

    /// Asks once, and says what was sent and answered.
    pub async fn ask_and_tell(&self, check: &Check) -> (Outcome, Vec<String>) {
        let talk = Talk::recorded();
        let outcome = self.ask_with(check, &talk).await;
        (outcome, talk.into_lines())
    }

    /// Forgets certificates that were read, so that changed files count.
    pub fn reload(&self) {
        self.trust.forget();
    }

    async fn ask_with(&self, check: &Check, talk: &Talk) -> Outcome {
        let start = clock::now();
        let limit = check.timing.timeout;
        let patience = match &check.probe {
            // It has the same limit itself: then it is reported that it was killed, with what it has written.
            Probe::Script(_) => limit + KILLING,
            _ => limit,
        };
        let answer = match timeout(patience, self.probe(check, talk)).await {
            Ok(answer) => answer,
            Err(_) => Err(ProbeError::Timeout {
                limit,
                stage: talk.stage(),
            }),
        };
        let latency = clock::now().saturating_duration_since(start);
        let (passed, words, weight) = match answer {
            Ok(good) => (true, good.words, good.weight),
            Err(error) => (false, error.to_string(), None),
        };
        talk.note(if passed {
            "verdict: good"
        } else {
            "verdict: bad"
        });
        Outcome {
            passed,
            words: talk::plain(&words, WORDS),
            latency,
            weight,
        }
    }

    async fn probe(&self, check: &Check, talk: &Talk) -> Result<Good, ProbeError> {
        let to = Place {
            target: check.target,
            trust: &self.trust,
            gate: self.gate.as_ref(),
            talk,
        };
        match &check.probe {
            Probe::Http(http) => http::ask(http, &to).await,
            Probe::Tcp(tcp) => tcp::ask(tcp, &to).await,
            Probe::Udp(udp) => udp::ask(udp, &to, patience(check.timing.timeout)).await,
            Probe::Dns(dns) => dns::ask(dns, &to).await,
            Probe::Ping => self.pings.ask(&to).await,
            Probe::Smtp(smtp) => smtp::ask(smtp, &to).await,
            Probe::Redis(redis) => redis::ask(redis, &to).await,
            Probe::Zookeeper(zookeeper) => zookeeper::ask(*zookeeper, &to).await,
            Probe::Grpc(grpc) => grpc::ask(grpc, &to).await,
            Probe::Script(script) => script::ask(script, check, talk).await,
            Probe::File(path) => file::ask(path, talk).await,
        }
    }
}

/// Where a probe goes, and what it needs on the way.
struct Place<'a> {
    target: Target,
    trust: &'a Trust,
    gate: Option<&'a Gate>,
    talk: &'a Talk,
}

impl Place<'_> {
    /// The address that is asked.
    fn address(&self) -> SocketAddr {
        match self.target {
            Target::Address(address) => address,
            Target::Vip { vip, .. } => vip,
        }
    }

    /// How the probe goes: by the way of the service's packets if it is to.
    async fn path(&self) -> Result<Path<'_>, ProbeError> {
        let (vip, real, method) = match self.target {
            Target::Address(address) => return Ok(Path::Plain(address)),
            Target::Vip { vip, real, method } => (vip, real, method),
        };
        let gate = self.gate.ok_or_else(|| {
            ProbeError::Cannot("the network is not known, and so no way to the VIP".to_owned())
        })?;
        let path = gate.path(vip, real, method).await?;
        Ok(match path {
            vip::Path::Plain(address) => Path::Plain(address),
            vip::Path::Way(way) => {
                self.talk
                    .note(format!("to {vip} on the way of its packets to {real}"));
                Path::Vip(gate, way)
            }
        })
    }
}

/// How a probe goes.
enum Path<'a> {
    /// To this address, as any client would.
    Plain(SocketAddr),
    /// To the VIP, by a way of its own.
    Vip(&'a Gate, vip::Way),
}

/// How long to wait for silence to count as good, within a timeout.
fn patience(timeout: Duration) -> Duration {
    timeout.mul_f64(0.9)
}

#[cfg(test)]
mod tests;
