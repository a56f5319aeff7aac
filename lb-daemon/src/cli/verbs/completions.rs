//! `completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::{Cli, Context, Failure};

/// For which shell.
#[derive(Clone, Debug, Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "lbctl", &mut script);
        context.say(&String::from_utf8_lossy(&script))
    }
}
