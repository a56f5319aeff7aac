//! How does a process of the lab live and end?

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::{interrupt, poll};

/// A process that goes on beside us; killed when dropped.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    leave: bool,
}

impl Process {
    /// Start a command; what it prints goes to a file in `folder`.
    pub(super) fn start(mut command: Command, name: &str, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let other = file.try_clone().context("cannot share a file")?;
        // A group of its own: an interrupt from the terminal is for us, who end the others in order.
        command.stdout(file).stderr(other).process_group(0);
        let child = spawn(&mut command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log,
            leave: false,
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has ended.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .context("cannot ask whether a process has ended")
    }

    /// An error with all that it printed, when it has ended.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!(
                "{} ended: {status}\n{}",
                self.name,
                self.output().trim_end()
            ),
        }
    }

    /// Ask it to stop, and wait until it has.
    ///
    /// # Errors
    ///
    /// It did not stop in time.
    pub fn stop(mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let name = self.name.clone();
        poll(&format!("{name} to stop"), within, || {
            self.ended()?.context("it still runs")
        })
    }

    /// Kill it, as a crash would.
    ///
    /// # Errors
    ///
    /// It had ended before, or by something else.
    pub fn kill(mut self) -> Result<()> {
        self.still_runs()?;
        self.child.kill().context("cannot kill a process")?;
        let status = self.child.wait().context("cannot wait for a process")?;
        match status.signal() {
            Some(9) => Ok(()),
            _ => bail!("{} ended by itself: {status}", self.name),
        }
    }

    /// Let it go on when we end.
    pub fn leave(mut self) {
        self.leave = true;
    }

    /// Sends a signal to it and to all that it has started.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).context("a process number that is none")?;
        signal::killpg(Pid::from_raw(pid), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).context("a process number that is none")?;
        signal::kill(Pid::from_raw(pid), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.leave {
            return;
        }
        // It may have ended; then there is nothing to kill, and waiting only takes its status.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Start a command, unless the labs are being removed.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    let _held = interrupt::hold();
    command.spawn()
}

/// Run a command to its end, unless the labs are being removed.
pub(super) fn output(command: &mut Command) -> io::Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command)?.wait_with_output()
}

/// Run a command to its end; the error says which command failed and what it printed.
pub(super) fn check(command: &mut Command) -> Result<String> {
    let ran = output(command);
    judge(command, ran)
}

/// The same, for who holds off a removal, or removes.
pub(super) fn check_at_once(command: &mut Command) -> Result<String> {
    let ran = command.output();
    judge(command, ran)
}

/// Kill the processes that this one has started.
pub(super) fn kill_children() {
    let me = std::process::id().to_string();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // The second field is the name in parentheses, and may contain anything.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent == Some(me.as_str()) {
            // It may have ended by itself meanwhile.
            let _ = signal::kill(Pid::from_raw(number), Signal::SIGKILL);
        }
    }
}

fn judge(command: &Command, ran: io::Result<Output>) -> Result<String> {
    let text = format!("{command:?}").replace('"', "");
    let output = ran.with_context(|| format!("cannot run {text}"))?;
    if !output.status.success() {
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!("{text}: {}\n{}{}", output.status, stdout, stderr.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
