//! The packets of IPVS, through the real program and through the model.

mod fragments;

use anyhow::{Context, Result, ensure};
use lb_common::abi::{Method, Real, ServiceKey, real};
use lb_common::model::{Path, World};
use lb_common::net::{Be16, Be32, Be128};
use lb_common::packet::build::checksums_hold;
use lb_common::packet::wire::{MacPair, mac_word};
use lb_common::sched::Scheduler;
use tests::needs_lab;
use tests::plane::{
    Event, Family, Golden, Host, NETWORK, Room, Run, Twin, Verdict, frame_of, none_wrong, same,
    undisturbed,
};

/// Who is who in the recordings of a family.
trait Recorded: Family {
    const VIP: Self;
    const CLIENT: Self;
    /// Only the client's side is asked for by the routing table.
    const DEFAULT_ROUTE: &str;

    /// Writes the addresses of the real server, and of the director towards it.
    fn place(real: &mut Real);
}

impl Recorded for Be32 {
    const VIP: Self = Self::from_bytes([203, 0, 113, 10]);
    const CLIENT: Self = Self::from_bytes([198, 51, 100, 5]);
    const DEFAULT_ROUTE: &str = "route add default via 198.51.100.5";

    fn place(real: &mut Real) {
        real.addr = Self::from_bytes([10, 0, 0, 1]);
        real.tun_src = Self::from_bytes([10, 0, 0, 254]);
    }
}

impl Recorded for Be128 {
    const VIP: Self = Self::from_bits(0x2001_0db8_000f_0000_0000_0000_0000_0010);
    const CLIENT: Self = Self::from_bits(0x2001_0db8_000c_0000_0000_0000_0000_0005);
    const DEFAULT_ROUTE: &str = "-6 route add default via 2001:db8:c::5";

    fn place(real: &mut Real) {
        real.addr6 = Self::from_bits(0xfd00_0010_0000_0000_0000_0000_0000_0001);
        real.tun_src6 = Self::from_bits(0xfd00_0010_0000_0000_0000_0000_0000_00fe);
    }
}

/// The egress slot of the real server's side.
const SLOT: u64 = 3;

fn real_server<A: Recorded>(method: Method, port: u16) -> Real {
    let mut real = Real {
        dst: mac_word(Host::Real.mac()) | SLOT << 48,
        src: mac_word(Host::Real.director()) | 1500 << 48,
        port: Be16::from_host(port),
        method: method as u8,
        flags: real::USED,
        ifindex: 99,
        ..Real::default()
    };
    A::place(&mut real);
    real
}

/// The director of a recording; `service` says how its services are.
fn director<A: Recorded>(method: Method, service: &str, front: u32) -> World<A> {
    let mut world = World::new(1024);
    let macs = MacPair {
        dst: mac_word(Host::Client.mac()),
        src: mac_word(Host::Client.director()),
    };
    world.routes.insert(
        A::CLIENT,
        Path {
            ifindex: front,
            macs,
            mtu: 1500,
        },
    );
    let nat = method == Method::Nat;
    let ports = [
        (6, 80, if nat { 8080 } else { 80 }),
        (17, 53, if nat { 5353 } else { 53 }),
    ];
    for (proto, port, real_port) in ports {
        let key = ServiceKey {
            vip: A::VIP,
            port: Be16::from_host(port),
            proto,
            host_bits: 0,
        };
        let real = real_server::<A>(method, real_port);
        match service {
            "no service" => {}
            "a service without real servers" => world.add_service(key, Scheduler::Rr, &[]),
            "all weights 0" => world.add_service(key, Scheduler::Rr, &[(real, 0)]),
            _ => world.add_service(key, Scheduler::Rr, &[(real, 1)]),
        }
    }
    world
}

fn judge(expected: &Event, sent: &[u8], run: &Run) -> Result<()> {
    ensure!(
        run.counted.iter().map(|(_, times)| times).sum::<u64>() == 1,
        "counted {:?}",
        run.counted
    );
    match expected {
        Event::Stack => ensure!(
            run.verdict == Verdict::Pass && run.frame == sent,
            "not left to the stack as it came: {run:02x?}"
        ),
        Event::Sent(_, frame) => {
            ensure!(
                matches!(run.verdict, Verdict::Tx | Verdict::Redirect),
                "not sent: {run:02x?}"
            );
            ensure!(
                same(&run.frame, frame),
                "sent    {:02x?}\ninstead {frame:02x?}\n{:?}",
                run.frame,
                run.counted
            );
            ensure!(
                checksums_hold(&run.frame) || frame.len() > 590,
                "a checksum does not hold: {:02x?}",
                run.frame
            );
        }
    }
    Ok(())
}

fn golden<A: Recorded>(file: &str, method: Method) -> Result<()> {
    let network = [NETWORK.as_slice(), &[A::DEFAULT_ROUTE]].concat();
    Room::with(&network, |room| {
        let front = room.index("front")?;
        let mut twin = Twin::<A>::new(1024)?;
        twin.set_egress(SLOT as u32, room.index("lo")?)?;
        let (packets, wrong) = undisturbed(|| play(&mut twin, file, method, front))?;
        println!("{file}: {packets} packets");
        none_wrong(&wrong)
    })
}

fn in_both_families(name: &str, method: Method) -> Result<()> {
    golden::<Be32>(&format!("{name}.txt"), method)?;
    golden::<Be128>(&format!("{name}6.txt"), method)
}

/// Plays the cases of a file: how many packets it has, and what was wrong.
fn play<A: Recorded>(
    twin: &mut Twin<A>,
    file: &str,
    method: Method,
    front: u32,
) -> Result<(usize, Vec<String>)> {
    twin.become_director(director(method, "one real server, weight 1", front))?;
    let (mut packets, mut wrong) = (0, Vec::new());
    for case in Golden::read(file)?.cases {
        if let Some(service) = &case.service {
            twin.become_director(director(method, service, front))?;
        }
        for step in case.steps {
            let frame = frame_of(step.from, &step.packet);
            packets += 1;
            let run = twin
                .send(&frame)
                .with_context(|| format!("{}: packet {packets}", case.name))?;
            if let Err(error) = judge(&step.expected, &frame, &run) {
                wrong.push(format!("{}: packet {packets}: {error}", case.name));
            }
        }
    }
    Ok((packets, wrong))
}

#[test]
fn direct_routing_sends_what_ipvs_sends() -> Result<()> {
    needs_lab!();
    in_both_families("dr", Method::Dr)
}

#[test]
fn tunnels_carry_what_ipvs_puts_in_them() -> Result<()> {
    needs_lab!();
    in_both_families("tun", Method::Tun)
}

#[test]
fn nat_translates_as_ipvs_does() -> Result<()> {
    needs_lab!();
    in_both_families("nat", Method::Nat)
}

#[test]
fn the_director_answers_what_ipvs_answers() -> Result<()> {
    needs_lab!();
    in_both_families("answers", Method::Dr)
}
