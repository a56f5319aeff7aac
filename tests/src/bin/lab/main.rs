//! The lab by itself: the demonstration, and what removes labs that were kept.

mod demo;
mod shares;
mod tunnel_end;

use std::process::ExitCode;

use anyhow::Result;
use tests::lab;

const USAGE: &str = "usage: lab demo [--ipv6] [--keep] | lab down [LAB | --all] | lab tunnel-end";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["demo", ref options @ ..] if options.iter().all(|o| ["--ipv6", "--keep"].contains(o)) => {
            let family = match options.contains(&"--ipv6") {
                false => demo::Family::V4,
                true => demo::Family::V6,
            };
            demo::run(family, options.contains(&"--keep"))
        }
        ["tunnel-end"] => tunnel_end::run(),
        ["down", "--all"] => down_all(),
        ["down", id] => lab::remove(id).map(|()| true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    // What failed may have failed because we are being stopped.
    lab::interrupted();
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn down_all() -> Result<bool> {
    for id in lab::remove_all()? {
        println!("removed {id}");
    }
    Ok(true)
}
