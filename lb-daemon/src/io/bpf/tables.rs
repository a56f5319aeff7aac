//! The maps that are reached by system calls: hash tables, per-CPU arrays and the interfaces to redirect to.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use aya::maps::{DevMap, HashMap, MapData, PerCpuArray, PerCpuValues};
use lb_common::abi::{FamilyMaps, Locality, LocalityEntry, map};

use super::error::MapError;
use super::family::{Family, Key, Key4, Key6, Parts, octets};
use super::report::TrafficSum;
use super::state::{Source, service_id, service_parts};
use super::sys;
use super::templates::{KernelTemplates, Templates};
use crate::core::desired::ServiceId;

/// Maps that are reached by system calls.
pub(super) trait Tables: std::fmt::Debug + Send {
    /// Every virtual address and port, with the index of its service.
    fn services(&self) -> Result<Vec<(ServiceId, u32)>, MapError>;
    /// Makes a virtual address and port a service's.
    fn put_service(&mut self, key: ServiceId, index: u32) -> Result<(), MapError>;
    /// Makes a virtual address and port nobody's.
    fn drop_service(&mut self, key: ServiceId) -> Result<(), MapError>;
    /// Every virtual address that is closed, with how: [`closed`](lb_common::abi::closed).
    fn closed(&self) -> Result<Vec<(IpAddr, u32)>, MapError>;
    /// Closes a virtual address.
    fn put_closed(&mut self, addr: IpAddr, how: u32) -> Result<(), MapError>;
    /// Opens a virtual address again.
    fn drop_closed(&mut self, addr: IpAddr) -> Result<(), MapError>;
    /// Every source of replies, with the service that alone has it; `None` where several have.
    fn nat_reals(&self) -> Result<Vec<(Source, Option<ServiceId>)>, MapError>;
    /// Lets packets from there be replies.
    fn put_nat_real(&mut self, key: Source, service: Option<ServiceId>) -> Result<(), MapError>;
    /// Lets no packet from there be a reply.
    fn drop_nat_real(&mut self, key: Source) -> Result<(), MapError>;
    /// The interface of an egress slot; 0 is none.
    fn egress(&self, slot: u32) -> Result<u32, MapError>;
    /// Sets the interface of an egress slot.
    fn set_egress(&mut self, slot: u32, ifindex: u32) -> Result<(), MapError>;
    /// A real server's traffic, over all CPUs.
    fn traffic(&self, slot: u32) -> Result<TrafficSum, MapError>;
    /// Begins a real server's traffic at nothing.
    fn clear_traffic(&mut self, slot: u32) -> Result<(), MapError>;
    /// What lblc and lblcr remember of a destination.
    fn locality(&self, service: u32, destination: IpAddr) -> Result<Option<Locality>, MapError>;
    /// A counter, over all CPUs.
    fn counter(&self, index: u32) -> Result<u64, MapError>;
    /// The persistent clients.
    fn templates(&self) -> Arc<dyn Templates>;
}

/// The key of a virtual address alone.
const fn of_closed(addr: IpAddr) -> Parts {
    Parts {
        addr,
        port: 0,
        proto: 0,
        host_bits: 0,
    }
}

/// The words of [`Traffic`](lb_common::abi::Traffic), in its order.
type TrafficWords = [u64; 5];

/// The maps of one family in the kernel.
struct FamilyTables<K> {
    names: FamilyMaps,
    services: HashMap<MapData, K, u32>,
    nat_reals: HashMap<MapData, K, K>,
    localities: MapData,
}

impl<K: Key> FamilyTables<K> {
    fn new(
        names: FamilyMaps,
        open: &mut impl FnMut(&'static str) -> Result<MapData, MapError>,
    ) -> Result<Self, MapError> {
        use aya::maps::Map::HashMap as Hash;
        Ok(Self {
            names,
            services: Hash(open(names.services)?)
                .try_into()
                .map_err(failed("open", names.services))?,
            nat_reals: Hash(open(names.nat_reals)?)
                .try_into()
                .map_err(failed("open", names.nat_reals))?,
            localities: open(names.locality)?,
        })
    }

    fn services(&self) -> Result<Vec<(ServiceId, u32)>, MapError> {
        let entries = self.services.iter().map(|entry| {
            let (key, index) = entry.map_err(failed("read", self.names.services))?;
            Ok(service_id(key.unpack()).map(|id| (id, index)))
        });
        entries.filter_map(Result::transpose).collect()
    }

    fn put_service(&mut self, id: ServiceId, index: u32) -> Result<(), MapError> {
        let name = self.names.services;
        self.services
            .insert(packed::<K>(service_parts(id), name)?, index, 0)
            .map_err(failed("write", name))
    }

    fn drop_service(&mut self, id: ServiceId) -> Result<(), MapError> {
        let name = self.names.services;
        self.services
            .remove(&packed::<K>(service_parts(id), name)?)
            .map_err(failed("delete from", name))
    }

    fn closed(&self) -> Result<Vec<(IpAddr, u32)>, MapError> {
        let entries = self.services.iter().map(|entry| {
            let (key, how) = entry.map_err(failed("read", self.names.services))?;
            let parts = key.unpack();
            Ok((parts == of_closed(parts.addr)).then_some((parts.addr, how)))
        });
        entries.filter_map(Result::transpose).collect()
    }

    fn put_closed(&mut self, addr: IpAddr, how: u32) -> Result<(), MapError> {
        let name = self.names.services;
        self.services
            .insert(packed::<K>(of_closed(addr), name)?, how, 0)
            .map_err(failed("write", name))
    }

    fn drop_closed(&mut self, addr: IpAddr) -> Result<(), MapError> {
        let name = self.names.services;
        self.services
            .remove(&packed::<K>(of_closed(addr), name)?)
            .map_err(failed("delete from", name))
    }

    fn nat_reals(&self) -> Result<Vec<(Source, Option<ServiceId>)>, MapError> {
        let entries = self.nat_reals.iter().map(|entry| {
            let (key, service) = entry.map_err(failed("read", self.names.nat_reals))?;
            Ok((Source::of(key.unpack()), service_id(service.unpack())))
        });
        entries.collect()
    }

    fn put_nat_real(&mut self, key: Source, service: Option<ServiceId>) -> Result<(), MapError> {
        let name = self.names.nat_reals;
        let service = match service {
            Some(id) => packed::<K>(service_parts(id), name)?,
            None => K::NOBODY,
        };
        self.nat_reals
            .insert(packed::<K>(key.parts(), name)?, service, 0)
            .map_err(failed("write", name))
    }

    fn localities(&self) -> (&MapData, &'static str) {
        (&self.localities, self.names.locality)
    }

    fn drop_nat_real(&mut self, key: Source) -> Result<(), MapError> {
        let name = self.names.nat_reals;
        self.nat_reals
            .remove(&packed::<K>(key.parts(), name)?)
            .map_err(failed("delete from", name))
    }
}

/// A key as it lies in a map.
fn packed<K: Key>(parts: Parts, map: &'static str) -> Result<K, MapError> {
    K::pack(parts).ok_or(MapError {
        action: "write an address of the other family to",
        map,
        source: io::ErrorKind::InvalidInput.into(),
    })
}

/// The maps of the kernel.
pub(super) struct KernelTables {
    v4: FamilyTables<Key4>,
    v6: FamilyTables<Key6>,
    egress: DevMap<MapData>,
    traffic: PerCpuArray<MapData, TrafficWords>,
    counters: PerCpuArray<MapData, u64>,
    templates: Arc<KernelTemplates>,
    cpus: usize,
}

/// Has the maps of an address's family do something.
macro_rules! by_family {
    ($self:ident, $addr:expr, $method:ident($($argument:expr),*)) => {
        match Family::of($addr) {
            Family::V4 => $self.v4.$method($($argument),*),
            Family::V6 => $self.v6.$method($($argument),*),
        }
    };
}

impl KernelTables {
    /// Over maps that `open` finds by name.
    pub(super) fn new(
        mut open: impl FnMut(&'static str) -> Result<MapData, MapError>,
    ) -> Result<Self, MapError> {
        use aya::maps::Map::{DevMap as Dev, PerCpuArray as PerCpu};
        let cpus =
            aya::util::nr_cpus().map_err(|(_, source)| failed("size", map::TRAFFIC)(source))?;
        Ok(Self {
            v4: FamilyTables::new(Family::V4.maps(), &mut open)?,
            v6: FamilyTables::new(Family::V6.maps(), &mut open)?,
            egress: Dev(open(map::EGRESS)?)
                .try_into()
                .map_err(failed("open", map::EGRESS))?,
            traffic: PerCpu(open(map::TRAFFIC)?)
                .try_into()
                .map_err(failed("open", map::TRAFFIC))?,
            counters: PerCpu(open(map::COUNTERS)?)
                .try_into()
                .map_err(failed("open", map::COUNTERS))?,
            templates: Arc::new(KernelTemplates {
                v4: open(map::TEMPLATES4)?,
                v6: open(map::TEMPLATES6)?,
            }),
            cpus,
        })
    }
}

impl std::fmt::Debug for KernelTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelTables").finish_non_exhaustive()
    }
}

impl Tables for KernelTables {
    fn services(&self) -> Result<Vec<(ServiceId, u32)>, MapError> {
        Ok([self.v4.services()?, self.v6.services()?].concat())
    }

    fn put_service(&mut self, key: ServiceId, index: u32) -> Result<(), MapError> {
        by_family!(self, key.addr, put_service(key, index))
    }

    fn drop_service(&mut self, key: ServiceId) -> Result<(), MapError> {
        by_family!(self, key.addr, drop_service(key))
    }

    fn closed(&self) -> Result<Vec<(IpAddr, u32)>, MapError> {
        Ok([self.v4.closed()?, self.v6.closed()?].concat())
    }

    fn put_closed(&mut self, addr: IpAddr, how: u32) -> Result<(), MapError> {
        by_family!(self, addr, put_closed(addr, how))
    }

    fn drop_closed(&mut self, addr: IpAddr) -> Result<(), MapError> {
        by_family!(self, addr, drop_closed(addr))
    }

    fn nat_reals(&self) -> Result<Vec<(Source, Option<ServiceId>)>, MapError> {
        Ok([self.v4.nat_reals()?, self.v6.nat_reals()?].concat())
    }

    fn put_nat_real(&mut self, key: Source, service: Option<ServiceId>) -> Result<(), MapError> {
        by_family!(self, key.addr.ip(), put_nat_real(key, service))
    }

    fn drop_nat_real(&mut self, key: Source) -> Result<(), MapError> {
        by_family!(self, key.addr.ip(), drop_nat_real(key))
    }

    fn egress(&self, slot: u32) -> Result<u32, MapError> {
        match self.egress.get(slot, 0) {
            Ok(value) => Ok(value.if_index),
            Err(aya::maps::MapError::KeyNotFound) => Ok(0),
            Err(e) => Err(failed("read", map::EGRESS)(e)),
        }
    }

    fn set_egress(&mut self, slot: u32, ifindex: u32) -> Result<(), MapError> {
        self.egress
            .set(slot, ifindex, None, 0)
            .map_err(failed("write", map::EGRESS))
    }

    fn traffic(&self, slot: u32) -> Result<TrafficSum, MapError> {
        let values = self
            .traffic
            .get(&slot, 0)
            .map_err(failed("read", map::TRAFFIC))?;
        Ok(values.iter().fold(TrafficSum::default(), |sum, words| {
            sum.plus(TrafficSum::from_words(*words))
        }))
    }

    fn clear_traffic(&mut self, slot: u32) -> Result<(), MapError> {
        let none = PerCpuValues::try_from(vec![TrafficWords::default(); self.cpus])
            .map_err(failed("write", map::TRAFFIC))?;
        self.traffic
            .set(slot, none, 0)
            .map_err(failed("write", map::TRAFFIC))
    }

    fn counter(&self, index: u32) -> Result<u64, MapError> {
        let values = self
            .counters
            .get(&index, 0)
            .map_err(failed("read", map::COUNTERS))?;
        Ok(values.iter().fold(0, |sum, value| sum.wrapping_add(*value)))
    }

    fn templates(&self) -> Arc<dyn Templates> {
        Arc::clone(&self.templates) as Arc<dyn Templates>
    }

    fn locality(&self, service: u32, destination: IpAddr) -> Result<Option<Locality>, MapError> {
        let (map, name) = by_family!(self, destination, localities());
        let key = [&service.to_ne_bytes()[..], &octets(destination)].concat();
        let mut value = [0; size_of::<Locality>()];
        let found =
            sys::map_lookup(map.fd().as_fd(), &key, &mut value).map_err(failed("read", name))?;
        let (words, _) = value.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_ne_bytes(*word));
        let mut word = || words.next().unwrap_or_default();
        Ok(found.then(|| Locality {
            used: word(),
            changed: word(),
            len: word(),
            set: std::array::from_fn(|_| LocalityEntry(word())),
        }))
    }
}

/// Says what was tried on which map.
pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(
    action: &'static str,
    map: &'static str,
) -> impl FnOnce(E) -> MapError + Copy {
    move |source| MapError {
        action,
        map,
        source: io::Error::other(source),
    }
}

#[cfg(test)]
pub(super) mod memory {
    //! The same in ordinary memory.

    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::io::bpf::templates::memory::MemoryTemplates;

    /// Tables that nobody else sees.
    #[derive(Debug, Default, Clone)]
    pub(crate) struct MemoryTables {
        pub services: Vec<(ServiceId, u32)>,
        pub closed: Vec<(IpAddr, u32)>,
        pub nat_reals: Vec<(Source, Option<ServiceId>)>,
        pub egress: BTreeMap<u32, u32>,
        /// Shared, so that a test can be the program.
        pub traffic: Arc<Mutex<BTreeMap<u32, TrafficSum>>>,
        pub templates: Arc<MemoryTemplates>,
    }

    /// Puts a value under a key.
    fn put<K: PartialEq, V>(entries: &mut Vec<(K, V)>, key: K, value: V) {
        entries.retain(|(known, _)| *known != key);
        entries.push((key, value));
    }

    impl Tables for MemoryTables {
        fn services(&self) -> Result<Vec<(ServiceId, u32)>, MapError> {
            Ok(self.services.clone())
        }

        fn put_service(&mut self, key: ServiceId, index: u32) -> Result<(), MapError> {
            put(&mut self.services, key, index);
            Ok(())
        }

        fn drop_service(&mut self, key: ServiceId) -> Result<(), MapError> {
            self.services.retain(|(known, _)| *known != key);
            Ok(())
        }

        fn closed(&self) -> Result<Vec<(IpAddr, u32)>, MapError> {
            Ok(self.closed.clone())
        }

        fn put_closed(&mut self, addr: IpAddr, how: u32) -> Result<(), MapError> {
            put(&mut self.closed, addr, how);
            Ok(())
        }

        fn drop_closed(&mut self, addr: IpAddr) -> Result<(), MapError> {
            self.closed.retain(|(known, _)| *known != addr);
            Ok(())
        }

        fn nat_reals(&self) -> Result<Vec<(Source, Option<ServiceId>)>, MapError> {
            Ok(self.nat_reals.clone())
        }

        fn put_nat_real(
            &mut self,
            key: Source,
            service: Option<ServiceId>,
        ) -> Result<(), MapError> {
            put(&mut self.nat_reals, key, service);
            Ok(())
        }

        fn drop_nat_real(&mut self, key: Source) -> Result<(), MapError> {
            self.nat_reals.retain(|(known, _)| *known != key);
            Ok(())
        }

        fn egress(&self, slot: u32) -> Result<u32, MapError> {
            Ok(self.egress.get(&slot).copied().unwrap_or(0))
        }

        fn set_egress(&mut self, slot: u32, ifindex: u32) -> Result<(), MapError> {
            self.egress.insert(slot, ifindex);
            Ok(())
        }

        fn traffic(&self, slot: u32) -> Result<TrafficSum, MapError> {
            Ok(self
                .traffic
                .lock()
                .unwrap()
                .get(&slot)
                .copied()
                .unwrap_or_default())
        }

        fn clear_traffic(&mut self, slot: u32) -> Result<(), MapError> {
            self.traffic.lock().unwrap().remove(&slot);
            Ok(())
        }

        fn locality(&self, _: u32, _: IpAddr) -> Result<Option<Locality>, MapError> {
            Ok(None)
        }

        fn counter(&self, _index: u32) -> Result<u64, MapError> {
            Ok(0)
        }

        fn templates(&self) -> Arc<dyn Templates> {
            Arc::clone(&self.templates) as Arc<dyn Templates>
        }
    }
}
