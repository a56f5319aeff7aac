//! Which neighbour to ask for its MAC address and when, and what to believe of what is heard.
//!
//! The data plane sends frames past the kernel's stack, so the kernel has no reason to notice that a next
//! hop has another MAC now: a replaced card or a failed-over router would get nothing until its neighbour
//! entry is looked at again. This machine asks each next hop that is in use by unicast several times a
//! second, and by broadcast once the answer fails to come.
//!
//! ```text
//!            answer                      due: unicast
//!   +------------------- Settled ---------------------------> Asked
//!   |                     | ^  ^                               | |
//!   |     another claims: | |  | ours answers (conflict)       | | due: broadcast
//!   |        unicast      v |  | or due: the claimant's        | v
//!   |                   Disputed <-----------------------------+ Searching <--+
//!   |                            another claims                  |    |       | due: broadcast
//!   +------------------------------------------------------------+    +-------+
//!                any answer, any claim
//! ```
//!
//! A claim by another MAC (a gratuitous ARP, or an entry that changed in the kernel) is not believed while the
//! present one still answers: a stray announcement cannot divert traffic. Static entries of the kernel are
//! taken as they are and not asked for. A MAC that was known once is kept until another one is.
//!
//! IPv6 neighbours are the kernel's to ask: what its table says is taken, and it is asked to resolve.
//!
//! No clock, no socket: `now` is an argument, and what to do comes back as [`Effect`]s.

pub mod arp;
pub mod ndp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::hop::{Mac, Reach};

/// A neighbour: an address on the network of an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Index of the interface.
    pub ifindex: u32,
    /// The neighbour's address.
    pub addr: IpAddr,
}

/// How neighbours are polled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Polling {
    /// Time between two questions to a neighbour that answers.
    pub interval: Duration,
    /// How long an answer may take before the question is asked by broadcast.
    pub answer: Duration,
    /// After how much silence a neighbour is reported as failed.
    pub give_up: Duration,
    /// Time between two questions to a failed neighbour.
    pub failed_interval: Duration,
    /// The most questions a second, over all neighbours. The interval grows as this asks for it.
    pub max_rate: u32,
}

impl Default for Polling {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(250),
            answer: Duration::from_millis(100),
            give_up: Duration::from_secs(2),
            failed_interval: Duration::from_secs(1),
            max_rate: 4000,
        }
    }
}

/// What the kernel's neighbour table says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelEntry {
    /// There is no entry, or one without a usable MAC.
    None,
    /// An entry that the kernel learned.
    Learned(Mac),
    /// An entry that somebody set, or of a link that needs no ARP.
    Fixed(Mac),
}

/// Something to do, or to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask for the neighbour's MAC: at the given one, or by broadcast.
    Probe {
        /// Index of the interface.
        ifindex: u32,
        /// Whose MAC.
        addr: Ipv4Addr,
        /// Whom to ask; everybody if `None`.
        to: Option<Mac>,
    },
    /// Ask the kernel to resolve the neighbour.
    AskKernel(Key),
    /// The MAC to use is another one, or the neighbour began or ceased to answer.
    Changed {
        /// Which neighbour.
        key: Key,
        /// The MAC to use now.
        mac: Option<Mac>,
        /// Whether it answers.
        reach: Reach,
    },
    /// Two stations say that they have the address; the first one is kept.
    Conflict {
        /// Which neighbour.
        key: Key,
        /// The MAC in use.
        kept: Mac,
        /// The other one.
        claimed: Mac,
    },
}

/// All neighbours that are in use as next hops.
#[derive(Debug)]
pub struct Neighbours {
    polling: Polling,
    entries: BTreeMap<Key, Entry>,
    queue: BTreeSet<(Instant, Key)>,
    budget: Budget,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Entry {
    mac: Option<Mac>,
    reach: Reach,
    kernel: KernelEntry,
    phase: Phase,
    /// When this entry's turn is; `None` while nothing is waited for.
    due: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing outstanding.
    Settled,
    /// Asked by unicast; no answer yet.
    Asked { since: Instant },
    /// Asked by broadcast `attempts` times; nobody has answered since `since`.
    Searching { since: Instant, attempts: u32 },
    /// Another station claims the address; ours was asked whether it is still there.
    Disputed { claimant: Mac },
    /// The kernel's entry is static.
    Fixed,
}

impl Neighbours {
    /// No neighbours yet. The seed decides the jitter.
    pub fn new(polling: Polling, seed: u64, now: Instant) -> Self {
        Self {
            polling,
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            budget: Budget::new(polling.max_rate, now),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Begins to look after a neighbour. One that is looked after already stays as it is.
    pub fn track(&mut self, key: Key, kernel: KernelEntry, now: Instant, out: &mut Vec<Effect>) {
        if self.entries.contains_key(&key) {
            return;
        }
        self.entries.insert(
            key,
            Entry {
                mac: None,
                reach: Reach::Unknown,
                kernel: KernelEntry::None,
                phase: Phase::Searching {
                    since: now,
                    attempts: 0,
                },
                due: None,
            },
        );
        self.set_due(key, Some(now));
        self.kernel(key, kernel, now, out);
    }

    /// Ceases to look after a neighbour.
    pub fn forget(&mut self, key: Key) {
        self.set_due(key, None);
        self.entries.remove(&key);
    }

    /// The neighbours that are looked after.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.entries.keys().copied()
    }

    /// The MAC to use for a neighbour, and whether it answers.
    pub fn get(&self, key: Key) -> Option<(Option<Mac>, Reach)> {
        self.entries.get(&key).map(|e| (e.mac, e.reach))
    }

    /// The kernel's entry is this now.
    pub fn kernel(&mut self, key: Key, now_is: KernelEntry, now: Instant, out: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let before = std::mem::replace(&mut entry.kernel, now_is);
        if before == now_is {
            return;
        }
        match now_is {
            KernelEntry::Fixed(mac) => {
                entry.phase = Phase::Fixed;
                self.settle(key, mac, None, out);
            }
            // The kernel may have seen what we missed: look at once.
            KernelEntry::None => self.recheck(key, now),
            KernelEntry::Learned(mac) => {
                if entry.phase == Phase::Fixed {
                    entry.phase = Phase::Settled;
                }
                match entry.mac {
                    // Of IPv6 neighbours nothing but this is heard.
                    _ if key.addr.is_ipv6() => self.settle(key, mac, None, out),
                    // A STALE entry of the kernel may be hours old: use it, and ask at once.
                    None => self.settle(key, mac, Some(now), out),
                    Some(current) if current == mac => self.recheck(key, now),
                    Some(_) => self.claim(key, mac, now, out),
                }
            }
        }
    }

    /// An ARP frame on the interface says that `addr` is at `mac`.
    pub fn heard(&mut self, key: Key, mac: Mac, now: Instant, out: &mut Vec<Effect>) {
        let interval = self.interval();
        let Some(entry) = self.entries.get(&key) else {
            return;
        };
        let ours = entry.mac == Some(mac);
        match entry.phase {
            Phase::Fixed => {}
            Phase::Searching { .. } => self.settle(key, mac, Some(now + interval), out),
            Phase::Settled | Phase::Asked { .. } if ours => {
                self.settle(key, mac, Some(now + interval), out);
            }
            Phase::Settled | Phase::Asked { .. } => self.claim(key, mac, now, out),
            Phase::Disputed { claimant } if ours => {
                out.push(Effect::Conflict {
                    key,
                    kept: mac,
                    claimed: claimant,
                });
                self.settle(key, mac, Some(now + interval), out);
            }
            Phase::Disputed { .. } => self.set_phase(key, Phase::Disputed { claimant: mac }),
        }
    }

    /// The interface has lost its carrier, or was switched off.
    pub fn link_down(&mut self, ifindex: u32, out: &mut Vec<Effect>) {
        for (&key, entry) in self.on_link(ifindex) {
            if entry.phase != Phase::Fixed && entry.reach != Reach::Failed {
                entry.reach = Reach::Failed;
                out.push(Effect::Changed {
                    key,
                    mac: entry.mac,
                    reach: Reach::Failed,
                });
            }
        }
    }

    /// The interface works again, or has another address: ask all of its neighbours anew.
    pub fn link_up(&mut self, ifindex: u32, now: Instant) {
        let keys: Vec<Key> = self.on_link(ifindex).map(|(&key, _)| key).collect();
        for key in keys {
            self.recheck(key, now);
        }
    }

    /// Performs what is due.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while let Some(&(due, key)) = self.queue.first() {
            if due > now || !self.budget.take(now) {
                return;
            }
            self.turn(key, now, out);
        }
    }

    /// When [`Neighbours::poll`] has to be called next.
    pub fn next_at(&self) -> Option<Instant> {
        self.queue
            .first()
            .map(|&(due, _)| due.max(self.budget.next_at()))
    }

    /// A neighbour's turn has come: nothing that was waited for has come.
    fn turn(&mut self, key: Key, now: Instant, out: &mut Vec<Effect>) {
        let polling = self.polling;
        let Some(entry) = self.entries.get_mut(&key) else {
            self.queue.pop_first();
            return;
        };
        match entry.phase {
            Phase::Fixed => self.set_due(key, None),
            Phase::Settled => match entry.mac {
                Some(mac) => {
                    entry.phase = Phase::Asked { since: now };
                    ask(key, Some(mac), out);
                    self.set_due(key, Some(now + polling.answer));
                }
                None => self.search(key, now, 0, now, out),
            },
            Phase::Asked { since } => self.search(key, since, 0, now, out),
            Phase::Searching { since, attempts } => self.search(key, since, attempts, now, out),
            Phase::Disputed { claimant } => {
                // The present holder is silent and another has spoken up. Ask it soon whether it meant it.
                self.settle(key, claimant, Some(now + polling.answer), out);
            }
        }
    }

    /// Asks everybody, once more.
    fn search(
        &mut self,
        key: Key,
        since: Instant,
        attempts: u32,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let polling = self.polling;
        let jitter = self.jitter(polling.interval);
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if now.saturating_duration_since(since) >= polling.give_up && entry.reach != Reach::Failed {
            entry.reach = Reach::Failed;
            out.push(Effect::Changed {
                key,
                mac: entry.mac,
                reach: Reach::Failed,
            });
        }
        entry.phase = Phase::Searching {
            since,
            attempts: attempts.saturating_add(1),
        };
        ask(key, None, out);
        if attempts.is_multiple_of(8) && entry.kernel == KernelEntry::None {
            out.push(Effect::AskKernel(key));
        }
        let wait = match (entry.reach, attempts) {
            (Reach::Failed, _) => polling.failed_interval + jitter,
            (_, 0..3) => polling.answer,
            _ => polling.interval + jitter,
        };
        self.set_due(key, Some(now + wait));
    }

    /// Another station than the present one says that it has the address.
    fn claim(&mut self, key: Key, claimant: Mac, now: Instant, out: &mut Vec<Effect>) {
        let answer = self.polling.answer;
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        match entry.phase {
            Phase::Fixed | Phase::Disputed { .. } => return,
            Phase::Searching { .. } => return self.settle(key, claimant, Some(now + answer), out),
            Phase::Settled => ask(key, entry.mac, out),
            // Our question is on its way already.
            Phase::Asked { .. } => {}
        }
        entry.phase = Phase::Disputed { claimant };
        self.set_due(key, Some(now + answer));
    }

    /// The neighbour is known to be at `mac`; its next turn is at `due`.
    fn settle(&mut self, key: Key, mac: Mac, due: Option<Instant>, out: &mut Vec<Effect>) {
        let jitter = self.jitter(self.polling.interval);
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if entry.phase != Phase::Fixed {
            entry.phase = Phase::Settled;
        }
        if entry.mac != Some(mac) || entry.reach != Reach::Reachable {
            entry.mac = Some(mac);
            entry.reach = Reach::Reachable;
            out.push(Effect::Changed {
                key,
                mac: Some(mac),
                reach: Reach::Reachable,
            });
        }
        self.set_due(key, due.map(|d| d + jitter));
    }

    /// Makes it a neighbour's turn now, unless an answer is awaited already or it is not asked at all.
    fn recheck(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        match entry.phase {
            Phase::Asked { .. } | Phase::Disputed { .. } => return,
            Phase::Fixed if matches!(entry.kernel, KernelEntry::Fixed(_)) => return,
            Phase::Fixed => entry.phase = Phase::Settled,
            Phase::Settled | Phase::Searching { .. } => {}
        }
        self.set_due(key, Some(now));
    }

    fn set_phase(&mut self, key: Key, phase: Phase) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.phase = phase;
        }
    }

    fn set_due(&mut self, key: Key, due: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut entry.due, due) {
            self.queue.remove(&(before, key));
        }
        if let Some(due) = due {
            self.queue.insert((due, key));
        }
    }

    fn on_link(&mut self, ifindex: u32) -> impl Iterator<Item = (&Key, &mut Entry)> {
        self.entries
            .iter_mut()
            .filter(move |(key, _)| key.ifindex == ifindex)
    }

    /// The interval that leaves a fifth of the rate for questions out of turn.
    fn interval(&self) -> Duration {
        let per_second = f64::from(self.polling.max_rate.max(1)) * 0.8;
        let needed = Duration::from_secs_f64(self.entries.len() as f64 / per_second);
        self.polling.interval.max(needed)
    }

    /// Up to a tenth of `of`.
    fn jitter(&mut self, of: Duration) -> Duration {
        of.mul_f64(self.rng.f64() / 10.0)
    }
}

/// ARP exists for IPv4 only; a neighbour of IPv6 is the kernel's to ask.
fn ask(key: Key, to: Option<Mac>, out: &mut Vec<Effect>) {
    match key.addr {
        IpAddr::V4(addr) => out.push(Effect::Probe {
            ifindex: key.ifindex,
            addr,
            to,
        }),
        IpAddr::V6(_) => out.push(Effect::AskKernel(key)),
    }
}

/// A token bucket: a tenth of a second's worth may be spent at once.
#[derive(Debug)]
struct Budget {
    per_token: Duration,
    /// When the bucket was, or will be, empty if nothing more is spent.
    empty_at: Instant,
    depth: Duration,
}

impl Budget {
    fn new(per_second: u32, now: Instant) -> Self {
        let per_token = Duration::from_secs(1) / per_second.max(1);
        let depth = Duration::from_millis(100).max(per_token);
        Self {
            per_token,
            empty_at: now,
            depth,
        }
    }

    /// When the next token is there.
    fn next_at(&self) -> Instant {
        (self.empty_at + self.per_token)
            .checked_sub(self.depth)
            .unwrap_or(self.empty_at)
    }

    fn take(&mut self, now: Instant) -> bool {
        let after = self.empty_at.max(now) + self.per_token;
        let fits = after <= now + self.depth;
        if fits {
            self.empty_at = after;
        }
        fits
    }
}

#[cfg(test)]
mod tests;
