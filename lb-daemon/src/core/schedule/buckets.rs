//! Which real server owns each bucket of sh and dh?

use lb_common::sched::BUCKETS;

/// The indices of members in list order, each for as many buckets as `share` says (at least one), round and round. With
/// shares of more than all buckets the end of the list gets none.
pub(super) fn fill(list: &[(u16, u16)]) -> Vec<u16> {
    list.iter()
        .cycle()
        .flat_map(|&(index, share)| std::iter::repeat_n(index, share.max(1).into()))
        .take(BUCKETS as usize)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_dealt_in_list_order() {
        let buckets = fill(&[(0, 2), (2, 0), (1, 3)]);
        assert_eq!(buckets.len(), 256);
        assert_eq!(buckets[..8], [0, 0, 2, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn more_weight_than_buckets_starves_the_end_of_the_list() {
        assert!(fill(&[(0, 300), (1, 1)]).iter().all(|&b| b == 0));
        assert!(fill(&[]).is_empty());
    }
}
