//! How does the load of a real server change, and when is it full?

use crate::abi::{Load, Real};
use crate::atomic::Word;
use crate::sched::threshold::{Flag, after_bind, after_unbind};

/// How often the flag's change is tried while other CPUs change the load. Each of them looks at the flag too.
const TRIES: u32 = 4;

/// Adds to a real server's [`Load::conns`], modulo 2^64, and sets or clears its overload flag when that crosses a
/// threshold.
#[inline(always)]
pub fn add(load: &impl Word<u64>, real: &Real, change: u64) {
    let before = load.fetch_add(change);
    if real.upper == 0 && before & Load::OVERLOADED == 0 {
        return;
    }
    let mut now = before.wrapping_add(change);
    let mut tries = 0;
    while tries < TRIES {
        let seen = Load { conns: now };
        // The change of the total is the low half; a change of activity alone leaves the flag.
        let flag = match change as u32 {
            0 => return,
            more if more.cast_signed() > 0 => after_bind(real, seen),
            _ => after_unbind(real, seen),
        };
        let to = match flag {
            Flag::Keep => return,
            Flag::Set => now | Load::OVERLOADED,
            Flag::Clear => now & !Load::OVERLOADED,
        };
        match load.compare_exchange(now, to) {
            Ok(_) => return,
            Err(found) => now = found,
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn the_flag_follows_the_thresholds() {
        let real = Real {
            upper: 2,
            lower: 1,
            ..Real::default()
        };
        let load = AtomicU64::new(0);
        let now = || Load {
            conns: load.load(Ordering::Relaxed),
        };
        add(&load, &real, Load::ONE + Load::ACTIVE);
        assert!(!now().overloaded());
        add(&load, &real, Load::ONE);
        assert!(now().overloaded());
        add(&load, &real, Load::ONE.wrapping_neg());
        assert!(now().overloaded(), "one is not below the lower threshold");
        add(&load, &real, Load::ACTIVE.wrapping_neg());
        assert!(now().overloaded(), "activity alone does not count");
        add(&load, &real, Load::ONE.wrapping_neg());
        assert_eq!(now(), Load::default());
    }

    #[test]
    fn without_thresholds_nothing_is_flagged() {
        let load = AtomicU64::new(0);
        for _ in 0..100 {
            add(&load, &Real::default(), Load::ONE + Load::ACTIVE);
        }
        let now = Load {
            conns: load.load(Ordering::Relaxed),
        };
        assert_eq!(
            (now.total(), now.active(), now.overloaded()),
            (100, 100, false)
        );
    }
}
