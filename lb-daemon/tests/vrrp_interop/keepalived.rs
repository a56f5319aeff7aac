//! Debian's keepalived as the other director.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::netns::Host;
use super::site::Case;

/// A keepalived that runs on a host. It ends with this.
pub(crate) struct Keepalived {
    child: Child,
    dir: tempfile::TempDir,
}

/// How it is configured, besides what the case says.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub case: &'a Case,
    pub priority: u8,
    pub extra: &'a str,
    pub own: IpAddr,
    pub peer: IpAddr,
}

impl Keepalived {
    /// The reason why there is none, if there is none.
    pub(crate) fn missing() -> Option<&'static str> {
        let found = Command::new(program())
            .arg("--version")
            .stderr(Stdio::null())
            .status();
        found
            .is_err()
            .then_some("keepalived is not installed; `cargo xtask setup` does")
    }

    /// Whether it knows keys that sign, as from 2.4 on; if not, that is said.
    pub(crate) fn can_sign() -> bool {
        let said = Command::new(program()).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr) + String::from_utf8_lossy(&said.stdout);
        let version = text.split_once("Keepalived v").map(|(_, rest)| rest);
        let mut numbers = version
            .unwrap_or_default()
            .split('.')
            .map(str::parse::<u32>);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        let can = (next(), next()) >= (2, 4);
        if !can {
            println!(
                "SKIP: this keepalived is older than 2.4 and signs nothing; `LB_KEEPALIVED` names another"
            );
        }
        can
    }

    /// Starts it on a host.
    pub(crate) fn start(host: &Host, plan: Plan<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keepalived.conf"), configuration(plan)).unwrap();
        let path = dir.path().to_owned();
        let child = host.call(move || {
            let file = |name: &str| path.join(name);
            let log = std::fs::File::create(file("log")).unwrap();
            Command::new(program())
                .args(["--vrrp", "--dont-fork", "--log-console", "--log-detail"])
                .arg("--use-file")
                .arg(file("keepalived.conf"))
                .arg("--pid")
                .arg(file("pid"))
                .arg("--vrrp_pid")
                .arg(file("vrrp_pid"))
                .stdin(Stdio::null())
                .stderr(log.try_clone().unwrap())
                .stdout(log)
                .process_group(0)
                .spawn()
                .unwrap()
        });
        Self { child, dir }
    }

    /// Changes its configuration, and has it read that.
    pub(crate) fn reload(&self, plan: Plan<'_>) {
        let file = self.dir.path().join("keepalived.conf");
        std::fs::write(file, configuration(plan)).unwrap();
        nix::sys::signal::kill(self.pid(), Signal::SIGHUP).unwrap();
    }

    /// Sends a signal to it and its children.
    pub(crate) fn signal(&self, signal: Signal) {
        killpg(self.pid(), signal).unwrap();
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(mut self) {
        nix::sys::signal::kill(self.pid(), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Debian's, or another one.
fn program() -> OsString {
    std::env::var_os("LB_KEEPALIVED").unwrap_or_else(|| "keepalived".into())
}

fn configuration(plan: Plan<'_>) -> String {
    let Plan {
        case,
        priority,
        extra,
        own,
        peer,
    } = plan;
    let auth = match case.password {
        Some(pass) => format!("authentication {{\n  auth_type PASS\n  auth_pass {pass}\n }}"),
        None if case.signed => {
            format!("auth_hmac {{\n  key 1 {}\n  active_key 1\n }}", Case::KEY)
        }
        None => String::new(),
    };
    let unicast = match case.unicast {
        true => format!("unicast_src_ip {own}\n unicast_peer {{\n  {peer}\n }}"),
        false => String::new(),
    };
    let Case {
        version, interval, ..
    } = case;
    let addresses = case.addresses().join("\n  ");
    format!(
        "global_defs {{
 vrrp_version {version}
 script_user root
}}
vrrp_instance VI_1 {{
 state BACKUP
 interface eth0
 virtual_router_id 51
 priority {priority}
 advert_int {}
 garp_master_delay 1
 {auth}
 {unicast}
 {extra}
 virtual_ipaddress {{
  {addresses}
 }}
}}
",
        interval.as_secs_f64(),
    )
}
