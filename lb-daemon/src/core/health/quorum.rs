//! Is enough of a service alive?
//!
//! As keepalived counts: with S the sum of the weights of live real servers, the quorum is gained at
//! `S >= quorum + hysteresis` and lost at `S == 0` or `S < quorum - hysteresis`.

/// Whether a service has its quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Quorum {
    has: bool,
}

impl Quorum {
    /// Begins with what `sum` says without hysteresis upwards: a service that starts well has its quorum.
    pub(super) fn new(quorum: u32, hysteresis: u32, sum: u64) -> Self {
        Self {
            has: !is_lost(quorum, hysteresis, sum),
        }
    }

    /// Whether the service has it.
    pub(super) fn has(self) -> bool {
        self.has
    }

    /// The sum of live weights is this now. `Some` if the quorum was gained or lost by it.
    pub(super) fn update(&mut self, quorum: u32, hysteresis: u32, sum: u64) -> Option<bool> {
        let changes = if self.has {
            is_lost(quorum, hysteresis, sum)
        } else {
            sum >= u64::from(quorum) + u64::from(hysteresis)
        };
        if !changes {
            return None;
        }
        self.has = !self.has;
        Some(self.has)
    }
}

fn is_lost(quorum: u32, hysteresis: u32, sum: u64) -> bool {
    sum == 0 || sum < u64::from(quorum.saturating_sub(hysteresis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorum_follows_the_table() {
        // Quorum, hysteresis, sums in turn, and whether the service has its quorum after each.
        #[rustfmt::skip]
        let table: &[(&str, u32, u32, &[u64], &str)] = &[
            ("any one will do",             1, 0, &[3, 1, 0, 1],          "yyny"),
            ("half of six",                 3, 0, &[6, 3, 2, 3],          "yyny"),
            ("hysteresis on the way down",  5, 2, &[9, 5, 3, 2, 5, 6, 7], "yyynnny"),
            ("nothing alive is never enough", 1, 1, &[2, 1, 0, 1, 2],     "yynny"),
            ("hysteresis above the quorum", 2, 5, &[9, 1, 0, 6, 7],       "yynny"),
            ("starts between the marks",    5, 2, &[4, 3, 2],             "yyn"),
            ("starts without anything",     1, 0, &[0, 1],                "ny"),
        ];
        for (name, quorum, hysteresis, sums, wanted) in table {
            let mut machine = Quorum::new(*quorum, *hysteresis, sums[0]);
            let got: String = sums
                .iter()
                .map(|&sum| {
                    let before = machine.has();
                    let change = machine.update(*quorum, *hysteresis, sum);
                    assert_eq!(
                        change,
                        (machine.has() != before).then_some(machine.has()),
                        "{name}"
                    );
                    if machine.has() { 'y' } else { 'n' }
                })
                .collect();
            assert_eq!(got, *wanted, "{name}");
        }
    }
}
