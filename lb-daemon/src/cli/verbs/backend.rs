//! `backend prepare`, `check`, `undo`: on a real server, without a daemon.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::api::types::Problem;
use crate::cli::render::backend as render;
use crate::cli::{Context, Failure};
use crate::config::value::{Wrong, wrong};
use crate::core::backend::check::{Finding, is_ready};
use crate::core::backend::{Change, Method, Role};
use crate::engine::problem;
use crate::io::backend::{Backend, BackendError, Done, PIN_DIR, Places, STATE_DIR};

/// What to do on this real server.
#[derive(Clone, Debug, Args)]
pub struct OnBackend {
    #[command(subcommand)]
    verb: BackendVerb,
    #[command(flatten)]
    places: PlacesArg,
}

#[derive(Clone, Debug, Subcommand)]
enum BackendVerb {
    /// Make this machine a real server; prints each change, and remembers what was before.
    Prepare(Prepare),
    /// Check whether this machine is the real server that it is to be; exit status 1 if it is not.
    Check(RoleArg),
    /// Put everything back as it was before.
    Undo(DryRun),
}

#[derive(Clone, Debug, Args)]
struct Prepare {
    #[command(flatten)]
    role: RoleArg,
    #[command(flatten)]
    dry_run: DryRun,
}

/// What this machine is to be; nothing: what it was prepared for.
#[derive(Clone, Debug, Args)]
struct RoleArg {
    /// A virtual address that it serves; again for another.
    #[arg(long = "vip", value_name = "VIP", requires = "method", value_parser = address)]
    vips: Vec<IpAddr>,
    /// How packets reach it: dr, tun or nat.
    #[arg(long, value_name = "METHOD")]
    method: Option<Method>,
    /// Where packets for it come in; the interface of the default route unless named.
    #[arg(long, value_name = "INTERFACE", requires = "method")]
    interface: Option<String>,
    /// With nat: have replies go by way of this director; again for its other family.
    #[arg(long = "gateway", value_name = "DIRECTOR", requires = "method", value_parser = address)]
    gateways: Vec<IpAddr>,
}

#[derive(Clone, Copy, Debug, Args)]
struct DryRun {
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Debug, Args)]
struct PlacesArg {
    /// Where it is remembered what was before.
    #[arg(long, global = true, env = "LBD_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// Where the XDP program for tunnels is pinned.
    #[arg(long, global = true, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
    /// What goes before /etc.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/",
        hide = true
    )]
    root: PathBuf,
}

impl OnBackend {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let PlacesArg {
            state_dir,
            pin_dir,
            root,
        } = self.places;
        let places = Places {
            root,
            state_dir,
            pin_dir,
        };
        let backend = Backend::open(places).map_err(|err| refused("look at this machine", &err))?;
        match self.verb {
            BackendVerb::Prepare(prepare) => prepare.run(&backend, context).await,
            BackendVerb::Check(role) => role.check(&backend, context).await,
            BackendVerb::Undo(how) => how.undo(&backend, context).await,
        }
    }
}

impl Prepare {
    async fn run(self, backend: &Backend, context: &Context) -> Result<(), Failure> {
        const WHAT: &str = "prepare this machine";
        let role = self.role.role(backend, WHAT).await?;
        let dry_run = self.dry_run.dry_run;
        let done = backend.prepare(&role, dry_run).await;
        let done = done.map_err(|err| refused(WHAT, &err))?;
        let answer = Prepared {
            done: Answer::new(done, dry_run),
            role,
        };
        context.print(&answer, |answer| render::prepared(answer, context.style))
    }
}

impl DryRun {
    async fn undo(self, backend: &Backend, context: &Context) -> Result<(), Failure> {
        let done = backend.undo(self.dry_run).await;
        let done = done.map_err(|err| refused("undo the preparation", &err))?;
        let answer = Answer::new(done, self.dry_run);
        context.print(&answer, |answer| render::undone(answer, context.style))
    }
}

impl RoleArg {
    async fn check(self, backend: &Backend, context: &Context) -> Result<(), Failure> {
        const WHAT: &str = "check this machine";
        let role = self.role(backend, WHAT).await?;
        let findings = backend.check(&role).await;
        let findings = findings.map_err(|err| refused(WHAT, &err))?;
        let answer = Checked {
            ready: is_ready(&findings),
            role,
            findings,
        };
        context.print(&answer, |answer| render::checked(answer, context.style))?;
        if answer.ready {
            Ok(())
        } else {
            Err(Failure::Quiet)
        }
    }

    /// What was asked for, or else what was prepared.
    async fn role(self, backend: &Backend, what: &str) -> Result<Role, Failure> {
        let failed = |err: &BackendError| refused(what, err);
        let Some(method) = self.method else {
            let record = backend.record().map_err(|err| failed(&err))?;
            let record = record.ok_or_else(|| failed(&BackendError::NotPrepared))?;
            return Ok(record.role);
        };
        let interface = match self.interface {
            Some(interface) => interface,
            None => backend
                .default_interface()
                .await
                .map_err(|err| failed(&err))?
                .ok_or_else(|| {
                    Problem::invalid("no --interface, and no default route to tell it")
                        .hint("name the interface on which packets for this machine come in")
                })?,
        };
        let (mut vips, mut gateways) = (self.vips, self.gateways);
        for addresses in [&mut vips, &mut gateways] {
            addresses.sort_unstable();
            addresses.dedup();
        }
        let families =
            |is_family: fn(&IpAddr) -> bool| gateways.iter().filter(|a| is_family(a)).count();
        if families(IpAddr::is_ipv4) > 1 || families(IpAddr::is_ipv6) > 1 {
            return Err(Problem::invalid("--gateway twice for one family")
                .hint("name the address that the directors share, which a virtual router moves between them")
                .into());
        }
        Ok(Role {
            method,
            vips,
            interface,
            gateways,
        })
    }
}

/// What changed, or would.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Whether it was done.
    pub applied: bool,
    /// The changes, in order.
    pub changes: Vec<ChangeLine>,
    /// Files that were written or removed.
    pub files: Vec<PathBuf>,
    /// What could not be put back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ChangeLine>,
}

/// A change, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct ChangeLine {
    /// What changed.
    pub item: String,
    /// How it was.
    pub old: String,
    /// How it is.
    pub new: String,
}

/// The answer of `prepare`.
#[derive(Clone, Debug, Serialize)]
pub struct Prepared {
    /// What this machine is.
    pub role: Role,
    #[serde(flatten)]
    /// What changed.
    pub done: Answer,
}

/// The answer of `check`.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// What this machine is to be.
    pub role: Role,
    /// Nothing is wrong.
    pub ready: bool,
    /// What was looked at.
    pub findings: Vec<Finding>,
}

impl Answer {
    fn new(done: Done, dry_run: bool) -> Self {
        let lines = |changes: Vec<Change>| changes.iter().map(ChangeLine::from).collect();
        Self {
            applied: !dry_run,
            changes: lines(done.changes),
            files: done.files,
            left: lines(done.left),
        }
    }
}

impl From<&Change> for ChangeLine {
    fn from(change: &Change) -> Self {
        Self {
            item: change.new.item(),
            old: change.old.state(),
            new: change.new.state(),
        }
    }
}

fn address(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| {
        wrong(
            "it takes an address",
            "write it as `192.0.2.80` or `2001:db8::80`",
        )
    })
}

fn refused(what: &str, err: &BackendError) -> Problem {
    problem(format!("cannot {what}"), err)
}
