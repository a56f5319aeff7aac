//! Every way in which a packet can end, through the real program and through the model: a row for each.

mod addressees;
mod clients;
mod closed;
mod connections;
mod forwarding;
mod fragments;
mod networks;
mod reals;
mod refusals;
mod related;
mod strangers;
mod world;

use anyhow::{Context, Result, bail, ensure};
use lb_common::abi::Method;
use lb_common::counter::Counter;
use lb_common::packet::build::checksums_hold;
use tests::needs_lab;
use tests::plane::{NETWORK, Program, Room, Run, Twin, Verdict, none_wrong, same, undisturbed};

use addressees::addressees;
use clients::clients;
use closed::closed_ports;
use connections::{connections, replies};
use forwarding::{forwarding, jumbo, sizes};
use fragments::fragments;
use networks::networks;
use reals::real_servers;
use refusals::{impossible, refusals};
use related::related;
use strangers::not_ours;
use world::Step::{Change, Wait};
use world::*;

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    forwarding(&mut rows);
    refusals(&mut rows);
    closed_ports(&mut rows);
    sizes(&mut rows);
    jumbo(&mut rows);
    fragments(&mut rows);
    not_ours(&mut rows);
    addressees(&mut rows);
    real_servers(&mut rows);
    connections(&mut rows);
    replies(&mut rows);
    networks(&mut rows);
    clients(&mut rows);
    related(&mut rows);
    impossible(&mut rows);
    rows
}

fn judge(expected: &Packet, run: &Run) -> Result<()> {
    ensure!(
        run.counted == [(expected.counter, 1)],
        "counted {:?}, not {:?}",
        run.counted,
        expected.counter
    );
    ensure!(
        run.verdict == expected.verdict,
        "{:?}, not {:?}",
        run.verdict,
        expected.verdict
    );
    if run.verdict == Verdict::Drop {
        return Ok(());
    }
    if !same(&run.frame, &expected.becomes) {
        bail!(
            "became  {:02x?}\ninstead {:02x?}",
            run.frame,
            expected.becomes
        );
    }
    let is_sent = run.verdict != Verdict::Pass;
    ensure!(
        !is_sent || checksums_hold(&run.frame),
        "a checksum does not hold: {:02x?}",
        run.frame
    );
    Ok(())
}

/// Whether the kernel called an argument invalid.
fn is_invalid(error: &anyhow::Error) -> bool {
    let code = |cause: &std::io::Error| cause.raw_os_error() == Some(libc::EINVAL);
    error
        .chain()
        .any(|cause| cause.downcast_ref().is_some_and(code))
}

fn play(twin: &mut Twin, row: &Row) -> Result<()> {
    twin.become_director((row.world)())?;
    for (number, step) in (1..).zip(&row.steps) {
        match step {
            Step::Packet(packet) => {
                let metadata = vec![0; packet.metadata];
                let run = match twin.send_behind(&metadata, &packet.frame) {
                    Err(error) if packet.metadata > 0 && is_invalid(&error) => {
                        println!("SKIP: {}: Linux before 6.8 takes less metadata", row.name);
                        return Ok(());
                    }
                    run => run.and_then(|run| judge(packet, &run)),
                };
                run.with_context(|| format!("step {number}"))?;
            }
            Wait(time) => twin.wait(*time),
            Change(change) => twin.change(*change)?,
        }
    }
    Ok(())
}

#[test]
fn each_packet_ends_as_its_row_says() -> Result<()> {
    needs_lab!();
    Room::with(&NETWORK, |room| {
        ensure!(
            room.index("front")? == FRONT,
            "`front` is interface {}",
            room.index("front")?
        );
        let mut twin = Twin::new(64)?;
        twin.set_egress(SLOT as u32, room.index("lo")?)?;
        let rows = rows();
        let mut wrong = Vec::new();
        for row in &rows {
            if let Err(error) = undisturbed(|| play(&mut twin, row)) {
                wrong.push(format!("{}: {error:#}", row.name));
            }
        }
        println!("{} rows", rows.len());
        none_wrong(&wrong)
    })
}

#[test]
fn each_counter_has_a_row() {
    let rows = rows();
    for &counter in Counter::ALL {
        let is_there = rows
            .iter()
            .flat_map(|row| &row.steps)
            .any(|step| matches!(step, Step::Packet(packet) if packet.counter == counter));
        assert!(is_there, "no packet of a row ends in `{}`", counter.label());
    }
}

#[test]
fn what_is_for_a_slot_without_an_interface_is_dropped() -> Result<()> {
    needs_lab!();
    Room::with(&NETWORK, |room| {
        // Only the program knows of interfaces: the model stops at the slot.
        let mut program = Program::load("lb", &plain(Method::Dr))?;
        let run = program.run(&syn().bytes())?;
        ensure!(
            (run.verdict, &run.counted[..]) == (Verdict::Drop, &[(Counter::DropInternal, 1)]),
            "{run}"
        );
        program.set_egress(SLOT as u32, room.index("lo")?)?;
        let run = program.run(&segment(ACK).bytes())?;
        ensure!(
            (run.verdict, &run.counted[..]) == (Verdict::Redirect, &[(Counter::ForwardedDr, 1)]),
            "{run}"
        );
        Ok(())
    })
}
