//! How many probes may be on their way, with the file descriptors that there are?

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The most, however many descriptors there are.
const MOST: usize = 1024;
/// What everything else needs.
const OTHERS: u64 = 256;

/// Makes room for descriptors as far as may be, and says how many probes may be on their way.
///
/// Raising the soft limit up to the hard one needs no privilege.
pub(super) fn in_flight() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return MOST;
    };
    let wanted = hard.min(4 * MOST as u64 + OTHERS);
    let have = if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
        wanted
    } else {
        soft
    };
    fitting(have)
}

/// A probe has one descriptor; a script has a few.
fn fitting(descriptors: u64) -> usize {
    let half = descriptors.saturating_sub(OTHERS) / 2;
    usize::try_from(half).unwrap_or(MOST).clamp(16, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_mean_fewer_probes_at_once() {
        assert_eq!(fitting(1024), 384);
        assert_eq!(fitting(1 << 20), MOST);
        assert_eq!(fitting(0), 16);
    }
}
