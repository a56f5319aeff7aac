//! The map of persistent clients, read many at a time.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::MapData;
use lb_common::abi::{TemplateKey4, map};
use lb_common::net::Be32;
use lb_common::template::Template;

use super::error::MapError;
use super::sys;
use super::tables::failed;

/// The persistent clients.
///
/// Not held by whoever holds the other maps alone: a listing reads them on another thread.
pub(super) trait Templates: fmt::Debug + Send + Sync {
    /// Some of them, from where the last reading ended, and where the next one begins; `None` after the last.
    fn read(&self, from: Option<u32>) -> Result<Batch, MapError>;
    /// One of them.
    fn get(&self, key: &TemplateKey4) -> Result<Option<Template>, MapError>;
    /// Forgets one.
    fn remove(&self, key: &TemplateKey4) -> Result<(), MapError>;
}

/// What one reading gives.
pub(super) type Batch = (Vec<(TemplateKey4, Template)>, Option<u32>);

/// How many are read at once: far more than ever share a bucket of the kernel's table.
const AT_ONCE: usize = 4096;

const KEY: usize = size_of::<TemplateKey4>();
const VALUE: usize = size_of::<Template>();

/// The map of the kernel.
pub(super) struct KernelTemplates(pub MapData);

impl KernelTemplates {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for KernelTemplates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelTemplates").finish_non_exhaustive()
    }
}

impl Templates for KernelTemplates {
    fn read(&self, from: Option<u32>) -> Result<Batch, MapError> {
        let mut keys = vec![0; AT_ONCE * KEY];
        let mut values = vec![0; AT_ONCE * VALUE];
        let (count, next) = sys::map_lookup_batch(self.fd(), from, &mut keys, &mut values)
            .map_err(failed("read", map::TEMPLATES4))?;
        let (keys, _) = keys.as_chunks::<KEY>();
        let (values, _) = values.as_chunks::<VALUE>();
        let entries = keys.iter().zip(values).take(count as usize);
        let entries = entries.map(|(k, v)| (unpack(*k), Template(u64::from_ne_bytes(*v))));
        Ok((entries.collect(), next))
    }

    fn get(&self, key: &TemplateKey4) -> Result<Option<Template>, MapError> {
        let mut value = [0; VALUE];
        let found = sys::map_lookup(self.fd(), &pack(*key), &mut value)
            .map_err(failed("read", map::TEMPLATES4))?;
        Ok(found.then(|| Template(u64::from_ne_bytes(value))))
    }

    fn remove(&self, key: &TemplateKey4) -> Result<(), MapError> {
        sys::map_delete(self.fd(), &pack(*key)).map_err(failed("delete from", map::TEMPLATES4))
    }
}

/// A key as it lies in memory.
fn pack(key: TemplateKey4) -> [u8; KEY] {
    let [a, b, c, d] = key.service.to_ne_bytes();
    let [e, f, g, h] = key.client.0.to_ne_bytes();
    let [i, j, k, l] = key.orphan.to_ne_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

fn unpack([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; KEY]) -> TemplateKey4 {
    TemplateKey4 {
        service: u32::from_ne_bytes([a, b, c, d]),
        client: Be32(u32::from_ne_bytes([e, f, g, h])),
        orphan: u32::from_ne_bytes([i, j, k, l]),
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
    pub(crate) struct MemoryTemplates(pub Mutex<HashMap<TemplateKey4, Template>>);

    impl Templates for MemoryTemplates {
        fn read(&self, _from: Option<u32>) -> Result<Batch, MapError> {
            let all = self.0.lock().unwrap();
            Ok((all.iter().map(|(k, v)| (*k, *v)).collect(), None))
        }

        fn get(&self, key: &TemplateKey4) -> Result<Option<Template>, MapError> {
            Ok(self.0.lock().unwrap().get(key).copied())
        }

        fn remove(&self, key: &TemplateKey4) -> Result<(), MapError> {
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
        let key = TemplateKey4 {
            service: 7,
            client: Be32::from_bytes([192, 0, 2, 1]),
            orphan: 3,
        };
        let bytes = pack(key);
        assert_eq!(bytes[..4], 7_u32.to_ne_bytes());
        assert_eq!(bytes[4..8], [192, 0, 2, 1]);
        assert_eq!(unpack(bytes), key);
    }
}
