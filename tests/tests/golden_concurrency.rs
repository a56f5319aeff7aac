//! Is everything exact when two cores are at it at once? The real XDP program, run by two threads.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use anyhow::Result;
use lb_daemon::core::desired::{Desired, DesiredReal, DesiredService, Proto, Scheduler, ServiceId};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tests::replay::recording::Proto::Tcp;
use tests::replay::{Director, Packet, Program, Runner, Seen};

const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

fn service(scheduler: Scheduler, weights: &[u16]) -> Desired {
    let real = |(number, weight): (u8, &u16)| DesiredReal {
        weight: *weight,
        ..DesiredReal::new(Ipv4Addr::new(10, 0, 0, number).into(), 80)
    };
    let service = DesiredService {
        scheduler,
        reals: (1..).zip(weights).map(real).collect(),
        ..DesiredService::new(ServiceId::new(Proto::Tcp, VIP, 80))
    };
    Desired {
        services: vec![service],
        ..Desired::default()
    }
}

/// A segment of a client whom nobody else uses: of this thread, by its number.
fn segment(thread: u8, client: u32, flags: &str) -> Packet {
    let [_, a, b, c] = client.to_be_bytes();
    Packet {
        proto: Tcp,
        client: SocketAddr::from(([20 + thread, a, b, c], 40_000)),
        vip: SocketAddr::from((VIP, 80)),
        flags: flags.into(),
    }
}

/// Two threads, each on a core of its own where there are two.
fn on_two_cores(program: &Program, work: impl Fn(u8, &Runner) -> Result<()> + Sync) -> Result<()> {
    let runners = [program.runner()?, program.runner()?];
    thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(&runners)
            .map(|(thread, runner)| {
                let work = &work;
                scope.spawn(move || {
                    let mut core = CpuSet::new();
                    core.set(usize::from(thread))?;
                    if let Err(error) = sched_setaffinity(Pid::from_raw(0), &core) {
                        eprintln!("thread {thread} has no core of its own: {error}");
                    }
                    work(thread, runner)
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a thread panicked"))
    })
}

/// How many connections each real server was given.
fn given(program: &mut Program) -> Result<BTreeMap<String, u64>> {
    let services = program.services()?;
    let reals = services.iter().flat_map(|s| &s.reals);
    Ok(reals
        .map(|r| (r.addr.ip().to_string(), r.traffic.conns))
        .collect())
}

fn opens(program: &Program, clients: u32) -> Result<()> {
    on_two_cores(program, |thread, runner| {
        for client in 0..clients {
            let seen = runner.send(&segment(thread, client, "S"))?;
            assert!(matches!(seen, Seen::Real(_)), "{client}: {seen}");
        }
        Ok(())
    })
}

#[test]
fn rr_and_wrr_give_each_real_server_its_exact_count() -> Result<()> {
    Program::with(|program| {
        program.configure(&service(Scheduler::Rr, &[1, 1, 1]))?;
        opens(program, 1500)?;
        assert_eq!(given(program)?.into_values().collect::<Vec<_>>(), [1000; 3]);

        program.clear()?;
        program.configure(&service(Scheduler::Wrr, &[5, 3, 2]))?;
        opens(program, 1500)?;
        let given: Vec<u64> = given(program)?.into_values().collect();
        assert_eq!(given, [1500, 900, 600]);
        Ok(())
    })
}

/// Cores that choose at once may all take the same real server for the least loaded. While connections only open, that adds up to
/// no more than one connection for each core:
///
/// Let another real server have `m` connections now. Who adds one to `r` has found no more there than at the other, so `m` at
/// most. Then all who took `r` beyond `m` had looked before the first of them added, and a core looks for one connection at a
/// time. With weights it is the same of connections divided by weights.
#[test]
fn least_connections_are_no_further_apart_than_there_are_cores() -> Result<()> {
    const CORES: u64 = 2;
    const CLIENTS: u32 = 2_000;
    Program::with(|program| {
        for (scheduler, weights) in [
            (Scheduler::Lc, [1; 7]),
            (Scheduler::Wlc, [1; 7]),
            (Scheduler::Wlc, [1, 2, 3, 5, 8, 13, 100]),
        ] {
            program.clear()?;
            program.configure(&service(scheduler, &weights))?;
            opens(program, CLIENTS)?;
            let counts: Vec<u64> = given(program)?.into_values().collect();
            println!("{scheduler:?} {weights:?}: {counts:?}");
            assert_eq!(counts.iter().sum::<u64>(), 2 * u64::from(CLIENTS));
            // lc asks for no weight.
            let weight = |n: usize| match scheduler {
                Scheduler::Lc => 1,
                _ => u64::from(weights[n]),
            };
            for (r, most) in counts.iter().enumerate() {
                for (other, least) in counts.iter().enumerate() {
                    assert!(
                        most.saturating_sub(CORES) * weight(other) <= least * weight(r),
                        "{scheduler:?} {weights:?}: {counts:?}, of which {r} and {other} are too far apart"
                    );
                }
            }
        }
        Ok(())
    })
}

/// A generator of numbers that look random (SplitMix64), the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) % u64::from(below)) as u32
    }
}

/// Half of the clients are those of both threads, so that both open, use and close the same connections.
#[test]
fn no_count_is_left_of_a_million_connections() -> Result<()> {
    /// Every other SYN opens one: what is established stays, and a reset ends nothing that is half open.
    const EACH: u32 = 1_000_000;
    const CLIENTS: u32 = 3_000;
    Program::with(|program| {
        program.configure(&service(Scheduler::Wlc, &[3, 2, 1]))?;
        on_two_cores(program, |thread, runner| {
            let mut numbers = Numbers(thread.into());
            for _ in 0..EACH {
                let client = numbers.next(CLIENTS);
                let owner = if client.is_multiple_of(2) { 0 } else { thread };
                runner.send(&segment(owner, client, "S"))?;
                let flags = ["A", "R", "FA", "FA", "FA"][numbers.next(5) as usize];
                runner.send(&segment(owner, client, flags))?;
            }
            Ok(())
        })?;
        let services = program.services()?;
        let reals = services.iter().flat_map(|s| &s.reals);
        let (mut counted, mut given) = (0, 0);
        for real in reals {
            counted += u64::from(real.active + real.inactive);
            given += real.traffic.conns;
        }
        assert_eq!(counted, program.connections()?.len() as u64);
        println!("{given} connections were opened");
        assert!(given >= 1_000_000, "only {given} connections were opened");

        program.advance(3_600)?;
        assert!(program.connections()?.is_empty());
        for real in program.services()?.iter().flat_map(|s| &s.reals) {
            assert_eq!((real.active, real.inactive), (0, 0), "{}", real.addr);
        }
        Ok(())
    })
}
