//! A laboratory of network namespaces: hosts, networks, real servers, clients and a director.
//!
//! A [`Lab`] makes uniquely named namespaces and networks between them, and removes all of it when it is dropped, also
//! after a panic or an interrupt. What a run left behind that was killed is removed by the next one. A [`Site`] is
//! a lab with a client, a router, real servers that are ready for each forwarding method, and a [`Director`].
//!
//! Each step that fails stops the set-up, and the error names the command and what it said.

mod client;
mod director;
mod host;
mod interrupt;
mod ipv6;
mod load;
mod pace;
mod pair;
mod process;
mod programs;
mod run;
mod server;
mod silence;
mod site;
mod switch;
mod tap;
mod turn;
mod visit;

pub use client::{Answers, Checksum};
pub use director::{Director, Paths, program};
pub use host::Host;
pub use interrupt::interrupted;
pub use load::{Load, Outcome, Work};
pub use pace::{Asked, Pace};
pub use pair::Pair;
pub use process::Process;
pub use run::{Lab, kept, remove, remove_all};
pub use silence::{Heard, Silence};
pub use site::{Arms, Layout, Real, Site, Vip, port};
pub use tap::{Sum, Tap};
pub use turn::Turn;
pub use visit::Visit;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Ask until the answer is there; when it is not in time, the error is what the last question said. Where programs run slower
/// than usual, the variable `LB_PATIENCE` in the environment says how many times as long to wait.
///
/// # Errors
///
/// The deadline has passed.
pub fn poll<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let within = within * patience();
    let deadline = Instant::now() + within;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => {
                bail!("{what}: not within {within:?}: {error:#}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// How many times as long as usual to wait.
fn patience() -> u32 {
    let set = std::env::var("LB_PATIENCE").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Why a lab cannot be made on this machine, if it cannot.
pub fn unavailable() -> Option<&'static str> {
    (!nix::unistd::geteuid().is_root()).then_some("only root may load programs and make namespaces")
}

/// Leave a test that needs a lab where none can be made: it counts as skipped, with the reason. Else the rest of the test runs
/// alone; with the words `beside others`, beside others that may, for nothing in it has to happen soon.
#[macro_export]
macro_rules! needs_lab {
    () => {
        $crate::needs_lab!(Turn::alone());
    };
    (beside others) => {
        $crate::needs_lab!(Turn::beside_others());
    };
    (Turn::$turn:ident()) => {
        if let Some(reason) = $crate::lab::unavailable() {
            println!("SKIP: {reason}");
            return Ok(());
        }
        let _turn = $crate::lab::Turn::$turn();
    };
}
