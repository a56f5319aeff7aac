//! Does real traffic arrive, whatever happens to the director?
//!
//! Each test makes a lab of its own: see [`tests::lab`].

mod configuration;
mod counts;
mod demo;
mod drain;
mod foresight;
mod health;
mod lab;
mod load;
mod methods;
mod neighbours;
mod refusals;
mod restart;
mod shares;
mod timeouts;

/// Whether to leave a test out because of a fault that is known and not mended yet. It counts as skipped, with the reason;
/// `LB_KNOWN_FAULTS=run` runs it all the same.
fn is_known_fault(reason: &str) -> bool {
    let run = std::env::var_os("LB_KNOWN_FAULTS").is_some_and(|how| how == "run");
    if !run {
        println!("SKIP: known fault: {reason}");
    }
    !run
}
