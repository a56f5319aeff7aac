//! rr and wrr as the kernel runs them: a pointer into a list, and a current weight.

/// A real server of the simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dest {
    pub(super) n: u8,
    pub(super) weight: u16,
    pub(super) overloaded: bool,
}

/// The state of a scheduler: `None` points to the head of the list.
#[derive(Clone, Debug)]
pub(super) enum State {
    Rr { last: Option<u8> },
    Wrr { last: Option<u8>, current: i64 },
}

/// A service with its list, newest first.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) list: Vec<Dest>,
    pub(super) state: State,
}

impl Service {
    pub(super) fn rr() -> Self {
        Self {
            list: Vec::new(),
            state: State::Rr { last: None },
        }
    }

    pub(super) fn wrr() -> Self {
        Self {
            list: Vec::new(),
            state: State::Wrr {
                last: None,
                current: 0,
            },
        }
    }

    pub(super) fn add(&mut self, n: u8, weight: u16) {
        self.list.insert(
            0,
            Dest {
                n,
                weight,
                overloaded: false,
            },
        );
        self.changed();
    }

    pub(super) fn edit(&mut self, at: usize, weight: u16) {
        self.list[at].weight = weight;
        self.changed();
    }

    pub(super) fn delete(&mut self, at: usize) {
        let gone = self.list.remove(at);
        if let State::Rr { last } = &mut self.state
            && *last == Some(gone.n)
        {
            *last = at.checked_sub(1).map(|before| self.list[before].n);
        }
        self.changed();
    }

    fn step(&self) -> i64 {
        fn gcd(a: i64, b: i64) -> i64 {
            if b == 0 { a } else { gcd(b, a % b) }
        }
        self.list
            .iter()
            .fold(0, |g, d| gcd(g, d.weight.into()))
            .max(1)
    }

    fn top(&self) -> i64 {
        let heaviest = self
            .list
            .iter()
            .map(|d| i64::from(d.weight))
            .max()
            .unwrap_or(0);
        heaviest - (self.step() - 1)
    }

    /// The hook that wrr has for every change of its list.
    fn changed(&mut self) {
        let (step, top) = (self.step(), self.top());
        if let State::Wrr { last, current } = &mut self.state {
            *last = None;
            if *current > top || *current == 0 {
                *current = top;
            } else if step > 1 {
                *current = *current / step * step + 1;
            }
        }
    }

    pub(super) fn choose(&mut self) -> Option<u8> {
        match self.state.clone() {
            State::Rr { last } => self.choose_rr(last),
            State::Wrr { last, current } => self.choose_wrr(last, current),
        }
    }

    fn position(&self, n: Option<u8>) -> usize {
        n.map_or(0, |n| 1 + self.list.iter().position(|d| d.n == n).unwrap())
    }

    fn choose_rr(&mut self, last: Option<u8>) -> Option<u8> {
        let from = self.position(last);
        let around = self.list[from..].iter().chain(&self.list[..from]);
        let n = around.copied().find(|d| d.weight > 0 && !d.overloaded)?.n;
        self.state = State::Rr { last: Some(n) };
        Some(n)
    }

    fn choose_wrr(&mut self, last: Option<u8>, mut current: i64) -> Option<u8> {
        let (step, top) = (self.step(), self.top());
        if top == 0 {
            return None;
        }
        let mut at = self.position(last);
        let (mut stop, mut restarted, mut last_pass) = (None, false, false);
        loop {
            while at < self.list.len() {
                let d = self.list[at];
                if !d.overloaded && i64::from(d.weight) >= current {
                    self.state = State::Wrr {
                        last: Some(d.n),
                        current,
                    };
                    return Some(d.n);
                }
                if Some(d.n) == stop {
                    self.state = State::Wrr {
                        last: Some(d.n),
                        current,
                    };
                    return None;
                }
                at += 1;
            }
            at = 0;
            current -= step;
            if current <= 0 {
                current = top;
                if last_pass || last.is_none() {
                    self.state = State::Wrr {
                        last: None,
                        current,
                    };
                    return None;
                }
                restarted = true;
            }
            last_pass = current <= step;
            if last_pass && restarted && last.is_some() {
                stop = last;
            }
        }
    }
}
