//! Whatever happens, the pool follows from the states.

use proptest::prelude::*;

use super::world::*;
use crate::core::health::plan::Damping;
use crate::core::health::*;

#[derive(Clone, Debug)]
enum Step {
    Manner(u8, bool, Option<u16>),
    Run(u64),
    Weight(u8, u16),
    Remove(u8),
    Add(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..=3u8, any::<bool>(), proptest::option::of(0..9u16)).prop_map(|(n, p, w)| Step::Manner(n, p, w)),
        4 => (1..4000u64).prop_map(Step::Run),
        1 => (1..=3u8, 0..3u16).prop_map(|(n, w)| Step::Weight(n, w)),
        1 => (1..=3u8).prop_map(Step::Remove),
        1 => (1..=3u8).prop_map(Step::Add),
    ];
    proptest::collection::vec(step, 1..50)
}

proptest! {
    /// Whatever happens: the pool is what the states of the real servers and the quorum say.
    #[test]
    fn the_pool_always_follows_from_the_states(
        steps in steps(), quorum in 1..4u32, hysteresis in 0..3u32, slow in any::<bool>(), damped in any::<bool>(),
    ) {
        let mut rules = with_sorry(quorum, hysteresis);
        rules.slow_start = slow.then_some(5 * SECOND);
        rules.damping = damped.then_some(Damping { failures: 2, within: 20 * SECOND, hold: 10 * SECOND });
        let mut service = plan(rules);
        let mut world = World::new(vec![service.clone()]);
        for step in steps {
            match step {
                Step::Manner(n, passes, weight) => {
                    world.set(n, Manner { passes, takes: 3 * MS, weight: weight.filter(|_| passes) });
                }
                Step::Run(time) => world.run(Duration::from_millis(time)),
                Step::Weight(n, weight) => {
                    service.reals.iter_mut().filter(|r| r.id == real(n)).for_each(|r| r.weight = weight);
                    world.configure(vec![service.clone()]);
                }
                Step::Remove(n) => {
                    service.reals.retain(|r| r.id != real(n));
                    world.configure(vec![service.clone()]);
                }
                Step::Add(n) => {
                    if service.reals.iter().all(|r| r.id != real(n)) {
                        service.reals.push(real_plan(n, 1, TIMING));
                    }
                    world.configure(vec![service.clone()]);
                }
            }
            let report = world.health.report(world.now);
            let standings = world.health.standings();
            let standing = standings.get(service_id()).unwrap();
            let sorry = standing.sorry.unwrap().1;
            prop_assert_eq!(sorry, !report[0].has_quorum);
            prop_assert_eq!(standing.reals.len(), service.reals.len());
            for real in &report[0].reals {
                let stands = standing.reals[&real.address];
                let all_up = real.checks.iter().all(|c| c.verdict == Verdict::Up);
                let is_in = real.place == Place::Up;
                prop_assert!(is_in || !all_up || real.place == Place::Held);
                prop_assert!(all_up || real.place == Place::Down);
                prop_assert_eq!(stands.dead, !is_in);
                prop_assert_eq!(stands.out, sorry || !is_in);
                prop_assert!(real.weight != 0 || stands.weight == 0, "a person's zero");
                prop_assert!(stands.out || real.full_weight == 0 || stands.weight > 0);
            }
            // With weight alive there is a quorum, or the sorry server takes over; never neither.
            let serves = standing.reals.values().any(|s| !s.out && s.weight > 0);
            prop_assert!(serves || sorry);
            // Nothing is forgotten: each check has its turn or a probe on its way.
            let idle = report[0].reals.iter().flat_map(|r| &r.checks).filter(|c| c.next_seconds.is_none()).count();
            prop_assert!(idle <= world.health.in_flight());
        }
    }
}
