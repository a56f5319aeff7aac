//! A director: virtual routers, a clock of its own, and whether it runs.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use lb_daemon::core::vrrp::{
    Arrival, Datagram, Effect, Event, Packet, Priority, Reject, Router, Seal, Settings, State,
    admit, multicast_group,
};

/// Nanoseconds of virtual time.
pub(crate) type Time = u64;

/// How a director is made.
#[derive(Clone)]
pub(crate) struct Plan {
    pub settings: Settings,
    /// How many networks it is on; a virtual router on each, in one sync group if there are several.
    pub networks: usize,
    /// Its clock gains so many parts of a million.
    pub drift: i64,
}

pub(crate) struct Director {
    pub plan: Plan,
    number: usize,
    /// None while it is off.
    router: Option<Router>,
    /// Asleep until then.
    pub asleep: Option<Time>,
    /// Since when, if it is, or was last.
    pub slept_from: Time,
    pub fault: bool,
    epoch: Instant,
}

/// A message on its way.
#[derive(Clone)]
pub(crate) struct Message {
    pub network: usize,
    pub from: usize,
    pub bytes: Vec<u8>,
}

impl Director {
    pub(crate) fn new(number: usize, plan: Plan) -> Self {
        Self {
            plan,
            number,
            router: None,
            asleep: None,
            slept_from: 0,
            fault: false,
            epoch: Instant::now(),
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.router.is_some()
    }

    /// Whether it may become master.
    pub(crate) fn able(&self) -> bool {
        self.runs() && self.asleep.is_none() && !self.fault
    }

    pub(crate) fn priority(&self) -> Priority {
        let router = self.router.as_ref();
        let machine = router.map(|r| r.instances()[0].machine());
        machine.map_or(
            self.plan.settings.priority,
            lb_daemon::core::vrrp::Machine::priority,
        )
    }

    pub(crate) fn states(&self) -> Vec<State> {
        let instances = self
            .router
            .iter()
            .flat_map(lb_daemon::core::vrrp::Router::instances);
        instances.map(|i| i.machine().state()).collect()
    }

    /// Whether it is awake and master on any network.
    pub(crate) fn is_master(&self) -> bool {
        self.asleep.is_none() && self.states().contains(&State::Master)
    }

    pub(crate) fn turn_on(&mut self, now: Time) -> Vec<(usize, Effect)> {
        let mut router = Router::new();
        let group = (self.plan.networks > 1).then_some(0);
        for network in 0..self.plan.networks {
            let address = address(network, self.number);
            router.add(
                format!("net{network}"),
                self.plan.settings.clone(),
                address,
                group,
            );
        }
        self.router = Some(router);
        let mut out = Vec::new();
        for network in 0..self.plan.networks {
            if self.fault {
                out.extend(self.tell(now, network, Event::Fault));
            }
            out.extend(self.tell(now, network, Event::Start));
        }
        out
    }

    pub(crate) fn turn_off(&mut self) {
        self.router = None;
        self.asleep = None;
    }

    pub(crate) fn tell(&mut self, now: Time, network: usize, event: Event) -> Vec<(usize, Effect)> {
        let mut out = Vec::new();
        let local = self.local(now);
        if let Some(router) = &mut self.router {
            router.handle(local, network, event, &mut out);
        }
        out
    }

    pub(crate) fn tell_all(&mut self, now: Time, event: Event) -> Vec<(usize, Effect)> {
        (0..self.plan.networks)
            .flat_map(|network| self.tell(now, network, event))
            .collect()
    }

    pub(crate) fn tick(&mut self, now: Time) -> Vec<(usize, Effect)> {
        let mut out = Vec::new();
        let local = self.local(now);
        if let Some(router) = &mut self.router {
            router.tick(local, &mut out);
        }
        out
    }

    /// When it has something to do, in virtual time.
    pub(crate) fn due(&self) -> Option<Time> {
        if self.asleep.is_some() {
            return None;
        }
        let local = self
            .router
            .as_ref()?
            .due()?
            .saturating_duration_since(self.epoch);
        let gain = i128::from(1_000_000 + self.plan.drift);
        let nanos = local.as_nanos() as i128 * 1_000_000;
        // Rounded up, so that at that time its clock is there.
        Some(((nanos + gain - 1) / gain) as Time)
    }

    /// Its own clock's time.
    fn local(&self, now: Time) -> Instant {
        let gain = i128::from(1_000_000 + self.plan.drift);
        self.epoch + Duration::from_nanos((i128::from(now) * gain / 1_000_000) as u64)
    }

    pub(crate) fn message(&self, network: usize, effect: &Effect) -> Option<Message> {
        let Effect::Send(claim) = *effect else {
            return None;
        };
        let settings = &self.plan.settings;
        let packet = Packet {
            version: settings.version,
            vrid: settings.vrid,
            claim,
            interval: settings.interval,
            auth: settings.auth,
            addresses: settings.addresses.clone(),
        };
        let source = address(network, self.number);
        Some(Message {
            network,
            from: self.number,
            bytes: packet.encode(source, multicast_group(source)),
        })
    }

    pub(crate) fn receive(
        &mut self,
        now: Time,
        message: &Message,
    ) -> Result<Vec<(usize, Effect)>, Reject> {
        let Some(router) = &self.router else {
            return Ok(Vec::new());
        };
        let machine = router.instances()[message.network].machine();
        let source = address(message.network, message.from);
        let datagram = Datagram {
            source,
            destination: multicast_group(source),
            ttl: 255,
            payload: &message.bytes,
        };
        let arrival = Arrival {
            own: machine.address(),
            known_master: machine.master().map(|m| m.source),
            wall: Duration::ZERO,
        };
        let heard = admit(
            machine.settings(),
            &arrival,
            &mut Seal::default(),
            &datagram,
        )?;
        Ok(self.tell(now, message.network, Event::Advert(heard)))
    }
}

fn address(network: usize, number: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, network as u8, 10 + number as u8).into()
}
