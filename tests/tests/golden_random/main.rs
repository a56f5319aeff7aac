//! Random directors and random frames: the real program and the model must agree on each.
//!
//! Frames, verdicts, counters, connections, loads, traffic, turns and templates are compared after each packet. A failure names
//! its seed; `LB_SEED=seed` plays that one again.
//!
//! `LB_FRAMES=5000000 cargo test --release -p tests --test golden_random -- --nocapture` tries so many of each family, and compares
//! what is remembered after every sixteenth.

mod dice;
mod family;
mod frames;
mod site;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lb_common::net::{Be32, Be128};
use lb_common::packet::build::checksums_hold;
use tests::needs_lab;
use tests::plane::{NETWORK, Room, Twin, Verdict, undisturbed};

use crate::dice::Dice;
use crate::family::Hosts;

/// For how long seeds are played.
const BUDGET: Duration = Duration::from_secs(20);
/// Packets of a seed, and what happens between them.
const STEPS: u32 = 150;
/// How often what is remembered is compared where many packets are asked for.
const SELDOM: u32 = 16;
/// How often it is said how many there were.
const REPORT: Duration = Duration::from_secs(30);

/// How often packets ended in each way.
type Ends = BTreeMap<&'static str, u64>;

#[test]
fn the_program_and_the_model_agree() -> Result<()> {
    needs_lab!();
    agree::<Be32>()
}

#[test]
fn so_do_those_for_ipv6() -> Result<()> {
    needs_lab!();
    agree::<Be128>()
}

/// Plays seeds of a family for a while, or the one that was asked for.
fn agree<A: Hosts>() -> Result<()> {
    let network = [&NETWORK, A::NETWORK].concat();
    Room::with(&network, |room| {
        ensure!(room.index("front")? == site::FRONT, "another interface");
        let mut twin = Twin::<A>::new(64)?;
        twin.set_egress(site::SLOT as u32, room.index("lo")?)?;
        let first = match std::env::var("LB_SEED") {
            Ok(seed) => {
                play_seed(&mut twin, seed.parse().context("LB_SEED")?, true)?;
                return Ok(());
            }
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64,
        };
        let wanted = match std::env::var("LB_FRAMES") {
            Ok(frames) => Some(frames.parse::<u64>().context("LB_FRAMES")?),
            Err(_) => None,
        };
        if wanted.is_some() {
            twin.compare_every(SELDOM);
        }
        let (began, mut said) = (Instant::now(), Instant::now());
        let (mut directors, mut packets, mut ends) = (0, 0, Ends::new());
        let goes_on = |packets: u64| match wanted {
            Some(wanted) => packets < wanted,
            None => packets == 0 || began.elapsed() < BUDGET,
        };
        while goes_on(packets) {
            for (end, times) in play_seed(&mut twin, first + directors, false)? {
                *ends.entry(end).or_default() += times;
            }
            directors += 1;
            packets += u64::from(STEPS);
            if said.elapsed() > REPORT {
                said = Instant::now();
                println!("{packets} packets after {:.0?}", began.elapsed());
            }
        }
        println!(
            "{packets} packets to {directors} directors in {:.1?}, the first of seed {first}: {ends:?}",
            began.elapsed()
        );
        Ok(())
    })
}

fn play_seed<A: Hosts>(twin: &mut Twin<A>, seed: u64, tell: bool) -> Result<Ends> {
    undisturbed(|| play(twin, seed, tell)).with_context(|| {
        format!("seed {seed}\nhint: LB_SEED={seed} cargo test -p tests --test golden_random -- --nocapture")
    })
}

fn play<A: Hosts>(twin: &mut Twin<A>, seed: u64, tell: bool) -> Result<Ends> {
    let mut dice = Dice::new(seed);
    let (world, mut site) = site::director(&mut dice);
    if tell {
        println!(
            "{:#?}\n{:#?}\n{:#?}",
            world.settings, world.services, world.reals
        );
    }
    twin.become_director(world)?;
    let mut ends = Ends::new();
    for step in 0..STEPS {
        if dice.one_in(25) {
            let seconds = dice.pick(&[0.1, 0.1, 1.0, 3.0, 60.0, 299.0, 302.0, 1000.0]);
            twin.wait(Duration::from_secs_f64(seconds));
        }
        if dice.one_in(30) {
            twin.sweep().context("sweep")?;
        }
        if dice.one_in(40) {
            twin.change(|world| site.change(&mut dice, world))?;
        }
        let frame = frames::frame(&mut dice, &site, twin.world());
        let run = twin
            .send(&frame)
            .with_context(|| format!("packet {step}: {}", hex(&frame)))?;
        if tell {
            println!(
                "{step}: {:?} {:?}: {}",
                run.verdict,
                run.counted,
                hex(&frame)
            );
        }
        let is_sent = matches!(run.verdict, Verdict::Tx | Verdict::Redirect);
        ensure!(
            !is_sent || !checksums_hold(&frame) || checksums_hold(&run.frame),
            "packet {step}: a checksum holds no more: {}\nbecame {}",
            hex(&frame),
            hex(&run.frame)
        );
        for (counter, times) in run.counted {
            *ends.entry(counter.label()).or_default() += times;
        }
    }
    twin.sweep().context("sweep")?;
    Ok(ends)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
