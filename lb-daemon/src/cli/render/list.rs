//! `lbctl list`: the lines of `ipvsadm -Ln`, and what it does not know at their ends.

use std::fmt::Write as _;

use super::style::{Role, Style};
use crate::api::types::{MethodName, Real, RealState, Service};

/// What the columns show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// Method, weight, active and inactive connections.
    #[default]
    Connections,
    /// Upper and lower threshold, active and inactive connections.
    Thresholds,
    /// Weight, persistence templates, active and inactive connections.
    Persistent,
}

/// The table of services and real servers.
pub fn services(services: &[Service], columns: Columns, style: Style) -> String {
    let heading = match columns {
        Columns::Connections => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"
        }
        Columns::Thresholds => {
            "Prot LocalAddress:Port            uthreshold lthreshold ActiveConn InActConn\n  -> RemoteAddress:Port"
        }
        Columns::Persistent => {
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn\n  -> RemoteAddress:Port"
        }
    };
    let mut out = String::new();
    for line in heading.lines() {
        let _ = writeln!(out, "{}", style.paint(Role::Heading, line));
    }
    for service in services {
        service_line(&mut out, service);
        for real in &service.reals {
            real_line(&mut out, real, columns, style);
        }
    }
    out
}

fn service_line(out: &mut String, service: &Service) {
    let _ = write!(
        out,
        "{:<4} {} {}",
        service.listener.protocol.name().to_uppercase(),
        service.listener.address,
        service.scheduler,
    );
    if let Some(persistence) = &service.persistence {
        let _ = write!(out, " persistent {}", persistence.timeout);
        if let Some(mask) = persistence.mask.filter(|mask| *mask != 32) {
            let _ = write!(out, " mask {}", dotted(mask));
        }
    }
    if service.one_packet {
        out.push_str(" ops");
    }
    if !service.scheduler_flags.is_empty() {
        let _ = write!(out, " ({})", service.scheduler_flags.join(","));
    }
    out.push('\n');
    for also in &service.also {
        let _ = writeln!(
            out,
            "{:<4} {} (same service)",
            also.protocol.name().to_uppercase(),
            also.address
        );
    }
}

fn real_line(out: &mut String, real: &Real, columns: Columns, style: Style) {
    let address = &real.address;
    // The one that counts, as ipvsadm lists it beside keepalived.
    let weight = real.checked_weight.unwrap_or(real.weight);
    let mut line = match columns {
        Columns::Connections => format!(
            "  -> {address:<28} {:<7} {:<6} {:<10} {:<9}",
            forward(real.method),
            weight,
            real.active,
            real.inactive,
        ),
        Columns::Thresholds => format!(
            "  -> {address:<28} {:<10} {:<10} {:<10} {:<9}",
            real.upper, real.lower, real.active, real.inactive,
        ),
        Columns::Persistent => format!(
            "  -> {address:<28} {:<9} {:<11} {:<10} {:<9}",
            weight, real.persistent, real.active, real.inactive,
        ),
    };
    let note = match (columns, real.state) {
        // The weight says it.
        (Columns::Connections, RealState::Up | RealState::Quiesced) => "",
        (Columns::Connections, state) => state.name(),
        (Columns::Thresholds | Columns::Persistent, _) => "",
    };
    if note.is_empty() {
        line.truncate(line.trim_end().len());
    } else {
        let _ = write!(line, " {}", style.paint(role(real.state), note));
    }
    let _ = writeln!(out, "{line}");
}

fn role(state: RealState) -> Role {
    match state {
        RealState::Up => Role::Good,
        RealState::Quiesced
        | RealState::Full
        | RealState::Draining
        | RealState::Removed
        | RealState::Unresolved
        | RealState::Aside
        | RealState::Sorry => Role::Warning,
        RealState::Down => Role::Bad,
    }
}

/// The forwarding method as ipvsadm lists it.
pub fn forward(method: MethodName) -> &'static str {
    match method {
        MethodName::Dr => "Route",
        MethodName::Tun => "Tunnel",
        MethodName::Nat => "Masq",
        MethodName::Local => "Local",
    }
}

/// A prefix length as ipvsadm writes an IPv4 mask.
fn dotted(prefix: u8) -> String {
    if prefix > 32 {
        return prefix.to_string();
    }
    let bits = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    std::net::Ipv4Addr::from(bits).to_string()
}
