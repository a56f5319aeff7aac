//! Plays recordings of IPVS to the real XDP program: `replay FILE…`.

use std::path::PathBuf;
use std::process::ExitCode;

use tests::replay::{Outcome, Program, Summary};

fn main() -> ExitCode {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        eprintln!("usage: replay FILE...");
        return ExitCode::from(2);
    }
    let played = Program::with(|program| {
        let mut summary = Summary::default();
        for file in &files {
            let outcome = Outcome::of(file, program);
            println!("{}: {outcome}", file.display());
            summary.add(&outcome);
        }
        Ok(summary)
    });
    match played {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::from(u8::from(summary.bad > 0))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
