//! How is what is remembered of real servers written?
//!
//! After a reboot only what was down counts: a real server that was up may have been rebooted too.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::desired::{Proto, ServiceId};
use crate::core::health::plan::Verdict;
use crate::core::health::{Memory, Remembered};
use crate::io::clock;

/// When something is written or read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct When {
    /// The time of day, in seconds since 1970.
    pub at: u64,
    /// What tells this start of the machine from others; empty if it is not known.
    pub boot: String,
}

impl When {
    /// Now.
    pub fn now() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            at: clock::wall(),
            boot: boot.trim().to_owned(),
        }
    }

    fn same_boot(&self, other: &Self) -> bool {
        !self.boot.is_empty() && self.boot == other.boot
    }
}

/// All that is written.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    when: When,
    reals: Vec<Real>,
}

/// A real server.
#[derive(Serialize, Deserialize)]
struct Real {
    proto: u8,
    addr: IpAddr,
    prefix: u8,
    port: u16,
    real: SocketAddr,
    seconds: u64,
    checks: BTreeMap<String, Verdict>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    weights: BTreeMap<String, u16>,
}

/// What to write.
pub fn write(memory: &Memory, when: When) -> Vec<u8> {
    let reals = memory.iter().map(|(service, real, remembered)| Real {
        proto: service.proto as u8,
        addr: service.addr,
        prefix: service.prefix,
        port: service.port,
        real,
        seconds: remembered.lasted.as_secs(),
        checks: remembered.checks.clone(),
        weights: remembered.weights.clone(),
    });
    let mut reals: Vec<Real> = reals.collect();
    reals.sort_by_key(|real| (real.addr, real.port, real.proto, real.real));
    // It has nothing in it that JSON cannot have.
    serde_json::to_vec(&Record { when, reals }).unwrap_or_default()
}

/// What was written, if it can be understood.
pub fn read(bytes: &[u8], now: &When) -> Result<Memory, serde_json::Error> {
    let record: Record = serde_json::from_slice(bytes)?;
    // A clock that went back says nothing about how long the daemon was away.
    let away = Duration::from_secs(now.at.saturating_sub(record.when.at));
    let same_boot = now.same_boot(&record.when);
    let mut memory = Memory::default();
    for real in record.reals {
        let Some(proto) = Proto::from_number(real.proto) else {
            continue;
        };
        let service = ServiceId {
            proto,
            addr: real.addr,
            prefix: real.prefix,
            port: real.port,
        };
        let remembered = Remembered {
            lasted: Duration::from_secs(real.seconds).saturating_add(away),
            checks: real.checks,
            weights: real.weights,
        };
        if same_boot || remembered.is_down() {
            memory.insert(service, real.real, remembered);
        }
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn when(at: u64, boot: &str) -> When {
        When {
            at,
            boot: boot.to_owned(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_time_away_counts() {
        let service = ServiceId::new(Proto::Udp, [192, 0, 2, 1], 53);
        let real: SocketAddr = "[2001:db8::1]:53".parse().unwrap();
        let checks = BTreeMap::from([
            ("dns".to_owned(), Verdict::Down),
            ("ping".to_owned(), Verdict::Up),
        ]);
        let weights = BTreeMap::from([("ping".to_owned(), 7)]);
        let mut memory = Memory::default();
        let lasted = Duration::from_secs(30);
        memory.insert(
            service,
            real,
            Remembered {
                lasted,
                checks: checks.clone(),
                weights: weights.clone(),
            },
        );
        let written = write(&memory, when(1000, "a"));
        let again = read(&written, &when(1100, "b")).unwrap();
        let found: Vec<_> = again.iter().collect();
        let wanted = Remembered {
            lasted: Duration::from_secs(130),
            checks,
            weights,
        };
        assert_eq!(found, [(service, real, &wanted)]);
        assert_eq!(
            read(&written, &when(500, "a")).unwrap(),
            memory,
            "a clock that went back"
        );
    }

    #[test]
    fn that_a_real_server_was_up_counts_until_the_machine_is_rebooted() {
        let service = ServiceId::new(Proto::Tcp, [192, 0, 2, 1], 80);
        let mut memory = Memory::default();
        let up = Remembered {
            lasted: Duration::ZERO,
            checks: BTreeMap::from([("tcp".to_owned(), Verdict::Up)]),
            weights: BTreeMap::new(),
        };
        memory.insert(service, "10.0.0.1:80".parse().unwrap(), up);
        let written = write(&memory, when(1000, "a"));
        assert_eq!(read(&written, &when(1000, "a")).unwrap(), memory);
        let nothing = Memory::default();
        assert_eq!(read(&written, &when(1000, "b")).unwrap(), nothing);
        let unknown = write(&memory, when(1000, ""));
        assert_eq!(read(&unknown, &when(1000, "")).unwrap(), nothing);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256), at: u64) {
            let _ = read(&bytes, &when(at, ""));
        }
    }
}
