//! The verbs, a file each (those that go together share one).

pub mod backend;
pub mod check;
pub mod completions;
pub mod config;
pub mod conns;
pub mod detach;
pub mod doctor;
pub mod drain;
pub mod explain;
pub mod health;
pub mod list;
pub mod manual;
pub mod real;
pub mod rules;
pub mod service;
pub mod simulate;
pub mod stats;
pub mod status;
pub mod timeout;
pub mod vrrp;

use clap::Subcommand;

use super::{Context, Failure};

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Add a virtual service.
    #[command(short_flag = 'A')]
    AddService(service::Add),
    /// Change a virtual service; what is not named stays.
    #[command(short_flag = 'E')]
    EditService(service::Edit),
    /// Delete a virtual service; its connections go on until they end.
    #[command(short_flag = 'D', visible_alias = "delete-service")]
    DelService(service::Delete),
    /// Add a real server to a service.
    #[command(short_flag = 'a', visible_alias = "add-server")]
    AddReal(real::Add),
    /// Change a real server; what is not named stays.
    #[command(short_flag = 'e', visible_alias = "edit-server")]
    EditReal(real::Edit),
    /// Remove a real server; its connections go on until they end.
    #[command(short_flag = 'd', visible_aliases = ["delete-real", "del-server", "delete-server"])]
    DelReal(real::Delete),
    /// Take a real server out of use, and tell when it can be stopped.
    Drain(drain::Drain),
    /// Take a drained real server into use again.
    Undrain(drain::Undrain),
    /// List services and real servers, as `ipvsadm -Ln` does.
    #[command(short_flag = 'L', visible_alias = "ls")]
    List(list::List),
    /// Explain where a connection goes, and why.
    Explain(explain::Explain),
    /// Try a change out: shares of new connections before and after.
    Simulate(simulate::Simulate),
    /// Show connections, packets and bytes.
    Stats(stats::Stats),
    /// Set the counters of `stats` to zero.
    #[command(short_flag = 'Z')]
    Zero(stats::Zero),
    /// List connections, as `ipvsadm -Lnc` does.
    Conns(conns::Conns),
    /// Show the health of real servers, and what their checks say.
    Health(health::Health),
    /// Print what runs as commands, as `ipvsadm -S` does.
    #[command(short_flag = 'S')]
    Dump(rules::Dump),
    /// Add the services that `ipvsadm -S -n` or `dump` printed, from standard input: all of them, or none.
    #[command(short_flag = 'R')]
    Restore(rules::Restore),
    /// Delete every service; connections go on until they end.
    #[command(short_flag = 'C')]
    Clear(rules::Clear),
    /// Show how the director is.
    Status(status::Status),
    /// Find what breaks forwarding: this machine, the network, each real server.
    Doctor(doctor::Doctor),
    /// Show or set how long connections are kept without a packet.
    #[command(visible_alias = "set")]
    SetTimeout(timeout::SetTimeout),
    /// Show virtual routers, and who is master; or leave one to another director.
    Vrrp(vrrp::Vrrp),
    /// Check a configuration file.
    Check(check::Check),
    /// Show what a reload of the configuration file would change.
    Diff(config::Diff),
    /// Write the running configuration to the configuration file.
    Save(config::Save),
    /// Apply the configuration file.
    Reload(config::Reload),
    /// Take everything out of the kernel and stop the daemon.
    Detach(detach::Detach),
    /// On a real server: prepare it, check it, or undo that. Needs no daemon.
    Backend(backend::OnBackend),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
    /// Write the manual pages into a directory.
    #[command(hide = true)]
    Manual(manual::Manual),
}

impl Verb {
    /// Does it.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::AddService(verb) => verb.run(context).await,
            Self::EditService(verb) => verb.run(context).await,
            Self::DelService(verb) => verb.run(context).await,
            Self::AddReal(verb) => verb.run(context).await,
            Self::EditReal(verb) => verb.run(context).await,
            Self::DelReal(verb) => verb.run(context).await,
            Self::Drain(verb) => verb.run(context).await,
            Self::Undrain(verb) => verb.run(context).await,
            Self::List(verb) => verb.run(context).await,
            Self::Explain(verb) => verb.run(context).await,
            Self::Simulate(verb) => verb.run(context).await,
            Self::Stats(verb) => verb.run(context).await,
            Self::Zero(verb) => verb.run(context).await,
            Self::Conns(verb) => verb.run(context).await,
            Self::Health(verb) => verb.run(context).await,
            Self::Dump(verb) => verb.run(context).await,
            Self::Restore(verb) => verb.run(context).await,
            Self::Clear(verb) => verb.run(context).await,
            Self::Status(verb) => verb.run(context).await,
            Self::Doctor(verb) => verb.run(context).await,
            Self::SetTimeout(verb) => verb.run(context).await,
            Self::Vrrp(verb) => verb.run(context).await,
            Self::Check(verb) => verb.run(context).await,
            Self::Diff(verb) => verb.run(context).await,
            Self::Save(verb) => verb.run(context).await,
            Self::Reload(verb) => verb.run(context).await,
            Self::Detach(verb) => verb.run(context).await,
            Self::Backend(verb) => verb.run(context).await,
            Self::Completions(verb) => verb.run(context),
            Self::Manual(verb) => verb.run(),
        }
    }
}
