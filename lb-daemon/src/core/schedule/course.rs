//! Where do rr and wrr go on when a service's real servers change?
//!
//! The kernel's rr points to the real server it chose last, and its wrr keeps a current weight besides. Here the turn
//! of the generation tells both; a new generation begins with the turn that stands for what the kernel's
//! state would be after the same change.

use std::net::SocketAddr;

use lb_common::abi::Member;
use lb_common::sched::Scheduler;

use super::buckets;
use super::cycle::{WrrCycle, adopt_weight};
use super::maglev::{self, MhTable, Owner};
use super::slots::pack;
use super::{Entry, Layout};

/// A service's scheduler from one generation to the next.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// How mh's table is made.
    pub mh_table: MhTable,
    current: Option<Current>,
}

/// What the last generation was made of.
#[derive(Clone, Debug)]
struct Current {
    scheduler: Scheduler,
    /// Newest first.
    entries: Vec<Entry>,
    /// The last weights above zero, entry by entry.
    last_weights: Vec<u16>,
    start: u32,
    /// Whether wrr began at the head of the list, as after a change, and not behind a choice.
    at_head: bool,
    /// rr's pointer before the first choice of the generation; none is the head of the list.
    pointer: Option<SocketAddr>,
}

impl Course {
    /// Goes on from a generation that an earlier daemon wrote: its scheduler, its `start`, and its members with
    /// the real servers in their slots, newest first.
    pub fn adopt(scheduler: Scheduler, start: u32, entries: Vec<(Entry, Member)>) -> Self {
        let (entries, members): (Vec<Entry>, Vec<Member>) = entries.into_iter().unzip();
        let last_weights = members.iter().map(|m| m.last_weight).collect();
        let pointer = before_eligible(&entries, start);
        let cycle = WrrCycle::new(&weights_of(&entries));
        let at_head = cycle.place_of(cycle.current_weight(start)) == start;
        Self {
            mh_table: MhTable::default(),
            current: Some(Current {
                scheduler,
                entries,
                last_weights,
                start,
                at_head,
                pointer,
            }),
        }
    }

    /// Lays out the generation with these real servers, newest first, following one whose turn is now `turn`.
    pub fn next(&mut self, scheduler: Scheduler, entries: Vec<Entry>, turn: u64) -> Layout {
        let last_weights: Vec<u16> = entries
            .iter()
            .map(|e| {
                if e.weight > 0 || e.out {
                    e.weight
                } else {
                    self.last_weight(e.id)
                }
            })
            .collect();
        // Where it goes on depends on the scheduler; a changed scheduler begins anew.
        let before = match self.current.take() {
            None => Some(Current::empty(scheduler)),
            known => known.filter(|c| c.scheduler == scheduler),
        };
        let list = List::new(&entries, &last_weights);
        let (mut pointer, mut at_head, mut start) = (None, true, 0);
        let mut schedule = Vec::new();
        match scheduler {
            Scheduler::Rr => {
                pointer = before.and_then(|b| b.pointer_in(&entries, turn));
                start = after_pointer(&entries, pointer);
            }
            Scheduler::Wrr => {
                let cycle = WrrCycle::new(&weights_of(&entries));
                schedule = cycle.words();
                at_head = !before
                    .as_ref()
                    .is_some_and(|b| b.goes_on_in(&entries, turn));
                start = before.map_or(0, |b| b.wrr_place(&cycle, &entries, turn));
            }
            Scheduler::Sh => schedule = pack(&buckets::fill(&list.shares(|e| e.weight))),
            Scheduler::Dh => schedule = pack(&buckets::fill(&list.shares(|_| 1))),
            Scheduler::Mh => schedule = list.mh_table(self.mh_table, &last_weights),
            Scheduler::Lc
            | Scheduler::Wlc
            | Scheduler::Sed
            | Scheduler::Nq
            | Scheduler::Lblc
            | Scheduler::Lblcr
            | Scheduler::Fo
            | Scheduler::Ovf
            | Scheduler::Twos => {}
        }
        let fallback = list.fallback();
        let layout = Layout {
            fallback_len: fallback.len() as u32,
            fallback: pack(&fallback),
            members: list.members,
            eligible: list.eligible,
            schedule,
            start,
        };
        self.current = Some(Current {
            scheduler,
            entries,
            last_weights,
            start,
            at_head,
            pointer,
        });
        layout
    }

    fn last_weight(&self, id: SocketAddr) -> u16 {
        let Some(current) = &self.current else {
            return 0;
        };
        let known = current
            .entries
            .iter()
            .zip(&current.last_weights)
            .find(|(e, _)| e.id == id);
        known.map_or(0, |(_, &weight)| weight)
    }
}

impl Current {
    /// A service that has no real servers yet.
    const fn empty(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            entries: Vec::new(),
            last_weights: Vec::new(),
            start: 0,
            at_head: true,
            pointer: None,
        }
    }

    /// rr's pointer at `turn`, in a new list: when its real server is gone, the one before it in the old list.
    fn pointer_in(&self, entries: &[Entry], turn: u64) -> Option<SocketAddr> {
        let chosen = if turn == u64::from(self.start) {
            self.pointer
        } else {
            let eligible: Vec<SocketAddr> = self
                .entries
                .iter()
                .filter(|e| e.weight > 0)
                .map(|e| e.id)
                .collect();
            let last = turn.wrapping_sub(1).checked_rem(eligible.len() as u64);
            last.and_then(|i| eligible.get(i as usize).copied())
        }?;
        let at = self.entries.iter().position(|e| e.id == chosen)?;
        let still_there = |e: &&Entry| entries.iter().any(|n| n.id == e.id);
        self.entries
            .get(..=at)?
            .iter()
            .rev()
            .find(still_there)
            .map(|e| e.id)
    }

    /// Whether wrr just goes on: nothing about the real servers changed, and it is behind a choice.
    fn goes_on_in(&self, entries: &[Entry], turn: u64) -> bool {
        self.entries == entries && !self.is_at_head(turn)
    }

    fn is_at_head(&self, turn: u64) -> bool {
        let cycle = WrrCycle::new(&weights_of(&self.entries));
        turn == cycle.top_turn() || self.at_head && turn == u64::from(self.start)
    }

    /// The place in a new cycle where wrr goes on.
    fn wrr_place(&self, cycle: &WrrCycle, entries: &[Entry], turn: u64) -> u32 {
        let old = WrrCycle::new(&weights_of(&self.entries));
        let place = turn.checked_rem(u64::from(old.length())).unwrap_or(0) as u32;
        if self.entries == entries {
            return place;
        }
        // The pointer goes back to the head of the list; the current weight stays that of the last choice.
        let last = match place {
            place if self.is_at_head(turn) => place,
            0 => old.length() - 1,
            place => place - 1,
        };
        let current = old.current_weight(last);
        cycle.place_of(current_weight_after(current, &self.entries, entries))
    }
}

/// The kernel's current weight after the list changed, by the steps that an operator would have made: some removed,
/// some edited, some added one after the other.
fn current_weight_after(mut current: u32, before: &[Entry], after: &[Entry]) -> u32 {
    let in_list = |list: &[Entry], entry: &Entry| list.iter().find(|e| e.id == entry.id).copied();
    let mut list = before.to_vec();
    let mut change =
        |list: &[Entry]| current = adopt_weight(current, list.iter().map(|e| e.weight));
    for gone in before.iter().filter(|e| in_list(after, e).is_none()) {
        list.retain(|e| e.id != gone.id);
        change(&list);
    }
    for at in 0..list.len() {
        let edited = list.get(at).and_then(|e| in_list(after, e));
        if let (Some(place), Some(edited)) = (list.get_mut(at), edited)
            && *place != edited
        {
            *place = edited;
            change(&list);
        }
    }
    for added in after.iter().rev().filter(|e| in_list(before, e).is_none()) {
        list.push(*added);
        change(&list);
    }
    current
}

fn weights_of(entries: &[Entry]) -> Vec<u16> {
    entries
        .iter()
        .map(|e| e.weight)
        .filter(|&w| w > 0)
        .collect()
}

/// The index among the eligible of the first one behind rr's pointer.
fn after_pointer(entries: &[Entry], pointer: Option<SocketAddr>) -> u32 {
    let behind = pointer
        .and_then(|id| entries.iter().position(|e| e.id == id))
        .map_or(0, |at| at + 1);
    let (before, after) = entries.split_at(behind);
    let eligible = |part: &[Entry]| part.iter().filter(|e| e.weight > 0).count() as u32;
    if eligible(after) > 0 {
        eligible(before)
    } else {
        0
    }
}

/// The entry before the eligible one of an index: a pointer from which rr goes on with that one.
fn before_eligible(entries: &[Entry], index: u32) -> Option<SocketAddr> {
    let mut eligible = entries.iter().enumerate().filter(|(_, e)| e.weight > 0);
    let (at, _) = eligible.nth(index as usize)?;
    entries.get(at.checked_sub(1)?).map(|e| e.id)
}

/// The real servers in list order, and where each is among the members.
struct List<'a> {
    /// Newest first, with the index of its member.
    entries: Vec<(&'a Entry, u16)>,
    /// Eligible ones first.
    members: Vec<Member>,
    eligible: u32,
}

impl<'a> List<'a> {
    fn new(entries: &'a [Entry], last_weights: &[u16]) -> Self {
        let both = entries.iter().zip(last_weights);
        let (eligible, quiesced): (Vec<_>, Vec<_>) = both.partition(|(e, _)| e.weight > 0);
        let (mut next_eligible, mut next_quiesced) = (0, eligible.len() as u16);
        let entries = entries
            .iter()
            .map(|e| {
                let next = if e.weight > 0 {
                    &mut next_eligible
                } else {
                    &mut next_quiesced
                };
                *next += 1;
                (e, *next - 1)
            })
            .collect();
        Self {
            entries,
            eligible: eligible.len() as u32,
            members: eligible
                .into_iter()
                .chain(quiesced)
                .map(|(e, &last_weight)| Member {
                    real: e.slot,
                    weight: e.weight,
                    last_weight,
                })
                .collect(),
        }
    }

    /// Each one's index, and its share of buckets.
    fn shares(&self, share: impl Fn(&Entry) -> u16) -> Vec<(u16, u16)> {
        self.entries
            .iter()
            .filter(|(e, _)| !e.out)
            .map(|&(e, index)| (index, share(e)))
            .collect()
    }

    /// mh's table, which quiesced ones keep their places in. Its first word is the number of slots.
    fn mh_table(&self, table: MhTable, last_weights: &[u16]) -> Vec<u64> {
        let owners = self.entries.iter().zip(last_weights);
        let owners: Vec<Owner> = owners
            .map(|(&(e, index), &weight)| Owner {
                id: e.id,
                index,
                weight,
            })
            .collect();
        let slots = table.slots(&owners);
        let mut words = vec![slots.len() as u64];
        words.extend(pack(&slots));
        words
    }

    /// The table for flows without an entry.
    fn fallback(&self) -> Vec<u16> {
        let owners = self.entries.iter().filter(|(e, _)| e.weight > 0);
        let owners: Vec<Owner> = owners
            .map(|&(e, index)| Owner {
                id: e.id,
                index,
                weight: e.weight,
            })
            .collect();
        maglev::by_weight(maglev::fallback_size(owners.len()), &owners)
    }
}
