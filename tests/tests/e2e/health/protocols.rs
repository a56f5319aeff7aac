//! Resolvers, mail servers, and what else talks over TCP, UDP or ICMP.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Place;
use nix::sys::signal::Signal;
use nix::unistd::User;
use tests::lab::{Host, Process, Site, Vip, poll};
use tests::needs_lab;

use super::{
    CONNECTIONS, DOWN, PATIENCE, UP, Watch, addresses, at, avoided, check, listening, outage,
    service, site, web,
};

/// Where the DNS server of these tests is; at the usual port there is another one.
const DNS: u16 = 5300;
const SMTP: u16 = 25;

#[test]
fn a_resolver_with_a_wrong_answer_is_left() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let mut servers = Vec::new();
    for real in &site.reals {
        servers.push(unbound(&real.host, Ipv4Addr::new(192, 0, 2, 7))?);
    }
    let reals = addresses(&site, &[0, 1]);
    let asked = check("dns: {name: www.lab, record: A, expect: 192.0.2.7}");
    site.balance(&service("udp", DNS, Vip::Dr, &reals, &[asked]))?;
    let watch = Watch::new(&site)?;
    let first = at(&site, 0, DNS);
    watch.until(first, Place::Up, PATIENCE)?;
    servers.remove(0).stop(PATIENCE)?;
    let (down, words) = watch.until(first, Place::Down, DOWN)?;
    avoided_over_udp(&site, &watch)?;
    println!("unbound stopped: down after {down:.0?} ({words})");
    let wrong = unbound(&site.reals[0].host, Ipv4Addr::new(192, 0, 2, 8))?;
    poll("the wrong answer to be seen", PATIENCE, || {
        let (place, words) = watch.look(first)?;
        ensure!(
            place == Place::Down && words.contains("192.0.2.8"),
            "{place:?} {words}"
        );
        Ok(())
    })?;
    wrong.stop(PATIENCE)?;
    servers.push(unbound(&site.reals[0].host, Ipv4Addr::new(192, 0, 2, 7))?);
    let (up, _) = watch.until(first, Place::Up, UP)?;
    println!("unbound: up after {up:.0?}");
    Ok(())
}

#[test]
fn a_tcp_server_is_asked_for_a_greeting() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let reals = addresses(&site, &[0, 1]);
    let asked = check(r#"tcp: {send: "GET / HTTP/1.0\r\n\r\n", matches: "(?s)200 OK.*r[12]$"}"#);
    site.balance(&service("tcp", 80, Vip::Dr, &reals, &[asked]))?;
    let watch = Watch::new(&site)?;
    let first = at(&site, 0, 80);
    watch.until(first, Place::Up, PATIENCE)?;
    site.reals[0].signal_web(Signal::SIGKILL)?;
    let (down, words) = watch.until(first, Place::Down, DOWN)?;
    avoided(&site, &watch, first)?;
    site.start_web(0)?;
    let (up, _) = watch.until(first, Place::Up, UP)?;
    println!("tcp: down after {down:.0?} ({words}), up after {up:.0?}");
    Ok(())
}

#[test]
fn an_icmp_error_takes_a_udp_server_out_and_silence_does_not() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let mut servers = Vec::new();
    for real in &site.reals {
        servers.push(unbound(&real.host, Ipv4Addr::new(192, 0, 2, 7))?);
    }
    let reals = addresses(&site, &[0, 1]);
    // No resolver answers that.
    let asked = check("udp: {send: x}, initial: down");
    site.balance(&service("udp", DNS, Vip::Dr, &reals, &[asked]))?;
    let watch = Watch::new(&site)?;
    let first = at(&site, 0, DNS);
    let (_, silent) = watch.until(first, Place::Up, PATIENCE)?;
    servers.remove(0).stop(PATIENCE)?;
    let (down, words) = watch.until(first, Place::Down, DOWN)?;
    avoided_over_udp(&site, &watch)?;
    servers.push(unbound(&site.reals[0].host, Ipv4Addr::new(192, 0, 2, 7))?);
    let (up, _) = watch.until(first, Place::Up, UP)?;
    println!("udp: {silent}; down after {down:.0?} ({words}), up after {up:.0?}");
    ensure!(silent == "no error came back", "{silent}");
    Ok(())
}

#[test]
fn a_mail_server_that_turns_everybody_away_or_is_gone_is_left() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let mut servers = Vec::new();
    for real in &site.reals {
        servers.push(exim(&real.host)?);
    }
    let reals = addresses(&site, &[0, 1]);
    let asked = check("smtp: {helo: director.lab}, initial: down");
    site.balance(&service("tcp", SMTP, Vip::Dr, &reals, &[asked]))?;
    let watch = Watch::new(&site)?;
    let first = at(&site, 0, SMTP);
    let (_, words) = watch.until(first, Place::Up, PATIENCE)?;
    ensure!(words.starts_with("220 r1.lab ESMTP Exim"), "{words}");
    let shut = shut(&site.reals[0].host);
    let close = || Ok(std::fs::write(&shut, "")?);
    let open = || Ok(std::fs::remove_file(&shut)?);
    let closed = outage(&site, &watch, first, close, open)?;
    println!("smtp: {closed}");
    ensure!(
        closed.words == "the server says 550 closed for today",
        "{closed}"
    );
    let server = servers.remove(0);
    let start = || {
        servers.push(exim(&site.reals[0].host)?);
        Ok(())
    };
    let killed = outage(&site, &watch, first, || server.kill(), start)?;
    println!("smtp: killed, {killed}");
    Ok(())
}

#[test]
fn a_host_that_answers_no_echo_request_is_left() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    site.balance(&web(&site, &[0, 1], &[check("ping:, initial: down")]))?;
    let watch = Watch::new(&site)?;
    let first = site.reals[0].web();
    watch.until(first, Place::Up, PATIENCE)?;
    let host = &site.reals[0].host;
    let [ignore, answer] =
        ["1", "0"].map(|value| move || host.set(&[("ipv4/icmp_echo_ignore_all", value)]));
    let outage = outage(&site, &watch, first, ignore, answer)?;
    println!("ping: {outage}");
    Ok(())
}

/// Whether questions to the service go to its second real server instead of the first, all of them.
fn avoided_over_udp(site: &Site, watch: &Watch) -> Result<()> {
    let first = at(site, 0, DNS);
    let before = watch.split(first)?;
    site.client.inside(|| {
        for _ in 0..CONNECTIONS {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.send_to(b"x", (Vip::Dr.address(), DNS))?;
        }
        Ok(())
    })?;
    poll("the datagrams to be counted", PATIENCE, || {
        let now = watch.split(first)?;
        ensure!(
            now == (before.0, before.1 + CONNECTIONS),
            "{before:?}, then {now:?}"
        );
        Ok(())
    })
}

/// A resolver that knows one name.
fn unbound(host: &Host, address: Ipv4Addr) -> Result<Process> {
    let path = host.folder().join("unbound.conf");
    let text = format!(
        "server:
  interface: 0.0.0.0@{DNS}
  access-control: 0.0.0.0/0 allow
  chroot: \"\"
  username: \"\"
  directory: \"{0}\"
  pidfile: \"{0}/unbound.pid\"
  use-syslog: no
  do-daemonize: no
  do-ip6: no
  module-config: \"iterator\"
  local-zone: \"lab.\" static
  local-data: \"www.lab. A {address}\"
",
        host.folder().display()
    );
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    let path = path.display().to_string();
    let mut server = host.start("unbound", &["unbound", "-d", "-c", &path])?;
    listening(host, &mut server, DNS, PATIENCE)?;
    Ok(server)
}

/// While this file is there, the mail server turns everybody away.
fn shut(host: &Host) -> PathBuf {
    host.folder().join("shut")
}

/// A mail server that takes no mail but greets.
fn exim(host: &Host) -> Result<Process> {
    // It writes as a user of its own.
    let folder = host.folder().join("mail");
    std::fs::create_dir_all(&folder)?;
    let user = User::from_name("Debian-exim")?.context("there is no user of exim")?;
    nix::unistd::chown(&folder, Some(user.uid), Some(user.gid))?;
    let folder = folder.display();
    let path = host.folder().join("exim.conf");
    let text = format!(
        "primary_hostname = {name}.lab
spool_directory = {folder}
log_file_path = {folder}/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = 0.0.0.0
daemon_smtp_ports = {SMTP}
disable_ipv6 = true
smtp_accept_max = 0
smtp_connect_backlog = 128
keep_environment =
acl_smtp_connect = connect
begin acl
connect:
  deny condition = ${{if exists{{{shut}}}}}
       message = closed for today
  accept
",
        name = host.name(),
        shut = shut(host).display(),
    );
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    let path = path.display().to_string();
    let mut server = host.start("exim", &["exim4", "-bdf", "-C", &path])?;
    listening(host, &mut server, SMTP, PATIENCE)?;
    // It listens before it serves: the first greeting takes longer than a probe may.
    host.inside(|| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, SMTP))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream.read_exact(&mut [0; 3])?)
    })?;
    Ok(server)
}
