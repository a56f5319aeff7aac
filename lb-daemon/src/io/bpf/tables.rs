//! The maps that are reached by system calls: hash tables, per-CPU arrays and the interfaces to redirect to.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use aya::maps::{DevMap, HashMap, MapData, PerCpuArray, PerCpuValues};
use lb_common::abi::{Locality, LocalityEntry, LocalityKey4, RealKey4, ServiceKey4, map};
use lb_common::net::{Be16, Be32};

use super::error::MapError;
use super::report::TrafficSum;
use super::sys;
use super::templates::{KernelTemplates, Templates};

/// Maps that are reached by system calls.
pub(super) trait Tables: std::fmt::Debug + Send {
    /// Every virtual address and port, with the index of its service.
    fn services(&self) -> Result<Vec<(ServiceKey4, u32)>, MapError>;
    /// Makes a virtual address and port a service's.
    fn put_service(&mut self, key: ServiceKey4, index: u32) -> Result<(), MapError>;
    /// Makes a virtual address and port nobody's.
    fn drop_service(&mut self, key: ServiceKey4) -> Result<(), MapError>;
    /// Every source of replies, with the service that alone has it; all zero where several have.
    fn nat_reals(&self) -> Result<Vec<(RealKey4, ServiceKey4)>, MapError>;
    /// Lets packets from there be replies.
    fn put_nat_real(&mut self, key: RealKey4, service: ServiceKey4) -> Result<(), MapError>;
    /// Lets no packet from there be a reply.
    fn drop_nat_real(&mut self, key: RealKey4) -> Result<(), MapError>;
    /// The interface of an egress slot; 0 is none.
    fn egress(&self, slot: u32) -> Result<u32, MapError>;
    /// Sets the interface of an egress slot.
    fn set_egress(&mut self, slot: u32, ifindex: u32) -> Result<(), MapError>;
    /// A real server's traffic, over all CPUs.
    fn traffic(&self, slot: u32) -> Result<TrafficSum, MapError>;
    /// Begins a real server's traffic at nothing.
    fn clear_traffic(&mut self, slot: u32) -> Result<(), MapError>;
    /// What lblc and lblcr remember of a destination.
    fn locality(&self, key: &LocalityKey4) -> Result<Option<Locality>, MapError>;
    /// A counter, over all CPUs.
    fn counter(&self, index: u32) -> Result<u64, MapError>;
    /// The persistent clients.
    fn templates(&self) -> Arc<dyn Templates>;
}

/// The words of [`Traffic`](lb_common::abi::Traffic), in its order.
type TrafficWords = [u64; 5];

/// The maps of the kernel.
pub(super) struct KernelTables {
    services: HashMap<MapData, [u8; 8], u32>,
    nat_reals: HashMap<MapData, [u8; 8], [u8; 8]>,
    egress: DevMap<MapData>,
    traffic: PerCpuArray<MapData, TrafficWords>,
    counters: PerCpuArray<MapData, u64>,
    templates: Arc<KernelTemplates>,
    localities: MapData,
    cpus: usize,
}

impl KernelTables {
    /// Over maps that `open` finds by name.
    pub(super) fn new(
        mut open: impl FnMut(&'static str) -> Result<MapData, MapError>,
    ) -> Result<Self, MapError> {
        use aya::maps::Map::{DevMap as Dev, HashMap as Hash, PerCpuArray as PerCpu};
        let cpus =
            aya::util::nr_cpus().map_err(|(_, source)| failed("size", map::TRAFFIC)(source))?;
        Ok(Self {
            services: Hash(open(map::SERVICES4)?)
                .try_into()
                .map_err(failed("open", map::SERVICES4))?,
            nat_reals: Hash(open(map::NATREALS4)?)
                .try_into()
                .map_err(failed("open", map::NATREALS4))?,
            egress: Dev(open(map::EGRESS)?)
                .try_into()
                .map_err(failed("open", map::EGRESS))?,
            traffic: PerCpu(open(map::TRAFFIC)?)
                .try_into()
                .map_err(failed("open", map::TRAFFIC))?,
            counters: PerCpu(open(map::COUNTERS)?)
                .try_into()
                .map_err(failed("open", map::COUNTERS))?,
            templates: Arc::new(KernelTemplates(open(map::TEMPLATES4)?)),
            localities: open(map::LOCALITY4)?,
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
    fn services(&self) -> Result<Vec<(ServiceKey4, u32)>, MapError> {
        self.services
            .iter()
            .map(|entry| {
                entry
                    .map(|(key, index)| (service_key(key), index))
                    .map_err(failed("read", map::SERVICES4))
            })
            .collect()
    }

    fn put_service(&mut self, key: ServiceKey4, index: u32) -> Result<(), MapError> {
        self.services
            .insert(service_bytes(key), index, 0)
            .map_err(failed("write", map::SERVICES4))
    }

    fn drop_service(&mut self, key: ServiceKey4) -> Result<(), MapError> {
        self.services
            .remove(&service_bytes(key))
            .map_err(failed("delete from", map::SERVICES4))
    }

    fn nat_reals(&self) -> Result<Vec<(RealKey4, ServiceKey4)>, MapError> {
        self.nat_reals
            .iter()
            .map(|entry| {
                entry
                    .map(|(key, service)| (real_key(key), service_key(service)))
                    .map_err(failed("read", map::NATREALS4))
            })
            .collect()
    }

    fn put_nat_real(&mut self, key: RealKey4, service: ServiceKey4) -> Result<(), MapError> {
        self.nat_reals
            .insert(real_bytes(key), service_bytes(service), 0)
            .map_err(failed("write", map::NATREALS4))
    }

    fn drop_nat_real(&mut self, key: RealKey4) -> Result<(), MapError> {
        self.nat_reals
            .remove(&real_bytes(key))
            .map_err(failed("delete from", map::NATREALS4))
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

    fn locality(&self, key: &LocalityKey4) -> Result<Option<Locality>, MapError> {
        let [a, b, c, d] = key.service.to_ne_bytes();
        let [e, f, g, h] = key.destination.0.to_ne_bytes();
        let mut value = [0; size_of::<Locality>()];
        let found = sys::map_lookup(
            self.localities.fd().as_fd(),
            &[a, b, c, d, e, f, g, h],
            &mut value,
        )
        .map_err(failed("read", map::LOCALITY4))?;
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

fn service_bytes(key: ServiceKey4) -> [u8; 8] {
    bytes(key.vip, key.port, [key.proto, key.host_bits])
}

fn service_key(bytes: [u8; 8]) -> ServiceKey4 {
    let (vip, port, [proto, host_bits]) = parts(bytes);
    ServiceKey4 {
        vip,
        port,
        proto,
        host_bits,
    }
}

fn real_bytes(key: RealKey4) -> [u8; 8] {
    bytes(key.addr, key.port, [key.proto, 0])
}

fn real_key(bytes: [u8; 8]) -> RealKey4 {
    let (addr, port, [proto, _]) = parts(bytes);
    RealKey4 {
        addr,
        port,
        proto,
        pad: 0,
    }
}

/// Both kinds of key lie in memory like this.
fn bytes(addr: Be32, port: Be16, [g, h]: [u8; 2]) -> [u8; 8] {
    let [a, b, c, d] = addr.0.to_ne_bytes();
    let [e, f] = port.0.to_ne_bytes();
    [a, b, c, d, e, f, g, h]
}

fn parts([a, b, c, d, e, f, g, h]: [u8; 8]) -> (Be32, Be16, [u8; 2]) {
    (
        Be32(u32::from_ne_bytes([a, b, c, d])),
        Be16(u16::from_ne_bytes([e, f])),
        [g, h],
    )
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
        pub services: BTreeMap<[u8; 8], u32>,
        pub nat_reals: BTreeMap<[u8; 8], [u8; 8]>,
        pub egress: BTreeMap<u32, u32>,
        /// Shared, so that a test can be the program.
        pub traffic: Arc<Mutex<BTreeMap<u32, TrafficSum>>>,
        pub templates: Arc<MemoryTemplates>,
    }

    impl Tables for MemoryTables {
        fn services(&self) -> Result<Vec<(ServiceKey4, u32)>, MapError> {
            Ok(self
                .services
                .iter()
                .map(|(key, index)| (service_key(*key), *index))
                .collect())
        }

        fn put_service(&mut self, key: ServiceKey4, index: u32) -> Result<(), MapError> {
            self.services.insert(service_bytes(key), index);
            Ok(())
        }

        fn drop_service(&mut self, key: ServiceKey4) -> Result<(), MapError> {
            self.services.remove(&service_bytes(key));
            Ok(())
        }

        fn nat_reals(&self) -> Result<Vec<(RealKey4, ServiceKey4)>, MapError> {
            Ok(self
                .nat_reals
                .iter()
                .map(|(key, service)| (real_key(*key), service_key(*service)))
                .collect())
        }

        fn put_nat_real(&mut self, key: RealKey4, service: ServiceKey4) -> Result<(), MapError> {
            self.nat_reals
                .insert(real_bytes(key), service_bytes(service));
            Ok(())
        }

        fn drop_nat_real(&mut self, key: RealKey4) -> Result<(), MapError> {
            self.nat_reals.remove(&real_bytes(key));
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

        fn locality(&self, _key: &LocalityKey4) -> Result<Option<Locality>, MapError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_as_the_program_reads_them() {
        let key = ServiceKey4 {
            vip: Be32::from_bytes([192, 0, 2, 1]),
            port: Be16::from_host(80),
            proto: 6,
            host_bits: 8,
        };
        assert_eq!(service_bytes(key), [192, 0, 2, 1, 0, 80, 6, 8]);
        assert_eq!(service_key(service_bytes(key)), key);
        let key = RealKey4 {
            addr: key.vip,
            port: key.port,
            proto: 17,
            pad: 0,
        };
        assert_eq!(real_key(real_bytes(key)), key);
    }
}
