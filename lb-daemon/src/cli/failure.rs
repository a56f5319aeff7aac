//! How a command ends that did not do what was asked.

use std::io;
use std::process::ExitCode;

use super::render::style::{Role, Style, When};
use crate::api::types::Problem;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The daemon refused or failed, or cannot be reached.
    Problem(Problem),
    /// It said all it had to say; only the exit status is left.
    Quiet,
    /// Standard output is gone: the reader has seen enough, which is no failure.
    OutputClosed,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<io::Error> for Failure {
    fn from(err: io::Error) -> Self {
        if err.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Problem(Problem::failed("cannot write the answer").why(err.to_string()))
        }
    }
}

impl Failure {
    /// Tells the operator, and gives the exit status.
    pub fn report(self) -> ExitCode {
        match self {
            Self::OutputClosed => return ExitCode::SUCCESS,
            Self::Quiet => {}
            Self::Problem(problem) => {
                let style = Style::detect(When::Auto, &io::stderr());
                eprint!("{}", describe(&problem, style));
            }
        }
        ExitCode::FAILURE
    }
}

/// What failed, on what, why, and a hint.
pub fn describe(problem: &Problem, style: Style) -> String {
    let mut out = format!("{} {}\n", style.paint(Role::Bad, "error:"), problem.error);
    if let Some(why) = &problem.why {
        for line in why.lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    if let Some(hint) = &problem.hint {
        out.push_str(&format!("{} {hint}\n", style.paint(Role::Good, "hint:")));
    }
    out
}
