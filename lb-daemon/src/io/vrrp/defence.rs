//! Defending addresses that somebody else says he has.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::claims::{Claim, ClaimSocket};
use super::run::Thread;
use super::types::Notice;
use crate::core::hop::Mac;
use crate::io::clock;

/// An address is announced against somebody else no more often than this.
const AT_MOST: Duration = Duration::from_secs(1);
/// After so long without a claim all is announced once more, for those who were not reached while it lasted.
const HEALED: Duration = Duration::from_secs(3);
/// The same station is spoken of no more often than this.
const SPEAK: Duration = Duration::from_secs(60);

/// Who claims the addresses of a virtual router.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conflict {
    /// How many claims there were.
    pub claims: u64,
    /// Who made the last one.
    pub last: Option<Mac>,
    defended_at: Option<Instant>,
    spoken_at: Option<Instant>,
    /// It is over then, unless there is another claim.
    over_at: Option<Instant>,
}

/// What is to be done against a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answer {
    announce: bool,
    speak: bool,
}

impl Conflict {
    /// When it has to be looked at again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.over_at
    }

    /// Somebody has made a claim.
    fn claimed(&mut self, now: Instant, mac: Mac) -> Answer {
        let over = |at: Option<Instant>, wait| at.is_none_or(|at| now >= at + wait);
        let answer = Answer {
            announce: over(self.defended_at, AT_MOST),
            speak: self.last != Some(mac) && over(self.spoken_at, AT_MOST)
                || over(self.spoken_at, SPEAK),
        };
        self.claims += 1;
        self.last = Some(mac);
        self.over_at = Some(now + HEALED);
        if answer.announce {
            self.defended_at = Some(now);
        }
        if answer.speak {
            self.spoken_at = Some(now);
        }
        answer
    }

    /// Whether it has just ended.
    fn ends(&mut self, now: Instant) -> bool {
        let ends = self.over_at.is_some_and(|at| at <= now);
        if ends {
            self.over_at = None;
        }
        ends
    }
}

impl Thread {
    /// Reads what others claim, and answers what is ours.
    pub(super) fn follow_claims(&mut self) {
        let claims: Vec<Claim> = self.claims.iter().flat_map(ClaimSocket::read).collect();
        for claim in claims {
            self.defend(claim);
        }
    }

    fn defend(&mut self, Claim { ifindex, addr, mac }: Claim) {
        // We say so ourselves, or another of our interfaces does that is on the same network.
        if self.view.has_mac(mac) {
            return;
        }
        let owner = self.instances.iter_mut().find(|(_, instance)| {
            let mut places = instance.places(&self.view);
            instance.assumed && places.any(|p| (p.ifindex, p.addr) == (ifindex, addr))
        });
        let Some((name, instance)) = owner else {
            return;
        };
        let name = name.clone();
        let answer = instance.conflict.claimed(clock::now(), mac);
        if answer.announce {
            self.announce_one(ifindex, addr, 1);
        }
        if answer.speak {
            self.notice(&name, Notice::Claimed(addr, mac));
        }
    }

    /// Announces what was claimed once more when the claims have ended.
    pub(super) fn after_conflict(&mut self, name: &str, now: Instant) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        if instance.conflict.ends(now) && instance.assumed {
            self.announce(name);
        }
    }

    /// Hears claims to all virtual addresses from now on.
    pub(super) fn listen_to_claims(&mut self) {
        let all = self
            .instances
            .values()
            .flat_map(|i| i.config.all_addresses());
        let all: Vec<IpAddr> = all.map(|a| a.addr).collect();
        let mut failed = None;
        for socket in &mut self.claims {
            failed = socket.listen_to(all.clone()).err().or(failed);
        }
        if let Some(err) = failed {
            let what = format!("cannot listen for others who claim virtual addresses: {err}");
            self.say(super::types::Event::Trouble(what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_answered_at_most_once_a_second_and_once_more_when_it_is_over() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mac = |n| Mac::new([2, 0, 0, 0, 0, n]).unwrap();
        let mut conflict = Conflict::default();
        let said = |announce, speak| Answer { announce, speak };
        assert_eq!(conflict.claimed(at(0), mac(1)), said(true, true));
        assert_eq!(conflict.claimed(at(100), mac(1)), said(false, false));
        assert_eq!(conflict.claimed(at(999), mac(2)), said(false, false));
        assert_eq!(conflict.claimed(at(1_000), mac(1)), said(true, true));
        assert_eq!(conflict.claimed(at(2_000), mac(1)), said(true, false));
        assert_eq!(conflict.due(), Some(at(5_000)));
        assert!(!conflict.ends(at(4_999)));
        assert!(conflict.ends(at(5_000)));
        assert!(!conflict.ends(at(9_000)), "once");
        assert_eq!(conflict.claimed(at(62_000), mac(1)), said(true, true));
        assert_eq!((conflict.claims, conflict.last), (6, Some(mac(1))));
    }
}
