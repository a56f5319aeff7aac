//! What do the tests' directors run with?

use std::fmt::Write;

use tests::lab::{Arms, Real, Vip, port};

/// A forwarding method, as the configuration names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Dr,
    Tun,
    Nat,
}

impl Method {
    pub(crate) const ALL: [Self; 3] = [Self::Dr, Self::Tun, Self::Nat];

    /// The virtual address at which the site has services of this method.
    pub(crate) fn vip(self) -> Vip {
        match self {
            Self::Dr => Vip::Dr,
            Self::Tun => Vip::Tun,
            Self::Nat => Vip::Nat,
        }
    }

    /// The counter of packets that it forwards.
    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::Dr => "forwarded_dr",
            Self::Tun => "forwarded_tun",
            Self::Nat => "forwarded_nat",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Dr => "dr",
            Self::Tun => "tun",
            Self::Nat => "nat",
        }
    }
}

/// A configuration file that grows.
pub(crate) struct Configuration(String);

impl Configuration {
    /// One without services.
    pub(crate) fn new(arms: Arms) -> Self {
        let interfaces = match arms {
            Arms::One => "eth0",
            Arms::Two => "eth0, eth1",
        };
        Self(format!(
            "interfaces: [{interfaces}]\nconnections: {{max: 20000}}\nservices:\n"
        ))
    }

    /// With a web and a DNS service by one method, over real servers of equal weight.
    pub(crate) fn with<'a>(
        mut self,
        method: Method,
        reals: impl IntoIterator<Item = &'a Real> + Clone,
    ) -> Self {
        let vip = method.vip();
        let (web, dns) = match method {
            Method::Nat => (port::NAT_WEB, port::NAT_DNS),
            _ => (port::WEB, port::DNS),
        };
        let name = method.name();
        self.service(
            &format!("{name}-web"),
            "tcp",
            &vip.web().to_string(),
            method,
        );
        for real in reals.clone() {
            self.real(&format!("{}:{web}", real.address), 1);
        }
        self.service(
            &format!("{name}-dns"),
            "udp",
            &vip.dns().to_string(),
            method,
        );
        for real in reals {
            self.real(&format!("{}:{dns}", real.address), 1);
        }
        self
    }

    /// Begin another service, scheduled by wrr.
    pub(crate) fn service(&mut self, name: &str, protocol: &str, address: &str, method: Method) {
        writeln!(
            self.0,
            "  - name: {name}\n    protocol: {protocol}\n    address: {address}\n    scheduler: wrr\n    \
             method: {}\n    reals:",
            method.name()
        )
        .expect("a string takes everything");
    }

    /// Add a real server to the service begun last.
    pub(crate) fn real(&mut self, address: &str, weight: u16) {
        writeln!(self.0, "      - {{address: {address}, weight: {weight}}}")
            .expect("a string takes everything");
    }

    /// The file.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
