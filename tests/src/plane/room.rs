//! A network namespace for one test: the programs under test ask its routing table, and no packet leaves it.

use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};

/// A director's side of the clients, by commands of `ip`: to one of them packets of up to 1000 bytes fit.
pub const NETWORK: [&str; 10] = [
    "link set lo up",
    "link add front type veth peer name far",
    "link set front address 02:00:00:00:00:d1 up",
    "link set far up",
    "addr add 198.51.100.1/24 dev front",
    "neigh add 198.51.100.5 lladdr 02:00:00:00:00:c1 dev front",
    "neigh add 198.51.100.6 lladdr 02:00:00:00:00:c1 dev front",
    "route add 198.51.100.6 dev front mtu lock 1000",
    "-6 addr add 2001:db8:c::1/64 dev front nodad",
    "-6 neigh add 2001:db8:c::5 lladdr 02:00:00:00:00:c1 dev front",
];

/// Makes sure that nothing is wrong.
///
/// # Errors
///
/// How much is wrong, and what.
pub fn none_wrong(wrong: &[String]) -> Result<()> {
    ensure!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// A network namespace that the calling thread has entered, gone when the thread ends.
#[derive(Debug)]
pub struct Room(());

impl Room {
    /// Runs `test` on a thread in a namespace of its own, where `commands` (of `ip`) were run first.
    ///
    /// # Errors
    ///
    /// The namespace cannot be made, a command fails, or what the test says.
    pub fn with<R: Send>(
        commands: &[&str],
        test: impl FnOnce(&Self) -> Result<R> + Send,
    ) -> Result<R> {
        let entered = || {
            unshare(CloneFlags::CLONE_NEWNET).context("enter a new network namespace")?;
            // The stack forwards, as it does on a director.
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
                .context("turn forwarding of IPv6 on")?;
            std::fs::write("/proc/thread-self/../../sys/net/ipv4/ip_forward", "1")
                .or_else(|_| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
                .context("turn forwarding on")?;
            for command in commands {
                ip(command)?;
            }
            test(&Self(()))
        };
        thread::scope(|scope| match scope.spawn(entered).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// The index of an interface.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub fn index(&self, interface: &str) -> Result<u32> {
        nix::net::if_::if_nametoindex(interface).with_context(|| format!("interface {interface}"))
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .context("run ip")?;
    if !output.status.success() {
        bail!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
