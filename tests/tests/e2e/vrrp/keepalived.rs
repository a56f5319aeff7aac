//! lbd as keepalived's neighbour: what becomes of the address when lbd dies, sleeps, is read anew, or loses its link?

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::{Host, Pair, Vip, poll};
use tests::needs_lab;

use super::{SOON, is};

/// Three intervals of a second, keepalived's skew at priority 100, and something for a busy machine.
const MASTER_DOWN: Duration = Duration::from_millis(3_609 + 700);
/// Its skew alone.
const SKEW: Duration = Duration::from_millis(609 + 700);

fn lbd(priority: u8) -> String {
    format!(
        "interfaces: [eth0, eth1]\nvrrp:\n  - {{name: VI_1, interface: eth0, virtual_router_id: 51, priority: {priority}, \
         auth: {{pass: \"1111\"}}, addresses: [{}/24]}}\n",
        Vip::Dr.address()
    )
}

fn keepalived() -> String {
    format!(
        "global_defs {{\n vrrp_version 2\n}}\nvrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n \
         virtual_router_id 51\n priority 100\n advert_int 1\n authentication {{\n  auth_type PASS\n  auth_pass 1111\n }}\n \
         virtual_ipaddress {{\n  {}/24\n }}\n}}\n",
        Vip::Dr.address()
    )
}

/// Waits until a host has the address or not; how long that took.
fn has_vip(host: &Host, yes: bool, within: Duration) -> Result<Duration> {
    let began = Instant::now();
    let vip = format!(" {}/24 ", Vip::Dr.address());
    poll("the address to move", within, || {
        let has = host
            .run(&["ip", "address", "show", "dev", "eth0"])?
            .contains(&vip);
        ensure!(has == yes, "{} has it: {has}", host.name());
        Ok(())
    })?;
    Ok(began.elapsed())
}

#[test]
fn keepalived_takes_over_when_lbd_dies_sleeps_or_steps_down_and_gives_way_when_it_is_back()
-> Result<()> {
    needs_lab!();
    if Command::new("keepalived")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("SKIP: keepalived is not installed; `cargo xtask setup` does");
        return Ok(());
    }
    let mut pair = Pair::new(1)?;
    let second = pair.directors[1].host().clone();
    let file = |name: &str| second.folder().join(name).display().to_string();
    fs::write(file("keepalived.conf"), keepalived())?;
    let (conf, pid, vrrp_pid) = (file("keepalived.conf"), file("pid"), file("vrrp_pid"));
    let words = [
        "keepalived",
        "--vrrp",
        "--dont-fork",
        "--log-console",
        "--use-file",
        &conf,
        "--pid",
        &pid,
        "--vrrp_pid",
        &vrrp_pid,
    ];
    let mut theirs = second.start("keepalived", &words)?;
    has_vip(&second, true, SOON)?;

    pair.directors[0].configure(&lbd(150))?;
    pair.directors[0].start()?;
    let master = |pair: &Pair| {
        poll("lbd to be master", SOON, || {
            is(&pair.directors[0], "VI_1", "master")
        })
    };
    master(&pair)?;
    has_vip(&second, false, Duration::from_secs(1))?;

    pair.directors[0].kill()?;
    let took = has_vip(&second, true, MASTER_DOWN)?;
    println!("kill -9 of lbd: keepalived is master after {took:.1?}");
    pair.directors[0].start()?;
    master(&pair)?;
    has_vip(&second, false, Duration::from_secs(1))?;

    let lbd_pid = Pid::from_raw(pair.directors[0].pid()?.try_into()?);
    kill(lbd_pid, Signal::SIGSTOP)?;
    let took = has_vip(&second, true, MASTER_DOWN)?;
    println!("SIGSTOP of lbd: keepalived is master after {took:.1?}");
    kill(lbd_pid, Signal::SIGCONT)?;
    let took = has_vip(&second, false, SOON)?;
    println!("SIGCONT of lbd: it is master alone after {took:.1?}");
    master(&pair)?;

    let first = pair.directors[0].host().clone();
    first.ip(&["link set eth0 down"])?;
    let took = has_vip(&second, true, MASTER_DOWN)?;
    println!("lbd's link is down: keepalived is master after {took:.1?}");
    first.ip(&["link set eth0 up"])?;
    master(&pair)?;
    has_vip(&second, false, Duration::from_secs(1))?;

    pair.directors[0].configure(&lbd(50))?;
    kill(lbd_pid, Signal::SIGHUP)?;
    let took = has_vip(&second, true, MASTER_DOWN)?;
    println!("lbd has read a lower priority: keepalived is master after {took:.1?}");
    has_vip(&first, false, Duration::from_secs(1))?;
    pair.directors[0].configure(&lbd(150))?;
    kill(lbd_pid, Signal::SIGHUP)?;
    master(&pair)?;
    has_vip(&second, false, Duration::from_secs(1))?;

    let stopped = Instant::now();
    pair.directors[0].stop()?;
    has_vip(&second, true, SKEW)?;
    println!(
        "lbd is stopped: keepalived is master after {:.1?}",
        stopped.elapsed()
    );
    theirs.still_runs()
}
