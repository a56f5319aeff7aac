//! A machine that does not exist, for configurations to be checked against.

use std::net::IpAddr;

use lb_daemon::config::Environment;
use lb_daemon::core::hop::Via;

/// Three interfaces, two networks, and a router for the rest.
pub(crate) struct Machine;

impl Environment for Machine {
    fn interfaces(&self) -> Option<Vec<String>> {
        Some(["lo", "eth0", "eth1"].map(str::to_owned).to_vec())
    }

    fn via(&self, addr: IpAddr) -> Option<Via> {
        let IpAddr::V4(v4) = addr else {
            return None;
        };
        match v4.octets() {
            [192, 168, 200, 2] => Some(Via::Local),
            [192, 168, 200, _] | [10, 0, 0, _] => Some(Via::OnLink),
            _ => Some(Via::Gateway(IpAddr::from([10, 0, 0, 254]))),
        }
    }
}
