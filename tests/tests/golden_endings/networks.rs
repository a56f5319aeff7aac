//! Services of whole networks: the smallest one around an address has the packet.

use lb_common::abi::{Method, ServiceKey4};
use lb_common::counter::Counter;
use lb_common::model::World;
use lb_common::net::{Be16, Be32, Proto};
use lb_common::packet::build::Build;
use lb_common::sched::Scheduler;
use tests::plane::Verdict;

use super::world::*;

fn network(addr: [u8; 4], prefix: u8, port: u16) -> ServiceKey4 {
    ServiceKey4 {
        vip: Be32::from_bytes(addr),
        port: Be16::from_host(port),
        proto: Proto::Tcp as u8,
        host_bits: 32 - prefix,
    }
}

/// Networks within networks; the number of each one's real server is its place here, from 1 on.
fn site() -> World {
    let mut world = director(64, |_| Vec::new());
    let keys = [
        network([10, 20, 0, 0], 16, 80),
        network([10, 20, 30, 0], 24, 80),
        network([10, 20, 30, 32], 27, 80),
        network([10, 20, 30, 40], 32, 80),
        network([10, 20, 30, 0], 24, 0),
        network([172, 16, 0, 0], 12, 80),
    ];
    for (number, key) in (1..).zip(keys) {
        let real = real_server(Method::Dr, number, key.port.to_host());
        world.add_service(key, Scheduler::Rr, &[(real, 1)]);
    }
    world
}

/// A client's ports share a bucket of the table with few places, so each real server is asked for from another.
fn request(vip: &str, number: u8) -> Build {
    let client = format!("198.51.100.5:{}", 2000 + u16::from(number));
    Build::tcp(&client, vip).flags(SYN)
}

pub(super) fn networks(rows: &mut Vec<Row>) {
    let to = |vip: &str, number| {
        let build = request(vip, number);
        let out = onward(build.clone(), number).bytes();
        becomes(build.bytes(), Counter::ForwardedDr, Verdict::Redirect, out)
    };
    let elsewhere = |vip: &str| passes(request(vip, 0).bytes(), Counter::PassNoService);
    row(
        rows,
        "networks: the smallest one has the packet, and the port before all ports",
        site,
        vec![
            to("10.20.0.0:80", 1),
            to("10.20.255.255:80", 1),
            to("10.20.31.0:80", 1),
            to("10.20.30.0:80", 2),
            to("10.20.30.31:80", 2),
            to("10.20.30.32:80", 3),
            to("10.20.30.63:80", 3),
            to("10.20.30.64:80", 2),
            to("10.20.30.40:80", 4),
            // Those within have no such port.
            to("10.20.30.40:81", 5),
            to("10.20.30.1:81", 5),
            to("172.16.0.1:80", 6),
            to("172.31.255.255:80", 6),
        ],
    );
    row(
        rows,
        "networks: what is beside them",
        site,
        vec![
            elsewhere("10.19.255.255:80"),
            elsewhere("10.21.0.0:80"),
            elsewhere("10.20.31.1:81"),
            elsewhere("172.15.255.255:80"),
            elsewhere("172.32.0.0:80"),
            passes(
                Build::udp(CLIENT, "10.20.30.40:80").bytes(),
                Counter::PassNoService,
            ),
        ],
    );
    let connection = |flags| Build::tcp(CLIENT, "10.20.1.1:80").flags(flags);
    let dr = |flags| {
        let out = onward(connection(flags), 1).bytes();
        becomes(
            connection(flags).bytes(),
            Counter::ForwardedDr,
            Verdict::Redirect,
            out,
        )
    };
    row(
        rows,
        "networks: a connection of one",
        site,
        vec![
            dr(SYN),
            dr(ACK),
            dr(FIN_ACK),
            passes(
                Build::tcp(CLIENT, "10.20.1.2:80").flags(ACK).bytes(),
                Counter::PassNoConnection,
            ),
        ],
    );
}
