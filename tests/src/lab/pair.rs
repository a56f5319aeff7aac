//! What does a site with two directors look like?
//!
//! ```text
//!   client 10.0.1.10 ──┬── front 10.0.1.0/24 ──┬── eth0 .1 first  .1 eth1 ──┬── back 10.0.2.0/24 ── r1 .11, r2 .12
//!                      │                       ├── eth0 .2 second .2 eth1 ──┤
//!                      └──── .254 router .254 ─┴────────────────────────────┘
//! ```
//!
//! The directors have no virtual address unless they take it: neither the VIPs, nor [`Pair::GATEWAY`], by which real servers
//! answer with NAT.

use anyhow::Result;

use super::director::Director;
use super::host::Host;
use super::programs;
use super::run::Lab;
use super::site::{Real, real};

/// A lab with two directors.
pub struct Pair {
    /// Where requests come from.
    pub client: Host,
    /// The directors; lbd runs on neither yet.
    pub directors: [Director; 2],
    /// Real servers.
    pub reals: Vec<Real>,
    _router: Host,
    // Last, so that processes end before their namespaces go.
    lab: Lab,
}

impl Pair {
    /// The address by which real servers answer with NAT: the master of the inside has it.
    pub const GATEWAY: &str = "10.0.2.100";

    /// Keep the directors apart from each other, or join them again; all others reach both of them.
    ///
    /// # Errors
    ///
    /// A step failed.
    pub fn divide(&self, yes: bool) -> Result<()> {
        for director in &self.directors {
            for interface in ["eth0", "eth1"] {
                self.lab.isolate(director.host(), interface, yes)?;
            }
        }
        Ok(())
    }

    /// Make one, with all servers running.
    ///
    /// # Errors
    ///
    /// A step of the set-up failed.
    pub fn new(reals: u8) -> Result<Self> {
        let lab = Lab::new()?;
        programs::pin(&lab)?;
        for network in ["front", "back"] {
            lab.network(network)?;
        }
        let (client, router) = (lab.host("client")?, lab.host("router")?);
        lab.connect(&client, "eth0", "front", "10.0.1.10/24")?;
        client.ip(&["route add default via 10.0.1.254"])?;
        lab.connect(&router, "front", "front", "10.0.1.254/24")?;
        lab.connect(&router, "back", "back", "10.0.2.254/24")?;
        router.set(&[("ipv4/ip_forward", "1")])?;
        let directors = [director(&lab, "first", 1)?, director(&lab, "second", 2)?];
        let mut all = Vec::new();
        for n in 1..=reals {
            let name = format!("r{n}");
            all.push(real(&lab, &name, "back", [10, 0, 2], n, Self::GATEWAY)?);
        }
        Ok(Self {
            client,
            directors,
            reals: all,
            _router: router,
            lab,
        })
    }
}

fn director(lab: &Lab, name: &str, n: u8) -> Result<Director> {
    let host = lab.host(name)?;
    for (interface, network, prefix) in [("eth0", "front", "10.0.1"), ("eth1", "back", "10.0.2")] {
        lab.connect(&host, interface, network, &format!("{prefix}.{n}/24"))?;
        lab.receive_from_program(&host, interface)?;
    }
    host.set(&[("ipv4/ip_forward", "1")])?;
    host.ip(&["route add default via 10.0.2.254"])?;
    Ok(Director::new(host, &lab.bpffs()))
}
