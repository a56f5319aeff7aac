//! Schedulers that compare loads or draw lots: what holds whatever the loads are.

use lb_common::abi::{Load, Member};
use lb_common::sched::{Choice, Lists, Pool, Request, Scheduler, choose, expected, overhead};
use proptest::prelude::*;

use super::super::{Course, Model};
use super::entry;

const REQUEST: Request = Request {
    client: 0xC633_6401,
    destination: 0xCB00_710A,
    client_port: 40_000,
};

/// A real server's weight, connections and overload flag.
#[derive(Clone, Copy, Debug)]
struct Server {
    weight: u16,
    active: u32,
    inactive: u32,
    overloaded: bool,
}

fn server() -> impl Strategy<Value = Server> {
    let weight = prop_oneof![1 => Just(0), 6 => 1..6u16, 1 => any::<u16>()];
    let count = || prop_oneof![3 => 0..4u32, 1 => 0..100_000u32];
    (weight, count(), count(), prop::bool::weighted(0.15)).prop_map(
        |(weight, active, inactive, overloaded)| Server {
            weight,
            active,
            inactive,
            overloaded,
        },
    )
}

fn model(scheduler: Scheduler, servers: &[Server]) -> Model {
    let entries = (0u8..)
        .zip(servers)
        .map(|(n, s)| entry(n, s.weight))
        .collect();
    let loads = servers.iter().map(|s| Load {
        conns: u64::from(s.active + s.inactive)
            + u64::from(s.active) * Load::ACTIVE
            + if s.overloaded { Load::OVERLOADED } else { 0 },
    });
    let layout = Course::default().next(scheduler, entries, 0);
    Model::new(scheduler, 0, layout, loads.collect())
}

/// The members that may be chosen, in list order.
fn available(model: &Model) -> Vec<(Member, Load)> {
    let members = (0..model.plan().eligible_len).map(|i| model.member(i));
    members
        .map(|m| (m, model.load(m.real)))
        .filter(|(_, load)| !load.overloaded())
        .collect()
}

/// Checks that the chosen one is the first of those for which `score / weight` is smallest.
fn is_first_of_least(
    model: &Model,
    chosen: Option<Choice>,
    score: impl Fn(Load) -> u64,
    weight: impl Fn(Member) -> u64,
) -> Result<(), TestCaseError> {
    let all = available(model);
    let is_less = |a: &(Member, Load), b: &(Member, Load)| {
        u128::from(score(a.1)) * u128::from(weight(b.0))
            < u128::from(score(b.1)) * u128::from(weight(a.0))
    };
    let mut best = all.first();
    for other in &all {
        if best.is_some_and(|b| is_less(other, b)) {
            best = Some(other);
        }
    }
    prop_assert_eq!(
        chosen.map(lb_common::sched::Choice::real),
        best.map(|(m, _)| m.real)
    );
    Ok(())
}

proptest! {
    #[test]
    fn nobody_with_strictly_more_load_is_chosen(servers in prop::collection::vec(server(), 0..40)) {
        let by_weight = |m: Member| u64::from(m.weight);
        let lc = model(Scheduler::Lc, &servers);
        is_first_of_least(&lc, choose(&lc, &REQUEST), overhead, |_| 1)?;
        let wlc = model(Scheduler::Wlc, &servers);
        is_first_of_least(&wlc, choose(&wlc, &REQUEST), overhead, by_weight)?;
        let sed = model(Scheduler::Sed, &servers);
        is_first_of_least(&sed, choose(&sed, &REQUEST), expected, by_weight)?;

        let nq = model(Scheduler::Nq, &servers);
        let chosen = choose(&nq, &REQUEST);
        match available(&nq).iter().find(|(_, load)| load.active() == 0) {
            Some((idle, _)) => prop_assert_eq!(chosen.map(lb_common::sched::Choice::real), Some(idle.real)),
            None => is_first_of_least(&nq, chosen, expected, by_weight)?,
        }
        // With nothing remembered of the destination, locality is weighted least connections.
        for locality in [Scheduler::Lblc, Scheduler::Lblcr] {
            let model = model(locality, &servers);
            is_first_of_least(&model, choose(&model, &REQUEST), overhead, by_weight)?;
        }
    }

    #[test]
    fn the_heaviest_with_room_is_chosen(servers in prop::collection::vec(server(), 0..40)) {
        let fo = model(Scheduler::Fo, &servers);
        let heaviest = available(&fo).iter().map(|(m, _)| u32::from(m.weight)).max();
        prop_assert_eq!(choose(&fo, &REQUEST).map(lb_common::sched::Choice::weight), heaviest);

        let ovf = model(Scheduler::Ovf, &servers);
        let has_room = |(m, load): &&(Member, Load)| load.active() <= m.weight.into();
        let room = available(&ovf).iter().filter(has_room).map(|(m, _)| u32::from(m.weight)).max();
        prop_assert_eq!(choose(&ovf, &REQUEST).map(lb_common::sched::Choice::weight), room);
    }

    #[test]
    fn nobody_quiesced_or_overloaded_is_chosen(servers in prop::collection::vec(server(), 0..40), seed: u64) {
        for &scheduler in Scheduler::ALL {
            let mut model = model(scheduler, &servers);
            model.seed(seed);
            let somebody = !available(&model).is_empty();
            for _ in 0..3 {
                let chosen = choose(&model, &REQUEST);
                if let Some(c) = chosen {
                    let server = servers[c.real() as usize];
                    prop_assert!(server.weight > 0 && !server.overloaded, "{scheduler:?} chose {server:?}");
                    prop_assert_eq!(c.weight(), u32::from(server.weight));
                }
                let may_refuse = matches!(scheduler, Scheduler::Sh | Scheduler::Dh | Scheduler::Mh | Scheduler::Ovf);
                prop_assert!(chosen.is_some() == somebody || (may_refuse && chosen.is_none()), "{scheduler:?}");
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Each idle real server's share of many choices comes to its share of the weights.
    #[test]
    fn shares_converge_to_weights(weights in prop::collection::vec(1..40u16, 1..12), seed: u64) {
        let servers: Vec<Server> =
            weights.iter().map(|&weight| Server { weight, active: 0, inactive: 0, overloaded: false }).collect();
        let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        for scheduler in [Scheduler::Wrr, Scheduler::Wlc, Scheduler::Sed, Scheduler::Twos, Scheduler::Mh] {
            let mut model = model(scheduler, &servers);
            model.seed(seed);
            let rounds = 8000_u32;
            let mut counts = vec![0_u32; servers.len()];
            for client in 0..rounds {
                let request = Request { client: client.wrapping_mul(0x9E37_79B9), ..REQUEST };
                let real = choose(&model, &request).unwrap().real() as usize;
                counts[real] += 1;
                model.loads[real].conns += Load::ONE + Load::ACTIVE;
            }
            for (&weight, &count) in weights.iter().zip(&counts) {
                let wanted = f64::from(weight) / sum * f64::from(rounds);
                // Counting ones are off by a burst at most; for those that draw or hash, five standard deviations.
                let allowed = match scheduler {
                    Scheduler::Twos | Scheduler::Mh => 5.0 * wanted.sqrt() + wanted * 0.01,
                    _ => f64::from(weight) + 1.0,
                };
                let apart = (f64::from(count) - wanted).abs();
                prop_assert!(apart <= allowed, "{scheduler:?}: {count} instead of {wanted} for {weights:?}");
            }
        }
    }
}

#[test]
fn the_most_real_servers_with_the_greatest_weights_are_served() {
    // 1,024 real servers of the greatest weights: every scheduler still chooses.
    let entries: Vec<_> = (0..1024_u32)
        .map(|n| super::Entry {
            id: (std::net::Ipv4Addr::from_bits(0x0A00_0000 + n), 80).into(),
            slot: n,
            weight: u16::MAX - n as u16,
            upper: 0,
            lower: 0,
            out: false,
        })
        .collect();
    for &scheduler in Scheduler::ALL {
        let layout = Course::default().next(scheduler, entries.clone(), 0);
        let model = Model::new(scheduler, 0, layout, vec![Load::default(); 1024]);
        for _ in 0..2000 {
            assert!(choose(&model, &REQUEST).is_some(), "{scheduler:?}");
        }
    }
}
