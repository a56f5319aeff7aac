//! How often does a backup take over from a master that is well, because advertisements are lost?
//!
//! It does when as many as are allowed to be missed are lost in a row, after one that was heard: of `n` advertisements, each
//! lost with probability `p`, that befalls `n (1 - p) p^misses`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use lb_daemon::core::vrrp::{
    Claim, Effect, Event, Heard, Interval, Priority, Router, Settings, State, Version,
};

use crate::random::Random;

const MASTER: usize = 0;
const BACKUP: usize = 1;
const HOUR: Duration = Duration::from_secs(3_600);

/// Two directors, and a network that loses some of what they say.
pub(crate) struct Pair {
    routers: [Router; 2],
    now: Instant,
    began: Instant,
    interval: Interval,
    misses: u8,
    /// So many in a thousand.
    lost: u64,
    random: Random,
    /// What the master has said by its timer.
    adverts: u64,
    /// Since when the backup is master.
    double: Option<Instant>,
    takeovers: u64,
    longest: Duration,
    altogether: Duration,
}

impl Pair {
    /// The first is master, and the second hears it.
    pub(crate) fn new(interval: Interval, misses: u8, lost: u64, seed: u64) -> Self {
        let now = Instant::now();
        let routers = [150, 100].map(|priority| {
            let vip = vec![Ipv4Addr::new(192, 0, 2, 80).into()];
            let mut settings = Settings::new(Version::V3, 51, interval, vip);
            settings.priority = Priority::new(priority).unwrap();
            settings.misses = misses;
            let mut router = Router::new();
            let own = address(usize::from(priority < 150));
            router.add("VI_1".to_owned(), settings, own, None);
            router
        });
        let mut pair = Self {
            routers,
            now,
            began: now,
            interval,
            misses,
            lost: 0,
            random: Random::new(seed),
            adverts: 0,
            double: None,
            takeovers: 0,
            longest: Duration::ZERO,
            altogether: Duration::ZERO,
        };
        pair.tell(MASTER, Event::Start);
        pair.run(4);
        pair.tell(BACKUP, Event::Start);
        pair.run(4);
        assert_eq!(pair.states(), [State::Master, State::Backup]);
        (pair.began, pair.adverts, pair.lost) = (pair.now, 0, lost);
        pair
    }

    /// Lets the master advertise so often by its timer.
    pub(crate) fn run(&mut self, adverts: u64) {
        let until = self.adverts + adverts;
        while self.adverts < until {
            let due = |n: usize| self.routers[n].due().map(|due| (due, n));
            let Some((due, who)) = due(MASTER).into_iter().chain(due(BACKUP)).min() else {
                panic!("nobody waits for anything");
            };
            self.now = due;
            let mut effects = Vec::new();
            self.routers[who].tick(self.now, &mut effects);
            if who == MASTER && self.states()[MASTER] == State::Master {
                self.adverts += 1;
            }
            self.carry_out(who, &effects);
        }
    }

    fn tell(&mut self, who: usize, event: Event) {
        let mut effects = Vec::new();
        self.routers[who].handle(self.now, 0, event, &mut effects);
        self.carry_out(who, &effects);
    }

    fn carry_out(&mut self, who: usize, effects: &[(usize, Effect)]) {
        for (_, effect) in effects {
            if let Effect::Entered { to, .. } = *effect
                && who == BACKUP
            {
                self.entered(to);
            }
        }
        // What is said is heard when all is done.
        for (_, effect) in effects {
            if let Effect::Send(claim) = *effect
                && !self.random.chance(self.lost)
            {
                self.arrive(1 - who, claim);
            }
        }
    }

    fn arrive(&mut self, at: usize, claim: Claim) {
        if self.states()[at] == State::Stopped {
            return;
        }
        let heard = Heard {
            source: address(1 - at),
            claim,
            interval: self.interval,
        };
        self.tell(at, Event::Advert(heard));
        let state = self.states()[at];
        let wanted = [State::Master, State::Backup][at];
        assert!(
            state == wanted,
            "whoever hears the other knows its place at once, and is {state:?}"
        );
    }

    fn entered(&mut self, state: State) {
        if state == State::Master {
            self.takeovers += 1;
            self.double = Some(self.now);
        } else if let Some(since) = self.double.take() {
            let lasted = self.now - since;
            self.longest = self.longest.max(lasted);
            self.altogether += lasted;
        }
    }

    fn states(&self) -> [State; 2] {
        [MASTER, BACKUP].map(|n| self.routers[n].instances()[0].machine().state())
    }

    /// How often the master has advertised by its timer.
    pub(crate) const fn adverts(&self) -> u64 {
        self.adverts
    }

    /// How many false takeovers the timers imply.
    pub(crate) fn expected(&self) -> f64 {
        let lost = self.lost as f64 / 1e3;
        self.adverts as f64 * (1.0 - lost) * lost.powi(self.misses.into())
    }

    /// The formula holds: within a fifth, or as far as chance goes once in a million times.
    pub(crate) fn judge(&self) {
        let (expected, seen) = (self.expected(), self.takeovers as f64);
        let most = (expected / 5.0).max(5.0 * expected.sqrt() + 1.0);
        assert!((seen - expected).abs() <= most, "{self}");
        assert_eq!(self.states()[MASTER], State::Master);
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = (self.now - self.began).as_secs_f64() / HOUR.as_secs_f64();
        let mean = self.altogether.checked_div(self.takeovers as u32);
        write!(
            f,
            "{:?}, {} misses, {:.1} % lost: {} false takeovers in {hours:.0} h, {:.4} an hour, where the timers imply {:.4}; two \
             masters for {:.0?} on average, {:.1?} at most",
            self.interval.duration(),
            self.misses,
            self.lost as f64 / 10.0,
            self.takeovers,
            self.takeovers as f64 / hours,
            self.expected() / hours,
            mean.unwrap_or_default(),
            self.longest,
        )
    }
}

fn address(n: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 10 + n as u8).into()
}
