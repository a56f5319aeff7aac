//! Which persistent clients are still held to their real server?
//!
//! A template ends when its time is over and no connection of it lasts ([`core::template`](crate::core::template)). The program
//! leaves that to the daemon: to count a template's connections there would make each of them dearer. So each walk over the
//! connection table notes when the last connection under each template ends, and a walk over the templates follows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_common::conn::{Meta, Tick};
use lb_common::net::Flow;
use lb_common::template::Template;

use super::error::MapError;
use super::maps::Maps;
use super::templates::{Client, Cursor, Templates};
use crate::core::template::ends_at;

/// A template as its connections know it: by its key without succession, and its generation.
type Known = (Client, u32);

/// What is known of persistent clients.
#[derive(Debug)]
pub(super) struct Clients {
    map: Arc<dyn Templates>,
    /// There were templates when the walk over connections began.
    any: bool,
    /// When the last connection under each template ends, as of the last walk. Those that have ended are kept as long as
    /// their template.
    ends: HashMap<Known, Tick>,
    /// The same of the walk that goes on.
    walk: HashMap<Known, Tick>,
    /// Where the walk over templates goes on, if there is one.
    pass: Option<Cursor>,
    /// Templates of each real server, as of the last walk over them.
    counts: HashMap<u32, u32>,
    /// The same of the one that goes on.
    counting: HashMap<u32, u32>,
}

impl Clients {
    /// Nothing is known yet.
    pub(super) fn new(map: Arc<dyn Templates>) -> Self {
        Self {
            map,
            any: false,
            ends: HashMap::new(),
            walk: HashMap::new(),
            pass: None,
            counts: HashMap::new(),
            counting: HashMap::new(),
        }
    }

    /// How many templates lead to a real server.
    pub(super) fn count(&self, slot: u32) -> u32 {
        self.counts.get(&slot).copied().unwrap_or(0)
    }

    /// A walk over the connections begins.
    pub(super) fn begin_walk(&mut self) -> Result<(), MapError> {
        self.walk.clear();
        self.any = !self.map.is_empty()?;
        Ok(())
    }

    /// Whether connections have to be shown to [`Self::see`].
    pub(super) fn wants_to_see(&self) -> bool {
        self.any
    }

    /// Notes a connection, ended or not. `mask` is that of its service's clients, as its plan has it.
    pub(super) fn see(&mut self, service: u32, mask: u32, flow: &Flow<IpAddr>, meta: Meta) {
        let Some(generation) = meta.template() else {
            return;
        };
        let key = Client::current(service, flow.client, mask);
        let end = self.walk.entry((key, generation)).or_insert(meta.expires());
        if meta.expires().since(*end) > 0 {
            *end = meta.expires();
        }
    }

    /// The walk over the connections is over; one over the templates begins, unless the last one still goes on.
    pub(super) fn end_walk(&mut self, now: Tick) {
        for (known, end) in &mut self.ends {
            // Its connections are gone before their time, if it had not come.
            if !self.walk.contains_key(known) && end.since(now) > 0 {
                *end = now;
            }
        }
        self.ends.extend(self.walk.drain());
        if self.pass.is_none() && (self.any || !self.counts.is_empty()) {
            self.pass = Some(Cursor::START);
        }
    }

    /// Goes on with the walk over the templates: forgets those that have ended.
    pub(super) fn slice(&mut self, now: Tick, budget: Duration) -> Result<(), MapError> {
        let began: Instant = crate::io::clock::now();
        while let Some(from) = self.pass {
            let (batch, next) = self.map.read(from)?;
            for (key, template) in batch {
                self.look(key, template, now)?;
            }
            self.pass = next;
            if next.is_none() {
                self.counts = std::mem::take(&mut self.counting);
                self.ends.shrink_to_fit();
            }
            if crate::io::clock::now() - began >= budget {
                break;
            }
        }
        Ok(())
    }

    fn look(&mut self, key: Client, template: Template, now: Tick) -> Result<(), MapError> {
        let known = (Client { orphan: 0, ..key }, template.generation());
        let last_end = self.ends.get(&known).copied();
        if now.since(ends_at(template, last_end)) >= 0 {
            self.ends.remove(&known);
            return self.map.remove(&key);
        }
        *self.counting.entry(template.real()).or_default() += 1;
        Ok(())
    }
}

/// The mask of a service's clients, as its plan has it.
pub(super) fn mask(maps: &Maps, service: u32) -> Result<u32, MapError> {
    Ok(maps.generation(maps.current(service)?)?.plan.mask)
}

#[cfg(test)]
mod tests {
    use lb_common::abi::seconds_to_ticks;
    use lb_common::conn::State;
    use lb_common::net::{Be16, Proto};

    use std::net::Ipv4Addr;

    use super::super::templates::memory::MemoryTemplates;
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const MASK: u32 = u32::MAX;
    const NOW: Tick = Tick(u32::MAX - 5000);

    fn after(seconds: u64) -> Tick {
        NOW.plus(seconds_to_ticks(seconds))
    }

    fn flow() -> Flow<IpAddr> {
        Flow {
            client: CLIENT,
            vip: [203, 0, 113, 10].into(),
            client_port: Be16::from_host(4000),
            vip_port: Be16::from_host(80),
            proto: Proto::Tcp,
        }
    }

    /// One template of real server 5 whose time is over after 50 seconds.
    fn one() -> (Arc<MemoryTemplates>, Clients) {
        let map = Arc::new(MemoryTemplates::default());
        let key = Client::current(1, CLIENT, MASK);
        let template = Template::new(5, 2, after(50));
        map.0.lock().unwrap().insert(key, template);
        let clients = Clients::new(Arc::clone(&map) as Arc<dyn Templates>);
        (map, clients)
    }

    /// A walk in which these connections are seen; how many templates there are then.
    fn walk(clients: &mut Clients, now: Tick, seen: &[Meta]) -> u32 {
        clients.begin_walk().unwrap();
        for meta in seen {
            clients.see(1, MASK, &flow(), *meta);
        }
        clients.end_walk(now);
        clients.slice(now, Duration::from_secs(1)).unwrap();
        clients.count(5)
    }

    fn connection(ends: Tick, generation: u32) -> Meta {
        Meta::new(Proto::Tcp, State::Established, 5, ends).with_template(generation)
    }

    #[test]
    fn a_template_without_connections_ends_with_its_time() {
        let (map, mut clients) = one();
        assert_eq!(walk(&mut clients, after(49), &[]), 1);
        assert_eq!(walk(&mut clients, after(50), &[]), 0);
        assert!(map.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_template_outlives_its_last_connection_to_the_next_look() {
        let (_, mut clients) = one();
        let connection = connection(after(120), 2);
        assert_eq!(walk(&mut clients, after(60), &[connection]), 1);
        // It has ended, and is no longer there to be seen: the template was looked at after 50 and 110 seconds.
        assert_eq!(walk(&mut clients, after(169), &[]), 1);
        assert_eq!(walk(&mut clients, after(171), &[]), 0);
    }

    #[test]
    fn a_connection_that_is_gone_before_its_time_holds_a_template_no_longer() {
        let (_, mut clients) = one();
        let connection = connection(after(900), 2);
        assert_eq!(walk(&mut clients, after(60), &[connection]), 1);
        assert_eq!(walk(&mut clients, after(70), &[]), 1);
        assert_eq!(walk(&mut clients, after(111), &[]), 0);
    }

    #[test]
    fn connections_of_an_earlier_template_hold_this_one_not() {
        let (_, mut clients) = one();
        assert_eq!(
            walk(&mut clients, after(51), &[connection(after(900), 1)]),
            0
        );
    }
}
