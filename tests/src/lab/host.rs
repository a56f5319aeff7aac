//! How is something done on a host of the lab?

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use super::interrupt;
use super::process::{self, Process, check, check_at_once};

/// A host: a network namespace.
#[derive(Clone)]
pub struct Host {
    name: String,
    namespace: String,
    folder: PathBuf,
}

impl Host {
    /// Make a host in a lab's folder.
    pub(super) fn new(name: &str, namespace: String, lab: &Path) -> Result<Self> {
        let folder = lab.join(name);
        {
            let _held = interrupt::hold();
            fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            check_at_once(Command::new("ip").args(["netns", "add", &namespace]))?;
        }
        let host = Self {
            name: name.to_owned(),
            namespace,
            folder,
        };
        // Interfaces come later and inherit what `default` says.
        host.set(&[
            ("ipv6/conf/all/disable_ipv6", "1"),
            ("ipv6/conf/default/disable_ipv6", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
            // Not the machine's own, which may pace by timers: they crawl when many hosts share few processors.
            ("ipv4/tcp_congestion_control", "reno"),
        ])?;
        host.ip(&["link set lo up"])?;
        Ok(host)
    }

    /// The host's name in the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its own folder for configurations and what its processes print.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that runs on this host.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Run a command to its end and return what it printed.
    ///
    /// # Errors
    ///
    /// It cannot be run, or its exit status is not 0.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        check(&mut self.command(words)).with_context(|| format!("on {}", self.name))
    }

    /// Start a command that goes on; what it prints goes to the host's folder.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(&self, name: &str, words: &[&str]) -> Result<Process> {
        Process::start(self.command(words), name, &self.folder)
            .with_context(|| format!("on {}", self.name))
    }

    /// Run commands of `ip`, such as `link set lo up`.
    ///
    /// # Errors
    ///
    /// One of them failed; those after it are not run.
    pub fn ip(&self, lines: &[&str]) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-netns", &self.namespace, "-batch", "-"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process::spawn(&mut command).context("cannot run ip")?;
        let input = child.stdin.take().context("ip has no input")?;
        // What it says counts, also when it stops reading at the first failure.
        let _ = { input }.write_all(lines.join("\n").as_bytes());
        let output = child.wait_with_output().context("cannot wait for ip")?;
        if !output.status.success() {
            bail!(
                "on {}: ip: {}\n{}",
                self.name,
                lines.join("\n"),
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        Ok(())
    }

    /// Set kernel parameters below `net`, as `("ipv4/ip_forward", "1")`.
    ///
    /// # Errors
    ///
    /// One of them cannot be set.
    pub fn set(&self, parameters: &[(&str, &str)]) -> Result<()> {
        self.inside(|| {
            for (name, value) in parameters {
                let path = Path::new("/proc/sys/net").join(name);
                fs::write(&path, value)
                    .with_context(|| format!("cannot set {}", path.display()))?;
            }
            Ok(())
        })
        .with_context(|| format!("on {}", self.name))
    }

    /// Do something in a thread of its own whose sockets are this host's.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered, or `work` failed.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Make this thread one of the host's: what it opens from now on is the host's. There is no way back, so this
    /// is for threads that do nothing else.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered.
    pub fn enter(&self) -> Result<()> {
        let path = Path::new("/run/netns").join(&self.namespace);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter {}", path.display()))
    }

    /// Set the MTU of each interface that is up, but of the loopback.
    ///
    /// # Errors
    ///
    /// One of them cannot have it.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        let links = self.run(&["ip", "-brief", "link", "show", "up"])?;
        let names = links
            .lines()
            .filter_map(|line| line.split(['@', ' ']).next());
        let commands: Vec<String> = names
            .filter(|name| *name != "lo")
            .map(|name| format!("link set {name} mtu {mtu}"))
            .collect();
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        self.ip(&commands)
    }

    /// The MAC address of an interface.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub fn mac(&self, interface: &str) -> Result<String> {
        let text = self.run(&["ip", "-brief", "link", "show", "dev", interface])?;
        text.split_whitespace()
            .nth(2)
            .map(str::to_owned)
            .context("`ip link` shows no MAC address")
    }
}
