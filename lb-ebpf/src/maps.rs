//! The maps. Their names and values are described in `lb_common::abi`.
//!
//! Sizes here are those of a small director; the loader sets those of its configuration.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::macros::btf_map;
use lb_common::abi::{
    CpuState, DATAGRAMS, Datagram, DatagramKey, FILTER_WORDS, Generation, LOADS_LEN, Locality,
    LocalityKey, MAX_ROUTERS, MEMBERS_LEN, Member, OWN_MACS, OwnMacs, Real, RealKey, ServiceKey,
    Settings, TemplateKey, Timeouts, Traffic, program,
};
use lb_common::counter;
use lb_common::decap::DECAPS as ENDS;
use lb_common::forward::Journey;
use lb_common::net::{Be32, Be128};
use lb_common::table::Bucket;
use lb_common::template::Template;

use crate::atomic::{Atomic, Bpf};

/// User space maps the values into its memory.
const SHARED: usize = BPF_F_MMAPABLE as usize;

const SERVICES: usize = 4096;
const MAX_REALS: usize = 16_384;

#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1, SHARED> = Array::new();

pub(crate) type Conns<A> = Array<Bucket<Bpf, A>, 1024, SHARED>;

#[btf_map]
pub(crate) static CONNS4: Conns<Be32> = Array::new();

#[btf_map]
pub(crate) static CONNS6: Conns<Be128> = Array::new();

pub(crate) type Services<A> = HashMap<ServiceKey<A>, u32, SERVICES>;

#[btf_map]
pub(crate) static SERVICES4: Services<Be32> = HashMap::new();

#[btf_map]
pub(crate) static SERVICES6: Services<Be128> = HashMap::new();

#[btf_map]
pub(crate) static CURRENT: Array<Atomic<u64>, SERVICES, SHARED> = Array::new();

#[btf_map]
pub(crate) static STANDBY: Array<Atomic<u64>, { MAX_ROUTERS as usize }, SHARED> = Array::new();

#[btf_map]
pub(crate) static OWNMACS: Array<OwnMacs, { OWN_MACS as usize }, SHARED> = Array::new();

#[btf_map]
pub(crate) static GENERATIONS: Array<Generation, { 2 * SERVICES }, SHARED> = Array::new();

#[btf_map]
pub(crate) static MEMBERS: Array<[Member; MEMBERS_LEN as usize], 1, SHARED> = Array::new();

#[btf_map]
pub(crate) static SLOTS: Array<u64, 65_536, SHARED> = Array::new();

#[btf_map]
pub(crate) static REALS: Array<Real, MAX_REALS, SHARED> = Array::new();

#[btf_map]
pub(crate) static LOADS: Array<[Atomic<u64>; LOADS_LEN as usize], 1, SHARED> = Array::new();

#[btf_map]
pub(crate) static TRAFFIC: PerCpuArray<Traffic, MAX_REALS> = PerCpuArray::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { counter::COUNTERS as usize }> = PerCpuArray::new();

pub(crate) type NatReals<A> = HashMap<RealKey<A>, ServiceKey<A>, MAX_REALS>;

#[btf_map]
pub(crate) static NATREALS4: NatReals<Be32> = HashMap::new();

#[btf_map]
pub(crate) static NATREALS6: NatReals<Be128> = HashMap::new();

#[btf_map]
pub(crate) static FILTER: Array<u64, { FILTER_WORDS as usize }, SHARED> = Array::new();

#[btf_map]
pub(crate) static TIMEOUTS: Array<Timeouts, 256, SHARED> = Array::new();

pub(crate) type Localities<A> = LruHashMap<LocalityKey<A>, Locality, 16_384>;

#[btf_map]
pub(crate) static LOCALITY4: Localities<Be32> = LruHashMap::new();

#[btf_map]
pub(crate) static LOCALITY6: Localities<Be128> = LruHashMap::new();

/// Takes memory as it fills: most services have no persistent clients.
pub(crate) type Templates<A> =
    HashMap<TemplateKey<A>, Template, 1024, { BPF_F_NO_PREALLOC as usize }>;

#[btf_map]
pub(crate) static TEMPLATES4: Templates<Be32> = HashMap::new();

#[btf_map]
pub(crate) static TEMPLATES6: Templates<Be128> = HashMap::new();

/// Of as many datagrams as it has room for, it forgets those that were not asked for the longest.
pub(crate) type Fragments<A> = LruHashMap<DatagramKey<A>, Datagram<A>, { DATAGRAMS as usize }>;

#[btf_map]
pub(crate) static FRAGMENTS4: Fragments<Be32> = LruHashMap::new();

#[btf_map]
pub(crate) static FRAGMENTS6: Fragments<Be128> = LruHashMap::new();

#[btf_map]
pub(crate) static CPU: PerCpuArray<CpuState, 1> = PerCpuArray::new();

/// Room for the state of a loop.
pub(crate) type Scratch = [u64; 16];

#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// An IPv6 packet on its way: of the stack, it would take too much.
#[btf_map]
pub(crate) static JOURNEY6: PerCpuArray<Journey<Be128>, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static EGRESS: DevMap<256> = DevMap::new();

/// The programs that are a tail call away, for IPv6 and for later fragments: with all in one, the verifier would have too much to
/// look at.
#[btf_map]
pub(crate) static PROGRAMS: ProgramArray<{ program::LEN as usize }> = ProgramArray::new();

/// On a real server: the addresses at which its tunnels end, those of IPv4 as the ones of IPv6 that stand for them.
#[btf_map]
pub(crate) static TUNNELS: HashMap<Be128, u32, 256> = HashMap::new();

/// On a real server: how frames ended, by [`Decap`](lb_common::decap::Decap).
#[btf_map]
pub(crate) static DECAPS: PerCpuArray<u64, { ENDS as usize }> = PerCpuArray::new();
