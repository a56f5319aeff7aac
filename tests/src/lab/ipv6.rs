//! How does a site have IPv6 beside IPv4?
//!
//! Hosts and virtual addresses of the two-armed site are numbered alike: `fd00:1::/64` in front, `fd00:2::/64` behind.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::Result;

use super::director::program;
use super::host::Host;
use super::site::{Real, Site, Vip};

impl Vip {
    /// Its address of IPv6.
    pub const fn address6(self) -> Ipv6Addr {
        let last = match self {
            Self::Dr => 0x101,
            Self::Tun => 0x102,
            Self::Nat => 0x103,
            Self::Local => 0x104,
        };
        Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, last)
    }
}

impl Real {
    /// Its address of IPv6 (RIP), which reads as that of IPv4 does: `fd00:2::11` for 10.0.2.11.
    pub fn address6(&self) -> Ipv6Addr {
        let [_, _, network, host] = self.address.octets();
        let alike = |number: u8| u16::from(number % 10) + 16 * u16::from(number / 10);
        Ipv6Addr::new(0xfd00, alike(network), 0, 0, 0, 0, 0, alike(host))
    }

    /// Prepare it for these VIPs, as an operator does.
    ///
    /// # Errors
    ///
    /// Something is in the way.
    pub fn prepare_for(&self, vips: impl IntoIterator<Item = IpAddr>, method: &str) -> Result<()> {
        let mut words = vec!["prepare", "--method", method, "--interface", "eth0"];
        let vips: Vec<String> = vips.into_iter().map(|vip| vip.to_string()).collect();
        words.extend(vips.iter().flat_map(|vip| ["--vip", vip.as_str()]));
        self.backend(&words).map(drop)
    }
}

impl Site {
    /// Gives every host of a two-armed site its IPv6 addresses and routes. Real servers are not prepared for it.
    ///
    /// # Errors
    ///
    /// A step of the set-up failed.
    pub fn add_ipv6(&self) -> Result<()> {
        let director = self.director.host();
        let reals = self.reals.iter().map(|real| &real.host);
        for host in [&self.client, &self.router, director]
            .into_iter()
            .chain(reals)
        {
            host.set(&[
                ("ipv6/conf/all/accept_dad", "0"),
                ("ipv6/conf/all/disable_ipv6", "0"),
            ])?;
        }
        for (host, interface, address) in [
            (&self.client, "eth0", "fd00:1::10/64"),
            (&self.router, "front", "fd00:1::254/64"),
            (&self.router, "back", "fd00:2::254/64"),
            (director, "eth0", "fd00:1::1/64"),
            (director, "eth1", "fd00:2::1/64"),
        ] {
            add(host, address, interface)?;
        }
        for vip in Vip::ALL {
            add(director, &format!("{}/128", vip.address6()), "eth0")?;
        }
        for host in [&self.router, director] {
            host.set(&[("ipv6/conf/all/forwarding", "1")])?;
        }
        for real in &self.reals {
            add(&real.host, &format!("{}/64", real.address6()), "eth0")?;
            real.host.ip(&[
                "route add default via fd00:2::1",
                "route add default via fd00:2::254 table 100",
            ])?;
            for vip in [Vip::Dr, Vip::Tun] {
                // In a batch, rules are of IPv4 only.
                let vip = vip.address6().to_string();
                let rule = ["ip", "-6", "rule", "add", "from", &vip, "lookup", "100"];
                real.host.run(&rule)?;
            }
        }
        Ok(())
    }
}

/// The name of what takes IPv6 out of tunnels where the kernel has no device for that.
const TUNNEL_END: &str = "tunnel-end";

impl Site {
    /// Prepares all real servers for the VIPs of direct routing and of tunnels. Where the kernel has no device for tunnels of IPv6, a
    /// program of the lab ends them.
    ///
    /// # Errors
    ///
    /// A step failed.
    pub fn prepare_ipv6(&mut self) -> Result<()> {
        let vips = [Vip::Dr, Vip::Tun].map(|vip| vip.address6().into());
        for real in &mut self.reals {
            if real.prepare_for(vips, "tun").is_err() {
                real.prepare_for(vips, "dr")?;
                let lab = program("lab")?;
                real.servers
                    .push(real.host.start(TUNNEL_END, &[&lab, TUNNEL_END])?);
            }
        }
        Ok(())
    }
}

/// Gives a host an address.
fn add(host: &Host, address: &str, interface: &str) -> Result<()> {
    host.ip(&[&format!("address add {address} dev {interface} nodad")])
}
