//! Frames: the whole data plane, as it runs in the kernel, on any bytes.
//!
//! The director is the same for all that a run gives it; in between so much time passes that every connection expires.

use std::cell::RefCell;

use lb_common::abi::{Method, Real, ServiceKey};
use lb_common::decap;
use lb_common::forward::Verdict;
use lb_common::model::{Path, World};
use lb_common::net::{Be16, Be32, Be128, Proto};
use lb_common::packet::build::checksums_hold;
use lb_common::packet::wire::{MacPair, mac_word};
use lb_common::packet::{Ip, SliceFrame};
use lb_common::sched::Scheduler;

/// Longer than any connection is kept.
const LATER: u64 = 3_600_000_000_000;
/// Room in front of a frame that is taken out of its tunnel.
const ROOM: usize = 64;
const MTU: u64 = 1500;

/// The first byte chooses the family; then come frames, each behind two bytes with its length.
pub(super) fn take(bytes: &[u8]) {
    let (choice, mut rest) = super::choice(bytes);
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (frame, behind) = behind.split_at(length);
        rest = behind;
        if choice % 2 == 0 {
            DIRECTOR.with_borrow(|world| send(world, frame));
        } else {
            DIRECTOR6.with_borrow(|world| send(world, frame));
        }
        take_out(frame);
    }
    DIRECTOR.with_borrow(|world| world.clock.set(world.clock.get() + LATER));
    DIRECTOR6.with_borrow(|world| world.clock.set(world.clock.get() + LATER));
}

/// What is sent on is a frame whose checksums hold, if those of what came did.
fn send<A: Ip>(world: &World<A>, frame: &[u8]) {
    let (outcome, sent) = world.send(frame);
    match outcome.verdict {
        Verdict::Pass | Verdict::Drop => {}
        Verdict::Tx | Verdict::Slot | Verdict::Interface => {
            assert!(
                !checksums_hold(frame) || checksums_hold(&sent),
                "{:?}: {frame:02x?} became {sent:02x?}",
                outcome.counter
            );
        }
    }
}

/// The same on a real server.
fn take_out(frame: &[u8]) {
    let mut room = vec![0; ROOM + frame.len()];
    room[ROOM..].copy_from_slice(frame);
    let mut inner = SliceFrame::new(&mut room, ROOM);
    decap::handle(&mut inner, |_| true);
    assert!(inner.as_slice().len() <= frame.len(), "it grew");
}

fn real(method: Method) -> Real {
    Real {
        dst: mac_word([2, 0, 0, 0, 0, 0x21]) | 3 << 48,
        src: mac_word([2, 0, 0, 0, 0, 0xd2]) | MTU << 48,
        port: Be16::from_host(8080),
        method: method as u8,
        ifindex: 4,
        ..Real::default()
    }
}

/// A director with a service by each method, at ports 80 to 82 of TCP and of UDP, and one way to clients.
fn director<A: Ip>(vip: A, client: A, addressed: impl Fn(Real) -> Real) -> World<A> {
    let mut world = World::new(4);
    let macs = MacPair {
        dst: mac_word([2, 0, 0, 0, 0, 0xc1]),
        src: mac_word([2, 0, 0, 0, 0, 0xd1]),
    };
    world.routes.insert(
        client,
        Path {
            ifindex: 3,
            macs,
            mtu: 1500,
        },
    );
    for proto in [Proto::Tcp, Proto::Udp] {
        for (port, method) in (80..).zip([Method::Dr, Method::Tun, Method::Nat]) {
            let key = ServiceKey {
                vip,
                port: Be16::from_host(port),
                proto: proto as u8,
                host_bits: 0,
            };
            let server = addressed(real(method));
            world.add_service(key, Scheduler::Rr, &[(server, 1)]);
        }
    }
    world
}

thread_local! {
    static DIRECTOR: RefCell<World> = RefCell::new(director(
        Be32::from_bytes([203, 0, 113, 10]),
        Be32::from_bytes([198, 51, 100, 5]),
        |server| Real {
            addr: Be32::from_bytes([192, 0, 2, 21]),
            tun_src: Be32::from_bytes([192, 0, 2, 1]),
            ..server
        },
    ));
    static DIRECTOR6: RefCell<World<Be128>> = RefCell::new(director(
        six(0x80),
        six(5),
        |server| Real {
            family: 6,
            addr6: six(0x21),
            tun_src6: six(1),
            ..server
        },
    ));
}

/// `2001:db8::` and a last byte.
fn six(last: u8) -> Be128 {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    bytes[15] = last;
    Be128::from_bytes(bytes)
}
