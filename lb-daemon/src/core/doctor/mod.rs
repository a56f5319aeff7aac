//! What is wrong with a director, and with what it needs of the network and of its real servers?
//!
//! [`Facts`] say what was found; somebody else gathers them. [`examine`] judges them: each [`Finding`] says what, what
//! shows it, what follows from it, and which command mends it.

pub mod facts;
mod finding;
mod interface;
mod machine;
mod real;
mod vip;
mod vrrp;

pub use facts::Facts;
pub use finding::{Check, Finding, Standing};
pub use machine::clock;

/// Judges everything that was found, in the order in which packets depend on it: the machine, interfaces, virtual addresses,
/// real servers, other directors.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut all = machine::examine(&facts.machine);
    all.extend(interface::examine(facts));
    all.extend(vip::examine(facts));
    all.extend(real::examine(facts));
    all.extend(vrrp::examine(facts));
    all
}

/// Whether nothing is wrong.
pub fn is_well(findings: &[Finding]) -> bool {
    findings.iter().all(|f| f.standing != Standing::Bad)
}

#[cfg(test)]
mod tests;
