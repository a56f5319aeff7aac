//! What do the maps have to say, for what is desired?
//!
//! The desired state in the maps' own terms, or a refusal of what they cannot hold. Nothing is read or written here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_common::abi::{Method, Timeouts, seconds_to_ticks, service};
use lb_common::conn::State;
use lb_common::sched::Scheduler;

use super::error::ApplyError;
use super::family::Family;
use crate::core::desired::{self, Desired, DesiredReal, DesiredService, ServiceId};
use crate::core::schedule::MhTable;

/// A service as the maps shall have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As the configuration names it.
    pub id: ServiceId,
    /// What tells it apart.
    pub key: ServiceId,
    /// All its virtual addresses and ports.
    pub keys: Vec<ServiceId>,
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// How its mh table is made.
    pub mh_table: MhTable,
    /// Bits of [`service`].
    pub flags: u16,
    /// Persistence timeout in ticks.
    pub persistence: u32,
    /// What tells persistent clients apart, as a plan has it.
    pub mask: u32,
    /// The number of the virtual router that its addresses are of.
    pub router: u32,
    /// Timeouts by state.
    pub timeouts: Timeouts,
    /// Its real servers, newest first.
    pub reals: Vec<TargetReal>,
}

/// A real server as the maps shall have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetReal {
    /// Its address and port.
    pub addr: SocketAddr,
    /// How packets reach it.
    pub method: Method,
    /// Its weight; 0 when it is down or drained.
    pub weight: u16,
    /// Upper threshold of connections.
    pub upper: u32,
    /// Lower threshold of connections.
    pub lower: u32,
    /// Found dead, or set aside.
    pub down: bool,
    /// Its connections are given up.
    pub reset: bool,
    /// Taken out of use by the operator.
    pub drained: bool,
    /// A SYN on one of its connections opens another one.
    pub syn_leaves: bool,
    /// Its UDP flows leave it with their next datagram.
    pub udp_leaves: bool,
}

/// Everything that is desired.
pub(super) fn targets(desired: &Desired) -> Result<Vec<Target>, ApplyError> {
    desired
        .services
        .iter()
        .map(|service| target(service, desired))
        .collect()
}

fn target(desired: &DesiredService, all: &Desired) -> Result<Target, ApplyError> {
    let expires = all.forwarding.expire_nodest_conn;
    let keys = desired
        .listeners()
        .map(|id| key(desired.id, id))
        .collect::<Result<Vec<_>, _>>()?;
    let reals = desired
        .reals
        .iter()
        .rev()
        .map(|r| real(desired, r, expires))
        .collect::<Result<_, _>>()?;
    Ok(Target {
        id: desired.id,
        key: desired.id,
        keys,
        scheduler: desired.scheduler,
        mh_table: mh_table(desired),
        flags: plan_flags(desired),
        persistence: desired.persistence.map_or(0, |p| ticks(p.timeout)),
        mask: desired.persistence.map_or(0, |p| mask(desired.id, p.mask)),
        router: desired.router,
        timeouts: profile(desired.timeouts.unwrap_or(all.connections.timeouts)),
        reals,
    })
}

/// A virtual address or network and port, if the maps can hold it in a service.
fn key(service: ServiceId, id: ServiceId) -> Result<ServiceId, ApplyError> {
    same_family(service, id.addr)?;
    if Family::of(id.addr) == Family::V6 && !id.is_host() {
        return Err(unsupported(
            service,
            "a virtual network of IPv6",
            "write its addresses one by one",
        ));
    }
    Ok(id)
}

fn same_family(service: ServiceId, addr: IpAddr) -> Result<(), ApplyError> {
    if Family::of(addr) == Family::of(service.addr) {
        return Ok(());
    }
    Err(unsupported(
        service,
        "an address of the other family",
        "write addresses of the service's own family",
    ))
}

fn real(
    service: &DesiredService,
    desired: &DesiredReal,
    expires: bool,
) -> Result<TargetReal, ApplyError> {
    let DesiredReal {
        addr,
        port,
        method,
        upper,
        lower,
        down,
        reset,
        drained,
        weight: _,
    } = *desired;
    same_family(service.id, addr)?;
    let weight = desired.effective_weight();
    // A client that is kept here would be sent here again.
    let holds_clients = service.persistence.is_some_and(|p| !p.leave_quiesced) && !drained;
    Ok(TargetReal {
        addr: SocketAddr::new(addr, port),
        method,
        weight,
        upper,
        lower,
        down,
        reset: reset || expires && down,
        drained,
        syn_leaves: expires && weight == 0,
        udp_leaves: service.udp_leaves_quiesced && weight == 0 && !holds_clients,
    })
}

fn unsupported(service: ServiceId, what: &'static str, hint: &'static str) -> ApplyError {
    ApplyError::Unsupported {
        service,
        what,
        hint,
    }
}

/// How a service's mh table is made.
pub fn mh_table(desired: &DesiredService) -> MhTable {
    if desired.scheduler_flags.kernel_table {
        MhTable::Kernel
    } else {
        MhTable::Fine
    }
}

/// The bits of [`service`] that a service's plan has.
pub fn plan_flags(desired: &DesiredService) -> u16 {
    let options = desired.scheduler_flags;
    [
        (desired.one_packet, service::ONE_PACKET),
        (
            desired.persistence.is_some_and(|p| p.leave_quiesced),
            service::LEAVE_QUIESCED,
        ),
        (options.port, service::SH_PORT | service::MH_PORT),
        (
            options.fallback,
            service::SH_FALLBACK | service::MH_FALLBACK,
        ),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(0, |flags, (_, bits)| flags | bits)
}

/// IPVS's timeouts, with those that can be set.
fn profile(set: desired::Timeouts) -> Timeouts {
    let mut timeouts = Timeouts::ipvs();
    for (state, timeout) in [
        (State::Established, set.tcp),
        (State::FinWait, set.tcp_fin),
        (State::UdpOnce, set.udp),
        (State::UdpAssured, set.udp),
    ] {
        if let Some(slot) = timeouts.ticks.get_mut(state as usize) {
            *slot = ticks(timeout);
        }
    }
    timeouts
}

/// A timeout in ticks; a part of a second counts as a whole one.
fn ticks(timeout: Duration) -> u32 {
    seconds_to_ticks(
        timeout
            .as_secs()
            .saturating_add(u64::from(timeout.subsec_nanos() > 0))
            .min(u32::MAX.into()),
    )
}

/// What tells the persistent clients of a service apart, of whose addresses so many leading bits count.
fn mask(service: ServiceId, bits: u8) -> u32 {
    match Family::of(service.addr) {
        Family::V4 => netmask(bits),
        Family::V6 => bits.into(),
    }
}

fn netmask(bits: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(bits.min(32)))
        .unwrap_or(0)
        .to_be()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks_stand_in_network_order() {
        assert_eq!(netmask(24).to_ne_bytes(), [255, 255, 255, 0]);
        assert_eq!(netmask(0), 0);
        assert_eq!(netmask(32), u32::MAX);
    }

    #[test]
    fn only_the_timeouts_that_can_be_set_are_set() {
        let set = desired::Timeouts {
            tcp: Duration::from_secs(60),
            tcp_fin: Duration::from_millis(1500),
            udp: Duration::from_secs(10),
        };
        let (ours, ipvs) = (profile(set), Timeouts::ipvs());
        assert_eq!(
            ours.ticks[State::Established as usize],
            seconds_to_ticks(60)
        );
        assert_eq!(ours.ticks[State::FinWait as usize], seconds_to_ticks(2));
        assert_eq!(ours.ticks[State::UdpAssured as usize], seconds_to_ticks(10));
        assert_eq!(
            ours.ticks[State::TimeWait as usize],
            ipvs.ticks[State::TimeWait as usize]
        );
        assert_eq!(profile(desired::Timeouts::default()), ipvs);
    }
}
