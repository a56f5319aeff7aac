//! The intervals and timers of VRRP.
//!
//! Version 2 counts seconds, version 3 centiseconds, and the skew of version 2 does not depend on the interval. An
//! [`Interval`] is made for a version once; from then on everything is a [`Duration`].

use std::time::Duration;

use super::Priority;
use super::packet::Version;

/// The time between a master's advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    centis: u16,
}

impl Interval {
    /// The longest of version 3: what fits into 12 bits.
    const MOST_CENTIS: u16 = 4_095;

    /// Of version 2: whole seconds, 1 to 255.
    pub const fn seconds(seconds: u8) -> Option<Self> {
        if seconds == 0 {
            return None;
        }
        Some(Self {
            centis: seconds as u16 * 100,
        })
    }

    /// Of version 3: 10 ms to 40.95 s, in steps of 10 ms.
    pub const fn centis(centis: u16) -> Option<Self> {
        if centis == 0 || centis > Self::MOST_CENTIS {
            return None;
        }
        Some(Self { centis })
    }

    /// The interval of a duration, if the version can say it.
    pub fn of(version: Version, duration: Duration) -> Option<Self> {
        if !duration.subsec_nanos().is_multiple_of(10_000_000) {
            return None;
        }
        let centis = u16::try_from(duration.as_millis() / 10).ok()?;
        match version {
            Version::V2 if centis.is_multiple_of(100) => {
                Self::seconds(u8::try_from(centis / 100).ok()?)
            }
            Version::V2 => None,
            Version::V3 => Self::centis(centis),
        }
    }

    /// How long it is.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.centis as u64 * 10)
    }

    /// As version 2 writes it, if it can.
    pub(super) fn in_seconds(self) -> Option<u8> {
        if self.centis.is_multiple_of(100) {
            u8::try_from(self.centis / 100).ok()
        } else {
            None
        }
    }

    /// As version 3 writes it.
    pub(super) const fn in_centis(self) -> u16 {
        self.centis
    }
}

/// How long a backup waits, by version and by how many advertisements may be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The version, which says how the skew is reckoned.
    pub version: Version,
    /// How many intervals without an advertisement make a master dead; 3 by the RFCs.
    pub misses: u8,
}

impl Timing {
    /// How much later a backup acts than one of the highest priority: the lower its priority, the later.
    pub fn skew(self, priority: Priority, master: Interval) -> Duration {
        let unit = match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => master.duration(),
        };
        unit * (256 - u32::from(priority.get())) / 256
    }

    /// How long after its last advertisement a master is dead.
    pub fn master_down(self, priority: Priority, master: Interval) -> Duration {
        master.duration() * u32::from(self.misses) + self.skew(priority, master)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: Timing = Timing {
        version: Version::V2,
        misses: 3,
    };
    const V3: Timing = Timing {
        version: Version::V3,
        misses: 3,
    };

    fn millis(d: Duration) -> f64 {
        d.as_secs_f64() * 1000.0
    }

    #[test]
    fn the_skew_of_version_2_is_of_a_second_and_of_version_3_of_the_interval() {
        let second = Interval::seconds(1).unwrap();
        let tenth = Interval::centis(10).unwrap();
        assert_eq!(millis(V2.skew(Priority::DEFAULT, second)), 609.375);
        assert_eq!(millis(V2.skew(Priority::DEFAULT, tenth)), 609.375);
        assert_eq!(millis(V3.skew(Priority::DEFAULT, second)), 609.375);
        assert_eq!(millis(V3.skew(Priority::DEFAULT, tenth)), 60.9375);
        assert_eq!(millis(V3.master_down(Priority::DEFAULT, tenth)), 360.9375);
        assert_eq!(millis(V2.master_down(Priority::OWNER, second)), 3003.90625);
    }

    #[test]
    fn a_higher_priority_always_acts_earlier() {
        for version in [V2, V3] {
            for interval in [1, 2, 10, 100, 4095].map(|c| Interval::centis(c).unwrap()) {
                for p in 1..=254 {
                    let [low, high] = [p, p + 1].map(|p| Priority::new(p).unwrap());
                    assert!(version.skew(high, interval) < version.skew(low, interval));
                }
            }
        }
    }

    #[test]
    fn each_version_has_the_intervals_that_it_can_write() {
        let ms = Duration::from_millis;
        assert_eq!(Interval::of(Version::V2, ms(1000)), Interval::seconds(1));
        assert_eq!(
            Interval::of(Version::V2, ms(255_000)),
            Interval::seconds(255)
        );
        assert_eq!(Interval::of(Version::V3, ms(10)), Interval::centis(1));
        assert_eq!(
            Interval::of(Version::V3, ms(40_950)),
            Interval::centis(4095)
        );
        for (version, millis) in [
            (Version::V2, 0),
            (Version::V2, 100),
            (Version::V2, 1500),
            (Version::V2, 256_000),
            (Version::V3, 0),
            (Version::V3, 5),
            (Version::V3, 15),
            (Version::V3, 40_960),
        ] {
            assert_eq!(
                Interval::of(version, ms(millis)),
                None,
                "{version:?} {millis} ms"
            );
        }
    }
}
