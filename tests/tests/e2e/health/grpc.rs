//! A server on gRPC's own library, which tells by the health service whether it serves.

use anyhow::{Result, ensure};
use lb_daemon::api::types::Place;
use nix::sys::signal::Signal;
use tests::lab::{Host, Process, Vip, poll};
use tests::needs_lab;

use super::tls::Authority;
use super::{
    PATIENCE, Watch, addresses, at, check, listening, outage, service, site, taken_out_by,
};

/// The server's port; with TLS it is at the next one.
const GRPC: u16 = 50_051;
const NAME: &str = "grpc.lab";
/// What a check says whose service a server has never heard of.
pub(super) const UNKNOWN: &str = "does not know the service";
/// Debian's own interpreter: that has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

#[test]
fn a_grpc_server_that_says_it_does_not_serve_is_left() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    if site.client.run(&[PYTHON, "-c", "import grpc"]).is_err() {
        println!("SKIP: gRPC is not installed; `cargo xtask setup` does");
        return Ok(());
    }
    let authority = Authority::new("ours", &site.lab().folder())?;
    let mut servers = Vec::new();
    for real in &site.reals {
        servers.push(server(&real.host, &authority)?);
    }
    let reals = addresses(&site, &[0, 1]);
    let asked = |what: &str| service("tcp", GRPC, Vip::Dr, &reals, &[check(what)]);
    let tls = format!("tls: {{sni: {NAME}, ca: {}}}", authority.file());
    let plain = asked("grpc: {service: www}, initial: down");
    let secure = asked(&format!(
        "grpc: {{{tls}}}, port: {}, initial: down",
        GRPC + 1
    ));
    site.director.configure(&plain)?;
    site.director.start()?;
    let watch = Watch::new(&site)?;
    let [first, second] = [0, 1].map(|n| at(&site, n, GRPC));
    let sick = site.reals[0].host.folder().join("sick");
    for (way, configuration) in [("plain", &plain), ("TLS", &secure)] {
        site.director.configure(configuration)?;
        site.director.lbctl(&["reload"])?;
        for real in [first, second] {
            poll("a server that serves", PATIENCE, || {
                let (place, words) = watch.look(real)?;
                ensure!(
                    (place, words.as_str()) == (Place::Up, "SERVING"),
                    "{place:?}: {words}"
                );
                Ok(())
            })?;
        }
        let fall_sick = || Ok(std::fs::write(&sick, "")?);
        let recover = || Ok(std::fs::remove_file(&sick)?);
        let outage = outage(&site, &watch, first, fall_sick, recover)?;
        println!("grpc, {way}: {outage}");
        ensure!(outage.words.contains("NOT_SERVING"), "{outage}");
    }
    let server = &servers[0];
    let [stop, go_on] =
        [Signal::SIGSTOP, Signal::SIGCONT].map(|signal| move || server.signal_group(signal));
    let stopped = outage(&site, &watch, first, stop, go_on)?;
    println!("grpc: stopped, {stopped}");
    let strange = asked("grpc: {service: strange}");
    taken_out_by(&strange, &mut site, &watch, second, UNKNOWN)
}

/// A server that is not serving while there is a file `sick` in its host's folder.
fn server(host: &Host, authority: &Authority) -> Result<Process> {
    let folder = host.folder();
    let files = authority.sign(folder, &[NAME], 2100)?;
    let script = folder.join("grpc_server.py");
    std::fs::write(&script, include_str!("grpc_server.py"))?;
    let [certificate, key] = files.map(|file| file.display().to_string());
    let (script, sick) = (
        script.display().to_string(),
        folder.join("sick").display().to_string(),
    );
    let port = GRPC.to_string();
    let words = [PYTHON, &script, &port, &sick, &certificate, &key];
    let mut server = host.start("grpc", &words)?;
    listening(host, &mut server, GRPC, PATIENCE)?;
    Ok(server)
}
