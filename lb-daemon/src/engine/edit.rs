//! What does a request make of the configuration? From a model and a request to another model, not checked yet.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::find;
use crate::api::types::{
    self, AddReal, AddService, EditReal, EditService, Kind, Listener, MethodName, Problem,
    TimeoutsPatch,
};
use crate::config::model::{Model, OwnTimeouts, Real, Service};
use crate::config::value::{self, PERSISTENCE, THRESHOLD, TIMEOUT, WEIGHT, Wrong};
use crate::core::desired::{Method, Persistence, Scheduler, SchedulerFlags, full_prefix};

/// Puts another service behind the others.
pub(crate) fn push_service(model: &mut Model, request: &AddService) -> Result<(), Problem> {
    let id = find::listener(&Listener {
        protocol: request.protocol,
        address: request.address.clone(),
    })?;
    let failed = |wrong| Problem::from(wrong).on(&format!("cannot add service {id}"));
    if let Some(there) = model
        .services
        .iter()
        .find(|service| service.listeners().any(|listener| listener == id))
    {
        return Err(
            Problem::new(Kind::Conflict, format!("cannot add service {id}"))
                .why(format!("it exists already, by the name `{}`", there.name))
                .hint("change it with `lbctl edit-service`"),
        );
    }
    let mut service = Service::new(id);
    service.also = request
        .also
        .iter()
        .map(find::listener)
        .collect::<Result<_, _>>()?;
    if let Some(name) = &request.name {
        service.name = value::name(name).map_err(failed)?;
    }
    if let Some(name) = &request.scheduler {
        service.scheduler = value::scheduler(name).map_err(failed)?;
    }
    service.scheduler_flags = flags(service.scheduler, &request.scheduler_flags)?;
    if let Some(persistence) = request.persistence {
        service.persistence = Some(self::persistence(persistence, id.addr).map_err(failed)?);
    }
    service.one_packet = request.one_packet;
    service.timeouts = own_timeouts(OwnTimeouts::default(), request.timeouts).map_err(failed)?;
    if let Some(name) = request.method {
        service.method = method(name)?;
    }
    for real in &request.reals {
        push_real(&mut service, real)?;
    }
    model.services.push(service);
    Ok(())
}

/// With a service changed in what the request names.
pub(crate) fn edit_service(
    model: &Model,
    place: usize,
    request: &EditService,
) -> Result<Model, Problem> {
    let mut model = model.clone();
    let service = at(&mut model, place)?;
    let subject = format!("cannot change service {}", service.name);
    let failed = |wrong| Problem::from(wrong).on(&subject);
    if let Some(name) = &request.name {
        service.name = value::name(name).map_err(failed)?;
    }
    if let Some(name) = &request.scheduler {
        let scheduler = value::scheduler(name).map_err(failed)?;
        if scheduler != service.scheduler {
            service.scheduler = scheduler;
            // Flags are the scheduler's own; another one begins without.
            service.scheduler_flags = SchedulerFlags::default();
        }
    }
    if let Some(names) = &request.scheduler_flags {
        service.scheduler_flags = flags(service.scheduler, names)?;
    }
    if let Some(change) = request.persistence {
        let kept = service.persistence;
        service.persistence = change
            .map(|new| types::Persistence {
                mask: new.mask.or(kept.map(|kept| kept.mask)),
                leave_quiesced: new.leave_quiesced.or(kept.map(|kept| kept.leave_quiesced)),
                ..new
            })
            .map(|new| persistence(new, service.id.addr))
            .transpose()
            .map_err(failed)?;
    }
    if let Some(one_packet) = request.one_packet {
        service.one_packet = one_packet;
    }
    if let Some(change) = request.timeouts {
        service.timeouts = match change {
            Some(patch) => own_timeouts(service.timeouts, patch).map_err(failed)?,
            None => OwnTimeouts::default(),
        };
    }
    if let Some(name) = request.method {
        service.method = method(name)?;
    }
    Ok(model)
}

/// Without a service.
pub(crate) fn remove_service(model: &Model, place: usize) -> Model {
    let mut model = model.clone();
    if place < model.services.len() {
        model.services.remove(place);
    }
    model
}

/// With another real server in a service; also where it is.
pub(crate) fn add_real(
    model: &Model,
    place: usize,
    request: &AddReal,
) -> Result<(Model, usize), Problem> {
    let mut model = model.clone();
    let service = at(&mut model, place)?;
    push_real(service, request)?;
    let real = service.reals.len() - 1;
    Ok((model, real))
}

/// With a real server changed in what the request names.
pub(crate) fn edit_real(
    model: &Model,
    (place, real): (usize, usize),
    request: &EditReal,
) -> Result<Model, Problem> {
    let mut model = model.clone();
    let service = at(&mut model, place)?;
    let subject = format!("cannot change a real server of service {}", service.name);
    let failed = |wrong| Problem::from(wrong).on(&subject);
    let real = service.reals.get_mut(real).ok_or_else(vanished)?;
    if let Some(name) = request.method {
        real.method = Some(method(name)?);
    }
    if let Some(weight) = request.weight {
        real.weight = self::weight(weight).map_err(failed)?;
    }
    if let Some(upper) = request.upper {
        real.upper = number("the upper threshold", upper, THRESHOLD).map_err(failed)?;
    }
    if let Some(lower) = request.lower {
        real.lower = number("the lower threshold", lower, THRESHOLD).map_err(failed)?;
    }
    Ok(model)
}

/// Without a real server.
pub(crate) fn remove_real(model: &Model, (place, real): (usize, usize)) -> Result<Model, Problem> {
    let mut model = model.clone();
    let service = at(&mut model, place)?;
    if real < service.reals.len() {
        service.reals.remove(real);
    }
    Ok(model)
}

/// With other timeouts of the director.
pub(crate) fn set_timeouts(model: &Model, patch: TimeoutsPatch) -> Result<Model, Problem> {
    let failed = |wrong| Problem::from(wrong).on("cannot set the timeouts");
    let mut model = model.clone();
    let OwnTimeouts { tcp, tcp_fin, udp } =
        own_timeouts(OwnTimeouts::default(), patch).map_err(failed)?;
    let timeouts = &mut model.connections.timeouts;
    timeouts.tcp = tcp.unwrap_or(timeouts.tcp);
    timeouts.tcp_fin = tcp_fin.unwrap_or(timeouts.tcp_fin);
    timeouts.udp = udp.unwrap_or(timeouts.udp);
    Ok(model)
}

fn push_real(service: &mut Service, request: &AddReal) -> Result<(), Problem> {
    let (addr, port) = find::real_address(&request.address)?;
    let mut real = Real::new(addr, port.unwrap_or_else(|| service.real_port()));
    let subject = format!(
        "cannot add real server {} to service {}",
        real.id(),
        service.name
    );
    let failed = |wrong| Problem::from(wrong).on(&subject);
    if let Some(there) = service.reals.iter().find(|there| there.id() == real.id()) {
        return Err(Problem::new(Kind::Conflict, subject)
            .why(format!("it is there already, with weight {}", there.weight))
            .hint("change it with `lbctl edit-real`"));
    }
    if let Some(name) = request.method {
        real.method = Some(method(name)?).filter(|method| *method != service.method);
    }
    if let Some(weight) = request.weight {
        real.weight = self::weight(weight).map_err(failed)?;
    }
    real.upper =
        number("the upper threshold", request.upper.unwrap_or(0), THRESHOLD).map_err(failed)?;
    real.lower =
        number("the lower threshold", request.lower.unwrap_or(0), THRESHOLD).map_err(failed)?;
    service.reals.push(real);
    Ok(())
}

fn at(model: &mut Model, place: usize) -> Result<&mut Service, Problem> {
    model.services.get_mut(place).ok_or_else(vanished)
}

/// A place that was found a moment ago is not there.
fn vanished() -> Problem {
    Problem::failed("the service or real server is not there any more").hint("try again")
}

fn method(name: MethodName) -> Result<Method, Problem> {
    match name {
        MethodName::Dr => Ok(Method::Dr),
        MethodName::Tun => Ok(Method::Tun),
        MethodName::Nat => Ok(Method::Nat),
        MethodName::Local => Err(Problem::invalid("`local` is not a method that can be asked for")
            .why("a real server with an address of the director's own is served locally whatever its method")
            .hint("write `dr`, `tun` or `nat`")),
    }
}

fn flags(scheduler: Scheduler, names: &[String]) -> Result<SchedulerFlags, Problem> {
    let mut flags = SchedulerFlags::default();
    for name in names {
        let flag = value::scheduler_flag(name).map_err(|wrong| {
            Problem::from(wrong).on(&format!("`{name}` is not a flag of a scheduler"))
        })?;
        if flag.of != scheduler {
            return Err(Problem::invalid(format!(
                "the scheduler `{}` has no flag `{name}`",
                scheduler.name()
            ))
            .hint(format!(
                "leave the flag out, or choose the scheduler `{}`",
                flag.of.name()
            )));
        }
        flags.port |= flag.sets.port;
        flags.fallback |= flag.sets.fallback;
        flags.kernel_table |= flag.sets.kernel_table;
    }
    Ok(flags)
}

fn persistence(asked: types::Persistence, vip: IpAddr) -> Result<Persistence, Wrong> {
    Ok(Persistence {
        timeout: seconds("persistence", asked.timeout, PERSISTENCE)?,
        mask: asked.mask.unwrap_or_else(|| full_prefix(vip)),
        leave_quiesced: asked.leave_quiesced.unwrap_or(false),
    })
}

fn own_timeouts(old: OwnTimeouts, patch: TimeoutsPatch) -> Result<OwnTimeouts, Wrong> {
    let timeout = |name, new: Option<u64>, old| match new {
        Some(new) => seconds(name, new, TIMEOUT).map(Some),
        None => Ok(old),
    };
    Ok(OwnTimeouts {
        tcp: timeout("tcp", patch.tcp, old.tcp)?,
        tcp_fin: timeout("tcp_fin", patch.tcp_fin, old.tcp_fin)?,
        udp: timeout("udp", patch.udp, old.udp)?,
    })
}

fn weight(weight: u32) -> Result<u16, Wrong> {
    let weight = number("the weight", weight, WEIGHT)?;
    Ok(u16::try_from(weight).unwrap_or(u16::MAX))
}

fn number(name: &str, n: u32, range: RangeInclusive<u32>) -> Result<u32, Wrong> {
    value::number(&n.to_string(), range).map_err(|wrong| wrong.of(name))
}

fn seconds(name: &str, n: u64, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    value::seconds(&format!("{n}s"), range).map_err(|wrong| wrong.of(name))
}

impl Wrong {
    /// Names the value that is wrong.
    fn of(self, name: &str) -> Self {
        Self {
            takes: format!("{name}: {}", self.takes),
            ..self
        }
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        Self::invalid("a value is not what it should be")
            .why(wrong.takes)
            .hint(wrong.hint)
    }
}

impl Problem {
    /// Says what failed.
    fn on(self, error: &str) -> Self {
        Self {
            error: error.to_owned(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_web() -> Model {
        let request = serde_json::from_str(
            r#"{"protocol": "tcp", "address": "192.0.2.1:80", "name": "web", "scheduler": "wrr",
                "reals": [{"address": "10.0.0.1", "weight": 3}, {"address": "10.0.0.2:8080", "method": "nat"}]}"#,
        )
        .unwrap();
        let mut model = Model::default();
        push_service(&mut model, &request).unwrap();
        model
    }

    fn edit(json: &str) -> Result<Service, Problem> {
        let model = edit_service(&with_web(), 0, &serde_json::from_str(json).unwrap())?;
        Ok(model.services[0].clone())
    }

    #[test]
    fn what_is_not_said_is_as_with_ipvsadm() {
        let model = with_web();
        let web = &model.services[0];
        assert_eq!(
            (web.name.as_str(), web.scheduler, web.method),
            ("web", Scheduler::Wrr, Method::Dr)
        );
        let [first, second] = web.reals.as_slice() else {
            panic!()
        };
        assert_eq!((first.port, first.weight, first.method), (80, 3, None));
        assert_eq!(
            (second.port, second.weight, second.method),
            (8080, 1, Some(Method::Nat))
        );
        let bare =
            serde_json::from_str(r#"{"protocol": "udp", "address": "192.0.2.1:53"}"#).unwrap();
        let mut model = model;
        push_service(&mut model, &bare).unwrap();
        assert_eq!(
            (model.services[1].name.as_str(), model.services[1].scheduler),
            ("udp-192.0.2.1-53", Scheduler::Wlc)
        );
    }

    #[test]
    fn an_edit_touches_what_it_names() {
        let before = with_web().services.remove(0);
        assert_eq!(edit("{}").unwrap(), before);
        let after = edit(r#"{"scheduler": "sh", "scheduler_flags": ["sh-port"]}"#).unwrap();
        assert_eq!(after.scheduler, Scheduler::Sh);
        assert!(after.scheduler_flags.port && !after.scheduler_flags.fallback);
        assert_eq!(
            Service {
                scheduler: before.scheduler,
                scheduler_flags: before.scheduler_flags,
                ..after
            },
            before
        );
        let after =
            edit(r#"{"persistence": {"timeout": 60, "mask": 24}, "timeouts": {"udp": 30}}"#)
                .unwrap();
        assert_eq!(
            after.persistence,
            Some(Persistence {
                timeout: Duration::from_secs(60),
                mask: 24,
                leave_quiesced: false,
            })
        );
        assert_eq!(after.timeouts.udp, Some(Duration::from_secs(30)));
        let model = Model {
            services: vec![after],
            ..Model::default()
        };
        let request: EditService =
            serde_json::from_str(r#"{"persistence": {"timeout": 90}}"#).unwrap();
        let after = edit_service(&model, 0, &request).unwrap();
        assert_eq!(
            after.services[0].persistence,
            Some(Persistence {
                timeout: Duration::from_secs(90),
                mask: 24,
                leave_quiesced: false,
            })
        );
        let request: EditService =
            serde_json::from_str(r#"{"persistence": null, "timeouts": null}"#).unwrap();
        let after = edit_service(&after, 0, &request).unwrap();
        assert_eq!(after.services[0].persistence, None);
        assert!(after.services[0].timeouts.is_empty());
    }

    #[test]
    fn another_scheduler_begins_without_flags() {
        let model = Model {
            services: vec![edit(r#"{"scheduler": "sh", "scheduler_flags": ["sh-port"]}"#).unwrap()],
            ..Model::default()
        };
        let request: EditService = serde_json::from_str(r#"{"scheduler": "mh"}"#).unwrap();
        assert_eq!(
            edit_service(&model, 0, &request).unwrap().services[0].scheduler_flags,
            SchedulerFlags::default()
        );
    }

    #[test]
    fn real_servers_keep_their_place_through_an_edit() {
        let model = edit_real(
            &with_web(),
            (0, 0),
            &EditReal {
                weight: Some(0),
                ..EditReal::default()
            },
        )
        .unwrap();
        assert_eq!(model.services[0].reals[0].weight, 0);
        assert_eq!(model.services[0].reals[1], with_web().services[0].reals[1]);
        let model = remove_real(&model, (0, 0)).unwrap();
        assert_eq!(model.services[0].reals, with_web().services[0].reals[1..]);
        assert!(remove_service(&model, 0).services.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let add = |json: &str| {
            push_service(&mut with_web(), &serde_json::from_str(json).unwrap()).unwrap_err()
        };
        for (json, says) in [
            (
                r#"{"protocol": "tcp", "address": "192.0.2.1:80"}"#,
                "exists already",
            ),
            (r#"{"protocol": "tcp", "address": "192.0.2.9"}"#, "port"),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "scheduler": "wlcc"}"#,
                "did you mean `wlc`",
            ),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "name": "a b"}"#,
                "a-b",
            ),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "scheduler": "rr", "scheduler_flags": ["sh-port"]}"#,
                "has no flag",
            ),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "persistence": {"timeout": 0}}"#,
                "the least is 1s",
            ),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "timeouts": {"tcp": 99999999999}}"#,
                "the most is",
            ),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "method": "local"}"#,
                "dr",
            ),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "reals": [{"address": "10.0.0.1"}, {"address": "10.0.0.1:80"}]}"#,
                "there already",
            ),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "reals": [{"address": "10.0.0.1", "weight": 65536}]}"#,
                "the most is 65535",
            ),
            (
                r#"{"protocol": "tcp", "address": "192.0.2.9:80", "reals": [{"address": "10.0.0.1", "upper": 4294967295}]}"#,
                "upper threshold",
            ),
        ] {
            let problem = add(json);
            let text = format!(
                "{problem} {} {}",
                problem.why.clone().unwrap_or_default(),
                problem.hint.clone().unwrap_or_default()
            );
            assert!(text.contains(says), "{json}: {text}");
        }
    }
}
