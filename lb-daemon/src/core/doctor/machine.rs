//! The machine: kernel, rights, BPF file system, clock, and lbd itself.

use super::facts::{Clock, Daemon, Forwarding, Lack, Machine};
use super::{Check, Finding};

/// From this share of the table on somebody should look, in percent.
const FILLING: u64 = 80;

pub(super) fn examine(machine: &Machine) -> Vec<Finding> {
    let mut all = daemon(&machine.daemon);
    all.push(kernel(machine));
    all.extend(machine.jit.map(jit));
    all.push(capabilities(&machine.capabilities));
    all.push(bpf_fs(machine));
    all.extend(machine.forwarding.iter().map(forwarding));
    all
}

fn daemon(daemon: &Result<Daemon, String>) -> Vec<Finding> {
    let daemon = match daemon {
        Ok(daemon) => daemon,
        Err(why) => {
            return vec![
                Finding::bad(
                    Check::Daemon,
                    "lbd does not run",
                    why,
                    "what is in the kernel goes on forwarding, but nobody follows real servers, neighbours and VRRP",
                    "systemctl start lbd; journalctl -u lbd -e",
                ),
                Finding::unknown(
                    Check::Connections,
                    "the connection table",
                    "lbd would say how full it is, and does not run",
                ),
            ];
        }
    };
    let mut all: Vec<Finding> = daemon
        .alarms
        .iter()
        .map(|alarm| {
            Finding::bad(
                Check::Daemon,
                "lbd complains",
                alarm,
                "lbd goes on with what it has until this is mended",
                "lbctl status; journalctl -u lbd -e",
            )
        })
        .collect();
    if all.is_empty() {
        all.push(Finding::good(
            Check::Daemon,
            "lbd runs",
            "it answers, and complains of nothing",
        ));
    }
    all.push(connections(daemon));
    all
}

fn connections(daemon: &Daemon) -> Finding {
    let Daemon {
        connections: used,
        connections_max: room,
        connections_set: set,
        ..
    } = *daemon;
    let percent = used.saturating_mul(100).checked_div(room).unwrap_or(0);
    let evidence = format!("{used} of {room} entries are in use, {percent} %");
    if percent < FILLING {
        return Finding::good(
            Check::Connections,
            "the connection table has room",
            evidence,
        );
    }
    Finding::bad(
        Check::Connections,
        "the connection table is filling up",
        evidence,
        "new connections that find no place are forwarded by hash alone, and move when the real servers change",
        format!(
            "set `connections: {{max: {}}}` in the configuration, then restart lbd after `lbctl detach`",
            set.saturating_mul(2)
        ),
    )
}

fn kernel(machine: &Machine) -> Finding {
    match (&machine.kernel, &machine.capabilities) {
        (Ok(()), _) => Finding::good(
            Check::Kernel,
            "the kernel has all BPF features that are needed",
            format!("Linux {}", machine.release),
        ),
        (Err(_), Err(lack)) => Finding::unknown(
            Check::Kernel,
            "the kernel's BPF features",
            format!("trying them out takes what is missing here: {}", lack.what),
        ),
        (Err(lack), Ok(())) => Finding::bad(
            Check::Kernel,
            "the kernel cannot run the XDP program",
            &lack.what,
            "lbd does not start on it",
            &lack.hint,
        ),
    }
}

fn jit(on: bool) -> Finding {
    if on {
        return Finding::good(
            Check::Jit,
            "BPF programs are compiled",
            "net.core.bpf_jit_enable is not 0",
        );
    }
    Finding::bad(
        Check::Jit,
        "BPF programs are interpreted",
        "net.core.bpf_jit_enable = 0",
        "each packet costs several times as much",
        "sysctl -w net.core.bpf_jit_enable=1",
    )
}

fn capabilities(found: &Result<(), Lack>) -> Finding {
    match found {
        Ok(()) => Finding::good(
            Check::Capabilities,
            "all capabilities are there",
            "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_NET_RAW",
        ),
        Err(lack) => Finding::bad(
            Check::Capabilities,
            "a capability is missing",
            &lack.what,
            "what needs it was not looked at, and lbd could not do it",
            &lack.hint,
        ),
    }
}

fn bpf_fs(machine: &Machine) -> Finding {
    let dir = &machine.pin_dir;
    if machine.bpf_fs {
        return Finding::good(
            Check::Bpffs,
            "program and maps can be pinned",
            format!("{dir} is on a BPF file system"),
        );
    }
    Finding::bad(
        Check::Bpffs,
        "no BPF file system",
        format!("{dir} is not on one"),
        "program and connections would end with lbd",
        "mount -t bpf bpf /sys/fs/bpf",
    )
}

fn forwarding(found: &Forwarding) -> Finding {
    let Forwarding { parameter, on } = found;
    if *on {
        return Finding::good(
            Check::Forwarding,
            "the kernel forwards what the program leaves to it",
            format!("{parameter} = 1"),
        );
    }
    Finding::bad(
        Check::Forwarding,
        "the kernel does not forward packets",
        format!("{parameter} = 0, and there are real servers of method nat"),
        "replies whose next hop is not known yet, and all that real servers send besides, are dropped",
        format!("sysctl -w {parameter}=1"),
    )
}

/// Judges the clock. `signs`: advertisements are signed with the time of day in them.
pub fn clock(clock: Result<Clock, String>, signs: bool) -> Finding {
    let clock = match clock {
        Ok(clock) => clock,
        Err(why) => return Finding::unknown(Check::Clock, "the clock", why),
    };
    if clock.synchronised {
        return Finding::good(
            Check::Clock,
            "the clock is kept right",
            format!("by at most {} ms wrong", clock.error.as_millis()),
        );
    }
    let found = |consequence: &str| {
        Finding::bad(
            Check::Clock,
            "nothing keeps the clock right",
            "the kernel says that it is not synchronised",
            consequence,
            "timedatectl set-ntp true",
        )
    };
    if signs {
        found(
            "other directors reject signed advertisements when the clocks drift apart: there are two masters then",
        )
    } else {
        found("times in the logs of directors and real servers do not agree; forwarding does not care").into_advice()
    }
}
