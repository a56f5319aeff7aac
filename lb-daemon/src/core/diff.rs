//! What differs between two configurations, in lines that a person reads.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::config::model::{Model, Real, Service, VirtualRouter};
use crate::config::spell::{self, Facet};

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether it is added, removed or changed.
    pub sign: Sign,
    /// What, in words.
    pub text: String,
}

/// In which way something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// It is in the second configuration only.
    Added,
    /// It is in the first configuration only.
    Removed,
    /// It is in both and says something else.
    Changed,
}

impl Sign {
    /// `+`, `-`, `~`.
    pub const fn char(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
        }
    }
}

/// `+ real 192.0.2.21:80 to web, weight 3`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sign.char(), self.text)
    }
}

/// What has to change for the first configuration to become the second. Empty when they do the same.
///
/// The order of services does not matter; that of real servers does, for schedulers go by it.
pub fn changes(from: &Model, to: &Model) -> Vec<Change> {
    let mut plan = Plan(Vec::new());
    plan.director(from, to);
    plan.virtual_routers(from, to);
    let old: HashMap<_, _> = from.services.iter().map(|s| (s.id, s)).collect();
    let kept: HashSet<_> = to.services.iter().map(|s| s.id).collect();
    for service in from.services.iter().filter(|s| !kept.contains(&s.id)) {
        plan.service_removed(service);
    }
    for service in &to.services {
        match old.get(&service.id) {
            Some(before) => plan.service(before, service),
            None => plan.service_added(service),
        }
    }
    plan.0
}

struct Plan(Vec<Change>);

impl Plan {
    fn add(&mut self, sign: Sign, text: String) {
        self.0.push(Change { sign, text });
    }

    /// A line for each facet that differs.
    fn facets(&mut self, subject: &str, from: Vec<Facet>, to: Vec<Facet>) {
        for (old, new) in from.into_iter().zip(to) {
            if old.value != new.value {
                let text = format!("{subject}{} {} → {}", new.key, old.value, new.value);
                self.add(Sign::Changed, text);
            }
        }
    }

    fn director(&mut self, from: &Model, to: &Model) {
        self.facets("", spell::top(from), spell::top(to));
        for ((part, old), (_, new)) in spell::parts(from).into_iter().zip(spell::parts(to)) {
            self.facets(&format!("{part}: "), old, new);
        }
    }

    fn virtual_routers(&mut self, from: &Model, to: &Model) {
        let old: HashMap<_, _> = from.vrrp.iter().map(|r| (r.name.as_str(), r)).collect();
        let kept: HashSet<_> = to.vrrp.iter().map(|r| r.name.as_str()).collect();
        for VirtualRouter { name, .. } in &from.vrrp {
            if !kept.contains(name.as_str()) {
                self.add(Sign::Removed, format!("virtual router {name}"));
            }
        }
        for router in &to.vrrp {
            let facets = spell::virtual_router(router);
            match old.get(router.name.as_str()) {
                Some(before) => {
                    let subject = format!("virtual router {}: ", router.name);
                    self.facets(&subject, spell::virtual_router(before), facets);
                }
                None => {
                    let said = also_said(facets, &["name"]);
                    self.add(Sign::Added, format!("virtual router {}{said}", router.name));
                }
            }
        }
    }

    fn service_removed(&mut self, service: &Service) {
        let with = match service.reals.len() {
            0 => String::new(),
            1 => " with its real server".to_owned(),
            n => format!(" with its {n} real servers"),
        };
        let Service { name, id, .. } = service;
        self.add(Sign::Removed, format!("service {name}, {id}{with}"));
    }

    fn service_added(&mut self, service: &Service) {
        let mut text = format!("service {}, {}", service.name, service.id);
        text.push_str(&also_said(
            spell::service(service),
            &["name", "protocol", "address"],
        ));
        self.add(Sign::Added, text);
        for real in &service.reals {
            self.real_added(real, service);
        }
    }

    fn service(&mut self, from: &Service, to: &Service) {
        let subject = format!("service {}: ", from.name);
        self.facets(&subject, spell::service(from), spell::service(to));
        let old: HashMap<_, _> = from.reals.iter().map(|r| (r.id(), r)).collect();
        let kept: HashSet<_> = to.reals.iter().map(Real::id).collect();
        for real in from.reals.iter().filter(|r| !kept.contains(&r.id())) {
            let text = format!("real {} of {}", spell::real_name(real), to.name);
            self.add(Sign::Removed, text);
        }
        for real in &to.reals {
            match old.get(&real.id()) {
                None => self.real_added(real, to),
                Some(before) => self.real((before, from), (real, to)),
            }
        }
        self.order(from, to);
    }

    fn real(&mut self, (before, from): (&Real, &Service), (after, to): (&Real, &Service)) {
        // Those that follow their service's method change with it, which is said of the service.
        let follow = before.method.is_none() && after.method.is_none();
        let facets = |real, of| {
            let mut facets = spell::real(real, of);
            facets.retain(|f| !(follow && f.key == "method"));
            facets
        };
        let subject = format!("real {} of {}: ", spell::real_name(after), to.name);
        self.facets(&subject, facets(before, from), facets(after, to));
    }

    /// Real servers that both have come in another order, or new ones not after them.
    fn order(&mut self, from: &Service, to: &Service) {
        let ids = |service: &Service| service.reals.iter().map(Real::id).collect::<Vec<_>>();
        let (old, new) = (ids(from), ids(to));
        let (was, is): (HashSet<_>, HashSet<_>) = (old.iter().collect(), new.iter().collect());
        let kept = old.iter().filter(|id| is.contains(id));
        let added = new.iter().filter(|id| !was.contains(id));
        if !kept.chain(added).eq(new.iter()) {
            let text = format!("service {}: the order of its real servers", to.name);
            self.add(Sign::Changed, text);
        }
    }

    fn real_added(&mut self, real: &Real, service: &Service) {
        let mut text = format!("real {} to {}", spell::real_name(real), service.name);
        text.push_str(&also_said(spell::real(real, service), &["address"]));
        self.add(Sign::Added, text);
    }
}

/// What is said besides some keys, as far as it is not what holds anyway: `, weight 3`.
fn also_said(facets: Vec<Facet>, besides: &[&str]) -> String {
    facets
        .into_iter()
        .filter(|f| !f.default && !besides.contains(&f.key))
        .map(|f| format!(", {} {}", f.key, f.value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Anywhere, parse};

    fn model(services: &str) -> Model {
        let bytes = format!("services:\n{services}");
        parse(bytes.as_bytes(), "test".as_ref(), &Anywhere).unwrap()
    }

    fn plan(from: &str, to: &str) -> Vec<String> {
        let changes = changes(&model(from), &model(to));
        changes.iter().map(ToString::to_string).collect()
    }

    const WEB: &str =
        "- {name: web, address: 192.0.2.1:80, scheduler: rr, reals: [10.0.0.1, 10.0.0.2]}\n";

    #[test]
    fn equal_configurations_need_nothing() {
        assert_eq!(plan(WEB, WEB), [""; 0]);
        let dns = "- {address: 192.0.2.1:53, protocol: udp}\n";
        assert_eq!(
            plan(&format!("{WEB}{dns}"), &format!("{dns}{WEB}")),
            [""; 0]
        );
    }

    #[test]
    fn services_come_and_go() {
        let dns = "- {name: dns, address: 192.0.2.1:53, protocol: udp, scheduler: wrr, one_packet: true, \
                   reals: [{address: 10.0.0.3, weight: 0}]}\n";
        assert_eq!(
            plan(WEB, dns),
            [
                "- service web, tcp 192.0.2.1:80 with its 2 real servers",
                &format!(
                    "+ service dns, udp 192.0.2.1:53{}, one_packet true",
                    if crate::config::model::default_scheduler().name() == "wrr" {
                        ""
                    } else {
                        ", scheduler wrr"
                    }
                ),
                "+ real 10.0.0.3:53 to dns, weight 0",
            ]
        );
    }

    #[test]
    fn what_differs_is_said_in_the_words_of_the_file() {
        let to = "- {name: www, address: 192.0.2.1:80, scheduler: wrr, persistence: {mask: 24}, method: nat, \
                  timeouts: {tcp: 1h}, reals: [{address: 10.0.0.1, weight: 3, upper: 9}, 10.0.0.3:8080]}\n";
        assert_eq!(
            plan(WEB, to),
            [
                "~ service web: name web → www",
                "~ service web: scheduler rr → wrr",
                "~ service web: persistence none → {timeout: 6m, mask: 24}",
                "~ service web: timeouts {} → {tcp: 1h}",
                "~ service web: method dr → nat",
                "- real 10.0.0.2:80 of www",
                "~ real 10.0.0.1:80 of www: weight 1 → 3",
                "~ real 10.0.0.1:80 of www: upper 0 → 9",
                "+ real 10.0.0.3:8080 to www",
            ]
        );
    }

    #[test]
    fn the_order_of_real_servers_matters() {
        let with = |reals: &str| WEB.replace("10.0.0.1, 10.0.0.2", reals);
        let order = "~ service web: the order of its real servers".to_owned();
        assert_eq!(plan(WEB, &with("10.0.0.2, 10.0.0.1")), [order.as_str()]);
        assert_eq!(plan(WEB, &with("10.0.0.1")), ["- real 10.0.0.2:80 of web"]);
        assert_eq!(
            plan(WEB, &with("10.0.0.1, 10.0.0.2, 10.0.0.3")),
            ["+ real 10.0.0.3:80 to web"]
        );
        assert_eq!(
            plan(WEB, &with("10.0.0.3, 10.0.0.1, 10.0.0.2")),
            ["+ real 10.0.0.3:80 to web", order.as_str()]
        );
    }

    #[test]
    fn the_director_itself_may_differ() {
        let text = "mode: generic\ninterfaces: [eth1]\nconnections: {tcp: 10m}\nservices: []\n";
        let to = parse(text.as_bytes(), "test".as_ref(), &Anywhere).unwrap();
        let changes = changes(&Model::default(), &to);
        let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "~ interfaces [] → [eth1]",
                "~ mode auto → generic",
                "~ connections: tcp 15m → 10m"
            ]
        );
    }
}
