//! Hosts for tests: each a thread in a network namespace of its own, which vanishes with it.

use std::fmt::Debug;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

type Job = Box<dyn FnOnce() + Send>;

/// A host of the test network.
pub(crate) struct Host {
    jobs: mpsc::Sender<Job>,
    tid: i32,
}

impl Host {
    /// A host with nothing but `lo`.
    pub(crate) fn new() -> Self {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (root only)");
            ready.send(gettid().as_raw()).unwrap();
            for job in inbox {
                job();
            }
        });
        let tid = is_ready.recv().expect("the host's thread");
        let host = Self { jobs, tid };
        host.run("ip link set lo up");
        host
    }

    /// Does something on the host and waits for the result.
    pub(crate) fn call<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (result, has_result) = mpsc::channel();
        let job = Box::new(move || {
            let _ = result.send(job());
        });
        self.jobs.send(job).expect("the host's thread");
        has_result.recv().expect("the job ends without panic")
    }

    /// Runs a command on the host, and stops the test if it fails.
    pub(crate) fn run(&self, line: &str) {
        let line = line.to_owned();
        self.call(move || run(&line));
    }

    /// Connects two hosts with a cable.
    pub(crate) fn cable(&self, interface: &str, other: &Self, far: &str) {
        let tid = other.tid;
        self.run(&format!(
            "ip link add {interface} type veth peer name {far} netns {tid}"
        ));
        self.run(&format!("ip link set {interface} up"));
        other.run(&format!("ip link set {far} up"));
    }
}

/// Runs a command in the namespace of the calling thread, and stops the test if it fails.
pub(crate) fn run(line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().expect(program);
    assert!(
        output.status.success(),
        "{line}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An Ethernet switch with a host on each of its ports.
pub(crate) struct Lan {
    pub(crate) switch: Host,
    ports: usize,
}

impl Lan {
    /// A switch without hosts.
    pub(crate) fn new() -> Self {
        let switch = Host::new();
        switch.run("ip link add br0 type bridge forward_delay 0 stp_state 0");
        switch.run("ip link set br0 up");
        Self { switch, ports: 0 }
    }

    /// Connects a host's `interface` to the switch.
    pub(crate) fn connect(&mut self, host: &Host, interface: &str) {
        self.ports += 1;
        let port = format!("p{}", self.ports);
        self.switch.cable(&port, host, interface);
        self.switch.run(&format!("ip link set {port} master br0"));
    }

    /// Adds a host with one interface, `eth0`, and an address on it.
    pub(crate) fn host(&mut self, address: &str) -> Host {
        let host = Host::new();
        self.connect(&host, "eth0");
        host.run(&format!("ip addr add {address} dev eth0"));
        host
    }
}

/// Waits until `probe` gives something, and stops the test at the deadline. Says how long it took.
pub(crate) async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> (T, Duration)
where
    T: Debug,
{
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return (found, start.elapsed());
        }
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
