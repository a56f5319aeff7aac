//! The map of persistent clients, read many at a time.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::MapData;
use lb_common::abi::{TemplateKey4, TemplateKey6};
use lb_common::template::Template;

use super::error::MapError;
use super::family::{Family, masked, octets};
use super::sys;
use super::tables::failed;

/// A [`TemplateKey`](lb_common::abi::TemplateKey) of either family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Client {
    /// The service's index.
    pub service: u32,
    /// The client's address under the service's mask.
    pub addr: IpAddr,
    /// 0 for the template that connections are opened under; for one that was succeeded, 1 and its generation.
    pub orphan: u32,
}

impl Client {
    /// The template that a client's connections are opened under; `mask` is that of the service's plan.
    pub(super) fn current(service: u32, addr: IpAddr, mask: u32) -> Self {
        Self {
            service,
            addr: masked(addr, mask),
            orphan: 0,
        }
    }

    /// As it lies in memory.
    fn pack(self) -> Vec<u8> {
        let mut key = self.service.to_ne_bytes().to_vec();
        key.extend(octets(self.addr));
        key.extend(self.orphan.to_ne_bytes());
        key
    }

    /// From what lies in memory; `None` if that has another length.
    fn unpack(key: &[u8]) -> Option<Self> {
        let (service, rest) = key.split_first_chunk::<4>()?;
        let (addr, orphan) = rest.split_last_chunk::<4>()?;
        let addr = match *addr {
            [a, b, c, d] => IpAddr::from([a, b, c, d]),
            _ => <[u8; 16]>::try_from(addr).ok()?.into(),
        };
        Some(Self {
            service: u32::from_ne_bytes(*service),
            addr,
            orphan: u32::from_ne_bytes(*orphan),
        })
    }
}

/// Where a reading goes on: in the map of a family, at its beginning or after an earlier reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    family: Family,
    from: Option<u32>,
}

impl Cursor {
    /// The beginning of all.
    pub(super) const START: Self = Self {
        family: Family::V4,
        from: None,
    };

    /// Where the next reading goes on when one of this has ended; `None` if there is no more.
    const fn next(self, after: Option<u32>) -> Option<Self> {
        match (self.family, after) {
            (family, Some(_)) => Some(Self {
                family,
                from: after,
            }),
            (Family::V4, None) => Some(Self {
                family: Family::V6,
                from: None,
            }),
            (Family::V6, None) => None,
        }
    }
}

/// The persistent clients.
///
/// Not held by whoever holds the other maps alone: a listing reads them on another thread.
pub(super) trait Templates: fmt::Debug + Send + Sync {
    /// Some of them, from where the last reading ended, and where the next one begins; `None` after the last.
    fn read(&self, from: Cursor) -> Result<Batch, MapError>;
    /// Whether there is none.
    fn is_empty(&self) -> Result<bool, MapError> {
        let mut from = Some(Cursor::START);
        while let Some(cursor) = from {
            let (batch, next) = self.read(cursor)?;
            if !batch.is_empty() {
                return Ok(false);
            }
            from = next;
        }
        Ok(true)
    }
    /// One of them.
    fn get(&self, key: &Client) -> Result<Option<Template>, MapError>;
    /// Forgets one.
    fn remove(&self, key: &Client) -> Result<(), MapError>;
}

/// What one reading gives.
pub(super) type Batch = (Vec<(Client, Template)>, Option<Cursor>);

/// How many are read at once: far more than ever share a bucket of the kernel's table.
const AT_ONCE: usize = 4096;

const VALUE: usize = size_of::<Template>();

/// The maps of the kernel.
pub(super) struct KernelTemplates {
    pub(super) v4: MapData,
    pub(super) v6: MapData,
}

impl KernelTemplates {
    fn of(&self, family: Family) -> (BorrowedFd<'_>, &'static str) {
        let map = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        (map.fd().as_fd(), family.maps().templates)
    }
}

/// Length of a family's keys.
const fn key_len(family: Family) -> usize {
    match family {
        Family::V4 => size_of::<TemplateKey4>(),
        Family::V6 => size_of::<TemplateKey6>(),
    }
}

impl fmt::Debug for KernelTemplates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelTemplates").finish_non_exhaustive()
    }
}

impl Templates for KernelTemplates {
    fn read(&self, cursor: Cursor) -> Result<Batch, MapError> {
        let (map, name) = self.of(cursor.family);
        let key = key_len(cursor.family);
        let mut keys = vec![0; AT_ONCE * key];
        let mut values = vec![0; AT_ONCE * VALUE];
        let (count, after) = sys::map_lookup_batch(map, cursor.from, &mut keys, &mut values)
            .map_err(failed("read", name))?;
        let (values, _) = values.as_chunks::<VALUE>();
        let entries = keys.chunks(key).zip(values).take(count as usize);
        let entries = entries
            .filter_map(|(k, v)| Some((Client::unpack(k)?, Template(u64::from_ne_bytes(*v)))));
        Ok((entries.collect(), cursor.next(after)))
    }

    fn get(&self, key: &Client) -> Result<Option<Template>, MapError> {
        let (map, name) = self.of(Family::of(key.addr));
        let mut value = [0; VALUE];
        let found = sys::map_lookup(map, &key.pack(), &mut value).map_err(failed("read", name))?;
        Ok(found.then(|| Template(u64::from_ne_bytes(value))))
    }

    fn remove(&self, key: &Client) -> Result<(), MapError> {
        let (map, name) = self.of(Family::of(key.addr));
        sys::map_delete(map, &key.pack()).map_err(failed("delete from", name))
    }
}

#[cfg(test)]
pub(super) mod memory {
    //! The same in ordinary memory.

    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    /// Templates that no kernel sees.
    #[derive(Debug, Default)]
    pub(crate) struct MemoryTemplates(pub Mutex<HashMap<Client, Template>>);

    impl Templates for MemoryTemplates {
        fn read(&self, _from: Cursor) -> Result<Batch, MapError> {
            let all = self.0.lock().unwrap();
            Ok((all.iter().map(|(k, v)| (*k, *v)).collect(), None))
        }

        fn get(&self, key: &Client) -> Result<Option<Template>, MapError> {
            Ok(self.0.lock().unwrap().get(key).copied())
        }

        fn remove(&self, key: &Client) -> Result<(), MapError> {
            self.0.lock().unwrap().remove(key);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_as_the_program_reads_them() {
        for (text, len) in [
            ("192.0.2.1", size_of::<TemplateKey4>()),
            ("2001:db8::1", size_of::<TemplateKey6>()),
        ] {
            let key = Client {
                service: 7,
                addr: text.parse().unwrap(),
                orphan: 3,
            };
            let bytes = key.pack();
            assert_eq!(bytes.len(), len);
            assert_eq!(bytes[..4], 7_u32.to_ne_bytes());
            assert_eq!(bytes[len - 5], 1);
            assert_eq!(Client::unpack(&bytes), Some(key));
        }
        assert_eq!(Client::unpack(&[0; 13]), None);
    }

    #[test]
    fn both_families_are_read_one_after_the_other() {
        let second = Cursor::START.next(Some(5)).unwrap();
        assert_eq!((second.family, second.from), (Family::V4, Some(5)));
        let third = second.next(None).unwrap();
        assert_eq!((third.family, third.from), (Family::V6, None));
        assert_eq!(third.next(None), None);
    }
}
