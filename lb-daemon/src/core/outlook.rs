//! Whom would the data plane choose, and what would a change make of it?
//!
//! An [`Outlook`] is what a service's choices go by at one moment, read from the maps. [`Outlook::pool`] makes of it what
//! the rules of [`lb_common::sched`] choose with, so that `explain` and `simulate` run the code that the XDP program
//! runs.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lb_common::abi::{Load, Locality, Real};
use lb_common::load;
use lb_common::net::Proto;
use lb_common::sched::{self, Request, Scheduler};

use crate::core::schedule::{Course, Entry, Layout, MhTable, Model, fold};

/// What a service's choices go by at one moment.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// Bits of [`lb_common::abi::service`].
    pub flags: u16,
    /// Its real servers, newest first.
    pub entries: Vec<Entry>,
    /// Where the scheduler is, for the generation that comes next.
    pub course: Course,
    /// The current generation, as the maps have it.
    pub layout: Layout,
    /// The turn that comes next.
    pub turn: u64,
    /// Loads by slot.
    pub loads: HashMap<u32, Load>,
    /// What lblc and lblcr remember of the destination.
    pub locality: Option<Locality>,
    /// The time, in ticks.
    pub now: u32,
    /// Another director is the master of the service's virtual router: new connections are left to it.
    pub standby: bool,
}

/// A persistent client's template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The real server that it leads to.
    pub real: SocketAddr,
    /// How long it lasts without another connection.
    pub expires: Duration,
    /// Whether that real server is still to be had; otherwise another one is chosen, and the template led anew.
    pub leads: bool,
}

impl Outlook {
    /// What choices are made with now.
    pub fn pool(&self) -> Model {
        let mut pool = Model::new(
            self.scheduler,
            self.flags,
            self.layout.clone(),
            self.loads(),
        );
        pool.set_turn(self.turn);
        pool.locality.set(self.locality);
        pool.now = self.now;
        pool
    }

    /// What it would be after a change, as [`Course`] lays it out. Real servers that are there keep their slots and loads.
    #[must_use]
    pub fn changed(
        &self,
        scheduler: Scheduler,
        flags: u16,
        mh_table: MhTable,
        wanted: &[Wanted],
    ) -> Self {
        let slots: HashMap<SocketAddr, u32> = self
            .entries
            .iter()
            .map(|entry| (entry.id, entry.slot))
            .collect();
        let mut fresh = self
            .entries
            .iter()
            .map(|entry| entry.slot + 1)
            .max()
            .unwrap_or(0);
        let mut slot = |id| {
            slots.get(&id).copied().unwrap_or_else(|| {
                fresh += 1;
                fresh - 1
            })
        };
        let entries: Vec<Entry> = wanted
            .iter()
            .map(
                |Wanted {
                     id,
                     weight,
                     upper,
                     lower,
                     out,
                 }| Entry {
                    id: *id,
                    slot: slot(*id),
                    weight: *weight,
                    upper: *upper,
                    lower: *lower,
                    out: *out,
                },
            )
            .collect();
        let mut course = self.course.clone();
        course.mh_table = mh_table;
        let layout = course.next(scheduler, entries.clone(), self.turn);
        let turn = layout.start.into();
        Self {
            scheduler,
            flags,
            entries,
            course,
            layout,
            turn,
            loads: self.loads.clone(),
            locality: self.locality,
            now: self.now,
            standby: self.standby,
        }
    }

    fn loads(&self) -> Vec<Load> {
        let len = self
            .loads
            .keys()
            .chain(self.entries.iter().map(|entry| &entry.slot))
            .max()
            .map_or(0, |max| max + 1);
        (0..len)
            .map(|slot| self.loads.get(&slot).copied().unwrap_or_default())
            .collect()
    }
}

/// A real server of a change, newest first in a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its address and port.
    pub id: SocketAddr,
    /// Its weight.
    pub weight: u16,
    /// Upper threshold of connections.
    pub upper: u32,
    /// Lower threshold of connections.
    pub lower: u32,
    /// Down: no table has a place for it.
    pub out: bool,
}

/// What became of new connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// How many each real server got.
    pub shares: HashMap<SocketAddr, u64>,
    /// How many nobody could take.
    pub refused: u64,
}

/// Opens connections from as many different clients, which all stay open. The clients are the same each time.
pub fn trial(outlook: &Outlook, proto: Proto, vip: IpAddr, connections: u32) -> Trial {
    let mut pool = outlook.pool();
    let by_slot: HashMap<u32, &Entry> = outlook
        .entries
        .iter()
        .map(|entry| (entry.slot, entry))
        .collect();
    let mut trial = Trial::default();
    for client in clients(vip).take(connections as usize) {
        let Some(choice) = sched::choose(&pool, &client) else {
            trial.refused += 1;
            continue;
        };
        if let Some(entry) = by_slot.get(&choice.real()) {
            *trial.shares.entry(entry.id).or_default() += 1;
            open(&mut pool, entry, proto);
        }
    }
    trial
}

/// Whom a client's new connection would go to, if nobody else came before it.
pub fn choice(outlook: &Outlook, request: &Request) -> Option<SocketAddr> {
    let choice = sched::choose(&outlook.pool(), request)?;
    outlook
        .entries
        .iter()
        .find(|entry| entry.slot == choice.real())
        .map(|entry| entry.id)
}

/// How many of these clients would come to another real server than before, for schedulers by hash.
pub fn elsewhere(before: &Outlook, after: &Outlook, clients: impl Iterator<Item = Request>) -> u64 {
    let ids = |outlook: &Outlook| -> HashMap<u32, SocketAddr> {
        outlook
            .entries
            .iter()
            .map(|entry| (entry.slot, entry.id))
            .collect()
    };
    let (pools, ids) = ((before.pool(), after.pool()), (ids(before), ids(after)));
    let mut count = 0;
    for client in clients {
        let was = sched::choose(&pools.0, &client).and_then(|choice| ids.0.get(&choice.real()));
        let is = sched::choose(&pools.1, &client).and_then(|choice| ids.1.get(&choice.real()));
        count += u64::from(was != is);
    }
    count
}

/// How often each real server would be drawn, of `draws` times: for schedulers that draw lots.
pub fn draws(outlook: &Outlook, request: &Request, draws: u32) -> HashMap<SocketAddr, u32> {
    let mut pool = outlook.pool();
    let mut drawn = HashMap::new();
    for seed in 0..draws {
        pool.seed(seed.into());
        let Some(choice) = sched::choose(&pool, request) else {
            continue;
        };
        if let Some(entry) = outlook
            .entries
            .iter()
            .find(|entry| entry.slot == choice.real())
        {
            *drawn.entry(entry.id).or_default() += 1;
        }
    }
    drawn
}

/// What the scheduler compares of a real server, as [`rule`] says it; nothing where it compares nothing.
pub fn score(scheduler: Scheduler, weight: u16, load: Load) -> Option<String> {
    let ratio = |n: u64| match weight {
        0 => n.to_string(),
        w => format!("{n} / {w} = {:.1}", n as f64 / f64::from(w)),
    };
    match scheduler {
        Scheduler::Lc => Some(sched::overhead(load).to_string()),
        Scheduler::Wlc | Scheduler::Lblc | Scheduler::Lblcr | Scheduler::Twos => {
            Some(ratio(sched::overhead(load)))
        }
        Scheduler::Sed => Some(ratio(sched::expected(load))),
        Scheduler::Nq if load.active() == 0 => Some("idle".to_owned()),
        Scheduler::Nq => Some(ratio(sched::expected(load))),
        Scheduler::Fo => Some(format!("weight {weight}")),
        Scheduler::Ovf if load.active() > u32::from(weight) => {
            Some(format!("{} active > weight {weight}", load.active()))
        }
        Scheduler::Ovf => Some(format!("weight {weight}, {} active", load.active())),
        Scheduler::Rr | Scheduler::Wrr | Scheduler::Sh | Scheduler::Dh | Scheduler::Mh => None,
    }
}

/// By what rule the scheduler chooses, in words.
pub const fn rule(scheduler: Scheduler) -> &'static str {
    match scheduler {
        Scheduler::Rr => "the next one in turn",
        Scheduler::Wrr => "the next one in turn, in bursts by weight",
        Scheduler::Lc => {
            "the least overhead: 256 for each active connection and 1 for each inactive one"
        }
        Scheduler::Wlc => {
            "the least overhead (256 for each active connection, 1 for each inactive one) divided by weight"
        }
        Scheduler::Sed => {
            "the shortest expected delay: active connections and this one, divided by weight"
        }
        Scheduler::Nq => "the first idle one; if none is, the shortest expected delay",
        Scheduler::Sh => "the one that the client's address hashes to",
        Scheduler::Dh => "the one that the destination address hashes to",
        Scheduler::Lblc => {
            "the one that the destination went to before, unless it is overloaded; else the least overhead"
        }
        Scheduler::Lblcr => {
            "the least overhead of those that the destination went to before; if overloaded, of all"
        }
        Scheduler::Mh => "the one that the client's address hashes to in Maglev's table",
        Scheduler::Fo => "the greatest weight",
        Scheduler::Ovf => "the greatest weight of those whose active connections do not exceed it",
        Scheduler::Twos => "the lesser overhead of two drawn by lot",
    }
}

/// Whether it chooses by the client or the destination alone, so that the same client comes to the same real server.
pub const fn is_by_hash(scheduler: Scheduler) -> bool {
    matches!(scheduler, Scheduler::Sh | Scheduler::Dh | Scheduler::Mh)
}

/// A new connection at a real server, with what that does to its thresholds.
fn open(pool: &mut Model, entry: &Entry, proto: Proto) {
    let Some(at) = pool.loads.get_mut(entry.slot as usize) else {
        return;
    };
    let more = match proto {
        Proto::Tcp => Load::ONE + Load::ACTIVE,
        Proto::Udp => Load::ONE,
    };
    let real = Real {
        upper: entry.upper,
        lower: entry.lower,
        ..Real::default()
    };
    let word = AtomicU64::new(at.conns);
    load::add(&word, &real, more);
    at.conns = word.into_inner();
}

/// Clients from all over, always the same.
fn clients(vip: IpAddr) -> impl Iterator<Item = Request> {
    let mut random = fastrand::Rng::with_seed(0x10ad_ba1a);
    std::iter::repeat_with(move || Request {
        client: random.u32(0x0100_0000..0xE000_0000),
        destination: fold(vip),
        client_port: random.u16(1024..),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn id(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 80))
    }

    fn wanted(weights: &[u16]) -> Vec<Wanted> {
        (1..)
            .zip(weights)
            .map(|(n, weight)| Wanted {
                id: id(n),
                weight: *weight,
                upper: 0,
                lower: 0,
                out: false,
            })
            .collect()
    }

    fn outlook(scheduler: Scheduler, weights: &[u16]) -> Outlook {
        let nothing = Outlook {
            scheduler,
            flags: 0,
            entries: Vec::new(),
            course: Course::default(),
            layout: Layout::default(),
            turn: 0,
            loads: HashMap::new(),
            locality: None,
            now: 0,
            standby: false,
        };
        nothing.changed(scheduler, 0, MhTable::Fine, &wanted(weights))
    }

    fn shares(outlook: &Outlook, n: u32) -> Vec<u64> {
        let trial = trial(outlook, Proto::Tcp, VIP, n);
        outlook
            .entries
            .iter()
            .map(|entry| trial.shares.get(&entry.id).copied().unwrap_or(0))
            .collect()
    }

    #[test]
    fn shares_are_the_schedulers() {
        assert_eq!(
            shares(&outlook(Scheduler::Rr, &[5, 1, 0]), 100),
            [50, 50, 0]
        );
        assert_eq!(
            shares(&outlook(Scheduler::Wrr, &[5, 3, 1]), 900),
            [500, 300, 100]
        );
        assert_eq!(
            shares(&outlook(Scheduler::Wlc, &[5, 3, 1]), 900),
            [500, 300, 100]
        );
        assert_eq!(shares(&outlook(Scheduler::Fo, &[5, 3, 1]), 10), [10, 0, 0]);
        let spread = shares(&outlook(Scheduler::Mh, &[1, 1]), 10_000);
        assert!(
            spread.iter().all(|share| (4_700..5_300).contains(share)),
            "{spread:?}"
        );
    }

    #[test]
    fn present_loads_count() {
        let mut outlook = outlook(Scheduler::Lc, &[1, 1]);
        outlook.loads.insert(
            outlook.entries[0].slot,
            Load {
                conns: 10 * (Load::ONE + Load::ACTIVE),
            },
        );
        assert_eq!(shares(&outlook, 10), [0, 10]);
        assert_eq!(shares(&outlook, 30), [10, 20]);
    }

    #[test]
    fn a_full_real_server_gets_no_more_and_when_all_are_full_the_rest_is_refused() {
        let mut limited = wanted(&[1, 1]);
        limited[0].upper = 3;
        limited[1].upper = 5;
        let outlook =
            outlook(Scheduler::Rr, &[]).changed(Scheduler::Rr, 0, MhTable::Fine, &limited);
        let trial = trial(&outlook, Proto::Tcp, VIP, 10);
        assert_eq!(
            (trial.shares[&id(1)], trial.shares[&id(2)], trial.refused),
            (3, 5, 2)
        );
    }

    #[test]
    fn a_change_keeps_slots_and_goes_on_where_the_scheduler_was() {
        let mut before = outlook(Scheduler::Rr, &[1, 1, 1]);
        // One choice was made since the generation began.
        before.turn += 1;
        let next = choice(&before, &clients(VIP).next().unwrap()).unwrap();
        let after = before.changed(Scheduler::Rr, 0, MhTable::Fine, &wanted(&[1, 1, 1, 1]));
        assert_eq!(after.entries[..3], before.entries[..]);
        assert_eq!(choice(&after, &clients(VIP).next().unwrap()), Some(next));
    }

    #[test]
    fn of_ten_maglev_moves_only_the_one_that_is_quiesced() {
        let before = outlook(Scheduler::Mh, &[1; 10]);
        let mut changed = wanted(&[1; 10]);
        changed.remove(4);
        let after = before.changed(Scheduler::Mh, 0, MhTable::Fine, &changed);
        let others = clients(VIP)
            .take(2_000)
            .filter(|client| choice(&before, client) != Some(id(5)));
        let moved = elsewhere(&before, &after, others);
        assert!(moved < 60, "{moved} of 2000 moved");
        assert_eq!(elsewhere(&before, &before, clients(VIP).take(100)), 0);
    }

    #[test]
    fn lots_are_drawn_many_times() {
        let drawn = draws(
            &outlook(Scheduler::Twos, &[1, 1]),
            &clients(VIP).next().unwrap(),
            1_000,
        );
        assert_eq!(drawn.values().sum::<u32>(), 1_000);
        assert_eq!(drawn.len(), 2);
    }

    #[test]
    fn scores_are_what_is_compared() {
        let load = Load {
            conns: 2 * (Load::ONE + Load::ACTIVE) + 3 * Load::ONE,
        };
        assert_eq!(score(Scheduler::Lc, 2, load).unwrap(), "515");
        assert_eq!(score(Scheduler::Wlc, 2, load).unwrap(), "515 / 2 = 257.5");
        assert_eq!(score(Scheduler::Sed, 2, load).unwrap(), "3 / 2 = 1.5");
        assert_eq!(score(Scheduler::Nq, 2, Load::default()).unwrap(), "idle");
        assert_eq!(
            score(Scheduler::Ovf, 1, load).unwrap(),
            "2 active > weight 1"
        );
        assert_eq!(score(Scheduler::Rr, 2, load), None);
    }
}
