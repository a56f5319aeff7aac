//! `manual`: the manual pages, from the definitions that `--help` shows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use crate::api::types::Problem;
use crate::cli::{Cli, Failure};
use crate::config;
use crate::daemon::options::Options;

/// Where to write them.
#[derive(Clone, Debug, Args)]
pub struct Manual {
    /// The directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Manual {
    pub(super) fn run(self) -> Result<(), Failure> {
        write(&self.dir).map_err(|err| {
            let what = format!("cannot write the manual into {}", self.dir.display());
            Problem::failed(what).why(err.to_string()).into()
        })
    }
}

fn write(dir: &Path) -> io::Result<()> {
    let mut lbctl = Cli::command();
    lbctl.build();
    pages(dir, &lbctl)?;
    pages(dir, &Options::command())?;
    fs::write(dir.join("lbd.yaml.5"), config::manual())
}

/// A page for a command, and one for each of its verbs.
fn pages(dir: &Path, command: &Command) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut page = Vec::new();
    Man::new(command.clone())
        .title(name.to_uppercase())
        .section("8")
        .manual("lbd")
        .render(&mut page)?;
    fs::write(dir.join(format!("{name}.8")), page)?;
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown
        .filter(|verb| verb.get_name() != "help")
        .try_for_each(|verb| pages(dir, verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_and_every_key_a_place() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let read = |page: &str| fs::read_to_string(dir.path().join(page)).expect(page);
        assert!(read("lbctl.8").contains(r"lbctl\-add\-service(8)"));
        assert!(read("lbctl-backend-prepare.8").contains(r"\-\-gateway"));
        assert!(read("lbd.8").contains(r"\-\-backend"));
        let keys = read("lbd.yaml.5");
        for key in ["services", "virtual_router_id", "scheduler"] {
            assert!(keys.contains(&format!(".B {key}\n")), "{key}");
        }
        assert!(!dir.path().join("lbctl-manual.8").exists());
    }
}
