//! `lbctl`: controls the load balancer.

use std::process::ExitCode;

fn main() -> ExitCode {
    lb_daemon::cli::run(std::env::args_os())
}
