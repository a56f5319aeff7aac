//! What the operator sees, to the character: no line is longer than 80 of them.

use super::conns::Layout;
use super::foresight::{explanation, simulation};
use super::list::{Columns, services};
use super::stats::{counters, rates, totals};
use super::status::status;
use super::style::Style;
use crate::api::types::{
    Attachment, Both, Candidate, Change, Connection, CounterValue, DecidedBy, Explanation,
    FlowQuery, Listener, Live, MethodName, Occupancy, Persistence, Protocol, Rates, Real,
    RealState, RealStats, Service, ServiceStats, SimulatedReal, Simulation, Stats, Status,
    Timeouts, Totals, Versions,
};

fn fits(text: &str) {
    for line in text.lines() {
        assert!(
            line.chars().count() <= 80,
            "{} characters: {line}",
            line.chars().count()
        );
        assert_eq!(line, line.trim_end(), "spaces at the end");
    }
}

fn listener(protocol: Protocol, address: &str) -> Listener {
    Listener {
        protocol,
        address: address.into(),
    }
}

fn real(
    address: &str,
    method: MethodName,
    weight: u16,
    state: RealState,
    active: u32,
    inactive: u32,
) -> Real {
    Real {
        address: address.into(),
        method,
        weight,
        upper: 0,
        lower: 0,
        state,
        active,
        inactive,
        persistent: 0,
        checked_weight: None,
    }
}

fn farm() -> Vec<Service> {
    let timeouts = Timeouts {
        tcp: 900,
        tcp_fin: 120,
        udp: 300,
    };
    let web = Service {
        name: "web".into(),
        listener: listener(Protocol::Tcp, "192.168.200.16:80"),
        also: vec![listener(Protocol::Tcp, "192.168.200.16:443")],
        scheduler: "wlc".into(),
        scheduler_flags: vec![],
        persistence: Some(Persistence {
            timeout: 300,
            mask: Some(24),
            leave_quiesced: None,
        }),
        one_packet: false,
        timeouts,
        own_timeouts: false,
        method: MethodName::Dr,
        reals: vec![
            real(
                "192.168.200.21:80",
                MethodName::Dr,
                3,
                RealState::Up,
                12,
                340,
            ),
            real(
                "192.168.200.22:80",
                MethodName::Tun,
                0,
                RealState::Quiesced,
                1,
                2,
            ),
            real(
                "192.168.200.123:65535",
                MethodName::Dr,
                65535,
                RealState::Unresolved,
                3_145_728,
                3_145_728,
            ),
            real(
                "192.168.200.24:8080",
                MethodName::Nat,
                1,
                RealState::Down,
                0,
                0,
            ),
        ],
    };
    let dns = Service {
        name: "dns".into(),
        listener: listener(Protocol::Udp, "192.168.200.16:53"),
        also: vec![],
        scheduler: "sh".into(),
        scheduler_flags: vec!["sh-port".into(), "sh-fallback".into()],
        persistence: None,
        one_packet: true,
        reals: vec![real(
            "127.0.0.1:53",
            MethodName::Local,
            1,
            RealState::Up,
            0,
            7,
        )],
        ..web.clone()
    };
    vec![web, dns]
}

#[test]
fn the_list_is_what_ipvsadm_lists() {
    let text = services(&farm(), Columns::Connections, Style::PLAIN);
    fits(&text);
    assert_eq!(
        text,
        "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.200.16:80 wlc persistent 300 mask 255.255.255.0
TCP  192.168.200.16:443 (same service)
  -> 192.168.200.21:80            Route   3      12         340
  -> 192.168.200.22:80            Tunnel  0      1          2
  -> 192.168.200.123:65535        Route   65535  3145728    3145728   unresolved
  -> 192.168.200.24:8080          Masq    1      0          0         down
UDP  192.168.200.16:53 sh ops (sh-port,sh-fallback)
  -> 127.0.0.1:53                 Local   1      0          7
"
    );
}

#[test]
fn the_weight_that_a_check_gave_is_listed() {
    let mut farm = farm();
    farm[0].reals[0].weight = 1;
    farm[0].reals[0].checked_weight = Some(4321);
    for columns in [Columns::Connections, Columns::Persistent] {
        let text = services(&farm, columns, Style::PLAIN);
        assert!(text.contains(" 4321 "), "{text}");
    }
}

#[test]
fn thresholds_and_templates_have_their_columns() {
    let mut farm = farm();
    farm[0].reals[0].upper = 1000;
    farm[0].reals[0].persistent = 4;
    let text = services(&farm, Columns::Thresholds, Style::PLAIN);
    fits(&text);
    assert!(
        text.contains("  -> 192.168.200.21:80            1000       0          12         340\n"),
        "{text}"
    );
    assert!(
        text.contains("  -> 192.168.200.22:80            0          0          1          2\n"),
        "{text}"
    );
    let text = services(&farm, Columns::Persistent, Style::PLAIN);
    fits(&text);
    assert!(
        text.contains("  -> 192.168.200.21:80            3         4           12         340\n"),
        "{text}"
    );
}

#[test]
fn colour_changes_nothing_but_colour() {
    let plain = services(&farm(), Columns::Connections, Style::PLAIN);
    let mut rest = services(&farm(), Columns::Connections, Style::COLOUR);
    assert_ne!(plain, rest);
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[33m"] {
        rest = rest.replace(code, "");
    }
    assert_eq!(plain, rest);
}

fn statistics() -> Stats {
    let totals = Totals {
        conns: 300,
        in_packets: 1_500,
        out_packets: 0,
        in_bytes: 1_234_567_890,
        out_bytes: u64::MAX,
    };
    let rates = Rates {
        conns: 12,
        in_packets: 60,
        out_packets: 0,
        in_bytes: 4_321,
        out_bytes: 0,
    };
    Stats {
        totals,
        rates,
        services: vec![ServiceStats {
            name: "web".into(),
            listener: listener(Protocol::Tcp, "192.168.200.116:65535"),
            totals,
            rates,
            reals: vec![RealStats {
                address: "192.168.200.121:65535".into(),
                totals,
                rates,
            }],
        }],
        counters: vec![
            CounterValue {
                name: "forwarded_dr".into(),
                about: String::new(),
                packets: 1_234_567,
            },
            CounterValue {
                name: "pass_no_service".into(),
                about: String::new(),
                packets: 89,
            },
            CounterValue {
                name: "drop_resize".into(),
                about: String::new(),
                packets: 0,
            },
        ],
    }
}

#[test]
fn statistics_stand_in_ipvsadms_columns() {
    let text = totals(&statistics(), false, Style::PLAIN);
    fits(&text);
    assert_eq!(
        text,
        "\
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  192.168.200.116:65535             300     1500        0    1234M 18446744T
  -> 192.168.200.121:65535             300     1500        0    1234M 18446744T
"
    );
    let text = rates(&statistics(), false, Style::PLAIN);
    fits(&text);
    assert!(
        text.contains(
            "TCP  192.168.200.116:65535              12       60        0     4321        0\n"
        ),
        "{text}"
    );
    assert!(
        totals(&statistics(), true, Style::PLAIN).contains(" 1234567890 18446744073709551615\n")
    );
}

#[test]
fn only_ways_that_packets_took_are_shown() {
    assert_eq!(
        counters(&statistics().counters, Style::PLAIN),
        "\
Packets by how they ended
  forwarded_dr           1,234,567
  pass_no_service               89
"
    );
}

fn connection(
    client: &str,
    vip: &str,
    real: &str,
    state: &str,
    expires: u32,
    idle: u32,
) -> Connection {
    Connection {
        protocol: if state == "UDP" {
            Protocol::Udp
        } else {
            Protocol::Tcp
        },
        client: client.into(),
        vip: vip.into(),
        real: real.into(),
        state: state.into(),
        expires,
        idle,
    }
}

#[test]
fn connections_stand_in_ipvsadms_columns_with_their_idle_time() {
    let rows = [
        connection(
            "10.1.0.2:40001",
            "10.0.0.1:80",
            "10.2.0.11:80",
            "ESTABLISHED",
            899,
            1,
        ),
        connection(
            "10.1.0.2:40002",
            "10.0.0.1:53",
            "10.2.0.12:53",
            "UDP",
            150,
            150,
        ),
    ];
    let layout = Layout::fit(&rows, 80);
    let text = [
        layout.heading(Style::PLAIN),
        layout.row(&rows[0]),
        layout.row(&rows[1]),
    ]
    .join("\n");
    fits(&text);
    assert_eq!(
        text,
        "\
pro expire idle state       source         virtual     destination
TCP 14:59  1s   ESTABLISHED 10.1.0.2:40001 10.0.0.1:80 10.2.0.11:80
UDP 02:30  2m   UDP         10.1.0.2:40002 10.0.0.1:53 10.2.0.12:53"
    );
}

#[test]
fn long_addresses_shorten_the_state_before_they_leave_the_screen() {
    let rows = [connection(
        "192.168.200.9:54321",
        "192.168.200.16:80",
        "192.168.200.21:80",
        "ESTABLISHED",
        899,
        1,
    )];
    let layout = Layout::fit(&rows, 80);
    let text = [layout.heading(Style::PLAIN), layout.row(&rows[0])].join("\n");
    fits(&text);
    assert!(text.contains(" ESTAB "), "{text}");
    assert!(
        Layout::fit(&rows, usize::MAX)
            .row(&rows[0])
            .contains(" ESTABLISHED ")
    );
}

#[test]
fn the_status_is_a_screen_with_warnings_last() {
    let answer = Status {
        version: Versions {
            lbd: "0.1.0".into(),
            kernel: "6.18.1".into(),
            abi: 1,
        },
        pid: 4711,
        uptime: 3_723,
        config: "/etc/lbd/lbd.yaml".into(),
        unsaved: Some(2),
        interfaces: vec![
            Attachment {
                interface: "eth0".into(),
                mode: "native".into(),
                program: 41,
            },
            Attachment {
                interface: "eth1".into(),
                mode: "generic".into(),
                program: 41,
            },
        ],
        connections: Occupancy {
            used: 12_345,
            capacity: 1_048_576,
            memory: 67_108_864,
        },
        services: 2,
        reals: 5,
        warnings: vec!["VIP 192.168.200.16 of service web is on no interface".into()],
    };
    let text = status(&answer, "/run/lbd/lbd.sock", Style::PLAIN);
    fits(&text);
    assert_eq!(
        text,
        "\
lbd          0.1.0, pid 4711, up 1 h 2 min
kernel       6.18.1
socket       /run/lbd/lbd.sock
config       /etc/lbd/lbd.yaml
             2 changes not saved (`lbctl diff` shows)
interfaces   eth0, XDP native, program 41
             eth1, XDP generic, program 41
connections  12,345 of 1,048,576 (1.1 %), 64 MiB
services     2 with 5 real servers
warning: VIP 192.168.200.16 of service web is on no interface
"
    );
}

#[test]
fn an_explanation_ends_in_a_table_of_what_was_compared() {
    let candidate = |address: &str, active, score: Option<&str>, state, chosen| Candidate {
        address: address.into(),
        weight: 3,
        active,
        inactive: 7,
        state,
        score: score.map(Into::into),
        chance: None,
        chosen,
    };
    let answer = Explanation {
        flow: FlowQuery {
            protocol: Protocol::Tcp,
            client: "198.51.100.7:40001".into(),
            vip: "192.168.200.16:80".into(),
        },
        decided_by: DecidedBy::Scheduler,
        service: Some("web".into()),
        listener: Some(listener(Protocol::Tcp, "192.168.200.16:80")),
        real: Some("192.168.200.22:80".into()),
        connection: None,
        reasons: vec![
            "service web has tcp 192.168.200.16:80".into(),
            "that is 192.168.200.22:80".into(),
        ],
        candidates: vec![
            candidate(
                "192.168.200.22:80",
                0,
                Some("7 / 3 = 2.3"),
                RealState::Up,
                true,
            ),
            candidate("192.168.200.21:80", 12, None, RealState::Full, false),
        ],
    };
    let text = explanation(&answer, Style::PLAIN);
    fits(&text);
    assert_eq!(
        text,
        "\
tcp 198.51.100.7:40001 -> 192.168.200.16:80 -> 192.168.200.22:80
  service web has tcp 192.168.200.16:80
  that is 192.168.200.22:80
  -> RemoteAddress:Port      Weight ActiveConn InActConn Compared
* -> 192.168.200.22:80       3      0          7         7 / 3 = 2.3
  -> 192.168.200.21:80       3      12         7         full
"
    );
}

#[test]
fn a_simulation_compares_shares() {
    let real = |address: &str, before, after, share: (u64, u64)| SimulatedReal {
        address: address.into(),
        weight: Both { before, after },
        share: Both {
            before: share.0,
            after: share.1,
        },
        live: 0,
    };
    let answer = Simulation {
        service: "web".into(),
        scheduler: Both {
            before: "wrr".into(),
            after: "wlc".into(),
        },
        connections: 10_000,
        refused: Both {
            before: 0,
            after: 12,
        },
        reals: vec![
            real("192.168.200.121:65535", Some(1), Some(1), (2_500, 5_000)),
            real("192.168.200.22:80", Some(65_535), Some(0), (7_500, 0)),
            real("192.168.200.23:80", None, Some(1), (0, 5_000)),
        ],
        live: Live {
            stay: 1_234,
            finish: 5,
            moved: 0,
            elsewhere: Some(77),
        },
    };
    let text = simulation(&answer, Style::PLAIN);
    fits(&text);
    assert_eq!(
        text,
        "\
service web, wrr -> wlc: 10,000 new connections that stay open
RemoteAddress:Port     Weight        Before             After            Change
192.168.200.121:65535  1               2500  25.0 %      5000  50.0 %  +25.0 %
192.168.200.22:80      65535->0        7500  75.0 %         0   0.0 %  -75.0 %
192.168.200.23:80      -->1               0   0.0 %      5000  50.0 %  +50.0 %
refused: 0 before, 12 after
1,239 live connections: 1,234 stay, 5 finish where they are, 0 move
77 of them would come to another real server if opened anew
"
    );
}

#[test]
fn changes_are_signed_lines() {
    let changes = [
        Change {
            sign: '+',
            text: "service tcp 192.0.2.1:80 (web)".into(),
        },
        Change {
            sign: '~',
            text: "service tcp 192.0.2.2:80: scheduler rr -> wrr".into(),
        },
    ];
    assert_eq!(
        super::plan::changes(&changes, Style::PLAIN),
        "+ service tcp 192.0.2.1:80 (web)\n~ service tcp 192.0.2.2:80: scheduler rr -> wrr\n"
    );
}
