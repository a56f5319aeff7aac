use super::*;
use proptest::prelude::*;

fn protos() -> impl Strategy<Value = Proto> {
    prop_oneof![Just(Proto::Tcp), Just(Proto::Udp)]
}

fn states() -> impl Strategy<Value = State> {
    proptest::sample::select(&State::ALL[1..])
}

proptest! {
    #[test]
    fn every_field_of_a_word_reads_as_written(
        proto in protos(),
        (before, after) in (states(), states()),
        (real, other) in (0..=crate::abi::MAX_REALS, 0..=crate::abi::MAX_REALS),
        (expires, later) in (any::<u32>(), any::<u32>()),
        no_output in any::<bool>(),
        generation in 0u32..4,
    ) {
        let meta = Meta::new(proto, before, real, Tick(expires));
        prop_assert_eq!(meta.proto(), Some(proto));
        prop_assert_eq!(meta.state(), before);
        prop_assert_eq!(meta.real(), real);
        prop_assert_eq!(meta.expires(), Tick(expires));
        prop_assert!(meta.is_live() && !meta.is_busy() && !meta.no_output() && !meta.in_alternate());
        prop_assert_eq!(meta.template(), None);

        let slot = Meta(u64::MAX);
        let changed = meta
            .with_no_output(no_output)
            .with_template(generation)
            .with_real(other)
            .placed_as(slot)
            .with_state(after, Tick(later));
        prop_assert_eq!(changed.proto(), Some(proto));
        prop_assert_eq!(changed.state(), after);
        prop_assert_eq!(changed.real(), other);
        prop_assert_eq!(changed.expires(), Tick(later));
        prop_assert_eq!(changed.no_output(), no_output);
        prop_assert_eq!(changed.template(), Some(generation));
        prop_assert!(changed.in_alternate() && !changed.is_busy());
        prop_assert_eq!(changed.freed(), slot.freed());
    }

    /// The arithmetic of `rank`, said in plain words.
    #[test]
    fn rank_is_what_its_table_says(
        proto in protos(),
        state in states(),
        busy in any::<bool>(),
        now in any::<u32>(),
        left in -70_000i32..70_000,
        syn_recv in 0u32..20_000,
        udp in 0u32..20_000,
    ) {
        let now = Tick(now);
        let mut meta = Meta::new(proto, state, 7, now.plus(left.cast_unsigned()));
        if busy {
            meta = meta.claimed(now.plus(left.cast_unsigned()), false);
        }
        let spare = Spare::new(now, syn_recv, udp);
        let safe_for = match meta.state() {
            State::UdpOnce => udp.saturating_sub(HANDSHAKE),
            _ => syn_recv.saturating_sub(HANDSHAKE),
        };
        let expired = left <= -REFRESH.cast_signed();
        let expected = if expired {
            Rank::GONE
        } else if busy {
            Rank::HELD
        } else if state.is_closed() {
            Rank::CLOSED
        } else if state.is_half_open() && left < safe_for.cast_signed() {
            Rank::HALF_OPEN
        } else {
            Rank::HELD
        };
        prop_assert_eq!(meta.rank(now, spare), expected);
    }

    #[test]
    fn only_a_move_of_a_second_or_another_change_is_worth_a_write(
        state in states(), expires in any::<u32>(), moved in -100i32..100,
    ) {
        let meta = Meta::new(Proto::Tcp, state, 1, Tick(expires));
        let to = Tick(expires).plus(moved.cast_unsigned());
        prop_assert_eq!(meta.is_worth(meta.with_state(state, to)), moved.unsigned_abs() >= REFRESH);
        prop_assert!(meta.is_worth(meta.with_real(2)));
        prop_assert!(meta.is_worth(meta.with_no_output(true)));
    }
}

#[test]
fn a_free_slot_is_gone_at_any_time() {
    for now in [0, 1, REFRESH, u32::MAX / 2, u32::MAX / 2 + 1, u32::MAX] {
        let spare = Spare::new(Tick(now), 900, 900);
        assert_eq!(Meta::FREE.rank(Tick(now), spare), Rank::GONE);
        assert_eq!(Meta(u64::MAX).freed().rank(Tick(now), spare), Rank::GONE);
    }
}

#[test]
fn what_ipvs_counts_as_active() {
    let active: Vec<&str> = State::ALL
        .iter()
        .filter(|s| s.is_active())
        .map(|s| s.label())
        .collect();
    assert_eq!(active, ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"]);
    let load = |state, proto| Load {
        conns: Meta::new(proto, state, 0, Tick(0)).load(),
    };
    assert_eq!(load(State::Established, Proto::Tcp).active(), 1);
    assert_eq!(load(State::FinWait, Proto::Tcp).active(), 0);
    assert_eq!(load(State::FinWait, Proto::Tcp).total(), 1);
    assert_eq!(load(State::UdpAssured, Proto::Udp).active(), 0);
    assert_eq!(Meta::FREE.claimed(Tick(0), false).load(), 0);
}

#[test]
fn a_slot_counts_its_uses_modulo_eight() {
    let mut slot = Meta::FREE;
    for n in 1..=8u64 {
        let busy = slot.claimed(Tick(5), true);
        let entry = Meta::new(Proto::Udp, State::UdpOnce, 3, Tick(9)).placed_as(busy);
        assert_eq!(entry.0 >> USE, n % 8);
        assert!(!entry.is_same(slot) && entry.in_alternate() && !entry.is_busy());
        slot = entry.freed();
    }
    assert_eq!(slot, Meta::FREE);
}
