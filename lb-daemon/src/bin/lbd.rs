//! `lbd`: the director's daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    lb_daemon::daemon::main(std::env::args_os())
}
