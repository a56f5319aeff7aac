//! The maps. Their names and values are described in `lb_common::abi`.
//!
//! Sizes here are those of a small director; the loader sets those of its configuration.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::abi::{
    CpuState, FILTER_WORDS, Generation, LOADS_LEN, Locality, LocalityKey4, MAX_ROUTERS,
    MEMBERS_LEN, Member, Real, RealKey4, ServiceKey4, Settings, TemplateKey4, Timeouts, Traffic,
};
use lb_common::counter;
use lb_common::decap::DECAPS as ENDS;
use lb_common::net::Be32;
use lb_common::table::Bucket;
use lb_common::template::Template;

use crate::atomic::{Atomic, Bpf};

/// User space maps the values into its memory.
const SHARED: usize = BPF_F_MMAPABLE as usize;

const SERVICES: usize = 4096;
const MAX_REALS: usize = 16_384;

#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1, SHARED> = Array::new();

#[btf_map]
pub(crate) static CONNS4: Array<Bucket<Bpf>, 1024, SHARED> = Array::new();

#[btf_map]
pub(crate) static SERVICES4: HashMap<ServiceKey4, u32, SERVICES> = HashMap::new();

#[btf_map]
pub(crate) static CURRENT: Array<Atomic<u64>, SERVICES, SHARED> = Array::new();

#[btf_map]
pub(crate) static STANDBY: Array<Atomic<u64>, { MAX_ROUTERS as usize }, SHARED> = Array::new();

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

#[btf_map]
pub(crate) static NATREALS4: HashMap<RealKey4, ServiceKey4, MAX_REALS> = HashMap::new();

#[btf_map]
pub(crate) static FILTER: Array<u64, { FILTER_WORDS as usize }, SHARED> = Array::new();

#[btf_map]
pub(crate) static TIMEOUTS: Array<Timeouts, 256, SHARED> = Array::new();

#[btf_map]
pub(crate) static LOCALITY4: LruHashMap<LocalityKey4, Locality, 16_384> = LruHashMap::new();

/// Takes memory as it fills: most services have no persistent clients.
#[btf_map]
pub(crate) static TEMPLATES4: HashMap<
    TemplateKey4,
    Template,
    1024,
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(crate) static CPU: PerCpuArray<CpuState, 1> = PerCpuArray::new();

/// Room for the state of a loop.
pub(crate) type Scratch = [u64; 16];

#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static EGRESS: DevMap<256> = DevMap::new();

/// On a real server: the addresses at which its tunnels end.
#[btf_map]
pub(crate) static TUNNELS: HashMap<Be32, u32, 256> = HashMap::new();

/// On a real server: how frames ended, by [`Decap`](lb_common::decap::Decap).
#[btf_map]
pub(crate) static DECAPS: PerCpuArray<u64, { ENDS as usize }> = PerCpuArray::new();
