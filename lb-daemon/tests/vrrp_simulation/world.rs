//! Directors, the networks between them, and the order of events.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lb_daemon::core::vrrp::{Effect, Event, Preempt, State};

use crate::director::{Director, Message, Time};
use crate::judge::Judge;
use crate::random::Random;
use crate::script::{Act, Script};

pub(crate) struct World {
    random: Random,
    script: Script,
    directors: Vec<Director>,
    /// What is on its way or in store: time, number in order, what.
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    store: Vec<Option<Due>>,
    /// Per network: who does not hear whom, `deaf[to]` by bit of the sender.
    deaf: Vec<Vec<u8>>,
    /// Per network, receiver and sender: when the last message arrives.
    arrived: Vec<Vec<Vec<Time>>>,
    loss: u64,
    judge: Judge,
    /// Nothing has happened that lets a lower priority be master.
    by_rank: bool,
    trace: bool,
    now: Time,
}

enum Due {
    Act(Act),
    Arrive(usize, Message),
    Wake(usize),
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let script = Script::new(&mut random);
        let count = script.plans.len();
        let directors: Vec<_> = script
            .plans
            .iter()
            .enumerate()
            .map(|(n, plan)| Director::new(n, plan.clone()))
            .collect();
        let by_rank = script
            .plans
            .iter()
            .all(|p| p.settings.preempt == Preempt::AtOnce);
        let mut world = Self {
            deaf: vec![vec![0; count]; script.networks],
            arrived: vec![vec![vec![0; count]; count]; script.networks],
            directors,
            queue: BinaryHeap::new(),
            store: Vec::new(),
            loss: 0,
            judge: Judge::default(),
            by_rank,
            trace,
            now: 0,
            random,
            script,
        };
        for (at, act) in std::mem::take(&mut world.script.acts) {
            world.put(at, Due::Act(act));
        }
        if trace {
            for (n, plan) in world.script.plans.iter().enumerate() {
                println!("{n}: {:?} {} ppm", plan.settings, plan.drift);
            }
        }
        world
    }

    pub(crate) fn judge(&self) -> &Judge {
        &self.judge
    }

    fn put(&mut self, at: Time, due: Due) {
        self.queue.push(Reverse((at, self.store.len() as u64)));
        self.store.push(Some(due));
    }

    pub(crate) fn run(&mut self) -> Result<(), String> {
        loop {
            let queued = self.queue.peek().map(|Reverse((at, _))| *at);
            let timer = self
                .directors
                .iter()
                .enumerate()
                .filter_map(|(n, d)| Some((d.due()?, n)))
                .min();
            let next = match (queued, timer) {
                (Some(at), Some((due, n))) if due < at => Some((due, Some(n))),
                (Some(at), _) => Some((at, None)),
                (None, timer) => timer.map(|(due, n)| (due, Some(n))),
            };
            let Some((at, director)) = next.filter(|(at, _)| *at <= self.script.end) else {
                break;
            };
            self.now = self.now.max(at);
            match director {
                Some(n) => {
                    let effects = self.directors[n].tick(self.now);
                    self.carry_out(n, effects);
                }
                None => self.happen()?,
            }
            if !self.whole() {
                self.judge.disturb(self.now);
            }
            self.judge
                .look(self.now, self.script.settled, &self.directors)?;
        }
        self.last_look()
    }

    /// Whether every director hears every other.
    fn whole(&self) -> bool {
        self.loss == 0 && self.deaf.iter().flatten().all(|d| *d == 0)
    }

    /// In the end all is settled: one director is master, on every network, and the right one.
    fn last_look(&self) -> Result<(), String> {
        let masters: Vec<_> = self.directors.iter().filter(|d| d.is_master()).collect();
        let able: Vec<_> = self.directors.iter().filter(|d| d.able()).collect();
        let [master] = masters[..] else {
            return if able.is_empty() && masters.is_empty() {
                Ok(())
            } else {
                Err(format!("in the end {} are master", masters.len()))
            };
        };
        if master.states().iter().any(|s| *s != State::Master) {
            return Err(format!("in the end the master is {:?}", master.states()));
        }
        let highest = able.iter().map(|d| d.priority()).max();
        if self.by_rank && Some(master.priority()) != highest {
            return Err(format!(
                "in the end {} is master, not {highest:?}",
                master.priority()
            ));
        }
        Ok(())
    }

    fn happen(&mut self) -> Result<(), String> {
        let Some(Reverse((_, place))) = self.queue.pop() else {
            return Ok(());
        };
        match self.store[place as usize].take() {
            None => {}
            Some(Due::Act(act)) => self.act(act),
            Some(Due::Arrive(to, message)) => self.arrive(to, message)?,
            Some(Due::Wake(n)) => self.wake(n),
        }
        Ok(())
    }

    fn arrive(&mut self, to: usize, message: Message) -> Result<(), String> {
        // The receive buffer of one that sleeps keeps it.
        if let Some(until) = self.directors[to].asleep {
            self.put(until, Due::Arrive(to, message));
            return Ok(());
        }
        let received = self.directors[to].receive(self.now, &message);
        let effects = received
            .map_err(|reject| format!("at {} a message is rejected: {reject}", self.now))?;
        self.carry_out(to, effects);
        Ok(())
    }

    /// Lets a director go on, if the time that it sleeps is over.
    fn wake(&mut self, n: usize) {
        let sleeps_until = self.directors[n].asleep;
        if sleeps_until.is_some_and(|until| until <= self.now) {
            self.say(format_args!("{n} wakes"));
            // What arrived meanwhile was put after this moment, and is heard before its own timers.
            self.rouse(n);
        }
    }

    /// It goes on, and for as long as it has slept it leaves its place to those of lower priority.
    fn rouse(&mut self, n: usize) {
        let director = &mut self.directors[n];
        director.asleep = None;
        let slept = self.now.saturating_sub(director.slept_from);
        self.judge.disturb(self.now + slept);
    }

    fn act(&mut self, act: Act) {
        self.say(format_args!("{act:?}"));
        let calm = self.now.saturating_sub(self.judge.disturbed) > self.script.settled;
        let masters: Vec<_> = (0..self.directors.len())
            .filter(|n| self.directors[*n].is_master())
            .collect();
        let whole = self.whole();
        self.judge.disturb(self.now);
        let now = self.now;
        let effects = match act {
            Act::Start(n) if !self.directors[n].runs() => (n, self.directors[n].turn_on(now)),
            Act::Start(_) => return,
            Act::Crash(n) => {
                self.directors[n].turn_off();
                if calm && whole && masters == [n] {
                    self.expect_successor(n, false);
                }
                return;
            }
            Act::Stop(n) => {
                let effects = self.directors[n].tell_all(now, Event::Stop);
                let wait = calm && whole && masters == [n] && self.directors[n].asleep.is_none();
                self.carry_out(n, effects);
                self.directors[n].turn_off();
                if wait {
                    self.expect_successor(n, true);
                }
                return;
            }
            Act::Sleep(n, long) => {
                if self.directors[n].runs() {
                    if self.directors[n].asleep.replace(now + long).is_none() {
                        self.directors[n].slept_from = now;
                    }
                    self.put(now + long, Due::Wake(n));
                }
                return;
            }
            Act::Priority(n, priority) => (n, self.awake(n, Event::Priority(priority))),
            Act::Fault(n) => {
                self.directors[n].fault = true;
                (n, self.awake(n, Event::Fault))
            }
            Act::Heal(n) => {
                self.directors[n].fault = false;
                (n, self.awake(n, Event::Heal))
            }
            Act::Failover => {
                self.by_rank = false;
                let [n] = masters[..] else { return };
                let effects = self.awake(n, Event::Failover);
                self.carry_out(n, effects);
                if calm && whole {
                    self.expect_successor(n, true);
                }
                return;
            }
            Act::Divide(network, mask) => {
                for (to, deaf) in self.deaf[network].iter_mut().enumerate() {
                    *deaf |= if mask >> to & 1 == 1 { !mask } else { mask };
                }
                return;
            }
            Act::Deafen(network, to, from) => {
                self.deaf[network][to] |= 1 << from;
                return;
            }
            Act::Lose(loss) => {
                self.loss = loss;
                return;
            }
            Act::Mend => {
                self.loss = 0;
                self.deaf.iter_mut().flatten().for_each(|d| *d = 0);
                return;
            }
        };
        self.carry_out(effects.0, effects.1);
    }

    /// Tells one that is awake; one that sleeps finds out when it wakes, which the script does not follow.
    fn awake(&mut self, n: usize, event: Event) -> Vec<(usize, Effect)> {
        if self.directors[n].asleep.is_some() {
            // It is simply woken.
            self.rouse(n);
        }
        self.directors[n].tell_all(self.now, event)
    }

    /// The RFC's bound: after the master's last word, what the best of the others waits, on the slowest clock.
    fn expect_successor(&mut self, gone: usize, planned: bool) {
        let others = self
            .directors
            .iter()
            .enumerate()
            .filter(|(n, d)| *n != gone && d.able());
        let Some((_, best)) = others.max_by_key(|(_, d)| d.priority()) else {
            return;
        };
        let settings = &best.plan.settings;
        let (timing, interval) = (settings.timing(), settings.interval);
        // A group is as late as the last of its members, each of which may have heard the master at another time; and
        // an advertisement that is overtaken by the one that says good-bye is believed.
        let wait = if planned && self.script.networks == 1 && !self.script.overtaking {
            timing.skew(best.priority(), interval)
        } else {
            timing.master_down(best.priority(), interval)
        };
        let bound = wait.as_nanos() as Time * 102 / 100 + self.script.most_delay + 1_000;
        let rounds = if self.script.networks > 1 { 2 } else { 1 };
        self.judge.expect(self.now, rounds * bound, planned);
    }

    fn carry_out(&mut self, n: usize, effects: Vec<(usize, Effect)>) {
        for (network, effect) in effects {
            match &effect {
                Effect::Send(_) => {
                    if let Some(message) = self.directors[n].message(network, &effect) {
                        self.send(&message);
                    }
                }
                Effect::Entered { from, to, cause } => {
                    self.say(format_args!(
                        "{n} on {network}: {from:?} to {to:?}: {cause:?}"
                    ));
                    if *to == State::Master {
                        self.judge.mastered(self.now);
                    }
                }
                Effect::Serve
                | Effect::Assume
                | Effect::Release
                | Effect::Announce
                | Effect::WantsMaster
                | Effect::LowerMaster(_)
                | Effect::TwoOwners(_)
                | Effect::Late(_) => {}
            }
        }
    }

    fn send(&mut self, message: &Message) {
        for to in (0..self.directors.len()).filter(|to| *to != message.from) {
            if self.deaf[message.network][to] >> message.from & 1 == 1 {
                continue;
            }
            let copies = if self.random.chance(self.script.double) {
                2
            } else {
                1
            };
            for _ in 0..copies {
                if self.random.chance(self.loss) {
                    self.judge.disturb(self.now);
                    continue;
                }
                let mut at = self.now + self.random.between(0, self.script.most_delay);
                let last = &mut self.arrived[message.network][to][message.from];
                if !self.script.overtaking {
                    at = at.max(*last);
                    *last = at;
                }
                self.put(at, Due::Arrive(to, message.clone()));
            }
        }
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.trace {
            println!("{:>12.6} s  {what}", self.now as f64 / 1e9);
        }
    }
}
