//! Single cases.

use super::*;
use lb_common::{
    conn::{HANDSHAKE, Meta, REFRESH, State},
    net::{Be16, Be32, Flow4, Proto},
    table::{Fit, Hit, Insert, Lookup, Table},
};

const NOW: Tick = Tick(u32::MAX - 500); // the clock wraps during the tests

fn flow(n: u32) -> Flow4 {
    Flow4 {
        client: Be32::from_host(0xC633_6400),
        vip: Be32::from_host(0xCB00_7100 + n),
        client_port: Be16::from_host(40_000),
        vip_port: Be16::from_host(443),
        proto: Proto::Tcp,
    }
}

struct Lab {
    buckets: Vec<Bucket<Host>>,
    loads: Tally,
}

impl Lab {
    fn new() -> Self {
        Self {
            buckets: buckets(2),
            loads: Tally::new(100),
        }
    }

    fn table(&self) -> Table<'_, [Bucket<Host>]> {
        Table::new(&self.buckets[..], 1, KEY)
    }

    fn insert(&self, n: u32, meta: Meta, now: Tick) -> Insert<'_, Host> {
        let place = self.table().place(&flow(n));
        self.table()
            .insert(&flow(n), &place, meta, now, spare(now), &self.loads)
    }

    /// Inserts flow `n` at real server `n`.
    fn open(&self, n: u32, state: State, expires: Tick, now: Tick) -> bool {
        matches!(
            self.insert(n, Meta::new(Proto::Tcp, state, n, expires), now),
            Insert::Done(_)
        )
    }

    fn find(&self, n: u32, now: Tick) -> Option<Hit<'_, Host>> {
        match self
            .table()
            .lookup(&flow(n), &self.table().place(&flow(n)), now)
        {
            Lookup::Hit(hit) => Some(hit),
            Lookup::Miss { .. } => None,
        }
    }

    fn is_turned_away(&self, n: u32, now: Tick) -> bool {
        matches!(
            self.table()
                .lookup(&flow(n), &self.table().place(&flow(n)), now),
            Lookup::Miss { turned_away: true }
        )
    }

    /// Fills both buckets with established connections 1..=12.
    fn full() -> Self {
        let lab = Self::new();
        for n in 1..=12 {
            assert!(
                lab.open(n, State::Established, NOW.plus(ESTABLISHED), NOW),
                "{n}"
            );
        }
        lab
    }

    /// Sets the state and expiry of a connection.
    fn set(&self, n: u32, state: State, expires: Tick) {
        let hit = self.find(n, NOW).expect("it is there");
        self.table()
            .update(&hit, |meta| meta.with_state(state, expires), &self.loads);
    }

    /// Which of connections 1..=12 is gone.
    fn missing(&self) -> Vec<u32> {
        (1..=12)
            .filter(|&n| self.loads.of(n).total() == 0)
            .collect()
    }
}

#[test]
fn a_recorded_flow_is_found_and_counted_until_it_is_removed() {
    let lab = Lab::new();
    assert!(lab.find(1, NOW).is_none() && !lab.is_turned_away(1, NOW));
    assert!(lab.open(1, State::SynRecv, NOW.plus(SYN_RECV), NOW));
    assert_eq!((lab.loads.of(1).active(), lab.loads.of(1).total()), (1, 1));
    let hit = lab.find(1, NOW).expect("it is there");
    assert_eq!((hit.meta.real(), hit.meta.state()), (1, State::SynRecv));
    assert!(lab.table().remove(&hit, &lab.loads));
    assert!(!lab.table().remove(&hit, &lab.loads), "removed twice");
    assert_eq!(lab.loads.of(1).conns, 0);
    assert!(lab.find(1, NOW).is_none());
}

#[test]
fn an_entry_lives_for_its_timeout_and_at_most_a_second_more() {
    let lab = Lab::new();
    assert!(lab.open(1, State::Established, NOW.plus(ESTABLISHED), NOW));
    assert!(lab.find(1, NOW.plus(ESTABLISHED + REFRESH - 1)).is_some());
    assert!(lab.find(1, NOW.plus(ESTABLISHED + REFRESH)).is_none());
    assert_eq!(
        lab.loads.of(1).total(),
        1,
        "counted until somebody takes it out"
    );
    let later = NOW.plus(ESTABLISHED + REFRESH);
    let swept: u32 = (0..2)
        .map(|i| lab.table().sweep(i, later, &lab.loads).freed)
        .sum();
    assert_eq!((swept, lab.loads.of(1).conns), (1, 0));
}

#[test]
fn a_packet_moves_the_expiry_but_writes_once_a_second() {
    let lab = Lab::new();
    assert!(lab.open(1, State::Established, NOW.plus(ESTABLISHED), NOW));
    let touch = |now: Tick| {
        let hit = lab.find(1, now).expect("it is there");
        let next = |meta: Meta| meta.with_state(State::Established, now.plus(ESTABLISHED));
        lab.table()
            .update(&hit, next, &lab.loads)
            .expect("it is there")
            .expires()
    };
    assert_eq!(touch(NOW.plus(REFRESH - 1)), NOW.plus(ESTABLISHED));
    assert_eq!(touch(NOW.plus(REFRESH)), NOW.plus(REFRESH + ESTABLISHED));
}

#[test]
fn an_entry_goes_on_by_itself_unless_it_then_counts_otherwise_or_has_changed() {
    let lab = Lab::new();
    assert!(lab.open(1, State::SynRecv, NOW.plus(900), NOW));
    let hit = lab.find(1, NOW).unwrap();
    let to = |state| hit.meta.with_state(state, NOW.plus(2000));
    assert!(!lab.table().renew(&hit, to(State::FinWait)));
    assert_eq!(lab.find(1, NOW).unwrap().meta, hit.meta);
    assert!(lab.table().renew(&hit, to(State::Established)));
    assert_eq!(lab.find(1, NOW).unwrap().meta, to(State::Established));
    assert!(!lab.table().renew(&hit, to(State::SynSent)));
    let same = hit.meta.with_state(State::SynRecv, NOW.plus(901));
    assert!(lab.table().renew(&hit, same), "nothing is to be written");
    assert_eq!(lab.find(1, NOW).unwrap().meta, to(State::Established));
}

#[test]
fn a_change_of_state_and_of_real_server_moves_the_counts() {
    let lab = Lab::new();
    assert!(lab.open(1, State::Established, NOW.plus(ESTABLISHED), NOW));
    lab.set(1, State::FinWait, NOW.plus(SYN_RECV));
    assert_eq!((lab.loads.of(1).active(), lab.loads.of(1).total()), (0, 1));
    lab.set(1, State::SynRecv, NOW.plus(SYN_RECV));
    assert_eq!((lab.loads.of(1).active(), lab.loads.of(1).total()), (1, 1));
    let hit = lab.find(1, NOW).expect("it is there");
    lab.table()
        .update(&hit, |meta| meta.with_real(2), &lab.loads);
    assert_eq!((lab.loads.of(1).conns, lab.loads.of(2).total()), (0, 1));
}

#[test]
fn a_late_change_does_not_touch_the_next_flow_in_the_slot() {
    let lab = Lab::new();
    let meta = Meta::new(Proto::Tcp, State::SynRecv, 1, NOW.plus(SYN_RECV));
    lab.insert(1, meta, NOW);
    let old = lab.find(1, NOW).expect("it is there");
    lab.table().remove(&old, &lab.loads);
    // The same slot, real server, state and expiry.
    lab.insert(2, meta, NOW);
    let next = |meta: Meta| meta.with_state(State::Close, NOW.plus(CLOSE));
    assert_eq!(lab.table().update(&old, next, &lab.loads), None);
    assert!(!lab.table().remove(&old, &lab.loads));
    assert_eq!(
        lab.find(2, NOW).expect("it is there").meta.state(),
        State::SynRecv
    );
}

#[test]
fn when_all_places_are_held_a_flow_is_turned_away_and_its_segments_are_known() {
    let lab = Lab::full();
    assert!(!lab.is_turned_away(20, NOW));
    assert!(!lab.open(20, State::SynRecv, NOW.plus(SYN_RECV), NOW));
    assert_eq!(lab.missing(), []);
    assert_eq!(lab.loads.of(20).conns, 0);
    assert!(lab.is_turned_away(20, NOW.plus(SYN_RECV - 1)));
    assert!(!lab.is_turned_away(20, NOW.plus(SYN_RECV + 1)));
    // Its next segment lives longer; and it is recorded as soon as there is a place.
    assert!(!lab.open(20, State::Established, NOW.plus(ESTABLISHED), NOW));
    assert!(lab.is_turned_away(20, NOW.plus(ESTABLISHED - 1)));
    lab.set(7, State::Close, NOW.plus(CLOSE));
    assert!(lab.open(20, State::Established, NOW.plus(ESTABLISHED), NOW));
    assert!(lab.find(20, NOW).is_some());
    assert_eq!(lab.missing(), [7]);
    // A sweep forgets in time.
    let later = NOW.plus(ESTABLISHED + 1);
    for i in 0..2 {
        lab.table().sweep(i, later, &lab.loads);
        assert_eq!(lab.buckets[i as usize].lines[1].note.load(SeqCst), 0);
    }
}

#[test]
fn what_gives_way_first() {
    let old = NOW.plus(SYN_RECV - HANDSHAKE - 1);
    // Better victims join one by one; each insert must take the latest.
    let lab = Lab::full();
    lab.set(3, State::SynRecv, old);
    assert!(lab.open(20, State::Established, NOW.plus(ESTABLISHED), NOW));
    assert_eq!(lab.missing(), [3]);

    lab.set(4, State::SynRecv, old);
    lab.set(9, State::TimeWait, NOW.plus(ESTABLISHED));
    assert!(lab.open(21, State::Established, NOW.plus(ESTABLISHED), NOW));
    assert_eq!(lab.missing(), [3, 9]);

    lab.set(5, State::Close, NOW.plus(CLOSE));
    lab.set(2, State::Established, Tick(NOW.0 - REFRESH));
    assert!(lab.open(22, State::Established, NOW.plus(ESTABLISHED), NOW));
    assert_eq!(lab.missing(), [2, 3, 9]);
    assert!(lab.open(23, State::Established, NOW.plus(ESTABLISHED), NOW));
    assert_eq!(lab.missing(), [2, 3, 5, 9]);
    assert!(lab.open(24, State::Established, NOW.plus(ESTABLISHED), NOW));
    assert_eq!(lab.missing(), [2, 3, 4, 5, 9]);
    assert!(!lab.open(25, State::Established, NOW.plus(ESTABLISHED), NOW));
}

#[test]
fn a_handshake_under_way_does_not_give_way() {
    let lab = Lab::full();
    for n in 1..=12 {
        lab.set(n, State::SynRecv, NOW.plus(SYN_RECV - HANDSHAKE));
    }
    assert!(!lab.open(20, State::SynRecv, NOW.plus(SYN_RECV), NOW));
    assert!(lab.open(20, State::SynRecv, NOW.plus(SYN_RECV), NOW.plus(1)));
}

#[test]
fn connections_that_keep_their_place_for_their_state() {
    for state in State::ALL {
        let lab = Lab::full();
        lab.set(6, state, NOW.plus(1));
        let gives_way = state.is_closed() || state.is_half_open() || state == State::None;
        assert_eq!(
            lab.open(20, State::Established, NOW.plus(ESTABLISHED), NOW),
            gives_way,
            "{state:?}"
        );
    }
}

#[test]
fn an_expired_entry_is_replaced_by_its_own_flow_wherever_the_new_one_goes() {
    for n in 1..=12 {
        let lab = Lab::full();
        lab.set(n, State::UdpAssured, Tick(NOW.0 - REFRESH));
        for other in 1..=12 {
            if other != n {
                lab.set(other, State::Close, NOW.plus(CLOSE));
            }
        }
        assert!(lab.find(n, NOW).is_none());
        assert!(lab.open(n, State::Established, NOW.plus(ESTABLISHED), NOW));
        assert_eq!(lab.loads.of(n).total(), 1, "{n}");
        let entries: usize = (0..2)
            .map(|i| {
                lab.table()
                    .connections(i)
                    .filter(|(f, _)| *f == flow(n))
                    .count()
            })
            .sum();
        assert_eq!(entries, 1, "{n}");
    }
}

#[test]
fn a_reply_finds_the_connection_of_its_real_server_only() {
    let lab = Lab::full();
    let reply = |real, proto| {
        lab.table().lookup_reply(
            flow(0).client,
            flow(0).client_port,
            proto,
            NOW,
            |meta, _| {
                if meta.real() == real {
                    Fit::BEST
                } else {
                    Fit::NONE
                }
            },
        )
    };
    for n in 1..=12 {
        let found = reply(n, Proto::Tcp).expect("it is there");
        assert_eq!(
            (found.vip, found.vip_port, found.hit.meta.real()),
            (flow(n).vip, flow(n).vip_port, n)
        );
    }
    assert!(reply(13, Proto::Tcp).is_none());
    assert!(reply(1, Proto::Udp).is_none());
    lab.set(5, State::Established, Tick(NOW.0 - REFRESH));
    assert!(reply(5, Proto::Tcp).is_none(), "expired");
}

#[test]
fn of_several_connections_a_reply_gets_the_one_that_it_fits_best() {
    let lab = Lab::full();
    for best in 1..=12 {
        // In whatever place the best one lies.
        let reply = lab.table().lookup_reply(
            flow(0).client,
            flow(0).client_port,
            Proto::Tcp,
            NOW,
            |meta, _| Fit(100 - meta.real().abs_diff(best)),
        );
        assert_eq!(reply.map(|reply| reply.hit.meta.real()), Some(best));
    }
}

#[test]
fn a_claim_left_behind_is_taken_over_in_time() {
    let lab = Lab::new();
    let stuck = 1 << 60 | 9 << 49 | u64::from(NOW.0);
    for line in lab.buckets.iter().flat_map(|bucket| &bucket.lines) {
        for meta in &line.metas {
            meta.store(stuck, SeqCst);
        }
    }
    assert!(
        !lab.open(1, State::SynRecv, NOW.plus(SYN_RECV), NOW),
        "believed"
    );
    assert!(
        lab.open(1, State::SynRecv, NOW.plus(SYN_RECV), NOW.plus(REFRESH)),
        "given up"
    );
    assert_eq!(lab.loads.of(1).total(), 1);
    let swept: Vec<_> = (0..2)
        .map(|i| lab.table().sweep(i, NOW.plus(REFRESH), &lab.loads))
        .collect();
    assert_eq!(swept.iter().map(|s| s.live).sum::<u32>(), 1);
    let mut words = lab
        .buckets
        .iter()
        .flat_map(|bucket| &bucket.lines)
        .flat_map(|line| &line.metas);
    assert!(words.all(|word| !Meta(word.load(SeqCst)).is_busy()));
}

#[test]
fn a_sweep_can_cut_one_real_servers_connections() {
    let lab = Lab::full();
    let cut: u32 = (0..2)
        .map(|i| {
            lab.table()
                .sweep_where(i, NOW, |meta| meta.real() == 4, &lab.loads)
                .freed
        })
        .sum();
    assert_eq!((cut, lab.missing()), (1, vec![4]));
    for (i, bucket) in lab.buckets.iter().enumerate() {
        let away = lab
            .table()
            .connections(i as u32 ^ 1)
            .filter(|(_, meta)| meta.in_alternate())
            .count();
        assert_eq!(bucket.lines[0].note.load(SeqCst), away as u32);
    }
}
