//! Our own director: the VRRP thread on a host.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use lb_daemon::config::{self, Anywhere};
use lb_daemon::core::vrrp::State;
use lb_daemon::io::bpf::Gate;
use lb_daemon::io::vrrp::{Event, RouterReport, Vrrp, Wanted};
use tokio::sync::mpsc::UnboundedReceiver;

use super::netns::Host;
use super::site::{Case, SLACK, until};

/// A director that runs on a host.
pub(crate) struct Ours {
    pub vrrp: Vrrp,
    pub gate: Gate,
    /// What has happened.
    pub events: UnboundedReceiver<Event>,
}

/// How it is configured, besides what the case says.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub case: &'a Case,
    pub priority: u8,
    pub extra: &'a str,
    pub own: IpAddr,
    pub peer: IpAddr,
}

impl Ours {
    /// Starts it on a host.
    pub(crate) async fn start(host: &Host, plan: Plan<'_>) -> Self {
        let gate = Gate::in_memory().unwrap();
        let held = gate.clone();
        let (vrrp, events) = host.call(move || Vrrp::start(held).unwrap());
        let ours = Self { vrrp, gate, events };
        ours.configure(plan).await;
        ours
    }

    /// Runs what the plan says from now on.
    pub(crate) async fn configure(&self, plan: Plan<'_>) {
        self.configure_text(&configuration(plan)).await;
    }

    /// Runs the virtual routers of a configuration.
    pub(crate) async fn configure_text(&self, text: &str) {
        let model = config::parse(text.as_bytes(), Path::new("lbd.yaml"), &Anywhere);
        let model = model.unwrap_or_else(|refused| panic!("{refused}\n{text}"));
        let wanted = (1..).zip(model.vrrp);
        let wanted = wanted.map(|(number, router)| Wanted { number, router });
        self.vrrp.configure(wanted.collect()).await.unwrap();
    }

    /// How its first virtual router is.
    pub(crate) async fn report(&self) -> RouterReport {
        let report = self.vrrp.report().await.unwrap();
        report.routers.into_iter().next().unwrap()
    }

    /// Whether it is in a state, and the data plane with it.
    pub(crate) async fn is(&self, state: State) -> bool {
        let report = self.report().await;
        report.state == state && self.gate.serves(1) == (state == State::Master)
    }

    /// Waits until it is master, which by its timers takes so long at most; how long it took.
    pub(crate) async fn takes_over(&self, most: Duration) -> Duration {
        let became = async || self.is(State::Master).await;
        until("we take over", most + SLACK, became).await
    }
}

fn configuration(plan: Plan<'_>) -> String {
    let Plan {
        case,
        priority,
        extra,
        own,
        peer,
    } = plan;
    let auth = match case.password {
        Some(pass) => format!("auth: {{pass: \"{pass}\"}}, "),
        None if case.signed => format!(
            "auth: {{hmac: {{keys: [{{id: 1, key: \"{}\"}}]}}}}, ",
            Case::KEY
        ),
        None => String::new(),
    };
    let unicast = match case.unicast {
        true => format!("source: \"{own}\", peers: [\"{peer}\"], "),
        false => String::new(),
    };
    let addresses: Vec<String> = case
        .addresses()
        .iter()
        .map(|a| format!("\"{a}\""))
        .collect();
    format!(
        "vrrp: [{{name: VI_1, interface: eth0, virtual_router_id: 51, priority: {priority}, version: {}, \
         advert_interval: {}ms, {auth}{unicast}{extra} announce: {{delay: 1s}}, addresses: [{}]}}]\n",
        case.version,
        case.interval.as_millis(),
        addresses.join(", ")
    )
}
