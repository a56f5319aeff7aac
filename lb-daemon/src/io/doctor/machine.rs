//! The machine: kernel, rights, BPF file system.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;

use super::{Case, pairs};
use crate::core::desired::Method;
use crate::core::doctor::facts::{Forwarding, Lack, Machine};
use crate::io::preflight;

/// Whether BPF programs are compiled. A kernel that can do nothing else has no such file.
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
/// What has the kernel forward packets of IPv4 and of IPv6.
const FORWARDING: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];

pub(super) fn look(case: &Case) -> Machine {
    Machine {
        daemon: case
            .live
            .as_ref()
            .map(|live| live.daemon.clone())
            .map_err(Clone::clone),
        release: nix::sys::utsname::uname()
            .map(|names| names.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        kernel: preflight::kernel().map_err(lack),
        capabilities: preflight::capabilities().map_err(lack),
        pin_dir: case.pin_dir.display().to_string(),
        bpf_fs: preflight::on_bpf_fs(&case.pin_dir),
        jit: on(JIT),
        forwarding: forwarding(case),
    }
}

fn on(path: &str) -> Option<bool> {
    Some(fs::read_to_string(path).ok()?.trim() != "0")
}

/// Of each family of which there are real servers of method nat.
fn forwarding(case: &Case) -> Vec<Forwarding> {
    let nat = pairs(&case.model).filter(|(.., method)| *method == Method::Nat);
    let families: BTreeSet<bool> = nat.map(|(_, real, _)| real.addr.is_ipv6()).collect();
    let one = |v6: bool| {
        let parameter = FORWARDING[usize::from(v6)];
        let path = format!("/proc/sys/{}", parameter.replace('.', "/"));
        Forwarding {
            parameter,
            on: on(&path).unwrap_or(false),
        }
    };
    families.into_iter().map(one).collect()
}

/// What an error says, and its hint apart.
fn lack(error: impl Display) -> Lack {
    let text = error.to_string();
    let (what, hint) = text.split_once("hint: ").unwrap_or((&text, ""));
    let what = what.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
    Lack {
        what: what.to_owned(),
        hint: hint.to_owned(),
    }
}
