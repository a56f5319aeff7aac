//! How is a guest booted, heard and ended?
//!
//! It has three serial ports: the kernel's console goes to a file, what the command prints comes to us, and its exit status goes to
//! another file. QEMU runs below timeout(1), so it ends whatever becomes of us.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::sh;

/// The exit status of timeout(1) when time was up: it ended the program, or had to kill it.
const TIMED_OUT: [i32; 2] = [124, 137];

/// Memory for the guest, which holds its files twice while it unpacks them, in MiB.
const MEMORY: &str = "2048";

/// How many last lines of the console are shown when a guest fails.
const LAST_WORDS: usize = 25;

/// How a command in a guest ended.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// With this exit status.
    Exit(u8),
    /// Not in time.
    Late,
    /// Not at all: the guest broke off, and this is the end of its console.
    Broken(String),
}

/// Boot a kernel with a file system in memory and perhaps a disk, and hand each line that its command prints to `line`.
pub(super) fn boot(
    kernel: &Path,
    files: &Path,
    disk: Option<&Path>,
    limit: Duration,
    mut line: impl FnMut(String),
) -> Result<Outcome> {
    let (console, status) = (beside(files, "console"), beside(files, "status"));
    let mut qemu = qemu(kernel, files, &console, &status, limit)?;
    if let Some(disk) = disk {
        qemu.arg("-drive");
        qemu.arg(format!("file={},if=virtio,format=raw", disk.display()));
    }
    let mut child = qemu
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run QEMU")?;
    // Held open until the end: QEMU closes the port when its input ends, and the guest's writes then wait for ever.
    let input = child.stdin.take();
    let output = child.stdout.take().context("QEMU has no output")?;
    for text in BufReader::new(output).split(b'\n') {
        let text = text.context("cannot read what the guest prints")?;
        line(
            String::from_utf8_lossy(&text)
                .trim_end_matches('\r')
                .to_owned(),
        );
    }
    let ended = child.wait().context("cannot wait for QEMU")?;
    drop(input);
    let told = fs::read_to_string(&status).unwrap_or_default();
    let words = last_words(&fs::read(&console).unwrap_or_default());
    for file in [&console, &status] {
        // QEMU makes neither when it does not start.
        let _ = fs::remove_file(file);
    }
    Ok(match (exit(&told), ended.code()) {
        (Some(code), _) => Outcome::Exit(code),
        (None, Some(code)) if TIMED_OUT.contains(&code) => Outcome::Late,
        (None, _) => Outcome::Broken(words),
    })
}

fn qemu(
    kernel: &Path,
    files: &Path,
    console: &Path,
    status: &Path,
    limit: Duration,
) -> Result<Command> {
    let mut qemu = sh::command("timeout");
    qemu.args(["--foreground", "--kill-after=5"]);
    qemu.arg(limit.as_secs().max(1).to_string());
    qemu.arg(sh::find("qemu-system-x86_64").context("QEMU is not installed")?);
    // The machine's own virtualisation may be there and not boot such kernels; emulation always does.
    qemu.args([
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        MEMORY,
    ]);
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
    qemu.args(["-display", "none", "-monitor", "none"]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(files);
    qemu.args([
        "-append",
        "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off",
    ]);
    qemu.arg("-serial")
        .arg(format!("file:{}", console.display()));
    qemu.args([
        "-chardev",
        "stdio,id=command,signal=off",
        "-serial",
        "chardev:command",
    ]);
    qemu.arg("-serial")
        .arg(format!("file:{}", status.display()));
    Ok(qemu)
}

/// A file of the same name with another end.
fn beside(path: &Path, end: &str) -> PathBuf {
    path.with_extension(end)
}

/// What the guest wrote last: the exit status in words of a person.
fn exit(told: &str) -> Option<u8> {
    told.trim().parse().ok()
}

fn last_words(console: &[u8]) -> String {
    let text = String::from_utf8_lossy(console);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_number_is_an_exit_status() {
        assert_eq!(exit("0\r\n"), Some(0));
        assert_eq!(exit("101\n"), Some(101));
        assert_eq!(exit(""), None);
        assert_eq!(exit("Kernel panic"), None);
    }

    #[test]
    fn the_end_of_a_console_is_shown() {
        let text: String = (0..40).map(|n| format!("line {n}\r\n")).collect();
        let words = last_words(text.as_bytes());
        assert!(words.starts_with("line 15\n") && words.ends_with("line 39"));
        assert_eq!(last_words(b""), "");
    }
}
