//! Where sh and mh go when the hashed real server is not available.

use lb_common::abi::{Load, service};
use lb_common::sched::hash::{MH_FIRST, bucket, mh_hash};
use lb_common::sched::{BUCKETS, Lists, Pool, Request, Scheduler, choose};

use super::super::{Course, MhTable, Model};
use super::entry;

const WEIGHTS: [u16; 6] = [3, 1, 4, 1, 5, 2];

fn request(client: u32) -> Request {
    Request {
        client: client.wrapping_mul(0x0100_0193),
        destination: 0,
        client_port: 4000,
    }
}

/// Six real servers of which two are overloaded.
fn model(scheduler: Scheduler, flags: u16) -> Model {
    let entries = (0u8..).zip(WEIGHTS).map(|(n, w)| entry(n, w)).collect();
    let mut course = Course::default();
    course.mh_table = MhTable::Kernel;
    let mut loads = vec![Load::default(); WEIGHTS.len()];
    loads[1].conns = Load::OVERLOADED;
    loads[4].conns = Load::OVERLOADED;
    Model::new(scheduler, flags, course.next(scheduler, entries, 0), loads)
}

fn is_available(model: &Model, index: u32) -> bool {
    !model.load(model.member(index).real).overloaded()
}

#[test]
fn sh_goes_on_from_twice_the_home_bucket() {
    let strict = model(Scheduler::Sh, 0);
    let falls_back = model(Scheduler::Sh, service::SH_FALLBACK);
    let owner = |b: u32| strict.slot(0, b % BUCKETS);
    for client in 0..500 {
        let home = bucket(request(client).client);
        let wanted = (0..BUCKETS)
            .map(|k| owner(2 * home + k))
            .find(|&o| is_available(&strict, o));
        let at_home = is_available(&strict, owner(home)).then_some(owner(home));
        assert_eq!(
            choose(&strict, &request(client)).map(lb_common::sched::Choice::index),
            at_home
        );
        assert_eq!(
            choose(&falls_back, &request(client)).map(lb_common::sched::Choice::index),
            at_home.or(wanted)
        );
    }
}

#[test]
fn mh_hashes_on_from_the_home_place() {
    let size = MhTable::Kernel.size();
    let strict = model(Scheduler::Mh, 0);
    let falls_back = model(Scheduler::Mh, service::MH_FALLBACK);
    let owner = |key: u32| strict.slot(1, mh_hash(MH_FIRST, key) % size);
    for client in 0..500 {
        let key = request(client).client;
        let home = mh_hash(MH_FIRST, key) % size;
        let tried = (0..size).map(|n| owner(key.wrapping_add((home + n) % size)));
        let wanted = tried.into_iter().find(|&o| is_available(&strict, o));
        let at_home = is_available(&strict, owner(key)).then_some(owner(key));
        assert_eq!(
            choose(&strict, &request(client)).map(lb_common::sched::Choice::index),
            at_home
        );
        assert_eq!(
            choose(&falls_back, &request(client)).map(lb_common::sched::Choice::index),
            at_home.or(wanted)
        );
    }
}

#[test]
fn ports_count_only_when_asked_for() {
    for (scheduler, with_port) in [
        (Scheduler::Sh, service::SH_PORT),
        (Scheduler::Mh, service::MH_PORT),
    ] {
        let (without, with) = (model(scheduler, 0), model(scheduler, with_port));
        let chosen = |model: &Model| {
            let of = |client_port| {
                choose(
                    model,
                    &Request {
                        client_port,
                        ..request(7)
                    },
                )
                .map(lb_common::sched::Choice::index)
            };
            (0..64)
                .map(|port| of(port * 101))
                .collect::<std::collections::HashSet<_>>()
                .len()
        };
        assert_eq!(chosen(&without), 1);
        assert!(chosen(&with) > 1);
    }
}

#[test]
fn with_everybody_overloaded_nobody_is_chosen() {
    for (scheduler, flag) in [
        (Scheduler::Sh, service::SH_FALLBACK),
        (Scheduler::Mh, service::MH_FALLBACK),
    ] {
        let mut model = model(scheduler, flag);
        model.loads.fill(Load {
            conns: Load::OVERLOADED,
        });
        assert_eq!(choose(&model, &request(1)), None);
    }
}
