//! When a real server is full, and when it has room again.

use crate::abi::{Load, Real};

/// What a change of a real server's load does to its overload flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    /// It stays as it is.
    Keep,
    /// To be set: the upper threshold is reached.
    Set,
    /// To be cleared: the connections fell below the lower threshold, or there is none any more.
    Clear,
}

/// The flag's change after a connection began: set once all connections, active or not, reach the upper threshold.
#[inline(always)]
pub const fn after_bind(real: &Real, load: Load) -> Flag {
    if real.upper != 0 && load.total() >= real.upper && !load.overloaded() {
        Flag::Set
    } else {
        Flag::Keep
    }
}

/// The flag's change after a connection ended: cleared below the lower threshold, or below three quarters of the
/// upper one where there is no lower.
#[inline(always)]
pub const fn after_unbind(real: &Real, load: Load) -> Flag {
    if !load.overloaded() {
        return Flag::Keep;
    }
    let has_room = if real.lower != 0 {
        load.total() < real.lower
    } else if real.upper != 0 {
        (load.total() as u64) * 4 < (real.upper as u64) * 3
    } else {
        true
    };
    if has_room { Flag::Clear } else { Flag::Keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(upper: u32, lower: u32) -> Real {
        Real {
            upper,
            lower,
            ..Real::default()
        }
    }

    fn load(total: u64, overloaded: bool) -> Load {
        Load {
            conns: total | if overloaded { Load::OVERLOADED } else { 0 },
        }
    }

    #[test]
    fn the_flag_is_set_at_the_upper_threshold() {
        assert_eq!(after_bind(&real(3, 0), load(2, false)), Flag::Keep);
        assert_eq!(after_bind(&real(3, 0), load(3, false)), Flag::Set);
        assert_eq!(after_bind(&real(3, 0), load(4, true)), Flag::Keep);
        assert_eq!(after_bind(&real(0, 0), load(4, false)), Flag::Keep);
    }

    #[test]
    fn the_flag_is_cleared_below_the_lower_threshold() {
        assert_eq!(after_unbind(&real(10, 4), load(4, true)), Flag::Keep);
        assert_eq!(after_unbind(&real(10, 4), load(3, true)), Flag::Clear);
        assert_eq!(after_unbind(&real(10, 4), load(3, false)), Flag::Keep);
    }

    #[test]
    fn without_a_lower_threshold_it_is_the_upper_less_a_quarter() {
        for upper in 1..200 {
            let lower = upper - upper / 4;
            assert_eq!(
                after_unbind(&real(upper, 0), load(lower.into(), true)),
                Flag::Keep
            );
            assert_eq!(
                after_unbind(&real(upper, 0), load((lower - 1).into(), true)),
                Flag::Clear
            );
        }
        assert_eq!(after_unbind(&real(0, 0), load(100, true)), Flag::Clear);
    }
}
