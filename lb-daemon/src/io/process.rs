//! Runs programs of the operator's: bounded in time and output, killed with all that they have started.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A program to run.
#[derive(Debug)]
pub struct Job<'a> {
    /// The program and its arguments. No shell reads them.
    pub argv: &'a [String],
    /// The user that it runs as; else the daemon's.
    pub user: Option<&'a str>,
    /// Variables besides `PATH`.
    pub environment: Vec<(&'static str, String)>,
    /// How long it may take.
    pub timeout: Duration,
    /// How much of its output is kept; the rest is read and dropped.
    pub output: usize,
}

/// How a program ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// It took too long and was killed.
    pub timed_out: bool,
    /// What it wrote, to standard output and standard error.
    pub output: Vec<u8>,
}

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no program.
    #[error("no program is named")]
    NoProgram,
    /// There is no such user.
    #[error("there is no user `{0}`")]
    NoUser(String),
    /// It cannot be started.
    #[error("`{program}` cannot be started: {error}")]
    Start {
        /// Which.
        program: String,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// It cannot be waited for.
    #[error("`{program}` cannot be waited for: {error}")]
    Wait {
        /// Which.
        program: String,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// Runs a program. If this is dropped, the program is killed with all that it has started.
pub async fn run(job: Job<'_>) -> Result<Ended, RunError> {
    let (program, arguments) = job.argv.split_first().ok_or(RunError::NoProgram)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .envs(job.environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, to be killed as one.
        .process_group(0);
    if let Some(name) = job.user {
        let user = User::from_name(name)
            .ok()
            .flatten()
            .ok_or_else(|| RunError::NoUser(name.to_owned()))?;
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let child = command.spawn().map_err(|error| RunError::Start {
        program: program.clone(),
        error,
    })?;
    let mut group = Group {
        id: child.id(),
        child,
    };
    let mut output = Output {
        kept: Vec::new(),
        room: job.output,
    };
    let (out, err) = (group.child.stdout.take(), group.child.stderr.take());
    let ended = {
        let mut reading = std::pin::pin!(output.read(out, err));
        let waiting = timeout(job.timeout, group.child.wait());
        let mut waiting = std::pin::pin!(waiting);
        let ended = tokio::select! {
            ended = &mut waiting => Some(ended),
            () = &mut reading => None,
        };
        match ended {
            None => waiting.await,
            Some(ended) => {
                // What it has started may hold the pipe open; what it has written itself is there already.
                let _ = timeout(LAST_WORDS, reading).await;
                ended
            }
        }
    };
    let status = match ended {
        Ok(status) => Some(status.map_err(|error| RunError::Wait {
            program: program.clone(),
            error,
        })?),
        Err(_) => None,
    };
    Ok(Ended {
        status: status.and_then(|status| status.code()),
        timed_out: status.is_none(),
        output: output.kept,
    })
}

/// How long the output is still read when the program has ended.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// A program with all that it has started.
struct Group {
    child: Child,
    /// Its process number, which is its group's too.
    id: Option<u32>,
}

impl Drop for Group {
    fn drop(&mut self) {
        // Also when the program itself has ended: its children may not have. Process numbers are given out in turn,
        // so that of a program which was waited for just now is not another group's yet.
        if let Some(id) = self.id.and_then(|id| i32::try_from(id).ok()) {
            // There may be nobody left.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// What a program writes, as far as there is room.
struct Output {
    kept: Vec<u8>,
    room: usize,
}

impl Output {
    /// Reads both until they end.
    async fn read(
        &mut self,
        out: Option<impl AsyncRead + Unpin>,
        err: Option<impl AsyncRead + Unpin>,
    ) {
        let (mut out, mut err) = (out, err);
        let (mut from_out, mut from_err) = ([0; 1024], [0; 1024]);
        while out.is_some() || err.is_some() {
            tokio::select! {
                n = next(&mut out, &mut from_out) => self.keep(from_out.get(..n).unwrap_or_default()),
                n = next(&mut err, &mut from_err) => self.keep(from_err.get(..n).unwrap_or_default()),
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.room - self.kept.len();
        self.kept
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

/// Reads a piece. At the end the source is taken away, and an absent source is never ready.
async fn next(source: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    let Some(open) = source else {
        return std::future::pending().await;
    };
    match open.read(into).await {
        Ok(n) if n > 0 => n,
        _ => {
            *source = None;
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn job<'a>(argv: &'a [String], milliseconds: u64) -> Job<'a> {
        Job {
            argv,
            user: None,
            environment: vec![("LBD_TEST", "yes".to_owned())],
            timeout: Duration::from_millis(milliseconds),
            output: 100,
        }
    }

    fn sh(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn status_and_output_are_told() {
        let argv = sh("echo out; echo err >&2; echo $LBD_TEST; exit 7");
        let ended = run(job(&argv, 5000)).await.unwrap();
        assert_eq!((ended.status, ended.timed_out), (Some(7), false));
        let output = String::from_utf8(ended.output).unwrap();
        for line in ["out\n", "err\n", "yes\n"] {
            assert!(output.contains(line), "{output}");
        }
    }

    #[tokio::test]
    async fn much_output_is_cut_and_does_not_hold_the_program_up() {
        let argv = sh("head -c 1000000 /dev/zero; exit 3");
        let ended = run(job(&argv, 5000)).await.unwrap();
        assert_eq!((ended.status, ended.output.len()), (Some(3), 100));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let alive = dir.path().join("alive");
        // The child would write after the deadline.
        let script = format!("(sleep 1; touch {}) & sleep 100", alive.display());
        let argv = sh(&script);
        let start = Instant::now();
        let ended = run(job(&argv, 300)).await.unwrap();
        assert!(ended.timed_out && ended.status.is_none());
        assert!(start.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!alive.exists(), "its child was killed too");
    }

    #[tokio::test]
    async fn children_left_behind_are_killed_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let alive = dir.path().join("alive");
        let argv = sh(&format!("(sleep 1; touch {}) & echo done", alive.display()));
        let start = Instant::now();
        let ended = run(job(&argv, 5000)).await.unwrap();
        assert!(
            start.elapsed() < Duration::from_millis(900),
            "the open pipe is not waited for"
        );
        assert_eq!(
            (ended.status, ended.output.as_slice()),
            (Some(0), &b"done\n"[..])
        );
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!alive.exists());
    }

    #[tokio::test]
    async fn what_cannot_be_started_says_why() {
        let missing = ["/nonexistent/program".to_owned()];
        let error = run(job(&missing, 1000)).await.unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/program"),
            "{error}"
        );
        let argv = sh("true");
        let stranger = Job {
            user: Some("nobody-of-that-name"),
            ..job(&argv, 1000)
        };
        assert!(matches!(run(stranger).await, Err(RunError::NoUser(_))));
        assert!(matches!(
            run(job(&[], 1000)).await,
            Err(RunError::NoProgram)
        ));
    }
}
