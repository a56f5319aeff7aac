//! Does each real server answer, asked by the way of its service's packets?

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::pairs;
use crate::config::Model;
use crate::config::model::{self, Service};
use crate::core::desired::{Method, Proto};
use crate::core::doctor::facts::{Probe, Real};
use crate::core::health::plan::{Check, Target, Timing};
use crate::core::health::probe::{self, Tcp, Udp};
use crate::io::net::Net;
use crate::io::probe::Prober;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many are under way at once.
const AT_ONCE: usize = 64;

/// Asks all of them.
pub(super) async fn ask(net: &Net, model: &Model) -> Vec<Real> {
    let prober = &Prober::new(Some(net.clone()));
    let all: Vec<(Real, Result<Check, String>)> = pairs(model)
        .map(|(service, real, method)| {
            let asked = unasked(service, real, method);
            (asked, question(service, real, method))
        })
        .collect();
    let asked = all.into_iter().map(|(real, check)| async move {
        let probe = match check {
            Ok(check) => one(prober, &check).await,
            Err(why) => Probe::NotSent(why),
        };
        Real { probe, ..real }
    });
    stream::iter(asked).buffered(AT_ONCE).collect().await
}

/// The real servers when nobody can be asked, for this reason.
pub(super) fn unsent(model: &Model, why: &str) -> Vec<Real> {
    let one = |(service, real, method)| Real {
        probe: Probe::NotSent(why.to_owned()),
        ..unasked(service, real, method)
    };
    pairs(model).map(one).collect()
}

fn unasked(service: &Service, real: &model::Real, method: Method) -> Real {
    let id = service.id;
    let port = if id.port == 0 { real.port } else { id.port };
    Real {
        id: real.id(),
        service: service.name.clone(),
        vip: SocketAddr::new(id.addr, port),
        proto: id.proto,
        method,
        probe: Probe::Silent,
    }
}

async fn one(prober: &Prober, check: &Check) -> Probe {
    let outcome = prober.ask(check).await;
    match (outcome.passed, &check.probe) {
        // Silence is good enough for it.
        (true, probe::Probe::Udp(udp)) if udp.expect.is_none() => Probe::Silent,
        (true, _) => Probe::Answered(outcome.latency),
        (false, _) => Probe::Failed(outcome.words),
    }
}

/// What to ask a real server, where, and by which way.
fn question(service: &Service, real: &model::Real, method: Method) -> Result<Check, String> {
    let id = service.id;
    if !id.is_host() {
        return Err("the service is a whole network, of which no address has to answer".to_owned());
    }
    let known = real.checks.as_ref().unwrap_or(&service.health.checks);
    let probe = match id.proto {
        Proto::Tcp => probe::Probe::Tcp(Tcp::default()),
        // Only who speaks the protocol gets an answer: the service's own check does.
        Proto::Udp => known
            .iter()
            .map(|check| &check.probe)
            .find(|probe| matches!(probe, probe::Probe::Udp(_) | probe::Probe::Dns(_)))
            .cloned()
            .unwrap_or_else(|| probe::Probe::Udp(Udp::default())),
    };
    let ((Method::Nat, _, port @ 1..) | (_, port @ 1.., _) | (_, 0, port @ 1..)) =
        (method, id.port, real.port)
    else {
        return Err("the service has all ports, of which none has to answer".to_owned());
    };
    let target = match method {
        Method::Nat => Target::Address(SocketAddr::new(real.addr, port)),
        Method::Dr | Method::Tun | Method::Local => Target::Vip {
            vip: SocketAddr::new(id.addr, port),
            real: real.addr,
            method,
        },
    };
    Ok(Check {
        name: "doctor".to_owned(),
        probe,
        target,
        timing: Timing {
            timeout: PATIENCE,
            ..Timing::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::core::desired::ServiceId;
    use crate::core::health::probe::Dns;

    const REAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 11));
    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));

    fn asked(proto: Proto, port: u16, method: Method, real_port: u16) -> Result<Target, String> {
        let service = Service::new(ServiceId::new(proto, VIP, port));
        let real = model::Real::new(REAL, real_port);
        question(&service, &real, method).map(|check| check.target)
    }

    #[test]
    fn each_method_is_asked_by_its_own_way() {
        let at_vip = |method, port| {
            Ok(Target::Vip {
                vip: (VIP, port).into(),
                real: REAL,
                method,
            })
        };
        for method in [Method::Dr, Method::Tun] {
            assert_eq!(asked(Proto::Tcp, 80, method, 80), at_vip(method, 80));
        }
        let plain = Ok(Target::Address((REAL, 8080).into()));
        assert_eq!(asked(Proto::Tcp, 80, Method::Nat, 8080), plain);
        assert!(asked(Proto::Tcp, 0, Method::Dr, 0).is_err());
    }

    #[test]
    fn a_service_of_datagrams_is_asked_what_its_check_asks() {
        let mut service = Service::new(ServiceId::new(Proto::Udp, VIP, 53));
        let real = model::Real::new(REAL, 53);
        let kind = |service: &Service| question(service, &real, Method::Dr).unwrap().probe.kind();
        assert_eq!(kind(&service), "udp");
        let dns = probe::Probe::Dns(Dns {
            name: "example.org".to_owned(),
            record: "A".to_owned(),
            expect: Vec::new(),
            tcp: false,
        });
        service.health.checks = vec![model::health::CheckRule::new(dns)];
        assert_eq!(kind(&service), "dns");
    }
}
