//! How large is each map, and is a pinned one what is needed?

use std::fmt;

use lb_common::abi::{
    Configured, DATAGRAMS, Datagram, DatagramKey, FILTER_WORDS, Generation, LOADS_LEN, Load,
    Locality, LocalityKey, MAX_REALS, MAX_ROUTERS, MEMBERS_LEN, Member, OWN_MACS, OwnMacs, Real,
    RealKey, ServiceKey, Settings, TemplateKey, Timeouts, Traffic, map, program,
};
use lb_common::atomic::Host;
use lb_common::counter::COUNTERS;
use lb_common::net::{Be32, Be128};
use lb_common::table::{Bucket, Recorded, SLOTS_PER_BUCKET};
use lb_common::template::Template;

use super::options::Capacity;
use super::sys::{MMAPABLE, MapKind, MapShape, NO_PREALLOC};

/// Timeout profiles; [`Plan::profile`](lb_common::abi::Plan::profile) is a byte.
pub(super) const PROFILES: u32 = 256;

/// Destinations that lblc and lblcr remember, over all services: as many as the kernel's soft limit for one.
const LOCALITIES: u32 = 16_384;

/// Interfaces to redirect to.
pub(super) const EGRESS: u32 = 256;

/// The map that only user space uses: see [`ledger`](super::ledger).
pub(super) const LEDGER: &str = "LEDGER";

/// Words of [`LEDGER`] for each service.
pub(super) const LEDGER_WORDS: u32 = 16;

/// A map as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Its name.
    pub name: &'static str,
    /// Its kind and sizes.
    pub shape: MapShape,
}

/// Every pinned map, for this much.
pub(super) fn layouts(capacity: Capacity) -> Vec<Layout> {
    let services = capacity.services.max(1);
    let reals = capacity.reals.clamp(1, MAX_REALS + 1);
    let mut layouts = vec![
        mapped::<Settings>(map::SETTINGS, 1),
        mapped::<u64>(map::CURRENT, services),
        mapped::<u64>(map::STANDBY, MAX_ROUTERS),
        mapped::<OwnMacs>(map::OWNMACS, OWN_MACS),
        mapped::<Generation>(map::GENERATIONS, services.saturating_mul(2).max(64)),
        mapped::<[Member; MEMBERS_LEN as usize]>(map::MEMBERS, 1),
        mapped::<u64>(map::SLOTS, slots(services, reals)),
        mapped::<Real>(map::REALS, reals),
        mapped::<[Load; LOADS_LEN as usize]>(map::LOADS, 1),
        per_cpu::<Traffic>(map::TRAFFIC, reals),
        per_cpu::<u64>(map::COUNTERS, COUNTERS),
        mapped::<u64>(map::FILTER, FILTER_WORDS),
        mapped::<Timeouts>(map::TIMEOUTS, PROFILES),
        Layout {
            name: map::EGRESS,
            shape: MapShape {
                kind: MapKind::DevMap,
                key_size: 4,
                value_size: 8,
                entries: EGRESS,
                flags: 0,
            },
        },
        Layout {
            name: map::PROGRAMS,
            shape: MapShape {
                kind: MapKind::ProgramArray,
                key_size: 4,
                value_size: 4,
                entries: program::LEN,
                flags: 0,
            },
        },
        mapped::<[u64; LEDGER_WORDS as usize]>(LEDGER, services),
    ];
    layouts.extend(of_family::<Be32>(capacity.connections, services, reals));
    layouts.extend(of_family::<Be128>(connections6(capacity), services, reals));
    layouts
}

/// How many connections of IPv6 there is room for: a quarter as many as of IPv4, as one takes three times the memory.
pub(super) const fn connections6(capacity: Capacity) -> u32 {
    capacity.connections.div_ceil(4)
}

/// The maps of one family of addresses.
fn of_family<A: Configured + Recorded>(connections: u32, services: u32, reals: u32) -> [Layout; 6] {
    let names = A::MAPS;
    [
        mapped::<Bucket<Host, A>>(names.conns, buckets(connections)),
        keyed::<ServiceKey<A>, u32>(names.services, services.saturating_mul(4)),
        keyed::<RealKey<A>, ServiceKey<A>>(names.nat_reals, reals),
        forgetful::<LocalityKey<A>, Locality>(names.locality, LOCALITIES),
        forgetful::<DatagramKey<A>, Datagram<A>>(names.fragments, DATAGRAMS),
        growing::<TemplateKey<A>, Template>(names.templates, connections.max(1024)),
    ]
}

/// Bytes of kernel memory that maps take, on so many CPUs. Of hash tables it is what the kernel sets aside for each entry:
/// of one that takes memory as it fills, a bucket.
pub(super) fn memory(layouts: &[Layout], cpus: usize) -> u64 {
    /// The share of the buckets of a hash table's element.
    const HASH_BUCKET: u64 = 16;
    /// What a hash table adds to an element, and its bucket.
    const HASH_ELEMENT: u64 = 48 + HASH_BUCKET;
    let of = |shape: &MapShape| {
        let (key, value) = (words(shape.key_size), words(shape.value_size));
        let entry = match shape.kind {
            MapKind::Hash if shape.flags & NO_PREALLOC != 0 => HASH_BUCKET,
            MapKind::Hash | MapKind::LruHash => HASH_ELEMENT + key + value,
            MapKind::PerCpuArray => 8 + value * cpus as u64,
            _ => value,
        };
        entry * u64::from(shape.entries)
    };
    layouts.iter().map(|l| of(&l.shape)).sum()
}

/// The kernel rounds sizes up to words.
const fn words(size: u32) -> u64 {
    size.next_multiple_of(8) as u64
}

/// Buckets for so many connections: a power of two, at least as many as leave a third of the slots free.
pub(super) fn buckets(connections: u32) -> u32 {
    let slots = u64::from(connections).max(1) * 3 / 2;
    let buckets = slots
        .div_ceil(SLOTS_PER_BUCKET as u64)
        .next_power_of_two()
        .max(2);
    u32::try_from(buckets).unwrap_or(1 << 31)
}

/// Words for schedules, of two generations: a small fallback table and a middling schedule for each service and as much
/// again as its real servers ask for, but never fewer than a few of the largest schedules take.
fn slots(services: u32, reals: u32) -> u32 {
    let words = 2 * (64 * u64::from(services) + 24 * u64::from(reals));
    words.clamp(1 << 19, 1 << 24) as u32
}

const fn mapped<V>(name: &'static str, entries: u32) -> Layout {
    Layout {
        name,
        shape: array::<V>(MapKind::Array, entries, MMAPABLE),
    }
}

/// An array with one value for each CPU.
pub(super) const fn per_cpu<V>(name: &'static str, entries: u32) -> Layout {
    Layout {
        name,
        shape: array::<V>(MapKind::PerCpuArray, entries, 0),
    }
}

const fn array<V>(kind: MapKind, entries: u32, flags: u32) -> MapShape {
    MapShape {
        kind,
        key_size: 4,
        value_size: size_of::<V>() as u32,
        entries,
        flags,
    }
}

/// A hash table.
pub(super) const fn keyed<K, V>(name: &'static str, entries: u32) -> Layout {
    let shape = MapShape {
        kind: MapKind::Hash,
        key_size: size_of::<K>() as u32,
        value_size: size_of::<V>() as u32,
        entries,
        flags: 0,
    };
    Layout { name, shape }
}

/// A hash table that forgets what was not asked for the longest.
const fn forgetful<K, V>(name: &'static str, entries: u32) -> Layout {
    let mut layout = keyed::<K, V>(name, entries);
    layout.shape.kind = MapKind::LruHash;
    layout
}

/// A hash table that takes memory as it fills.
fn growing<K, V>(name: &'static str, entries: u32) -> Layout {
    let mut layout = keyed::<K, V>(name, entries);
    layout.shape.flags = NO_PREALLOC;
    layout
}

/// `array, keys of 4 bytes, values of 128 bytes, 262144 entries, memory-mappable`.
impl fmt::Display for MapShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            key_size,
            value_size,
            entries,
            flags,
        } = self;
        write!(
            f,
            "{kind}, keys of {key_size} bytes, values of {value_size} bytes, {entries} entries"
        )?;
        if flags & MMAPABLE != 0 {
            f.write_str(", memory-mappable")?;
        }
        if flags & NO_PREALLOC != 0 {
            f.write_str(", growing")?;
        }
        match flags & !(MMAPABLE | NO_PREALLOC) {
            0 => Ok(()),
            other => write!(f, ", flags {other:#x}"),
        }
    }
}

impl fmt::Display for MapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash => f.write_str("hash"),
            Self::LruHash => f.write_str("LRU hash"),
            Self::Array => f.write_str("array"),
            Self::PerCpuArray => f.write_str("per-CPU array"),
            Self::ArrayOfMaps => f.write_str("array of maps"),
            Self::DevMap => f.write_str("devmap"),
            Self::ProgramArray => f.write_str("array of programs"),
            Self::Other(n) => write!(f, "map type {n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_32_bytes_when_the_table_is_two_thirds_full() {
        for connections in [1, 1_000, 1_000_000, 16_000_000, 1 << 26] {
            let buckets = u64::from(buckets(connections));
            assert!(buckets.is_power_of_two());
            let slots = buckets * SLOTS_PER_BUCKET as u64;
            assert!(slots * 2 / 3 >= u64::from(connections));
            let bytes = buckets * size_of::<Bucket<Host>>() as u64;
            assert!(bytes <= 32 * slots * 2 / 3);
        }
        assert_eq!(buckets(1_000_000), 1 << 18);
        assert_eq!(buckets(1 << 20), 1 << 18);
        assert_eq!(buckets((1 << 20) + 1), 1 << 19);
    }

    #[test]
    fn map_names_fit_and_are_unique() {
        let layouts = layouts(Capacity::default());
        let mut names: Vec<_> = layouts.iter().map(|l| l.name).collect();
        assert!(names.iter().all(|n| n.len() <= 15));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), layouts.len());
    }

    #[test]
    fn a_shape_reads_as_a_sentence() {
        let shape = mapped::<Real>("", 7).shape;
        assert_eq!(
            shape.to_string(),
            "array, keys of 4 bytes, values of 128 bytes, 7 entries, memory-mappable"
        );
    }
}
