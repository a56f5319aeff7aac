//! What is the wrr cycle of a list of weights, and where in it does a current weight begin?
//!
//! [`lb_common::sched::Cycle`] describes how it lies in the map.

use lb_common::sched::{Cycle, Segment};

use super::slots::pack;

/// The wrr cycle of a list of weights above zero.
#[derive(Debug)]
pub(super) struct WrrCycle {
    /// The kernel's `di`: the step from one current weight to the next.
    step: u32,
    /// By place; each with the indices of its list.
    segments: Vec<(Segment, Vec<u16>)>,
    length: u32,
}

impl WrrCycle {
    /// From the weights of the eligible members, in list order.
    pub(super) fn new(weights: &[u16]) -> Self {
        let step = weights.iter().fold(0, |a, &b| gcd(a, u32::from(b))).max(1);
        let mut distinct: Vec<u32> = weights.iter().map(|&w| u32::from(w)).collect();
        distinct.sort_unstable_by(|a, b| b.cmp(a));
        distinct.dedup();

        let mut segments = Vec::with_capacity(distinct.len());
        let mut first = 0;
        for (i, &weight) in distinct.iter().enumerate() {
            let list: Vec<u16> = (0u16..)
                .zip(weights)
                .filter(|&(_, &w)| u32::from(w) >= weight)
                .map(|(index, _)| index)
                .collect();
            let levels = (weight - distinct.get(i + 1).copied().unwrap_or(0)) / step;
            let len = list.len() as u32;
            segments.push((
                Segment {
                    first,
                    list: 0,
                    len,
                    weight,
                },
                list,
            ));
            first += levels * len;
        }
        Self {
            step,
            segments,
            length: first,
        }
    }

    /// The number of places.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// See [`Cycle::top_turn`].
    pub(super) fn top_turn(&self) -> u64 {
        self.head().top_turn()
    }

    fn head(&self) -> Cycle {
        Cycle {
            length: self.length,
            shift: self.guide_shift(),
            segments: self.segments.len() as u32,
        }
    }

    /// The kernel's `cw` at a place.
    pub(super) fn current_weight(&self, place: u32) -> u32 {
        let at = self.segments.partition_point(|(s, _)| s.first <= place);
        match at.checked_sub(1).and_then(|i| self.segments.get(i)) {
            Some((s, _)) => s.weight - (place - s.first) / s.len * self.step - (self.step - 1),
            None => 0,
        }
    }

    /// The first place at which the kernel's `cw` is `current`.
    pub(super) fn place_of(&self, current: u32) -> u32 {
        // The weight that the level of `current` asks for, in whole steps.
        let level = current.div_ceil(self.step) * self.step;
        let at = self.segments.partition_point(|(s, _)| s.weight >= level);
        match at.checked_sub(1).and_then(|i| self.segments.get(i)) {
            Some((s, _)) => s.first + (s.weight - level) / self.step * s.len,
            None => 0,
        }
    }

    /// The words for `SLOTS`; none when there is nobody to serve.
    pub(super) fn words(&self) -> Vec<u64> {
        if self.segments.is_empty() {
            return Vec::new();
        }
        let head = self.head();
        let mut slots: Vec<u16> = (0..=(self.length - 1) >> head.shift)
            .map(|entry| self.segment_index(entry << head.shift))
            .collect();
        slots.push((head.segments - 1) as u16);

        let mut words = vec![head.to_word()];
        for (segment, list) in &self.segments {
            let list_at = head.guide() + slots.len() as u32;
            words.extend(
                Segment {
                    list: list_at,
                    ..*segment
                }
                .to_words(),
            );
            slots.extend(list);
        }
        words.extend(pack(&slots));
        words
    }

    /// Between one and two guide entries for each segment, so that a place is found in about one step.
    fn guide_shift(&self) -> u32 {
        let entries = (self.segments.len() as u32).next_power_of_two() * 2;
        let last = self.length.saturating_sub(1);
        (0..32).find(|&shift| last >> shift < entries).unwrap_or(31)
    }

    fn segment_index(&self, place: u32) -> u16 {
        (self.segments.partition_point(|(s, _)| s.first <= place) - 1) as u16
    }
}

/// The kernel's `cw` after its list changed to one with these weights, zeros included.
pub(super) fn adopt_weight(current: u32, weights: impl Iterator<Item = u16>) -> u32 {
    let (mut step, mut heaviest) = (0, 0);
    for weight in weights.map(u32::from) {
        step = gcd(step, weight);
        heaviest = heaviest.max(weight);
    }
    let step = step.max(1);
    let top = heaviest.saturating_sub(step - 1);
    if current > top || current == 0 {
        top
    } else if step > 1 {
        current / step * step + 1
    } else {
        current
    }
}

/// The greatest common divisor; of 0 and another it is the other.
pub(super) fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_as_long_as_the_weights_in_steps() {
        assert_eq!(WrrCycle::new(&[5, 3, 1]).length(), 9);
        assert_eq!(WrrCycle::new(&[30, 20, 10]).length(), 6);
        assert_eq!(WrrCycle::new(&[7]).length(), 1);
        assert_eq!(WrrCycle::new(&[]).length(), 0);
        assert_eq!(WrrCycle::new(&[u16::MAX; 1024]).length(), 1024);
        assert_eq!(WrrCycle::new(&[65535, 1]).length(), 65536);
    }

    #[test]
    fn current_weights_and_places_lead_back_to_each_other() {
        for weights in [
            &[5, 3, 1][..],
            &[30, 20, 10],
            &[6, 4],
            &[1],
            &[65535, 65534, 1],
        ] {
            let cycle = WrrCycle::new(weights);
            assert_eq!(
                cycle.current_weight(0),
                adopt_weight(0, weights.iter().copied())
            );
            let mut seen = std::collections::HashSet::new();
            for place in 0..cycle.length() {
                let current = cycle.current_weight(place);
                if seen.insert(current) {
                    assert_eq!(
                        cycle.place_of(current),
                        place,
                        "{weights:?}: weight {current}"
                    );
                }
            }
            assert_eq!(cycle.current_weight(cycle.length() - 1), 1);
        }
    }

    #[test]
    fn the_worst_weights_still_fit_in_a_megabyte() {
        let weights: Vec<u16> = (0..1024).map(|i| u16::MAX - i * 63).collect();
        let words = WrrCycle::new(&weights).words();
        assert!(words.len() * 8 < 1_100_000, "{} bytes", words.len() * 8);
    }
}
