//! Real servers that are down, full, unresolved, or the director itself.

use lb_common::abi::{Method, Plan, real};
use lb_common::counter::Counter;
use lb_common::model::{Lists, World};
use lb_common::net::Proto;
use lb_common::packet::build::Build;
use lb_common::sched::Scheduler;
use tests::plane::Verdict;

use super::world::Step::Change;
use super::world::*;

pub(super) fn real_servers(rows: &mut Vec<Row>) {
    let unresolved = |method| one_real(method, |real| real.dst = SLOT << 48);
    for method in [Method::Dr, Method::Tun] {
        row(
            rows,
            "the next hop is not known",
            move || unresolved(method),
            vec![
                dropped(syn().bytes(), Counter::DropUnresolved),
                dropped(query().bytes(), Counter::DropUnresolved),
            ],
        );
    }
    let by_stack = |build: Build, to: Build| {
        becomes(
            build.bytes(),
            Counter::PassUnresolved,
            Verdict::Pass,
            to.bytes(),
        )
    };
    row(
        rows,
        "NAT: the stack finds the next hop",
        move || unresolved(Method::Nat),
        vec![
            by_stack(syn(), Build::tcp(CLIENT, "10.0.0.1:8080").flags(SYN)),
            by_stack(
                query(),
                Build::udp(CLIENT, "10.0.0.1:8053").payload(b"query"),
            ),
        ],
    );
    row(
        rows,
        "a real server goes down: segments go on, a SYN and datagrams go elsewhere",
        two,
        vec![
            to(syn(), 1),
            to(segment(ACK), 1),
            to(query(), 1),
            Change(|world| take_down(world, real::DOWN)),
            to(segment(ACK), 1),
            to(query(), 2),
            to(syn(), 2),
            to(segment(ACK), 2),
        ],
    );
    row(
        rows,
        "connections of a dead real server are given up",
        two,
        vec![
            to(syn(), 1),
            to(segment(ACK), 1),
            Change(|world| take_down(world, real::DOWN | real::RESET)),
            passes(segment(ACK).bytes(), Counter::PassNoConnection),
            to(syn(), 2),
        ],
    );
    row(
        rows,
        "a real server at its upper threshold",
        || one_real(Method::Dr, |real| real.upper = 1),
        vec![
            to(syn(), 1),
            refused(
                Build::tcp(NARROW_CLIENT, WEB).flags(SYN).bytes(),
                Counter::RejectNoReal,
                PORT_UNREACHABLE,
                0,
            ),
            to(segment(ACK), 1),
        ],
    );
}

/// Takes real server 1 of each service down, and out of its list.
pub(super) fn take_down(world: &mut World, flags: u8) {
    for (slot, key) in [(0, key(Proto::Tcp, 80)), (2, key(Proto::Udp, 53))] {
        world.reals[slot].flags |= flags;
        let members = [lb_common::abi::Member {
            real: slot as u32 + 1,
            weight: 1,
            last_weight: 1,
        }];
        let plan = Plan {
            scheduler: Scheduler::Rr as u8,
            eligible_len: 1,
            fallback_len: 1,
            ..Plan::default()
        };
        let lists = Lists {
            members: &members,
            schedule: &[],
            fallback: &[0],
        };
        world.set_generation(key, plan, lists);
    }
}
