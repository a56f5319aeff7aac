//! Web servers behind certificates: of our own authority, expired, and for another name.

use std::net::SocketAddr;
use std::path::{Display, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Place;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tests::lab::{Host, Process, Vip, poll};
use tests::needs_lab;

use super::{DOWN, PATIENCE, UP, Watch, addresses, avoided, check, nginx, service, site};

const HTTPS: u16 = 443;
const NAME: &str = "www.lab";

/// An authority of our own.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    /// One of this name: of the same name, two would be told apart by their signatures only.
    pub(super) fn new(name: &str, folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(vec![])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = folder.join("ca.pem");
        std::fs::write(&file, issuer.pem())?;
        Ok(Self { issuer, file })
    }

    /// Signs a certificate for these names that ends in this year; returns the file with it, and that with its key.
    pub(super) fn sign(&self, folder: &Path, names: &[&str], until: i32) -> Result<[PathBuf; 2]> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names)?;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = ["cert.pem", "key.pem"].map(|name| folder.join(name));
        std::fs::write(&files[0], certificate.pem())?;
        std::fs::write(&files[1], key.serialize_pem())?;
        Ok(files)
    }

    /// The file with its own certificate.
    pub(super) fn file(&self) -> Display<'_> {
        self.file.display()
    }

    /// Starts nginx on a host, with a certificate for this name that ends in this year.
    fn serve(&self, host: &Host, name: &str, until: i32) -> Result<Process> {
        let [certificate, key] = self.sign(host.folder(), &[name], until)?;
        let server = format!(
            "server {{
                listen {HTTPS} ssl http2;
                ssl_certificate {};
                ssl_certificate_key {};
                location / {{ return 200 well; }}
            }}",
            certificate.display(),
            key.display(),
        );
        nginx::start(host, HTTPS, &server)
    }
}

#[test]
fn only_a_server_with_a_good_certificate_is_up() -> Result<()> {
    needs_lab!();
    let mut site = site(4)?;
    let authority = Authority::new("ours", &site.lab().folder())?;
    let other = Authority::new("another", site.reals[3].host.folder())?;
    let host = |n: usize| &site.reals[n].host;
    let mut servers = vec![
        authority.serve(host(0), NAME, 2100)?,
        authority.serve(host(1), NAME, 2021)?,
        authority.serve(host(2), "other.lab", 2100)?,
        other.serve(host(3), NAME, 2100)?,
    ];
    let reals = addresses(&site, &[0, 1, 2, 3]);
    let ca = authority.file();
    let more = |version: &str| {
        check(&format!(
            "https: {{path: /, host: {NAME}, ca: {ca}, version: \"{version}\"}}, initial: down"
        ))
    };
    site.balance(&service("tcp", HTTPS, Vip::Dr, &reals, &[more("1.1")]))?;
    let watch = Watch::new(&site)?;
    let real = |n: usize| SocketAddr::new(site.reals[n].address.into(), HTTPS);
    watch.until(real(0), Place::Up, PATIENCE)?;
    for (n, says) in [(1, "expired"), (2, "name"), (3, "issuer")] {
        poll("a verdict with its reason", PATIENCE, || {
            let (place, words) = watch.look(real(n))?;
            ensure!(
                place == Place::Down && words.to_lowercase().contains(says),
                "{place:?}: {words}"
            );
            println!("{says}: {words}");
            Ok(())
        })?;
    }
    // A certificate that is renewed brings it back; one that is exchanged for a bad one takes it out.
    servers.remove(1).stop(PATIENCE)?;
    servers.push(authority.serve(&site.reals[1].host, NAME, 2100)?);
    let (up, _) = watch.until(real(1), Place::Up, UP)?;
    servers.remove(0).stop(PATIENCE)?;
    servers.push(authority.serve(&site.reals[0].host, NAME, 2021)?);
    let (down, words) = watch.until(real(0), Place::Down, DOWN)?;
    avoided(&site, &watch, real(0))?;
    println!("renewed: up after {up:.0?}; expired: down after {down:.0?} ({words})");
    // And over HTTP/2.
    site.director
        .configure(&service("tcp", HTTPS, Vip::Dr, &reals, &[more("2")]))?;
    site.director.lbctl(&["reload"])?;
    poll("an answer over HTTP/2", PATIENCE, || {
        let report = watch.report()?;
        let found = report.services[0]
            .reals
            .iter()
            .find(|r| r.address == real(1));
        let check = found.and_then(|r| r.checks.first()).context("no check")?;
        ensure!(
            check.passes > 0 && check.failures == 0,
            "{} passes, {} failures: {:?}",
            check.passes,
            check.failures,
            check.last
        );
        Ok(())
    })
}
