//! Other directors: does anybody use the number of one of our virtual routers for something else?

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::facts::{Advert, Facts, Router, Says};
use super::{Check, Finding};
use crate::core::vrrp::{State, Version};

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    if facts.routers.is_empty() {
        return Vec::new();
    }
    let adverts = match &facts.adverts {
        Ok(adverts) => adverts,
        Err(why) => {
            return vec![Finding::unknown(
                Check::Vrid,
                "who else uses the virtual routers' numbers",
                why,
            )];
        }
    };
    let mut all = Vec::new();
    for router in &facts.routers {
        let name = &router.name;
        let (vrid, on) = (router.vrid, &router.interface);
        let heard = adverts
            .iter()
            .filter(|a| (a.vrid, &a.interface) == (vrid, on));
        let trouble: Vec<Finding> = heard
            .clone()
            .filter_map(|advert| conflict(router, advert))
            .collect();
        if trouble.is_empty() {
            let partners: Vec<String> = heard.map(|a| a.source.to_string()).collect();
            let seconds = facts.listened.as_secs_f64();
            all.push(Finding::good(
                Check::Vrid,
                format!("nobody else uses number {vrid} of virtual router {name}"),
                match partners.is_empty() {
                    true => format!("nothing was heard of it on {on} in {seconds:.1} s"),
                    false => format!("on {on} it was heard from {} alone", partners.join(", ")),
                },
            ));
        }
        all.extend(trouble);
    }
    all
}

fn conflict(router: &Router, advert: &Advert) -> Option<Finding> {
    let Router { name, vrid, .. } = router;
    let (source, on) = (advert.source, &advert.interface);
    let free = "give one of the two another `virtual_router_id`; free numbers: tcpdump -ni";
    let shared = |what: String, evidence: String| {
        Some(Finding::bad(
            Check::Vrid,
            what,
            evidence,
            "both become master, and each takes the other's virtual MAC and adverts for its own",
            format!("{free} {on} proto 112"),
        ))
    };
    let says = match &advert.says {
        Ok(says) => says,
        Err(why) => {
            return shared(
                format!("{source} sends adverts for number {vrid} that make no sense"),
                format!("heard on {on}: {why}"),
            );
        }
    };
    if !same(&router.addresses, &says.addresses) {
        return shared(
            format!("{source} uses number {vrid} of virtual router {name} for something else"),
            format!(
                "heard on {on}: it is for {}, ours for {}",
                list(&says.addresses),
                list(&router.addresses)
            ),
        );
    }
    if says.version != router.version || says.auth != router.auth {
        return Some(Finding::bad(
            Check::Vrid,
            format!("{source} does not speak as virtual router {name} does"),
            differences(router, says, on),
            "neither heeds the other, and both become master",
            "give both directors the same `version` and `auth`",
        ));
    }
    if router.state == Some(State::Master) && says.priority > 0 {
        return Some(Finding::bad(
            Check::Vrid,
            format!("virtual router {name} has two masters"),
            format!(
                "this director is one, and {source} says on {on} that it is, with priority {}",
                says.priority
            ),
            "both answer ARP for the addresses, and clients go to either",
            "lbctl vrrp on both; does a firewall drop protocol 112 in one direction?",
        ));
    }
    None
}

fn same(ours: &[IpAddr], theirs: &[IpAddr]) -> bool {
    ours.iter().collect::<BTreeSet<_>>() == theirs.iter().collect()
}

fn list(addresses: &[IpAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    all.join(", ")
}

fn differences(router: &Router, says: &Says, on: &str) -> String {
    let version = |version| match version {
        Version::V2 => 2,
        Version::V3 => 3,
    };
    match says.version == router.version {
        false => format!(
            "heard on {on}: version {}, ours is {}",
            version(says.version),
            version(router.version)
        ),
        true => format!("heard on {on}: another password, or none"),
    }
}
