//! The machine: kernel, rights, BPF file system.

use std::fmt::Display;
use std::fs;

use super::{Case, pairs};
use crate::core::desired::Method;
use crate::core::doctor::facts::{Lack, Machine};
use crate::io::preflight;

/// Whether BPF programs are compiled. A kernel that can do nothing else has no such file.
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
/// Whether the kernel forwards IPv4 packets.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

pub(super) fn look(case: &Case) -> Machine {
    let on = |path: &str| Some(fs::read_to_string(path).ok()?.trim() != "0");
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
        forwards: on(FORWARD).unwrap_or(false),
        has_nat: pairs(&case.model)
            .any(|(_, real, method)| method == Method::Nat && real.addr.is_ipv4()),
    }
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
