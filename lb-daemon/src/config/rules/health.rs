//! What must health checks, and what follows from them, be?

use std::path::Path as File;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::super::environment::Environment;
use super::super::model::health::CheckRule;
use super::super::model::{Model, Service};
use super::super::node::Path;
use super::super::refusal::{Findings, Refusal};
use super::program::{self, Untrusted};
use super::service_path;
use crate::core::desired::Method;
use crate::core::health::plan::Command;
use crate::core::health::probe::{Probe, Tls};

pub(super) fn check(model: &Model, environment: &dyn Environment, found: &mut Findings) {
    for (n, service) in model.services.iter().enumerate() {
        sorry(n, service, found);
        if environment.has_files() {
            files(n, service, found);
        }
    }
}

/// The sorry server is a server beside the real servers, and reached as they are.
fn sorry(n: usize, service: &Service, found: &mut Findings) {
    let Some(sorry) = service.health.rules.sorry else {
        return;
    };
    let subject = format!(
        "service `{}`, sorry server `{}`",
        service.name,
        sorry.id.ip()
    );
    let path = || service_path(n).key("sorry");
    let twin = service.reals.iter().position(|real| real.id() == sorry.id);
    if let Some(twin) = twin {
        found.push(
            Refusal::new(
                format!("{subject}: it is a real server of the service too"),
                "write another server",
            )
            .why("a real server that is down could not say sorry for itself")
            .of(path())
            .first_of(service_path(n).key("reals").item(twin).key("address")),
        );
    }
    let own = |addr| service.listeners().any(|l| l.is_host() && l.addr == addr);
    if own(sorry.id.ip()) {
        found.push(
            Refusal::new(
                format!("{subject}: it is the service's own virtual address"),
                "write another server",
            )
            .of(path()),
        );
    }
    if sorry.id.is_ipv4() != service.id.addr.is_ipv4() {
        found.push(
            Refusal::new(
                format!("{subject}: it is of the wrong family"),
                "write an address of the service's family",
            )
            .of(path()),
        );
    }
    let usual = service.real_port();
    if sorry.method != Method::Nat && sorry.id.port() != usual {
        found.push(
            Refusal::new(
                format!("{subject}: only `nat` can change the port"),
                format!(
                    "write `{}`, or `{{address: {}, method: nat}}`",
                    sorry.id.ip(),
                    sorry.id
                ),
            )
            .why(format!(
                "clients connect to port {usual}, and `dr` and `tun` leave it as it is"
            ))
            .of(path()),
        );
    }
}

/// The files that checks read and programs that are run.
fn files(n: usize, service: &Service, found: &mut Findings) {
    let health = &service.health;
    let of_service = health.checks.iter().enumerate();
    let of_service = of_service.map(|(c, rule)| (rule, service_path(n).key("health").item(c)));
    let of_reals = service.reals.iter().enumerate().flat_map(|(r, real)| {
        let rules = real.checks.iter().flatten().enumerate();
        rules.map(move |(c, rule)| {
            (
                rule,
                service_path(n).key("reals").item(r).key("health").item(c),
            )
        })
    });
    for (rule, path) in of_service.chain(of_reals) {
        of_check(service, rule, &path, found);
    }
    let path = |key| service_path(n).key(key);
    let quorum = |key| service_path(n).key("quorum").key(key);
    let notices: [(Option<&Command>, Path); 4] = [
        (health.on_up.as_ref(), path("on_up")),
        (health.on_down.as_ref(), path("on_down")),
        (health.rules.quorum_up.as_deref(), quorum("on_up")),
        (health.rules.quorum_down.as_deref(), quorum("on_down")),
    ];
    for (command, path) in notices {
        let Some(command) = command else { continue };
        trusted(
            &service.name,
            &command.argv,
            command.user.as_deref(),
            path,
            found,
        );
    }
}

fn of_check(service: &Service, rule: &CheckRule, path: &Path, found: &mut Findings) {
    let kind = rule.probe.kind();
    let here = || path.clone().key(kind);
    let tls = match &rule.probe {
        Probe::Script(script) => {
            trusted(
                &service.name,
                &script.command,
                script.user.as_deref(),
                here(),
                found,
            );
            None
        }
        Probe::Http(http) => http.tls.as_ref().map(|tls| (tls, here())),
        Probe::Tcp(tcp) => tcp.tls.as_ref().map(|tls| (tls, here().key("tls"))),
        Probe::Redis(redis) => redis.tls.as_ref().map(|tls| (tls, here().key("tls"))),
        Probe::Grpc(grpc) => grpc.tls.as_ref().map(|tls| (tls, here().key("tls"))),
        Probe::Udp(_)
        | Probe::Dns(_)
        | Probe::Ping
        | Probe::Smtp(_)
        | Probe::Zookeeper(_)
        | Probe::File(_) => None,
    };
    let Some((Tls { ca: Some(ca), .. }, path)) = tls else {
        return;
    };
    if let Err(why) = certificates(ca) {
        found.push(
            Refusal::new(
                format!(
                    "service `{}`, {kind} check: the CA file `{}` cannot be used",
                    service.name,
                    ca.display()
                ),
                "name a file with certificates in PEM format, which lbd can read",
            )
            .why(why)
            .of(path.key("ca")),
        );
    }
}

/// Whether there are certificates in a file, and only such as can be read.
fn certificates(file: &File) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    let mut count = 0;
    for certificate in certificates {
        certificate.map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 {
        Err("there is no certificate in it".to_owned())
    } else {
        Ok(())
    }
}

fn trusted(service: &str, argv: &[String], user: Option<&str>, path: Path, found: &mut Findings) {
    let Some(program) = argv.first() else { return };
    if let Err(Untrusted { what, why, hint }) = program::trusted(File::new(program), user) {
        let mut refusal = Refusal::new(format!("service `{service}`: {what}"), hint).of(path);
        if let Some(why) = why {
            refusal = refusal.why(why);
        }
        found.push(refusal);
    }
}
