//! Which service is a connection of, and what is its own there? The real XDP program, as the daemon sets it up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use lb_daemon::core::desired::{
    Desired, DesiredReal, DesiredService, Persistence, Proto, Scheduler, ServiceId, Timeouts,
};
use tests::replay::{Director, Packet, Program, Seen, recording};

fn real(number: u8, port: u16, weight: u16) -> DesiredReal {
    DesiredReal {
        weight,
        ..DesiredReal::new(Ipv4Addr::new(10, 0, 0, number).into(), port)
    }
}

fn service(id: ServiceId, reals: &[u8]) -> DesiredService {
    DesiredService {
        scheduler: Scheduler::Rr,
        reals: reals.iter().map(|n| real(*n, id.port, 1)).collect(),
        ..DesiredService::new(id)
    }
}

fn network(addr: [u8; 4], prefix: u8, port: u16) -> ServiceId {
    let id = ServiceId::new(Proto::Tcp, Ipv4Addr::from(addr), port);
    ServiceId { prefix, ..id }
}

fn desired(services: &[DesiredService]) -> Desired {
    Desired {
        services: services.to_vec(),
        ..Desired::default()
    }
}

fn packet(proto: recording::Proto, source_port: u16, vip: [u8; 4], port: u16) -> Packet {
    Packet {
        proto,
        client: SocketAddr::from(([198, 51, 100, 7], source_port)),
        vip: SocketAddr::from((vip, port)),
        flags: "S".into(),
    }
}

fn to(number: u8) -> Seen {
    Seen::Real(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)))
}

#[test]
fn the_smallest_network_around_an_address_has_its_service() -> Result<()> {
    let persistent = DesiredService {
        persistence: Some(Persistence {
            timeout: Duration::from_secs(60),
            mask: 32,
            leave_quiesced: false,
        }),
        ..service(network([10, 20, 0, 0], 16, 0), &[4])
    };
    let wide = service(network([10, 20, 0, 0], 16, 80), &[1]);
    let narrow = service(network([10, 20, 30, 0], 24, 80), &[2]);
    let one = service(network([10, 20, 30, 40], 32, 80), &[3]);
    Program::with(|program| {
        let all = [persistent.clone(), wide.clone(), narrow, one.clone()];
        program.configure(&desired(&all))?;
        let mut source_port = 20_000;
        let mut open = |program: &mut Program, vip, port| {
            source_port += 1;
            program.send(&packet(recording::Proto::Tcp, source_port, vip, port))
        };
        assert_eq!(open(program, [10, 20, 1, 1], 80)?, to(1));
        assert_eq!(open(program, [10, 20, 255, 255], 80)?, to(1));
        assert_eq!(open(program, [10, 20, 30, 1], 80)?, to(2));
        assert_eq!(open(program, [10, 20, 30, 40], 80)?, to(3));
        // The port of a wider network, before all ports: but no network has it here.
        assert_eq!(open(program, [10, 20, 30, 40], 81)?, to(4));
        assert_eq!(open(program, [10, 21, 0, 1], 80)?, Seen::Stack);
        assert_eq!(open(program, [10, 19, 255, 255], 80)?, Seen::Stack);

        program.configure(&desired(&[persistent.clone(), wide, one]))?;
        assert_eq!(open(program, [10, 20, 30, 1], 80)?, to(1));
        program.configure(&desired(&[persistent]))?;
        assert_eq!(open(program, [10, 20, 30, 1], 80)?, to(4));
        program.clear()?;
        assert_eq!(open(program, [10, 20, 30, 1], 80)?, Seen::Stack);
        Ok(())
    })
}

#[test]
fn the_pairs_of_a_group_share_its_turn() -> Result<()> {
    use recording::Proto::{Tcp, Udp};
    let group = DesiredService {
        also: vec![
            ServiceId::new(Proto::Tcp, Ipv4Addr::new(203, 0, 113, 2), 443),
            ServiceId::new(Proto::Udp, Ipv4Addr::new(203, 0, 113, 1), 53),
        ],
        reals: vec![real(1, 0, 1), real(2, 0, 1), real(3, 0, 1)],
        ..service(network([203, 0, 113, 1], 32, 80), &[])
    };
    Program::with(|program| {
        program.configure(&desired(&[group]))?;
        assert_eq!(
            program.send(&packet(Tcp, 1001, [203, 0, 113, 1], 80))?,
            to(3)
        );
        assert_eq!(
            program.send(&packet(Udp, 1002, [203, 0, 113, 1], 53))?,
            to(2)
        );
        assert_eq!(
            program.send(&packet(Tcp, 1003, [203, 0, 113, 2], 443))?,
            to(1)
        );
        assert_eq!(
            program.send(&packet(Tcp, 1004, [203, 0, 113, 1], 80))?,
            to(3)
        );
        let other = packet(Tcp, 1005, [203, 0, 113, 1], 443);
        assert_eq!(program.send(&other)?, Seen::Stack);
        Ok(())
    })
}

#[test]
fn a_service_has_timeouts_of_its_own() -> Result<()> {
    let usual = service(network([203, 0, 113, 1], 32, 80), &[1]);
    let short = DesiredService {
        timeouts: Some(Timeouts {
            tcp: Duration::from_secs(60),
            ..Timeouts::default()
        }),
        ..service(network([203, 0, 113, 2], 32, 80), &[2])
    };
    Program::with(|program| {
        program.configure(&desired(&[usual, short]))?;
        for last in [1, 2] {
            let syn = packet(recording::Proto::Tcp, 1000, [203, 0, 113, last], 80);
            assert_eq!(program.send(&syn)?, to(last));
            assert_eq!(program.send(&syn.with("A"))?, to(last));
        }
        let mut left = |seconds| -> Result<Vec<String>> {
            program.advance(seconds)?;
            Ok(program.connections()?.into_iter().map(|c| c.real).collect())
        };
        assert_eq!(left(50)?.len(), 2);
        assert_eq!(left(15)?, ["r1"]);
        assert_eq!(left(800)?, ["r1"]);
        assert!(left(60)?.is_empty());
        Ok(())
    })
}

#[test]
fn a_standby_leaves_new_connections_alone_of_clients_it_knows_too() -> Result<()> {
    use recording::Proto::Tcp;
    const VIP: [u8; 4] = [203, 0, 113, 1];
    let of_router = |port, persistence| DesiredService {
        persistence,
        router: 1,
        ..service(network(VIP, 32, port), &[1])
    };
    let persistence = Persistence {
        timeout: Duration::from_secs(60),
        mask: 32,
        leave_quiesced: false,
    };
    let services = [of_router(80, None), of_router(443, Some(persistence))];
    Program::with(|program| {
        program.configure(&desired(&services))?;
        let gate = program.gate();
        let mut source_port = 2000;
        for (serves, seen) in [(true, to(1)), (false, Seen::Stack), (true, to(1))] {
            if serves {
                gate.open(1, None);
            } else {
                gate.close(1);
            }
            for port in [80, 443] {
                source_port += 1;
                let found = program.send(&packet(Tcp, source_port, VIP, port))?;
                assert_eq!(found, seen, "port {port}, serves: {serves}");
            }
        }
        Ok(())
    })
}
