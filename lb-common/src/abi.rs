//! Keys and values of every map that kernel and user space share.
//!
//! All types are `repr(C)` with explicit padding and fixed size. Pinned maps are adopted only when
//! [`ABI`] and every key and value size agree.
//!
//! # How values change under a running program
//!
//! The maps that the daemon writes while packets flow are memory-mapped arrays, written with 64-bit atomic
//! stores. What must change together sits in one 64-bit word, or in a record written aside and made
//! visible by one store ([`Generation`]).

mod family;
mod fragment;
mod load;
mod locality;
mod own_macs;

pub use family::{Configured, FamilyMaps};
pub use fragment::{
    DATAGRAM_SECONDS, DATAGRAMS, Datagram, DatagramKey, DatagramKey4, DatagramKey6, datagram,
};
pub use load::{Load, Traffic};
pub use locality::{
    LOCALITY_SET, Locality, LocalityEntry, LocalityKey, LocalityKey4, LocalityKey6,
};
pub use own_macs::{NO_MAC, OWN_MACS, OwnMacs, own_macs_place};

use crate::net::{Be16, Be32, Be128};

/// Changes whenever a type here, or the meaning of a map, changes.
pub const ABI: u32 = 8;

/// How many real servers (over all services) an entry of the connection table can name.
pub const MAX_REALS: u32 = (1 << 17) - 1;

/// The most real servers one service may have.
pub const MAX_REALS_PER_SERVICE: usize = 1024;

/// How many virtual routers `STANDBY` has room for. Number 0 is none.
pub const MAX_ROUTERS: u32 = 1024;

/// Names of the maps, as pinned and as `bpftool map` shows them (at most 15 characters).
pub mod map {
    /// [`Settings`](super::Settings), one entry.
    pub const SETTINGS: &str = "SETTINGS";
    /// The IPv4 connection table: an array of [`Bucket`](crate::table::Bucket)s.
    pub const CONNS4: &str = "CONNS4";
    /// The IPv6 connection table.
    pub const CONNS6: &str = "CONNS6";
    /// [`ServiceKey4`](super::ServiceKey4) to service index.
    pub const SERVICES4: &str = "SERVICES4";
    /// [`ServiceKey6`](super::ServiceKey6) to service index.
    pub const SERVICES6: &str = "SERVICES6";
    /// Service index to the index of its current [`Generation`](super::Generation), as `u64`.
    pub const CURRENT: &str = "CURRENT";
    /// [`Generation`](super::Generation)s.
    pub const GENERATIONS: &str = "GENERATIONS";
    /// [`Member`](super::Member)s of generations, in blocks: one value of [`MEMBERS_LEN`](super::MEMBERS_LEN) of them.
    pub const MEMBERS: &str = "MEMBERS";
    /// Schedules of generations, in blocks of `u64` words that [`sched`](crate::sched) reads.
    pub const SLOTS: &str = "SLOTS";
    /// [`Real`](super::Real)s by slot.
    pub const REALS: &str = "REALS";
    /// [`Load`](super::Load)s by real slot: one value of [`LOADS_LEN`](super::LOADS_LEN) of them.
    pub const LOADS: &str = "LOADS";
    /// [`Traffic`](super::Traffic) by real slot, per CPU.
    pub const TRAFFIC: &str = "TRAFFIC";
    /// One `u64` per [`Counter`](crate::counter::Counter), per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// [`RealKey4`](super::RealKey4) of NAT real servers to the [`ServiceKey4`](super::ServiceKey4) that has it, all
    /// zero where several have: whom a reply without an entry in the connection table must come from.
    pub const NATREALS4: &str = "NATREALS4";
    /// The same of [`RealKey6`](super::RealKey6) and [`ServiceKey6`](super::ServiceKey6).
    pub const NATREALS6: &str = "NATREALS6";
    /// Which addresses may concern us: see [`filter_cell`](super::filter_cell).
    pub const FILTER: &str = "FILTER";
    /// Timeouts in ticks by profile and state: [`Timeouts`](super::Timeouts).
    pub const TIMEOUTS: &str = "TIMEOUTS";
    /// [`LocalityKey4`](super::LocalityKey4) to [`Locality`](super::Locality): what lblc and lblcr remember.
    pub const LOCALITY4: &str = "LOCALITY4";
    /// The same by [`LocalityKey6`](super::LocalityKey6).
    pub const LOCALITY6: &str = "LOCALITY6";
    /// [`TemplateKey4`](super::TemplateKey4) to [`Template`](crate::template::Template): persistent clients.
    pub const TEMPLATES4: &str = "TEMPLATES4";
    /// The same by [`TemplateKey6`](super::TemplateKey6).
    pub const TEMPLATES6: &str = "TEMPLATES6";
    /// [`DatagramKey4`](super::DatagramKey4) to [`Datagram`](super::Datagram): where fragments go.
    pub const FRAGMENTS4: &str = "FRAGMENTS4";
    /// The same by [`DatagramKey6`](super::DatagramKey6).
    pub const FRAGMENTS6: &str = "FRAGMENTS6";
    /// By the number of a virtual router, a `u64`: not 0 while another director is its master, and new connections of its
    /// services are that one's.
    pub const STANDBY: &str = "STANDBY";
    /// [`OwnMacs`](super::OwnMacs) of interfaces, each at its [place](super::own_macs_place).
    pub const OWNMACS: &str = "OWNMACS";
    /// [`CpuState`](super::CpuState), one entry, per CPU.
    pub const CPU: &str = "CPU";
    /// Egress interfaces by slot.
    pub const EGRESS: &str = "EGRESS";
    /// The programs that `lb` hands packets over to, by [`program`](super::program).
    pub const PROGRAMS: &str = "PROGRAMS";
    /// On a real server: the addresses at which its tunnels end, those of IPv4 mapped, with no meaning in the value.
    pub const TUNNELS: &str = "TUNNELS";
    /// On a real server: one `u64` per [`Decap`](crate::decap::Decap), per CPU.
    pub const DECAPS: &str = "DECAPS";
}

/// Where the programs are in `PROGRAMS`.
pub mod program {
    /// The one for IPv6.
    pub const IPV6: u32 = 0;
    /// The one for fragments of IPv4 that are not the first of their datagram.
    pub const FRAGMENTS4: u32 = 1;
    /// The same for IPv6.
    pub const FRAGMENTS6: u32 = 2;
    /// How many there are.
    pub const LEN: u32 = 3;
}

/// What holds for the whole data plane.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Settings {
    /// [`ABI`] of whoever made the maps.
    pub abi: u32,
    /// Number of buckets of `CONNS4` less one; the number is a power of two.
    pub bucket_mask: u32,
    /// The secret of the connection table's hash.
    pub hash_key: [u64; 2],
    /// Added to the clock, in nanoseconds. Always zero but in tests, which wait by moving it.
    pub clock_shift: u64,
    /// Bits of [`setting`].
    pub flags: u32,
    /// The most ICMP errors a second and CPU; 0 is no limit.
    pub icmp_per_second: u32,
    /// Which [`ServiceKey::host_bits`] there are with IPv4, but for 0: the bit of each is set.
    pub networks: u64,
    /// Number of buckets of `CONNS6` less one; the number is a power of two.
    pub bucket_mask6: u32,
    /// Zero.
    pub pad: u32,
}

/// Bits of [`Settings::flags`].
pub mod setting {
    /// A TCP segment without SYN may open a connection (`sloppy_tcp`).
    pub const SLOPPY_TCP: u32 = 1 << 0;
    /// At least one real server with IPv4 is reached by NAT.
    pub const HAS_NAT: u32 = 1 << 1;
    /// At least one service schedules every datagram by itself.
    pub const HAS_ONE_PACKET: u32 = 1 << 2;
    /// A SYN never ends the connection that its ports are of (`conn_reuse_mode=0`).
    pub const NO_REUSE: u32 = 1 << 3;
    /// A SYN ends the connection that its ports are of also in FIN_WAIT, where the real server's FIN is not seen
    /// (`conn_reuse_mode=2`).
    pub const REUSE_FIN_WAIT: u32 = 1 << 4;
    /// At least one real server with IPv6 is reached by NAT.
    pub const HAS_NAT6: u32 = 1 << 5;
}

/// Key of `SERVICES4` and `SERVICES6`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct ServiceKey<A> {
    /// The virtual address, or the first one of a virtual network.
    pub vip: A,
    /// The virtual port; 0 stands for all ports.
    pub port: Be16,
    /// IP protocol number.
    pub proto: u8,
    /// How many trailing bits of the address do not matter: 0 but for networks.
    pub host_bits: u8,
}

impl<A> ServiceKey<A> {
    /// The key of what becomes of packets to all other ports of a virtual address, as [`closed`] has it: no protocol has the number 0.
    #[inline(always)]
    pub const fn of_closed(vip: A) -> Self {
        Self {
            vip,
            port: Be16(0),
            proto: 0,
            host_bits: 0,
        }
    }
}

/// What becomes of packets to ports of no service on a virtual address: where this is not the stack's affair, the value that the address
/// has in `SERVICES4` or `SERVICES6`. The low bits are the number of the virtual router that the address is of, or 0.
pub mod closed {
    /// They are dropped.
    pub const DROP: u32 = 1 << 31;
    /// They are refused.
    pub const REJECT: u32 = 1 << 30;
    /// The bits of the virtual router.
    pub const ROUTER: u32 = REJECT - 1;
}

/// Key of `SERVICES4`.
pub type ServiceKey4 = ServiceKey<Be32>;
/// Key of `SERVICES6`.
pub type ServiceKey6 = ServiceKey<Be128>;

/// Key of `NATREALS4` and `NATREALS6`: the source of a reply.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RealKey<A> {
    /// The real server's address.
    pub addr: A,
    /// The real server's port.
    pub port: Be16,
    /// IP protocol number.
    pub proto: u8,
    /// Zero.
    pub pad: u8,
}

/// Key of `NATREALS4`.
pub type RealKey4 = RealKey<Be32>;
/// Key of `NATREALS6`.
pub type RealKey6 = RealKey<Be128>;

/// Everything a new connection of a service needs: a plan, and where rr and wrr are in it.
///
/// A service changes by writing another generation and then one store to `CURRENT`. The old one's place
/// is used again only when no packet can still be reading it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Generation {
    /// What is written aside, and never changed while it is current.
    pub plan: Plan,
    /// Where rr and wrr are: [`Plan::start`], and one more for each choice made since. In a cache line of its own.
    pub turn: u64,
    /// Zero.
    pub pad: [u64; 7],
}

/// The part of a [`Generation`] that stays as it was written.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Plan {
    /// [`Scheduler`](crate::sched::Scheduler) number.
    pub scheduler: u8,
    /// Timeout profile: index in `TIMEOUTS`.
    pub profile: u8,
    /// Bits of [`service`].
    pub flags: u16,
    /// Number of members.
    pub members_len: u32,
    /// How many members have a weight above zero. They come first; within both parts the newest real server
    /// is first, as IPVS lists them.
    pub eligible_len: u32,
    /// Index of the first member in `MEMBERS`.
    pub members_off: u32,
    /// Index of the schedule's first word in `SLOTS` (wrr, sh, dh, mh).
    pub slots_off: u32,
    /// Number of words of the schedule in `SLOTS`.
    pub slots_len: u32,
    /// Index of the first word in `SLOTS` of the fallback table: a small Maglev table for flows without an entry.
    pub fallback_off: u32,
    /// Number of slots of the fallback table, four of them in a word.
    pub fallback_len: u32,
    /// Persistence timeout in ticks; 0 is none.
    pub persistence: u32,
    /// What tells persistent clients apart: with IPv4 a netmask in network order, with IPv6 how many leading bits.
    pub mask: u32,
    /// The service's index.
    pub service: u32,
    /// The turn that the generation began with.
    pub start: u32,
    /// The number of the virtual router that the service's addresses are of; 0 if they are of none.
    pub router: u32,
    /// Zero.
    pub pad: [u32; 2],
}

/// Bits of [`Plan::flags`].
pub mod service {
    /// Every datagram is scheduled by itself (`-o`).
    pub const ONE_PACKET: u16 = 1 << 0;
    /// sh hashes the source port too.
    pub const SH_PORT: u16 = 1 << 1;
    /// sh looks further when the hashed real server is not available.
    pub const SH_FALLBACK: u16 = 1 << 2;
    /// mh hashes the source port too.
    pub const MH_PORT: u16 = 1 << 3;
    /// mh looks further when the hashed real server is not available.
    pub const MH_FALLBACK: u16 = 1 << 4;
    /// A quiesced real server gets no new connections from its persistent clients either
    /// (`expire_quiescent_template`).
    pub const LEAVE_QUIESCED: u16 = 1 << 5;
}

/// One real server in a service's list.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Member {
    /// Slot in `REALS`, `LOADS` and `TRAFFIC`.
    pub real: u32,
    /// Weight; 0 is quiesced.
    pub weight: u16,
    /// The weight it had before it was quiesced: mh keeps its places by it.
    pub last_weight: u16,
}

/// What forwarding to a real server needs.
///
/// The first two words are changed by one atomic store each when the next hop changes. `dst` is zero
/// while the next hop is unresolved; when the egress interface changes, it is zeroed first and set last.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Real {
    /// The next hop's MAC in the low 48 bits (byte 0 lowest), the slot in `EGRESS` in the high 16.
    pub dst: u64,
    /// The egress interface's MAC in the low 48 bits, its MTU in the high 16 (65535 where greater).
    pub src: u64,
    /// The real server's address (RIP), if it is of IPv4.
    pub addr: Be32,
    /// The real server's port; with DR and TUN it is the service's.
    pub port: Be16,
    /// [`Method`] number.
    pub method: u8,
    /// Bits of [`real`].
    pub flags: u8,
    /// The director's address towards a real server with IPv4: the outer source in a tunnel.
    pub tun_src: Be32,
    /// Index of the service it belongs to.
    pub service: u32,
    /// Interface index of the egress interface.
    pub ifindex: u32,
    /// Timeout profile: index in `TIMEOUTS`.
    pub profile: u32,
    /// Upper threshold of connections, 0 is none.
    pub upper: u32,
    /// Lower threshold of connections.
    pub lower: u32,
    /// IP protocol number of the service.
    pub proto: u8,
    /// 6 if its address is of IPv6, and then in [`addr6`](Self::addr6); else 0.
    pub family: u8,
    /// Zero.
    pub pad: [u8; 14],
    /// The real server's address (RIP), if it is of IPv6. In a cache line of its own, that DR does not need.
    pub addr6: Be128,
    /// The director's address towards a real server with IPv6.
    pub tun_src6: Be128,
    /// Zero.
    pub pad6: [u64; 4],
}

/// Bits of [`Real::flags`].
pub mod real {
    /// Its connections are served.
    pub const USED: u8 = 1 << 0;
    /// Removed from its service, and kept until its last connection ends. Without [`USED`] it was removed by force.
    pub const REMOVED: u8 = 1 << 1;
    /// Found dead by a health check, or set aside for a sorry server: it gets nothing new.
    pub const DOWN: u8 = 1 << 2;
    /// Its weight is 0 although it is well.
    pub const QUIESCED: u8 = 1 << 3;
    /// Its connections are given up: their clients are told so with their next packet.
    pub const RESET: u8 = 1 << 4;
    /// Taken out of use by the operator: its persistent clients leave it, whatever the service says of quiesced ones.
    pub const DRAINED: u8 = 1 << 5;
    /// Its weight is 0, and a SYN on one of its connections opens another one (`expire_nodest_conn`).
    pub const SYN_LEAVES: u8 = 1 << 6;
    /// Its weight is 0, and its UDP flows leave it with their next datagram.
    pub const UDP_LEAVES: u8 = 1 << 7;
}

/// How packets reach a real server.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// Direct routing: the MAC addresses change.
    Dr = 1,
    /// IP-in-IP tunnel.
    Tun = 2,
    /// Destination address and port are rewritten, and the source of replies.
    Nat = 3,
    /// The real server is the director itself.
    Local = 4,
}

impl Method {
    /// The method of a number in a map.
    #[inline(always)]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            1 => Some(Self::Dr),
            2 => Some(Self::Tun),
            3 => Some(Self::Nat),
            4 => Some(Self::Local),
            _ => None,
        }
    }
}

/// Number of [`Member`]s that the one value of `MEMBERS` holds: two generations of as many as there can be. Lists are read in
/// chunks, so none reaches into the last [`CHUNK`](crate::sched::CHUNK).
///
/// `MEMBERS` and `LOADS` are arrays of one large value, because a program that scans them then needs no look-up
/// (and no branch) for each element: it takes the value's address once and masks the index.
pub const MEMBERS_LEN: u32 = 1 << 18;

/// Number of [`Load`]s that the one value of `LOADS` holds.
pub const LOADS_LEN: u32 = MAX_REALS + 1;

/// Key of `TEMPLATES4` and `TEMPLATES6`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TemplateKey<A> {
    /// The service's index.
    pub service: u32,
    /// The client's address under the service's netmask.
    pub client: A,
    /// 0 for the template that connections are opened under; for one that was succeeded, and waits for its connections
    /// to end, 1 and its generation.
    pub orphan: u32,
}

/// Key of `TEMPLATES4`.
pub type TemplateKey4 = TemplateKey<Be32>;
/// Key of `TEMPLATES6`.
pub type TemplateKey6 = TemplateKey<Be128>;

/// What the program remembers from packet to packet on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct CpuState {
    /// The second of the clock in which the last ICMP error was due.
    pub icmp_second: u64,
    /// How many were due in it.
    pub icmp_due: u32,
    /// Identification of the last packet that was made here and may be fragmented.
    pub ident: u32,
}

/// Timeouts of one profile, in ticks, by [`State`](crate::conn::State) number.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Ticks by state number.
    pub ticks: [u32; 16],
}

/// Number of `u64` words in `FILTER`: two bits for each of 2^16 cells.
pub const FILTER_WORDS: u32 = 1 << 11;

/// Bit of a filter cell: the address may be a VIP.
pub const FILTER_VIP: u64 = 1;
/// Bit of a filter cell: the address may be a NAT real server's.
pub const FILTER_REAL: u64 = 2;

/// The cell of `FILTER` for an address: the word's index, and how far to shift the word right.
///
/// A packet whose destination cell lacks [`FILTER_VIP`] and whose source cell lacks [`FILTER_REAL`] is none of
/// our business, and is told apart without touching a hash table.
#[inline(always)]
pub const fn filter_cell(addr: Be32) -> (u32, u32) {
    let h = addr.0.wrapping_mul(0x9E37_79B1) >> 16;
    (h >> 5, (h & 31) * 2)
}

/// How many low bits of the clock (nanoseconds) one tick drops: a tick is 67.1 ms.
pub const TICK_SHIFT: u32 = 26;

/// A time in ticks; differences are taken modulo 2^32.
#[inline(always)]
pub const fn ticks(nanoseconds: u64) -> u32 {
    (nanoseconds >> TICK_SHIFT) as u32
}

/// A timeout in ticks, rounded up.
#[inline(always)]
pub const fn seconds_to_ticks(seconds: u64) -> u32 {
    let t = (seconds * 1_000_000_000).div_ceil(1 << TICK_SHIFT);
    if t > i32::MAX as u64 {
        i32::MAX as u32
    } else {
        t as u32
    }
}

const _: () = {
    assert!(size_of::<Settings>() == 56);
    assert!(size_of::<ServiceKey4>() == 8 && size_of::<ServiceKey6>() == 20);
    assert!(size_of::<RealKey4>() == 8 && size_of::<RealKey6>() == 20);
    assert!(size_of::<Generation>() == 128 && size_of::<Plan>() == 64);
    assert!(core::mem::offset_of!(Generation, turn) == 64);
    assert!(size_of::<Member>() == 8);
    assert!(size_of::<Real>() == 128 && core::mem::offset_of!(Real, addr6) == 64);
    assert!(size_of::<Load>() == 8);
    assert!(MEMBERS_LEN.is_power_of_two() && LOADS_LEN.is_power_of_two());
    assert!(size_of::<Traffic>() == 40);
    assert!(size_of::<TemplateKey4>() == 12 && size_of::<TemplateKey6>() == 24);
    assert!(size_of::<LocalityKey4>() == 8 && size_of::<LocalityKey6>() == 20);
    assert!(size_of::<Locality>() == 64);
    assert!(size_of::<CpuState>() == 16);
    assert!(size_of::<Timeouts>() == 64);
};
