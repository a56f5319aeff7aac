//! Does the demonstration show what it says, and leave nothing behind?

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
    let demo = start()?;
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
    if crate::is_known_fault("a demo interrupted while it starts leaves one namespace behind") {
        return Ok(());
    }
    let mut demo = start()?;
    let pid = demo.id();
    poll("the demo's lab", Duration::from_secs(10), || {
        ensure!(namespaces(pid)?.len() >= 3, "not there yet");
        Ok(())
    })?;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?;
    let status = demo.wait().context("cannot wait for the demo")?;
    ensure!(status.code() == Some(130), "{status}");
    nothing_is_left(pid)
}

fn start() -> Result<Child> {
    let mut demo = Command::new(program("lab")?);
    demo.arg("demo")
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
