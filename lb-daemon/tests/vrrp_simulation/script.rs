//! What befalls directors and network in one run.

use std::net::Ipv4Addr;
use std::time::Duration;

use lb_daemon::core::vrrp::{
    Auth, InitialState, Interval, Password, Preempt, Priority, Settings, Version,
};

use crate::director::{Plan, Time};
use crate::random::Random;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Its power goes.
    Crash(usize),
    /// It is stopped, and says so.
    Stop(usize),
    /// It is turned on, if it is off.
    Start(usize),
    /// It gets no processor for a while.
    Sleep(usize, Time),
    /// Its priority becomes another.
    Priority(usize, Priority),
    /// Something that it needs goes down.
    Fault(usize),
    /// It comes up again.
    Heal(usize),
    /// An operator wants another master.
    Failover,
    /// On a network, those in the mask no longer hear the others, nor those them.
    Divide(usize, u8),
    /// On a network, the first no longer hears the second.
    Deafen(usize, usize, usize),
    /// So many messages in a thousand are lost.
    Lose(u64),
    /// All networks are whole.
    Mend,
}

/// One run: who takes part, what the network does, and what happens when.
pub(crate) struct Script {
    pub plans: Vec<Plan>,
    pub networks: usize,
    pub most_delay: Time,
    pub double: u64,
    /// Whether a message may overtake another of the same sender.
    pub overtaking: bool,
    pub acts: Vec<(Time, Act)>,
    pub end: Time,
    /// How long until all must be settled again after anything happened.
    pub settled: Time,
}

impl Script {
    pub(crate) fn new(random: &mut Random) -> Self {
        let directors = random.between(2, 5) as usize;
        let networks = if random.chance(200) { 2 } else { 1 };
        let v3 = random.chance(600);
        let (version, interval) = if v3 {
            (
                Version::V3,
                Interval::centis(random.pick(&[1, 5, 10, 30, 100])),
            )
        } else {
            (Version::V2, Interval::seconds(random.pick(&[1, 2, 3])))
        };
        let interval = interval.unwrap();
        let length = interval.duration().as_nanos() as Time;
        let misses = random.pick(&[3, 3, 3, 2, 5]);
        let equal = random.chance(250);
        let preempting = random.chance(700);
        let most_drift = random.pick(&[0, 100, 1_000, 10_000]);
        let common = random.between(1, 254) as u8;
        let settings = Settings {
            misses,
            auth: if v3 {
                Auth::None
            } else {
                Auth::Pass(Password::new("1111").unwrap())
            },
            ..Settings::new(
                version,
                51,
                interval,
                vec![Ipv4Addr::new(192, 0, 2, 80).into()],
            )
        };
        let plans: Vec<Plan> = (0..directors)
            .map(|_| {
                let own = random.between(1, 254) as u8;
                let mut settings = settings.clone();
                settings.priority = Priority::new(if equal { common } else { own }).unwrap();
                if !preempting {
                    settings.preempt = match random.below(3) {
                        0 => Preempt::AtOnce,
                        1 => Preempt::Never,
                        _ => Preempt::After(Duration::from_nanos(random.between(0, 5) * length)),
                    };
                }
                if random.chance(100) {
                    settings.initial = InitialState::Master;
                }
                let drift = random.between(0, 2 * most_drift) as i64 - most_drift as i64;
                Plan {
                    settings,
                    networks,
                    drift,
                }
            })
            .collect();
        let most_delay = random.pick(&[0, length / 1000, length / 20, length / 5]);
        let slowest = plans
            .iter()
            .map(|p| {
                p.settings
                    .timing()
                    .master_down(Priority::new(1).unwrap(), interval)
            })
            .max()
            .unwrap_or_default()
            .as_nanos() as Time;
        // A member of a group may have to wait for another's deadline, and then for its own again.
        let rounds = if networks > 1 { 3 } else { 1 };
        // One that waits before it preempts counts from when it first heard the lower one, which may have been on
        // its own way up.
        let delays = plans.iter().map(|p| match p.settings.preempt {
            Preempt::After(delay) => delay.as_nanos() as Time + slowest,
            Preempt::AtOnce | Preempt::Never => 0,
        });
        let waits: Time = delays.sum();
        let settled = (rounds * slowest + waits + 6 * length + 2 * most_delay) * 102 / 100;
        let mut script = Self {
            plans,
            networks,
            most_delay,
            double: random.pick(&[0, 0, 50, 300]),
            overtaking: random.chance(200),
            acts: Vec::new(),
            end: 0,
            settled,
        };
        script.fill(random, length);
        script
    }

    fn fill(&mut self, random: &mut Random, interval: Time) {
        let mut now = 0;
        let together = random.chance(500);
        for n in 0..self.plans.len() {
            let later = if together {
                0
            } else {
                random.below(5 * interval)
            };
            self.acts.push((later, Act::Start(n)));
        }
        for _ in 0..random.between(1, 6) {
            // Some things happen while others are going on, some when all has settled.
            let calm = random.chance(600);
            now += if calm {
                2 * self.settled
            } else {
                random.below(3 * interval)
            };
            let (act, undo) = self.act(random, interval);
            self.acts.push((now, act));
            if let Some((after, undo)) = undo {
                now += after;
                self.acts.push((now, undo));
            }
        }
        now += self.settled;
        self.acts.push((now, Act::Mend));
        for n in 0..self.plans.len() {
            self.acts.push((now, Act::Heal(n)));
        }
        self.end = now + 2 * self.settled;
        self.acts.sort_by_key(|(at, _)| *at);
    }

    /// Something that happens, and after how long it is undone.
    fn act(&self, random: &mut Random, interval: Time) -> (Act, Option<(Time, Act)>) {
        let director = random.below(self.plans.len() as u64) as usize;
        let other = random.below(self.plans.len() as u64) as usize;
        let network = random.below(self.networks as u64) as usize;
        let while_ = random.below(self.settled + 5 * interval);
        match random.below(12) {
            0 | 1 => (Act::Crash(director), Some((while_, Act::Start(director)))),
            2 => (Act::Crash(director), None),
            3 => (Act::Stop(director), Some((while_, Act::Start(director)))),
            4 => (Act::Sleep(director, random.below(8 * interval)), None),
            5 => {
                let priority = Priority::new(random.between(1, 254) as u8).unwrap();
                (Act::Priority(director, priority), None)
            }
            6 => (Act::Fault(director), Some((while_, Act::Heal(director)))),
            7 => (Act::Failover, None),
            8 | 9 => (
                Act::Divide(network, random.below(32) as u8),
                Some((while_, Act::Mend)),
            ),
            10 => (
                Act::Deafen(network, director, other),
                Some((while_, Act::Mend)),
            ),
            _ => (
                Act::Lose(random.pick(&[10, 50, 200, 500])),
                Some((while_, Act::Mend)),
            ),
        }
    }
}
