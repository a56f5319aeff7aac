//! How is the health of real servers checked?

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{Model, Real, Service};
use crate::core::desired::Method;
use crate::core::health::plan::{Check, Command, RealPlan, Rules, ServicePlan, Target, Timing};
use crate::core::health::probe::Probe;

/// How the real servers of a service are checked, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The checks of each real server that has none of its own. All of them must pass.
    pub checks: Vec<CheckRule>,
    /// What follows from the state of the real servers.
    pub rules: Rules,
    /// Run when a real server comes up.
    pub on_up: Option<Command>,
    /// Run when a real server goes down.
    pub on_down: Option<Command>,
}

/// A check, for whichever real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRule {
    /// Its name; `None` is that of its kind.
    pub name: Option<String>,
    /// What is asked.
    pub probe: Probe,
    /// The address that is asked, where that is not the real server's.
    pub address: Option<IpAddr>,
    /// The port that is asked, where that is not the real server's.
    pub port: Option<u16>,
    /// Asked at the VIP, on the way that the service's packets take.
    pub via_vip: bool,
    /// How often, and how many answers make a verdict.
    pub timing: Timing,
}

impl CheckRule {
    /// A check of which nothing is said but what is asked.
    pub fn new(probe: Probe) -> Self {
        Self {
            name: None,
            probe,
            address: None,
            port: None,
            via_vip: false,
            timing: Timing::default(),
        }
    }
}

/// How long a probe may take when nothing is said: a second, but no more than half of the interval.
pub fn default_timeout(interval: Duration) -> Duration {
    Timing::default().timeout.min(interval / 2)
}

impl Model {
    /// What is to be checked.
    pub fn health(&self) -> Vec<ServicePlan> {
        self.services.iter().map(service).collect()
    }
}

fn service(service: &Service) -> ServicePlan {
    let Health {
        rules,
        on_up,
        on_down,
        ..
    } = &service.health;
    let (on_up, on_down) = (on_up.clone().map(Arc::new), on_down.clone().map(Arc::new));
    let reals = service.reals.iter().map(|real| RealPlan {
        id: real.id(),
        weight: real.weight,
        checks: checks(service, real),
        on_up: on_up.clone(),
        on_down: on_down.clone(),
    });
    ServicePlan {
        id: service.id,
        name: service.name.clone(),
        scheduler: service.scheduler,
        rules: rules.clone(),
        reals: reals.collect(),
    }
}

fn checks(service: &Service, real: &Real) -> Vec<Arc<Check>> {
    let rules = real.checks.as_ref().unwrap_or(&service.health.checks);
    let names = names(rules);
    let check = |(rule, name): (&CheckRule, String)| {
        Arc::new(Check {
            name,
            probe: rule.probe.clone(),
            target: target(rule, service, real),
            timing: rule.timing,
        })
    };
    rules.iter().zip(names).map(check).collect()
}

/// The names of checks: those given, and else their kinds, numbered where there are several of a kind.
pub(crate) fn names(rules: &[CheckRule]) -> Vec<String> {
    let unnamed = |rule: &CheckRule| rule.name.is_none();
    rules
        .iter()
        .enumerate()
        .map(|(n, rule)| {
            let kind = rule.probe.kind();
            let before = rules
                .iter()
                .take(n)
                .filter(|r| unnamed(r) && r.probe.kind() == kind)
                .count();
            match &rule.name {
                Some(name) => name.clone(),
                None if before == 0 => kind.to_owned(),
                None => format!("{kind}-{}", before + 1),
            }
        })
        .collect()
}

fn target(rule: &CheckRule, service: &Service, real: &Real) -> Target {
    // A real server that keeps the client's port is asked at the service's first.
    let port = [rule.port, Some(real.port).filter(|&p| p != 0)]
        .into_iter()
        .flatten()
        .next();
    let port = port.unwrap_or(service.id.port);
    let method = real.method.unwrap_or(service.method);
    // With NAT packets reach a real server at its own address and port, as other probes do.
    if rule.via_vip && matches!(method, Method::Dr | Method::Tun) {
        return Target::Vip {
            vip: SocketAddr::new(service.id.addr, rule.port.unwrap_or(service.id.port)),
            real: real.addr,
            method,
        };
    }
    Target::Address(SocketAddr::new(rule.address.unwrap_or(real.addr), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::desired::{Proto, ServiceId};
    use crate::core::health::probe::Tcp;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_told_apart() {
        let tcp = || CheckRule::new(Probe::Tcp(Tcp::default()));
        let named = CheckRule {
            name: Some("mine".into()),
            ..tcp()
        };
        let rules = [tcp(), named, CheckRule::new(Probe::Ping), tcp()];
        assert_eq!(names(&rules), ["tcp", "mine", "ping", "tcp-2"]);
    }

    #[test]
    fn a_check_goes_to_the_real_server_unless_something_else_is_said() {
        let mut service = Service::new(ServiceId::new(Proto::Tcp, [192, 0, 2, 1], 80));
        let real = Real::new([10, 0, 0, 1].into(), 8080);
        let tcp = CheckRule::new(Probe::Tcp(Tcp::default()));
        let at = |rule: &CheckRule, service: &Service, real: &Real| target(rule, service, real);
        assert_eq!(
            at(&tcp, &service, &real),
            Target::Address(addr("10.0.0.1:8080"))
        );
        let port = CheckRule {
            port: Some(9000),
            ..tcp.clone()
        };
        assert_eq!(
            at(&port, &service, &real),
            Target::Address(addr("10.0.0.1:9000"))
        );
        let address = CheckRule {
            address: Some([10, 9, 9, 9].into()),
            ..tcp.clone()
        };
        assert_eq!(
            at(&address, &service, &real),
            Target::Address(addr("10.9.9.9:8080"))
        );
        let keeps_port = Real::new([10, 0, 0, 1].into(), 0);
        assert_eq!(
            at(&tcp, &service, &keeps_port),
            Target::Address(addr("10.0.0.1:80"))
        );

        service.method = Method::Tun;
        let vip = CheckRule {
            via_vip: true,
            ..tcp
        };
        let wanted = Target::Vip {
            vip: addr("192.0.2.1:80"),
            real: [10, 0, 0, 1].into(),
            method: Method::Tun,
        };
        assert_eq!(at(&vip, &service, &real), wanted);
        service.method = Method::Nat;
        assert_eq!(
            at(&vip, &service, &real),
            Target::Address(addr("10.0.0.1:8080")),
            "with NAT its own port counts"
        );
    }

    #[test]
    fn a_real_servers_own_checks_take_the_place_of_the_services() {
        let mut service = Service::new(ServiceId::new(Proto::Tcp, [192, 0, 2, 1], 80));
        service.health.checks = vec![CheckRule::new(Probe::Ping)];
        let mut real = Real::new([10, 0, 0, 1].into(), 80);
        let kinds = |service: &Service, real: &Real| -> Vec<&'static str> {
            checks(service, real)
                .iter()
                .map(|c| c.probe.kind())
                .collect()
        };
        assert_eq!(kinds(&service, &real), ["ping"]);
        real.checks = Some(vec![CheckRule::new(Probe::Tcp(Tcp::default()))]);
        assert_eq!(kinds(&service, &real), ["tcp"]);
        real.checks = Some(vec![]);
        assert_eq!(kinds(&service, &real), [""; 0]);
    }
}
