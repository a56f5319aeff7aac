//! Which known word did somebody mean?

/// The known word that is nearest to `word`, if one is near.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A word that long is no slip of the pen, and comparing it would cost.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    // One slip in three letters; one that was cut short, or drawn out, is as good.
    let allowed = 1 + word.chars().count() / 3;
    let distance = |k: &str| {
        let k = k.to_lowercase();
        let slips = strsim::osa_distance(&word, &k);
        let (long, short) = if k.len() > word.len() {
            (k.as_str(), word.as_str())
        } else {
            (word.as_str(), k.as_str())
        };
        let cut = short.len() >= 3 && long.starts_with(short);
        (if cut { slips.min(1) } else { slips }, slips)
    };
    known
        .map(|k| (distance(k), k))
        .filter(|((distance, _), k)| *distance <= allowed && *distance < k.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// As [`nearest`], of words that somebody who comes from keepalived or ipvsadm would use.
pub(crate) fn nearest_key(key: &str, known: &[&'static str]) -> Option<&'static str> {
    const ELSEWHERE: &[(&str, &str)] = &[
        ("virtual_server", "services"),
        ("virtual_servers", "services"),
        ("real_server", "reals"),
        ("real_servers", "reals"),
        ("backends", "reals"),
        ("servers", "reals"),
        ("lb_algo", "scheduler"),
        ("lvs_sched", "scheduler"),
        ("algorithm", "scheduler"),
        ("lb_kind", "method"),
        ("lvs_method", "method"),
        ("forwarding", "method"),
        ("persistence_timeout", "persistence"),
        ("persistence_granularity", "mask"),
        ("netmask", "mask"),
        ("granularity", "mask"),
        ("ops", "one_packet"),
        ("uthreshold", "upper"),
        ("lthreshold", "lower"),
        ("vip", "address"),
        ("ip", "address"),
        ("port", "address"),
        ("listen", "address"),
        ("proto", "protocol"),
        ("flags", "scheduler_flags"),
        ("vrrp_instance", "vrrp"),
        ("virtual_ipaddress", "addresses"),
        ("advert_int", "advert_interval"),
        ("vrid", "virtual_router_id"),
        ("authentication", "auth"),
        ("auth_pass", "pass"),
        ("state", "initial_state"),
    ];
    let elsewhere = ELSEWHERE
        .iter()
        .find(|(theirs, ours)| *theirs == key && known.contains(ours))
        .map(|(_, ours)| *ours);
    elsewhere.or_else(|| nearest(key, known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_the_word_and_other_words_find_none() {
        let known = ["scheduler", "services", "reals", "method"];
        assert_eq!(nearest("schedular", known.into_iter()), Some("scheduler"));
        assert_eq!(nearest("shceduler", known.into_iter()), Some("scheduler"));
        assert_eq!(nearest("Methods", known.into_iter()), Some("method"));
        assert_eq!(nearest("sched", known.into_iter()), Some("scheduler"));
        assert_eq!(nearest("timeout", known.into_iter()), None);
        assert_eq!(nearest("", known.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), known.into_iter()), None);
    }

    #[test]
    fn words_of_keepalived_find_ours() {
        assert_eq!(
            nearest_key("lb_algo", &["scheduler", "method"]),
            Some("scheduler")
        );
        assert_eq!(nearest_key("lb_algo", &["weight"]), None);
    }
}
