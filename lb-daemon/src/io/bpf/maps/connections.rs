//! The connection table, to be walked and looked up on any thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lb_common::abi::{Load, Real, Timeouts};
use lb_common::conn::{Loads, State};
use lb_common::sched::threshold;
use lb_common::table::Table;

use crate::io::bpf::region::{self, Region};

/// The connection table, and what its entries refer to.
#[derive(Clone, Debug)]
pub(in crate::io::bpf) struct Connections {
    pub(super) conns: Arc<Region>,
    pub(super) reals: Arc<Region>,
    pub(super) loads: Arc<Region>,
    pub(super) timeouts: Arc<Region>,
    pub(super) mask: u32,
    pub(super) key: [u64; 2],
}

impl Connections {
    /// The table itself.
    pub(in crate::io::bpf) fn table(&self) -> Table<'_, Region> {
        Table::new(&self.conns, self.mask, self.key)
    }

    /// How many buckets it has.
    pub(in crate::io::bpf) fn buckets(&self) -> u32 {
        self.conns.len()
    }

    /// The real server of a slot.
    pub(in crate::io::bpf) fn real(&self, slot: u32) -> Option<Real> {
        region::load(self.reals.entry(slot)?)
    }

    /// The timeout of a state under a profile, in ticks.
    pub(in crate::io::bpf) fn timeout(&self, profile: u32, state: State) -> Option<u32> {
        let timeouts: Timeouts = region::load(self.timeouts.entry(profile)?)?;
        timeouts.ticks.get(state as usize).copied()
    }
}

/// What the daemon takes out of the table, or changes in it, is reflected in the loads as what the program does.
impl Loads for Connections {
    fn add(&self, real: u32, change: u64) {
        let Some(word) = self.loads.word(real) else {
            return;
        };
        let load = Load {
            conns: word
                .fetch_add(change, Ordering::AcqRel)
                .wrapping_add(change),
        };
        if let Some(real) = load.overloaded().then(|| self.real(real)).flatten()
            && threshold::after_unbind(&real, load) == threshold::Flag::Clear
        {
            word.fetch_and(!Load::OVERLOADED, Ordering::AcqRel);
        }
    }
}
