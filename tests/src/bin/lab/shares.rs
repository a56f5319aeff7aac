//! Did each real server get its share, exactly?

use ::tests::lab::Answers;
use lb_daemon::api::types::Service;

/// What one real server of a service got of the requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The real server, as its address.
    pub(crate) real: String,
    /// Its weight.
    pub(crate) weight: u16,
    /// Requests that it answered.
    pub(crate) got: u64,
    /// Requests that it had to answer.
    pub(crate) expected: u64,
}

/// What each real server of a service got and had to get of all requests. `name` tells who is behind an address.
///
/// rr and wrr share exactly: after a whole number of rounds each real server has its weight's part, as long as the number
/// of requests is a multiple of the round.
pub(crate) fn shares(
    service: &Service,
    answers: &Answers,
    requests: u64,
    name: impl Fn(&str) -> String,
) -> Vec<Share> {
    let part = |weight: u16| match service.scheduler.as_str() {
        "rr" => u64::from(weight > 0),
        _ => u64::from(weight),
    };
    let round: u64 = service.reals.iter().map(|real| part(real.weight)).sum();
    let share = |real: &lb_daemon::api::types::Real| Share {
        real: real.address.clone(),
        weight: real.weight,
        got: answers.from(&name(&real.address)),
        expected: (requests * part(real.weight))
            .checked_div(round)
            .unwrap_or(0),
    };
    service.reals.iter().map(share).collect()
}

/// Whether every request was answered, by whom it had to be.
pub(crate) fn exact(shares: &[Share], answers: &Answers, requests: u64) -> bool {
    let all = answers.failures.is_empty() && answers.total() == requests;
    all && shares.iter().map(|share| share.got).sum::<u64>() == requests
        && shares.iter().all(|share| share.got == share.expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(scheduler: &str, weights: &[u16]) -> Service {
        let reals: Vec<_> = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| {
                serde_json::json!({
                    "address": format!("r{index}"), "method": "dr", "weight": weight, "state": "up",
                    "active": 0, "inactive": 0,
                })
            })
            .collect();
        let service = serde_json::json!({
            "name": "web", "protocol": "tcp", "address": "10.0.0.1:80", "scheduler": scheduler, "method": "dr",
            "timeouts": {"tcp": 900, "tcp_fin": 120, "udp": 300}, "reals": reals,
        });
        serde_json::from_value(service).unwrap()
    }

    fn answers(counts: &[u64]) -> Answers {
        let by_name = counts
            .iter()
            .enumerate()
            .map(|(index, count)| (format!("r{index}"), *count));
        Answers {
            by_name: by_name.collect(),
            failures: Vec::new(),
        }
    }

    fn is_exact(scheduler: &str, weights: &[u16], counts: &[u64]) -> bool {
        let answers = answers(counts);
        let shares = shares(&service(scheduler, weights), &answers, 300, str::to_owned);
        exact(&shares, &answers, 300)
    }

    #[test]
    fn weighted_shares_follow_the_weights_and_others_do_not() {
        assert!(is_exact("wrr", &[3, 2, 1], &[150, 100, 50]));
        assert!(!is_exact("wrr", &[3, 2, 1], &[100, 100, 100]));
        assert!(is_exact("rr", &[3, 2, 1], &[100, 100, 100]));
        assert!(is_exact("rr", &[3, 0, 1], &[150, 0, 150]));
    }

    #[test]
    fn one_request_more_or_less_or_failed_is_not_exact() {
        assert!(!is_exact("rr", &[1, 1], &[149, 151]));
        assert!(!is_exact("rr", &[1, 1], &[150, 149]));
        let mut failed = answers(&[150, 150]);
        failed.failures.push("no answer".to_owned());
        let shares = shares(&service("rr", &[1, 1]), &failed, 300, str::to_owned);
        assert!(!exact(&shares, &failed, 300));
    }

    #[test]
    fn answers_from_a_stranger_are_not_exact() {
        assert!(!is_exact("rr", &[1, 1], &[150, 150, 10]));
    }
}
