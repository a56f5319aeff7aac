//! The machine on virtual time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const A: Mac = mac(0xa);
const B: Mac = mac(0xb);
const MS: Duration = Duration::from_millis(1);

const fn mac(n: u8) -> Mac {
    match Mac::new([2, 0, 0, 0, 0, n]) {
        Some(mac) => mac,
        None => panic!(),
    }
}

fn key(n: u8) -> Key {
    Key {
        ifindex: 1,
        addr: IpAddr::from([10, 0, 0, n]),
    }
}

/// A network on virtual time: stations answer at once when they are asked at their MAC or by broadcast.
struct Lan {
    start: Instant,
    now: Instant,
    machine: Neighbours,
    stations: BTreeMap<Ipv4Addr, Vec<Mac>>,
    /// Everything that was told, with the time since the start.
    told: Vec<(Duration, Effect)>,
    probes: Vec<(Duration, Ipv4Addr, Option<Mac>)>,
}

impl Lan {
    fn new() -> Self {
        Self::with(Polling::default())
    }

    fn with(polling: Polling) -> Self {
        let now = Instant::now();
        let machine = Neighbours::new(polling, 7, now);
        Self {
            start: now,
            now,
            machine,
            stations: BTreeMap::new(),
            told: vec![],
            probes: vec![],
        }
    }

    fn station(&mut self, n: u8, macs: &[Mac]) {
        self.stations
            .insert(Ipv4Addr::new(10, 0, 0, n), macs.to_vec());
    }

    fn track(&mut self, n: u8, kernel: KernelEntry) {
        let mut out = vec![];
        self.machine.track(key(n), kernel, self.now, &mut out);
        self.perform(out);
    }

    fn kernel(&mut self, n: u8, entry: KernelEntry) {
        let mut out = vec![];
        self.machine.kernel(key(n), entry, self.now, &mut out);
        self.perform(out);
    }

    fn announce(&mut self, n: u8, mac: Mac) {
        let mut out = vec![];
        self.machine.heard(key(n), mac, self.now, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                let at = self.now - self.start;
                let Effect::Probe { ifindex, addr, to } = effect else {
                    self.told.push((at, effect));
                    continue;
                };
                self.probes.push((at, addr, to));
                for &mac in self.stations.get(&addr).into_iter().flatten() {
                    if to.is_none_or(|to| to == mac) {
                        let key = Key {
                            ifindex,
                            addr: addr.into(),
                        };
                        self.machine.heard(key, mac, self.now, &mut effects);
                    }
                }
            }
        }
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mut out = vec![];
            self.machine.poll(self.now, &mut out);
            self.perform(out);
            match self.machine.next_at() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
        }
        self.now = end;
    }

    fn state(&self, n: u8) -> (Option<Mac>, Reach) {
        self.machine.get(key(n)).unwrap()
    }

    /// When the machine last began to say that `n` is at `mac`.
    fn changed_at(&self, n: u8, to: Option<Mac>, is: Reach) -> Duration {
        let wanted = Effect::Changed {
            key: key(n),
            mac: to,
            reach: is,
        };
        let found = self.told.iter().rev().find(|(_, e)| *e == wanted);
        found
            .unwrap_or_else(|| panic!("{wanted:?} not in {:?}", self.told))
            .0
    }

    fn conflicts(&self) -> usize {
        self.told
            .iter()
            .filter(|(_, e)| matches!(e, Effect::Conflict { .. }))
            .count()
    }
}

#[test]
fn an_unknown_neighbour_is_asked_for_at_once_by_broadcast_and_through_the_kernel() {
    let mut lan = Lan::new();
    lan.station(1, &[A]);
    lan.track(1, KernelEntry::None);
    assert_eq!(lan.state(1), (None, Reach::Unknown));
    lan.run(MS);
    assert_eq!(
        lan.probes,
        [(Duration::ZERO, Ipv4Addr::new(10, 0, 0, 1), None)]
    );
    assert!(
        lan.told
            .contains(&(Duration::ZERO, Effect::AskKernel(key(1))))
    );
    assert_eq!(lan.state(1), (Some(A), Reach::Reachable));
}

#[test]
fn a_neighbour_that_answers_is_asked_by_unicast_every_interval() {
    let mut lan = Lan::new();
    lan.station(1, &[A]);
    lan.track(1, KernelEntry::Learned(A));
    lan.run(Duration::from_secs(10));
    assert!(
        (36..=40).contains(&lan.probes.len()),
        "{}",
        lan.probes.len()
    );
    assert!(lan.probes.iter().all(|&(_, _, to)| to == Some(A)));
    let gaps = lan.probes.windows(2).map(|w| w[1].0 - w[0].0);
    assert!(
        gaps.clone().all(|g| (250 * MS..=275 * MS).contains(&g)),
        "{:?}",
        gaps.collect::<Vec<_>>()
    );
}

#[test]
fn a_silent_change_of_mac_is_in_use_within_a_second_whenever_it_happens() {
    for at in (0..1000).step_by(7) {
        let mut lan = Lan::new();
        lan.station(1, &[A]);
        lan.track(1, KernelEntry::Learned(A));
        lan.run(3000 * MS + at * MS);
        let changed = lan.now - lan.start;
        lan.station(1, &[B]);
        lan.run(1000 * MS);
        let took = lan.changed_at(1, Some(B), Reach::Reachable) - changed;
        assert!(took <= 400 * MS, "{took:?} when changed {at} ms later");
    }
}

#[test]
fn an_old_entry_of_the_kernel_is_used_and_checked_at_once() {
    let mut lan = Lan::new();
    lan.station(1, &[B]);
    lan.track(1, KernelEntry::Learned(A));
    assert_eq!(lan.state(1), (Some(A), Reach::Reachable));
    lan.run(250 * MS);
    assert_eq!(lan.state(1), (Some(B), Reach::Reachable));
    // The kernel's entry grows stale with the old MAC in it: that is no news.
    lan.kernel(1, KernelEntry::Learned(A));
    lan.run(Duration::from_secs(2));
    assert_eq!(lan.state(1), (Some(B), Reach::Reachable));
    assert_eq!(lan.conflicts(), 0);
}

#[test]
fn an_announcement_is_believed_when_the_present_holder_is_silent() {
    let mut lan = Lan::new();
    lan.station(1, &[A]);
    lan.track(1, KernelEntry::Learned(A));
    lan.run(Duration::from_secs(1));
    lan.station(1, &[B]);
    let announced = lan.now - lan.start;
    lan.announce(1, B);
    lan.run(Duration::from_secs(1));
    assert!(lan.changed_at(1, Some(B), Reach::Reachable) - announced <= 200 * MS);
    assert_eq!(lan.conflicts(), 0);
}

#[test]
fn a_stray_announcement_is_not_believed_while_the_present_holder_answers() {
    let mut lan = Lan::new();
    lan.station(1, &[A]);
    lan.track(1, KernelEntry::Learned(A));
    lan.run(Duration::from_secs(1));
    for _ in 0..20 {
        lan.announce(1, B);
        lan.kernel(1, KernelEntry::Learned(B));
        lan.run(130 * MS);
        assert_eq!(lan.state(1), (Some(A), Reach::Reachable));
    }
    assert!(lan.conflicts() > 0);
}

#[test]
fn of_two_stations_with_one_address_the_first_is_kept_until_it_leaves() {
    let mut lan = Lan::new();
    lan.station(1, &[A, B]);
    lan.track(1, KernelEntry::None);
    lan.run(Duration::from_secs(5));
    assert_eq!(lan.state(1), (Some(A), Reach::Reachable));
    assert!(lan.conflicts() >= 1);
    lan.station(1, &[B]);
    lan.run(Duration::from_secs(1));
    assert_eq!(lan.state(1), (Some(B), Reach::Reachable));
}

#[test]
fn silence_is_reported_within_three_seconds_and_the_mac_is_kept() {
    let mut lan = Lan::new();
    lan.station(1, &[A]);
    lan.track(1, KernelEntry::Learned(A));
    lan.run(Duration::from_secs(2));
    let silent = lan.now - lan.start;
    lan.station(1, &[]);
    lan.run(Duration::from_secs(30));
    assert_eq!(lan.state(1), (Some(A), Reach::Failed));
    assert!(lan.changed_at(1, Some(A), Reach::Failed) - silent <= Duration::from_secs(3));
    let before = lan.probes.len();
    lan.run(Duration::from_secs(10));
    assert!(
        (9..=11).contains(&(lan.probes.len() - before)),
        "about one question a second"
    );

    lan.station(1, &[A]);
    let back = lan.now - lan.start;
    lan.run(Duration::from_secs(2));
    assert!(lan.changed_at(1, Some(A), Reach::Reachable) - back <= 1100 * MS);
}

#[test]
fn a_neighbour_that_never_answers_is_reported_without_a_mac() {
    let mut lan = Lan::new();
    lan.track(1, KernelEntry::None);
    lan.run(Duration::from_secs(3));
    assert_eq!(lan.state(1), (None, Reach::Failed));
    let failures = lan
        .told
        .iter()
        .filter(|(_, e)| matches!(e, Effect::Changed { .. }))
        .count();
    assert_eq!(failures, 1);
}

#[test]
fn a_static_entry_is_taken_and_not_asked_for() {
    let mut lan = Lan::new();
    lan.station(1, &[B]);
    lan.track(1, KernelEntry::Fixed(A));
    lan.run(Duration::from_secs(3));
    lan.announce(1, B);
    lan.run(Duration::from_secs(3));
    assert_eq!(lan.state(1), (Some(A), Reach::Reachable));
    assert!(lan.probes.is_empty());

    lan.kernel(1, KernelEntry::None);
    lan.run(Duration::from_secs(1));
    assert_eq!(
        lan.state(1),
        (Some(B), Reach::Reachable),
        "polled again once the entry is gone"
    );
}

#[test]
fn an_entry_deleted_in_the_kernel_is_rechecked_and_its_mac_kept() {
    let mut lan = Lan::new();
    lan.station(1, &[A]);
    lan.track(1, KernelEntry::Learned(A));
    lan.run(Duration::from_secs(1));
    let asked = lan.probes.len();
    lan.kernel(1, KernelEntry::None);
    lan.run(MS);
    assert_eq!(lan.probes.len(), asked + 1);
    assert_eq!(lan.state(1), (Some(A), Reach::Reachable));
}

#[test]
fn a_link_that_goes_down_fails_its_neighbours_and_they_are_asked_when_it_is_back() {
    let mut lan = Lan::new();
    lan.station(1, &[A]);
    lan.track(1, KernelEntry::Learned(A));
    lan.run(Duration::from_secs(1));
    lan.station(1, &[]);
    let mut out = vec![];
    lan.machine.link_down(1, &mut out);
    lan.perform(out);
    assert_eq!(lan.state(1), (Some(A), Reach::Failed));
    lan.run(Duration::from_secs(5));
    lan.station(1, &[A]);
    lan.machine.link_up(1, lan.now);
    lan.run(MS);
    assert_eq!(lan.state(1), (Some(A), Reach::Reachable));
}

#[test]
fn a_forgotten_neighbour_is_never_asked_again() {
    let mut lan = Lan::new();
    lan.track(1, KernelEntry::None);
    lan.run(Duration::from_secs(1));
    lan.machine.forget(key(1));
    let asked = lan.probes.len();
    lan.run(Duration::from_secs(5));
    assert_eq!(lan.probes.len(), asked);
    assert_eq!(lan.machine.next_at(), None);
}

#[test]
fn an_ipv6_neighbour_is_left_to_the_kernel() {
    let mut lan = Lan::new();
    let key = Key {
        ifindex: 1,
        addr: "fd00::1".parse().unwrap(),
    };
    let mut out = vec![];
    lan.machine.track(key, KernelEntry::None, lan.now, &mut out);
    lan.run(Duration::from_secs(1));
    assert!(lan.probes.is_empty());
    assert!(lan.told.iter().any(|(_, e)| *e == Effect::AskKernel(key)));
    lan.machine
        .kernel(key, KernelEntry::Learned(A), lan.now, &mut out);
    lan.run(Duration::from_secs(60));
    assert_eq!(lan.machine.get(key), Some((Some(A), Reach::Reachable)));
    lan.machine
        .kernel(key, KernelEntry::Learned(B), lan.now, &mut out);
    assert_eq!(lan.machine.get(key), Some((Some(B), Reach::Reachable)));
}

#[test]
fn questions_stay_within_the_rate_and_do_not_come_in_bursts() {
    let mut lan = Lan::with(Polling {
        max_rate: 200,
        ..Polling::default()
    });
    for n in 1..=200 {
        lan.station(n, &[mac(n)]);
        lan.track(n, KernelEntry::None);
    }
    lan.run(Duration::from_secs(20));
    for n in 1..=200 {
        assert_eq!(lan.state(n), (Some(mac(n)), Reach::Reachable));
    }
    let mut per_100ms = BTreeMap::<u128, u32>::new();
    for (at, _, _) in &lan.probes {
        *per_100ms.entry(at.as_millis() / 100).or_default() += 1;
    }
    let most = per_100ms.values().max().copied();
    assert!(most <= Some(41), "{most:?} in 100 ms");
    assert!(lan.probes.len() <= 20 * 200 + 20);
    assert!(
        lan.probes
            .iter()
            .filter(|(at, ..)| *at > Duration::from_secs(3))
            .all(|(.., to)| to.is_some())
    );
}

proptest! {
    /// Whatever is heard in whatever order: the MAC is never lost, and never one that nobody claimed.
    #[test]
    fn a_known_mac_is_never_lost(steps in proptest::collection::vec((0..7u8, 1..4u8, 0..900u64), 1..60)) {
        let mut lan = Lan::new();
        lan.track(1, KernelEntry::None);
        let mut known = false;
        for (what, who, wait) in steps {
            match what {
                0 => lan.announce(1, mac(who)),
                1 => lan.kernel(1, KernelEntry::Learned(mac(who))),
                2 => lan.kernel(1, KernelEntry::None),
                3 => lan.kernel(1, KernelEntry::Fixed(mac(who))),
                4 => lan.station(1, &[mac(who)]),
                5 => lan.station(1, &[]),
                _ => {
                    let mut out = vec![];
                    lan.machine.link_down(1, &mut out);
                    lan.perform(out);
                }
            }
            lan.run(Duration::from_millis(wait));
            let (now, _) = lan.state(1);
            prop_assert!(!known || now.is_some());
            known = now.is_some();
            prop_assert!(now.is_none_or(|m| (1..4).contains(&m.bytes()[5])));
            // Told and kept agree.
            let told = lan.told.iter().rev().find_map(|(_, e)| match e {
                Effect::Changed { mac, reach, .. } => Some((*mac, *reach)),
                _ => None,
            });
            prop_assert_eq!(told.unwrap_or((None, Reach::Unknown)), lan.state(1));
        }
    }
}
