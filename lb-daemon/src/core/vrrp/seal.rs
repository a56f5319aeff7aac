//! What was signed already: which sequence number comes next, and which of others were heeded.
//!
//! A sequence number is a time of day with a fraction and a counter, so that it grows over a restart without anything being
//! stored. Numbers are compared as RFC 1982 has it.

use std::net::IpAddr;
use std::time::Duration;

use super::packet::{Freshness, Mode, Reject, Signing, Trailer, Version};

/// Of so many senders it is known what was heeded last: a virtual router has fewer directors.
const SENDERS: usize = 32;

/// What one virtual router has signed and heeded.
#[derive(Clone, Debug, Default)]
pub struct Seal {
    sent: u64,
    /// The last one of each sender; who was heard most recently is at the end.
    heeded: Vec<(IpAddr, u64)>,
}

/// A message, by what its trailer is checked with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'b> {
    pub version: Version,
    pub source: IpAddr,
    pub message: &'b [u8],
    pub trailer: Option<Trailer>,
}

impl Seal {
    /// The number of the next advertisement, at this time of day (since 1970).
    pub fn next(&mut self, signing: &Signing, wall: Duration) -> u64 {
        let clock = sequence(wall);
        // After the clock was put right, others would find us ahead of the time until it has caught up.
        let stranded = match signing.freshness {
            Freshness::Window(window) => far(self.sent, clock, window),
            Freshness::Growing => false,
        };
        self.sent = if is_after(clock, self.sent) || stranded {
            clock
        } else {
            self.sent.wrapping_add(1)
        };
        self.sent
    }

    /// Whether a message may be heeded, at this time of day (since 1970).
    pub(super) fn check(
        &mut self,
        signing: &Signing,
        signed: &Signed<'_>,
        wall: Duration,
    ) -> Result<(), Reject> {
        let Some(trailer) = signed.trailer else {
            return match signing.mode {
                Mode::Enforce => Err(Reject::AuthMissing),
                Mode::ReceiveOnly | Mode::Permissive => Ok(()),
            };
        };
        if !trailer.is_known() {
            return Err(Reject::AuthTrailer);
        }
        let (number, clock) = (trailer.sequence(), sequence(wall));
        // Before the digest, which costs more: a time that nobody has vouched for may only speak against it.
        if let Freshness::Window(window) = signing.freshness
            && far(number, clock, window)
        {
            return Err(Reject::AuthStale);
        }
        let Signed {
            version,
            source,
            message,
            ..
        } = *signed;
        match trailer.is_right(signing, version, source, message) {
            None => return Err(Reject::AuthKey),
            Some(false) => return Err(Reject::AuthHmac),
            Some(true) => {}
        }
        let before = self.heeded.iter().position(|(sender, _)| *sender == source);
        if let Some((_, last)) = before.and_then(|n| self.heeded.get(n)) {
            let expired = match signing.freshness {
                Freshness::Window(window) => far(*last, clock, window),
                Freshness::Growing => false,
            };
            if !expired && !is_after(number, *last) {
                return Err(Reject::AuthReplay);
            }
        }
        if let Some(n) = before {
            self.heeded.remove(n);
        } else if self.heeded.len() == SENDERS {
            self.heeded.remove(0);
        }
        self.heeded.push((source, number));
        Ok(())
    }
}

/// A time of day as a sequence number: 32 bits of seconds, 16 of their fraction, and a counter of 0.
fn sequence(wall: Duration) -> u64 {
    let fraction = (u64::from(wall.subsec_nanos()) << 16) / 1_000_000_000;
    // Seconds wrap in 2106.
    (wall.as_secs() & 0xFFFF_FFFF) << 32 | fraction << 16
}

/// RFC 1982: whether a number comes after another.
const fn is_after(number: u64, other: u64) -> bool {
    number.wrapping_sub(other).cast_signed() > 0
}

/// Whether the seconds of two numbers are farther apart than a window.
fn far(number: u64, other: u64, window: Duration) -> bool {
    let seconds = |n: u64| u32::try_from(n >> 32).unwrap_or(0);
    let apart = seconds(number).wrapping_sub(seconds(other)).cast_signed();
    u64::from(apart.unsigned_abs()) > window.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::vrrp::{Claim, Datagram, Interval, Key, Packet, Priority, multicast_group};

    const NOON: Duration = Duration::new(1_800_000_000, 500_000_000);
    const WINDOW: Duration = Duration::from_secs(5);

    fn signing(freshness: Freshness) -> Signing {
        Signing {
            keys: vec![Key::new(1, &"k".repeat(32)).unwrap()],
            active: 1,
            mode: Mode::Enforce,
            freshness,
        }
    }

    fn source(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn advert(signing: &Signing, source: IpAddr, number: u64) -> Vec<u8> {
        let packet = Packet {
            version: Version::V3,
            vrid: 51,
            claim: Claim::Priority(Priority::DEFAULT),
            interval: Interval::seconds(1).unwrap(),
            auth: crate::core::vrrp::Auth::None,
            addresses: vec![[192, 0, 2, 80].into()],
        };
        packet.encode_signed(source, multicast_group(source), Some((signing, number)))
    }

    fn check(
        seal: &mut Seal,
        signing: &Signing,
        from: u8,
        number: u64,
        wall: Duration,
    ) -> Result<(), Reject> {
        let source = source(from);
        let payload = advert(signing, source, number);
        let datagram = Datagram {
            source,
            destination: multicast_group(source),
            ttl: 255,
            payload: &payload,
        };
        let (packet, trailer) = Packet::decode_signed(&datagram).unwrap();
        let signed = Signed {
            version: packet.version,
            source,
            message: Trailer::strip(&payload),
            trailer,
        };
        seal.check(signing, &signed, wall)
    }

    #[test]
    fn numbers_grow_whatever_the_clock_does() {
        for freshness in [Freshness::Window(WINDOW), Freshness::Growing] {
            let signing = signing(freshness);
            let mut seal = Seal::default();
            let mut next = |wall| seal.next(&signing, wall);
            let first = next(NOON);
            assert_eq!(first, 1_800_000_000 << 32 | 0x8000 << 16);
            assert_eq!(next(NOON), first + 1);
            assert_eq!(next(NOON - Duration::from_secs(2)), first + 2);
            assert!(next(NOON + Duration::from_millis(1)) > first + 2);
            // Put back by more than others would believe: only by numbers alone the growth goes on.
            let late = next(NOON - Duration::from_secs(100));
            assert_eq!(late > first, freshness == Freshness::Growing);
        }
    }

    #[test]
    fn nothing_is_heeded_twice_also_after_a_restart_of_its_sender() {
        for freshness in [Freshness::Window(WINDOW), Freshness::Growing] {
            let signing = signing(freshness);
            let mut seal = Seal::default();
            let mut sender = Seal::default();
            let first = sender.next(&signing, NOON);
            assert_eq!(check(&mut seal, &signing, 1, first, NOON), Ok(()));
            let again = check(&mut seal, &signing, 1, first, NOON);
            assert_eq!(again, Err(Reject::AuthReplay));
            assert_eq!(
                check(&mut seal, &signing, 2, first, NOON),
                Ok(()),
                "another sender"
            );
            let later = NOON + Duration::from_secs(1);
            let restarted = Seal::default().next(&signing, later);
            assert_eq!(check(&mut seal, &signing, 1, restarted, later), Ok(()));
            let old = check(&mut seal, &signing, 1, first, later);
            assert_eq!(old, Err(Reject::AuthReplay));
        }
    }

    #[test]
    fn what_is_older_or_newer_than_the_window_is_stale() {
        let window = signing(Freshness::Window(WINDOW));
        let number = Seal::default().next(&window, NOON);
        for (moved, heeded) in [(5, true), (6, false)] {
            let moved = Duration::from_secs(moved);
            for wall in [NOON + moved, NOON - moved] {
                let result = check(&mut Seal::default(), &window, 1, number, wall);
                assert_eq!(result.is_ok(), heeded, "{wall:?}");
                assert!(heeded || result == Err(Reject::AuthStale));
            }
        }
        let growing = signing(Freshness::Growing);
        let year = Duration::from_secs(31_536_000);
        assert_eq!(
            check(&mut Seal::default(), &growing, 1, number, NOON + year),
            Ok(())
        );
    }

    #[test]
    fn a_sender_whose_clock_was_put_right_is_heeded_again() {
        let window = signing(Freshness::Window(WINDOW));
        let mut seal = Seal::default();
        let ahead = NOON + WINDOW;
        let number = Seal::default().next(&window, ahead);
        assert_eq!(check(&mut seal, &window, 1, number, NOON), Ok(()));
        // The mark is ahead of the clock; once it is out of the window it says nothing any more.
        let back = NOON - Duration::from_secs(1);
        let number = Seal::default().next(&window, back);
        assert_eq!(check(&mut seal, &window, 1, number, back), Ok(()));
    }

    #[test]
    fn keys_and_digests_that_are_not_ours_are_told_apart() {
        let ours = signing(Freshness::Growing);
        let mut theirs = ours.clone();
        theirs.keys = vec![Key::new(1, &"q".repeat(32)).unwrap()];
        let source = source(1);
        let mut results = Vec::new();
        let mut another = ours.clone();
        another.keys = vec![Key::new(2, &"k".repeat(32)).unwrap()];
        another.active = 2;
        for signing in [&theirs, &another] {
            let payload = advert(signing, source, 1);
            let message = Trailer::strip(&payload);
            let trailer = Trailer::of(&payload[message.len()..]);
            let signed = Signed {
                version: Version::V3,
                source,
                message,
                trailer,
            };
            results.push(Seal::default().check(&ours, &signed, NOON));
        }
        assert_eq!(results, [Err(Reject::AuthHmac), Err(Reject::AuthKey)]);
    }

    #[test]
    fn a_trailer_is_asked_for_by_mode() {
        let mut signing = signing(Freshness::Growing);
        for (mode, result) in [
            (Mode::ReceiveOnly, Ok(())),
            (Mode::Permissive, Ok(())),
            (Mode::Enforce, Err(Reject::AuthMissing)),
        ] {
            signing.mode = mode;
            let signed = Signed {
                version: Version::V3,
                source: source(1),
                message: &[],
                trailer: None,
            };
            assert_eq!(Seal::default().check(&signing, &signed, NOON), result);
        }
    }
}
