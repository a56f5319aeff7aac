//! lbd's command line.

use std::path::PathBuf;

use clap::Parser;

/// The load balancer's daemon: keeps it in the kernel as configured.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "lbd",
    version,
    after_help = "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 10 ended for good by `lbctl detach` or `lbctl backend \
                  undo`. SIGHUP applies the configuration file, SIGTERM and SIGINT stop the daemon; forwarding goes on without \
                  it."
)]
pub struct Options {
    /// The configuration file.
    #[arg(
        long,
        env = "LBD_CONFIG",
        value_name = "FILE",
        default_value = "/etc/lbd/lbd.yaml"
    )]
    pub config: PathBuf,
    /// The control socket.
    #[arg(long, env = "LBD_SOCKET", value_name = "PATH", default_value = crate::cli::DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Where the running configuration is kept over restarts.
    #[arg(
        long,
        env = "LBD_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/lbd"
    )]
    pub state_dir: PathBuf,
    /// Where program and maps are pinned, on a BPF file system.
    #[arg(
        long,
        env = "LBD_PIN_DIR",
        value_name = "DIR",
        default_value = "/sys/fs/bpf/lbd"
    )]
    pub pin_dir: PathBuf,
    /// Take the place of other XDP programs on the interfaces.
    #[arg(long)]
    pub replace: bool,
    /// What to log: a level, or directives such as `info,lb_daemon::io::net=debug`.
    #[arg(long, env = "LBD_LOG", value_name = "LEVEL", default_value = "info")]
    pub log: String,
    /// Log what becomes of each packet of a service, at level debug. It costs time for each packet.
    #[arg(long, env = "LBD_LOG_PACKETS")]
    pub log_packets: bool,
    /// Only check a configuration file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["detach", "dry_run"])]
    pub check: Option<PathBuf>,
    /// Only take out of the kernel what a daemon has left there. Connections are lost.
    #[arg(long, conflicts_with = "dry_run")]
    pub detach: bool,
    /// Only print what a start would change of what ran before.
    #[arg(long)]
    pub dry_run: bool,
    /// On a real server: keep what `lbctl backend prepare` has set.
    #[arg(long, conflicts_with_all = ["check", "detach", "dry_run"])]
    pub backend: bool,
}

/// What lbd was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Being the director's daemon.
    Serve,
    /// Checking a file.
    Check(PathBuf),
    /// Taking everything out of the kernel.
    Detach,
    /// Printing what a start would change.
    DryRun,
    /// Keeping a real server as it was prepared.
    Backend,
}

impl Options {
    /// What to log, with the packets if those are to be logged.
    pub fn filter(&self) -> String {
        let packets = if self.log_packets {
            ",packets=debug"
        } else {
            ""
        };
        format!("{}{packets}", self.log)
    }

    /// What lbd was started for.
    pub fn task(&self) -> Task {
        match (&self.check, self.detach, self.dry_run, self.backend) {
            (Some(file), ..) => Task::Check(file.clone()),
            (None, true, ..) => Task::Detach,
            (None, false, true, _) => Task::DryRun,
            (None, false, false, true) => Task::Backend,
            (None, false, false, false) => Task::Serve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::path::Path;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn paths_have_their_usual_places_and_can_be_given() {
        Options::command().debug_assert();
        let options = parse("lbd").unwrap();
        assert_eq!(options.task(), Task::Serve);
        assert_eq!(options.config, Path::new("/etc/lbd/lbd.yaml"));
        assert_eq!(options.socket, Path::new("/run/lbd/lbd.sock"));
        assert_eq!(options.state_dir, Path::new("/var/lib/lbd"));
        assert_eq!(options.pin_dir, Path::new("/sys/fs/bpf/lbd"));
        let options =
            parse("lbd --config a --socket b --state-dir c --pin-dir d --replace").unwrap();
        assert_eq!(
            (options.socket.as_path(), options.replace),
            (Path::new("b"), true)
        );
    }

    #[test]
    fn it_is_started_for_one_thing() {
        assert_eq!(
            parse("lbd --check x.yaml").unwrap().task(),
            Task::Check("x.yaml".into())
        );
        assert_eq!(parse("lbd --detach").unwrap().task(), Task::Detach);
        assert_eq!(parse("lbd --dry-run").unwrap().task(), Task::DryRun);
        assert_eq!(parse("lbd --backend").unwrap().task(), Task::Backend);
        assert!(parse("lbd --detach --dry-run").is_err());
        assert!(parse("lbd --backend --check x.yaml").is_err());
        assert!(parse("lbd --check x.yaml --detach").is_err());
        assert!(parse("lbd x.yaml").is_err());
    }
}
