//! Persistent clients: kept where they were, as many as there is room for.

use std::time::Duration;

use lb_common::abi::{Method, real, seconds_to_ticks, service};
use lb_common::counter::Counter;
use lb_common::model::{MAX_TEMPLATES, World};
use lb_common::packet::build::Build;
use tests::plane::Verdict;

use super::world::Step::{Change, Wait};
use super::world::*;

/// Two real servers, and clients that stay with theirs for a minute.
fn persistent() -> World {
    let mut world = director(64, |port| {
        [1, 2]
            .map(|number| (real_server(Method::Dr, number, port), 1))
            .to_vec()
    });
    world.plans[0].persistence = seconds_to_ticks(60);
    world.plans[0].mask = u32::MAX;
    world
}

fn open(client: &str, number: u8, counter: Counter) -> Step {
    let build = Build::tcp(client, WEB).flags(SYN);
    let out = onward(build.clone(), number).bytes();
    becomes(build.bytes(), counter, Verdict::Redirect, out)
}

fn to(client: &str, number: u8) -> Step {
    open(client, number, Counter::ForwardedDr)
}

pub(super) fn clients(rows: &mut Vec<Row>) {
    row(
        rows,
        "a client comes back to its real server until its time is over",
        persistent,
        vec![
            to("198.51.100.5:1025", 1),
            to("198.51.100.5:1026", 1),
            to("198.51.100.8:1025", 2),
            to("198.51.100.5:1027", 1),
            Wait(Duration::from_secs(50)),
            to("198.51.100.8:1026", 2),
        ],
    );
    row(
        rows,
        "a client of a real server without weight stays, unless it is told to leave",
        persistent,
        vec![
            to("198.51.100.5:1025", 1),
            Change(|world| world.reals[0].flags |= real::QUIESCED),
            to("198.51.100.5:1026", 1),
            Change(|world| world.plans[0].flags |= service::LEAVE_QUIESCED),
            to("198.51.100.5:1027", 2),
            to("198.51.100.5:1028", 2),
        ],
    );
    // As many as there is room for, and then one more: its connections are scheduled one by one.
    let mut steps: Vec<Step> = (0..MAX_TEMPLATES as u8)
        .map(|n| to(&format!("198.51.100.{}:1025", 10 + n), 1 + n % 2))
        .collect();
    let surplus = |port: u16, number| {
        let client = format!("198.51.100.99:{port}");
        open(&client, number, Counter::ForwardedUnkept)
    };
    steps.extend([
        surplus(1025, 1),
        surplus(1026, 2),
        surplus(1027, 1),
        // Within the connection it is as any other.
        becomes(
            Build::tcp("198.51.100.99:1026", WEB).flags(ACK).bytes(),
            Counter::ForwardedDr,
            Verdict::Redirect,
            onward(Build::tcp("198.51.100.99:1026", WEB).flags(ACK), 2).bytes(),
        ),
        to("198.51.100.10:1026", 1),
        to("198.51.100.11:1026", 2),
    ]);
    row(
        rows,
        "more clients than there is room for",
        persistent,
        steps,
    );
}
