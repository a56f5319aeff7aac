//! When does a client leave the real server that its connection is recorded with? The settings that say so, through the
//! real XDP program as the daemon sets it up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use lb_daemon::core::desired::{
    ConnReuse, Desired, DesiredReal, DesiredService, Forwarding, Method, Persistence, Proto,
    Scheduler, ServiceId,
};
use tests::replay::{Director, Packet, Program, Seen, recording};

const VIP: [u8; 4] = [203, 0, 113, 1];
const PORT: u16 = 80;
/// The real server that the connection is with: the only one at first.
const FIRST: u8 = 1;
/// The one that is there later.
const SECOND: u8 = 2;

fn real(number: u8, method: Method) -> DesiredReal {
    DesiredReal {
        method,
        ..DesiredReal::new(address(number), PORT)
    }
}

fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn service(proto: Proto, reals: Vec<DesiredReal>) -> DesiredService {
    DesiredService {
        scheduler: Scheduler::Rr,
        reals,
        ..DesiredService::new(ServiceId::new(proto, Ipv4Addr::from(VIP), PORT))
    }
}

fn desired(forwarding: Forwarding, service: DesiredService) -> Desired {
    Desired {
        forwarding,
        services: vec![service],
        ..Desired::default()
    }
}

fn packet(proto: recording::Proto) -> Packet {
    Packet {
        proto,
        client: SocketAddr::from(([198, 51, 100, 7], 4_000)),
        vip: SocketAddr::from((VIP, PORT)),
        flags: String::new(),
    }
}

fn to(number: u8) -> Seen {
    Seen::Real(address(number))
}

/// Which segments of both sides lead a new connection to a state; `>` are the client's.
fn lead(program: &mut Program, segments: &[&str]) -> Result<()> {
    let flow = packet(recording::Proto::Tcp);
    for segment in segments {
        match segment.strip_prefix('>') {
            Some(flags) => assert_eq!(program.send(&flow.with(flags))?, to(FIRST), "{segment}"),
            None => assert!(program.answer(address(FIRST), &flow.with(segment))?),
        }
    }
    Ok(())
}

/// The segments that lead to each state, as seen with DR and with NAT.
const DR_STATES: [(&str, &[&str]); 5] = [
    ("SYN_RECV", &[">S"]),
    ("ESTABLISHED", &[">S", ">A"]),
    ("FIN_WAIT", &[">S", ">A", ">FA"]),
    ("TIME_WAIT", &[">S", ">FA"]),
    ("CLOSE", &[">S", ">A", ">R"]),
];
const NAT_STATES: [(&str, &[&str]); 5] = [
    ("ESTABLISHED", &[">S", "SA", ">A"]),
    ("FIN_WAIT", &[">S", "SA", ">A", "FA"]),
    ("CLOSE_WAIT", &[">S", "SA", ">A", ">FA"]),
    ("TIME_WAIT", &[">S", "SA", ">A", ">FA", "FA"]),
    ("CLOSE", &[">S", "SA", "R"]),
];

#[test]
fn a_syn_on_a_known_connection_opens_another_as_conn_reuse_mode_says() -> Result<()> {
    let cases = [
        (ConnReuse::Never, Method::Dr, DR_STATES, [false; 5]),
        (
            ConnReuse::Closed,
            Method::Dr,
            DR_STATES,
            [false, false, false, true, true],
        ),
        (
            ConnReuse::FinWait,
            Method::Dr,
            DR_STATES,
            [false, false, true, true, true],
        ),
        (ConnReuse::Never, Method::Nat, NAT_STATES, [false; 5]),
        (
            ConnReuse::Closed,
            Method::Nat,
            NAT_STATES,
            [false, false, false, true, true],
        ),
        // The real server's FIN is seen there, so FIN_WAIT is not the end.
        (
            ConnReuse::FinWait,
            Method::Nat,
            NAT_STATES,
            [false, false, false, true, true],
        ),
    ];
    Program::with(|program| {
        for (conn_reuse, method, states, leaves) in cases {
            for ((state, segments), leaves) in states.into_iter().zip(leaves) {
                let forwarding = Forwarding {
                    conn_reuse,
                    ..Forwarding::default()
                };
                let with = |reals: &[u8]| {
                    let reals = reals.iter().map(|n| real(*n, method)).collect();
                    desired(forwarding, service(Proto::Tcp, reals))
                };
                program.configure(&with(&[FIRST]))?;
                lead(program, segments)?;
                assert_eq!(program.connections()?[0].state, state);
                // The newest real server is next in turn.
                program.configure(&with(&[FIRST, SECOND]))?;
                let seen = program.send(&packet(recording::Proto::Tcp).with("S"))?;
                let expected = to(if leaves { SECOND } else { FIRST });
                assert_eq!(seen, expected, "{conn_reuse:?} {method:?} {state}");
                program.clear()?;
            }
        }
        Ok(())
    })
}

/// What becomes of the real server that the connection is with.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Quiesced,
    Drained,
    Down,
    Removed,
}

impl Loss {
    fn of(self, method: Method) -> Vec<DesiredReal> {
        let (mut first, second) = (real(FIRST, method), real(SECOND, method));
        match self {
            Self::Quiesced => first.weight = 0,
            Self::Drained => first.drained = true,
            Self::Down => first.down = true,
            Self::Removed => return vec![second],
        }
        vec![first, second]
    }
}

#[test]
fn connections_end_with_their_real_server_as_expire_nodest_conn_says() -> Result<()> {
    use Loss::{Down, Drained, Quiesced, Removed};
    // What a further segment meets, and then a SYN.
    let cases = [
        (false, Quiesced, to(FIRST), to(FIRST)),
        (false, Drained, to(FIRST), to(FIRST)),
        (false, Down, to(FIRST), to(SECOND)),
        (false, Removed, to(FIRST), to(FIRST)),
        (true, Quiesced, to(FIRST), to(SECOND)),
        (true, Drained, to(FIRST), to(SECOND)),
        (true, Down, Seen::Stack, to(SECOND)),
        (true, Removed, Seen::Stack, to(SECOND)),
    ];
    let flow = packet(recording::Proto::Tcp);
    Program::with(|program| {
        for (expire_nodest_conn, loss, segment, syn) in cases {
            let forwarding = Forwarding {
                expire_nodest_conn,
                ..Forwarding::default()
            };
            let with = |reals| desired(forwarding, service(Proto::Tcp, reals));
            program.configure(&with(vec![real(FIRST, Method::Dr)]))?;
            lead(program, &[">S", ">A"])?;
            program.configure(&with(loss.of(Method::Dr)))?;
            let seen = [
                program.send(&flow.with("PA"))?,
                program.send(&flow.with("S"))?,
            ];
            assert_eq!(seen, [segment, syn], "{expire_nodest_conn} {loss:?}");
            program.clear()?;
        }
        Ok(())
    })
}

#[test]
fn what_is_being_drained_ends_when_expire_nodest_conn_is_turned_on() -> Result<()> {
    let with = |expire_nodest_conn, reals| {
        let forwarding = Forwarding {
            expire_nodest_conn,
            ..Forwarding::default()
        };
        desired(forwarding, service(Proto::Tcp, reals))
    };
    let flow = packet(recording::Proto::Tcp);
    Program::with(|program| {
        program.configure(&with(false, vec![real(FIRST, Method::Dr)]))?;
        lead(program, &[">S", ">A"])?;
        let left = || Loss::Removed.of(Method::Dr);
        program.configure(&with(false, left()))?;
        assert_eq!(program.send(&flow.with("PA"))?, to(FIRST));
        program.configure(&with(true, left()))?;
        assert_eq!(program.send(&flow.with("PA"))?, Seen::Stack);
        assert!(program.connections()?.is_empty());
        // It is another one when it comes back.
        program.configure(&with(true, vec![real(FIRST, Method::Dr)]))?;
        assert_eq!(program.send(&flow.with("PA"))?, Seen::Stack);
        Ok(())
    })
}

#[test]
fn a_udp_flow_leaves_a_quiesced_real_server_only_where_it_is_told_to() -> Result<()> {
    let persistence = |leave_quiesced| Persistence {
        timeout: Duration::from_secs(60),
        mask: 32,
        leave_quiesced,
    };
    let cases = [
        (false, None, Loss::Quiesced, FIRST),
        (true, None, Loss::Quiesced, SECOND),
        (true, None, Loss::Drained, SECOND),
        (true, Some(persistence(false)), Loss::Quiesced, FIRST),
        (true, Some(persistence(true)), Loss::Quiesced, SECOND),
        (true, Some(persistence(false)), Loss::Drained, SECOND),
        (false, None, Loss::Down, SECOND),
        (false, None, Loss::Removed, FIRST),
    ];
    let flow = packet(recording::Proto::Udp);
    Program::with(|program| {
        for (udp_leaves_quiesced, persistence, loss, expected) in cases {
            let with = |reals| {
                let service = DesiredService {
                    udp_leaves_quiesced,
                    persistence,
                    ..service(Proto::Udp, reals)
                };
                desired(Forwarding::default(), service)
            };
            program.configure(&with(vec![real(FIRST, Method::Dr)]))?;
            assert_eq!(program.send(&flow)?, to(FIRST));
            program.configure(&with(loss.of(Method::Dr)))?;
            let case = (udp_leaves_quiesced, persistence, loss);
            // It moves once, and stays there.
            for _ in 0..3 {
                assert_eq!(program.send(&flow)?, to(expected), "{case:?}");
            }
            let live = program.services()?.into_iter().flat_map(|s| s.reals);
            let total: u32 = live.map(|r| r.active + r.inactive).sum();
            assert_eq!(total, u32::from(!matches!(loss, Loss::Removed)), "{case:?}");
            program.clear()?;
        }
        Ok(())
    })
}
