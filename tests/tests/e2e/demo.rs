//! Does the demonstration show what it says, and leave nothing behind?

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::{poll, program};
use tests::needs_lab;

#[test]
fn the_demo_shows_three_methods_at_work_and_leaves_nothing() -> Result<()> {
    needs_lab!();
    shows_three_methods(&[])
}

#[test]
fn so_does_that_over_ipv6() -> Result<()> {
    needs_lab!();
    shows_three_methods(&["--ipv6"])
}

fn shows_three_methods(options: &[&str]) -> Result<()> {
    let demo = start(options)?;
    let pid = demo.id();
    let output = demo
        .wait_with_output()
        .context("cannot wait for the demo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    for method in ["DR", "TUN", "NAT"] {
        let line = format!("✓ {method:<4} 600 of 600 requests answered");
        ensure!(said.contains(&line), "`{line}` is missing in\n{said}");
    }
    nothing_is_left(pid)
}

#[test]
fn an_interrupted_demo_leaves_nothing() -> Result<()> {
    needs_lab!();
    // The lab has seven hosts, with the switch; then lbd starts.
    for hosts in [1, 2, 4, 6, 7] {
        interrupted(&format!("{hosts} hosts"), |pid| {
            Ok(namespaces(pid)?.len() >= hosts)
        })?;
    }
    interrupted("lbd", |pid| {
        Ok(Path::new(&format!("/run/lb-lab/lb-{pid}-0/director/lbd.log")).exists())
    })?;
    interrupted("requests", |pid| {
        Ok(Path::new(&format!("/run/lb-lab/lb-{pid}-0/client/requests")).exists())
    })
}

/// Interrupt a demo when it has come so far.
fn interrupted(what: &str, is_there: impl Fn(u32) -> Result<bool>) -> Result<()> {
    let demo = start(&[])?;
    let pid = demo.id();
    poll(what, Duration::from_secs(60), || {
        ensure!(is_there(pid)?, "not there yet");
        Ok(())
    })?;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?;
    let output = demo
        .wait_with_output()
        .context("cannot wait for the demo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(130),
        "{what}: {}\n{said}",
        output.status
    );
    nothing_is_left(pid).with_context(|| format!("interrupted at: {what}\n{said}"))
}

fn start(options: &[&str]) -> Result<Child> {
    let mut demo = Command::new(program("lab")?);
    demo.arg("demo")
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    demo.spawn().context("cannot start the demo")
}

fn nothing_is_left(pid: u32) -> Result<()> {
    let namespaces = namespaces(pid)?;
    ensure!(namespaces.is_empty(), "{namespaces:?} are left");
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    ensure!(
        !mounts.contains(&format!("/lb-{pid}-")),
        "a mount is left:\n{mounts}"
    );
    for entry in std::fs::read_dir("/proc")? {
        let line = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        ensure!(!line.contains(&format!("lb-{pid}-")), "`{line}` still runs");
    }
    for folder in std::fs::read_dir("/run/lb-lab")? {
        let name = folder?.file_name().into_string().unwrap_or_default();
        ensure!(!name.contains(&format!("lb-{pid}-")), "{name} is left");
    }
    Ok(())
}

fn namespaces(pid: u32) -> Result<Vec<String>> {
    let prefix = format!("lb-{pid}-");
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/run/netns").context("no namespaces were ever made")? {
        names.extend(
            entry?
                .file_name()
                .into_string()
                .ok()
                .filter(|name| name.starts_with(&prefix)),
        );
    }
    Ok(names)
}
