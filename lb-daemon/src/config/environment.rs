//! What does a configuration have to fit on this machine?

use std::net::IpAddr;

use crate::core::hop::Via;

/// What is known of the machine that a configuration is for.
pub trait Environment {
    /// The names of its network interfaces; `None` when they are not known, and then not checked.
    fn interfaces(&self) -> Option<Vec<String>>;

    /// How an address is reached; `None` when that is not known, and then not checked.
    fn via(&self, addr: IpAddr) -> Option<Via>;

    /// Whether its files are those that are seen here; they are not checked otherwise.
    fn has_files(&self) -> bool {
        true
    }
}

/// A machine of which nothing is known: for checking a configuration elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anywhere;

impl Environment for Anywhere {
    fn interfaces(&self) -> Option<Vec<String>> {
        None
    }

    fn via(&self, _: IpAddr) -> Option<Via> {
        None
    }

    fn has_files(&self) -> bool {
        false
    }
}
