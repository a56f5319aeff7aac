//! How is a director run, asked, killed and started again?

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use lb_daemon::api::client::Client;
use lb_daemon::api::types::Status;
use serde::de::DeserializeOwned;

use super::host::Host;
use super::poll;
use super::process::Process;

/// A director: a host on which lbd runs.
pub struct Director {
    host: Host,
    paths: Paths,
    /// More words of the command line.
    options: Vec<String>,
    lbd: Option<Process>,
}

/// Where a director keeps what it keeps, so that several may run on one machine.
#[derive(Clone)]
pub struct Paths {
    /// The configuration file.
    pub configuration: PathBuf,
    /// The API's socket.
    pub socket: PathBuf,
    /// The running configuration.
    pub state: PathBuf,
    /// Programs and maps.
    pub pins: PathBuf,
}

impl Director {
    /// A director on a host, with nothing running yet.
    pub(super) fn new(host: Host, bpffs: &Path) -> Self {
        let folder = host.folder();
        let paths = Paths {
            configuration: folder.join("lbd.yaml"),
            socket: folder.join("lbd.sock"),
            state: folder.join("state"),
            pins: bpffs.join(host.name()),
        };
        Self {
            host,
            paths,
            options: Vec::new(),
            lbd: None,
        }
    }

    /// The host on which it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where it keeps what it keeps.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Write the configuration file. Whoever reads it finds the former one or all of this one.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn configure(&self, yaml: &str) -> Result<()> {
        let path = &self.paths.configuration;
        let new = path.with_extension("new");
        fs::write(&new, yaml)
            .and_then(|()| fs::rename(&new, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Has lbd start with these options from now on, besides those for its paths.
    pub fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().copied().map(str::to_owned).collect();
    }

    /// The command line of lbd for this director.
    ///
    /// # Errors
    ///
    /// lbd was not built.
    pub fn command_line(&self) -> Result<Vec<String>> {
        let Paths {
            configuration,
            socket,
            state,
            pins,
        } = &self.paths;
        let path = |path: &Path| path.display().to_string();
        let mut line = vec![
            program("lbd")?,
            "--config".into(),
            path(configuration),
            "--socket".into(),
            path(socket),
            "--state-dir".into(),
            path(state),
            "--pin-dir".into(),
            path(pins),
        ];
        line.extend(self.options.iter().cloned());
        Ok(line)
    }

    /// Start lbd and wait until it answers; returns how long that took.
    ///
    /// # Errors
    ///
    /// It ended, or does not answer in time; the error has what it printed.
    pub fn start(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.launch()?;
        self.wait()?;
        Ok(began.elapsed())
    }

    /// Start lbd, and do not wait for it.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        let line = self.command_line()?;
        // As lbd.service has it.
        let nice = ["nice", "-n", "-10"];
        let words: Vec<&str> = nice
            .into_iter()
            .chain(line.iter().map(String::as_str))
            .collect();
        self.lbd = Some(self.host.start("lbd", &words)?);
        Ok(())
    }

    /// Wait until lbd answers.
    ///
    /// # Errors
    ///
    /// It ended, or does not answer in time; the error has what it printed, and it runs no more.
    pub fn wait(&mut self) -> Result<()> {
        let mut lbd = self.lbd.take().context("lbd does not run")?;
        poll("lbd to answer", Duration::from_secs(15), || {
            match lbd.still_runs() {
                Ok(()) => self.answers().map(Ok),
                ended => Ok(ended),
            }
        })??;
        self.lbd = Some(lbd);
        Ok(())
    }

    /// An error unless lbd answers.
    fn answers(&self) -> Result<()> {
        let client = Client::new(&self.paths.socket);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let status = runtime.block_on(client.get::<Status>("/v1/status"));
        status
            .map(drop)
            .map_err(|problem| anyhow!("{problem}: {:?}", problem.why))
    }

    /// Kill lbd as a crash would.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.lbd.take().context("lbd does not run")?.kill()
    }

    /// Ask lbd to stop and wait until it has.
    ///
    /// # Errors
    ///
    /// It does not run, or did not stop in time.
    pub fn stop(&mut self) -> Result<()> {
        let status = self
            .lbd
            .take()
            .context("lbd does not run")?
            .stop(Duration::from_secs(10))?;
        if !status.success() {
            bail!("lbd stopped with {status}\n{}", self.log());
        }
        Ok(())
    }

    /// The process number of lbd.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.lbd.as_ref().context("lbd does not run")?.pid())
    }

    /// Let lbd go on when we end.
    pub fn leave(&mut self) {
        if let Some(lbd) = self.lbd.take() {
            lbd.leave();
        }
    }

    /// Run lbctl and return what it printed.
    ///
    /// # Errors
    ///
    /// Its exit status is not 0; the error has what it said.
    pub fn lbctl(&self, words: &[&str]) -> Result<String> {
        let program = program("lbctl")?;
        let socket = self.paths.socket.display().to_string();
        self.host
            .run(&[&[program.as_str(), "--socket", &socket], words].concat())
    }

    /// Run a reading command of lbctl with `--json`.
    ///
    /// # Errors
    ///
    /// Its exit status is not 0, or what it printed is something else.
    pub fn ask<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T> {
        let text = self.lbctl(&[words, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("lbctl printed `{text}`"))
    }

    /// What lbd has printed, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.host.folder().join("lbd.log")).unwrap_or_default()
    }
}

/// The path of one of our programs, as built beside the one that runs.
///
/// # Errors
///
/// It was not built.
pub fn program(name: &str) -> Result<String> {
    Ok(built(name)?.display().to_string())
}

/// The object with the XDP programs.
pub(super) fn object() -> Result<PathBuf> {
    built("bpf/bpfel-unknown-none/bpf/lb")
}

/// Something that was built into a folder above the program that runs.
fn built(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot tell where this program is")?;
    let path = here
        .ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    path.with_context(|| format!("{name} was not built\nhint: cargo xtask build"))
}
