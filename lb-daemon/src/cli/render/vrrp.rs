//! `lbctl vrrp`: who is master, and why.

use std::fmt::Write as _;

use super::number::{grouped, long_time, plural};
use super::style::{Role, Style};
use crate::api::types::{VirtualRouter, Vrrp, VrrpEvent};

/// A line for each virtual router, and below it what an operator should know about it.
pub fn table(vrrp: &Vrrp, style: Style) -> String {
    if vrrp.routers.is_empty() {
        return "no virtual routers are configured\n".to_owned();
    }
    let mut rows = vec![
        [
            "Router",
            "Interface",
            "VRID",
            "State",
            "Since",
            "Priority",
            "Master",
            "Addresses",
        ]
        .map(str::to_owned),
    ];
    rows.extend(vrrp.routers.iter().map(cells));
    let widths = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS).map(|n| widths(n).unwrap_or(0)).collect();
    let mut out = String::new();
    for (n, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // The last column needs no padding; a cell with colour is padded outside of it.
            let pad = if column + 1 < COLUMNS {
                width.saturating_sub(cell.chars().count()) + 2
            } else {
                0
            };
            let text = match (n, column) {
                (0, _) => style.paint(Role::Heading, cell),
                (_, STATE) => style.paint(role(cell), cell),
                _ => cell.clone(),
            };
            let _ = write!(line, "{text}{:pad$}", "");
        }
        let _ = writeln!(out, "{}", line.trim_end());
        if let Some(router) = n.checked_sub(1).and_then(|n| vrrp.routers.get(n)) {
            details(&mut out, router, style);
        }
    }
    timers(&mut out, vrrp, style);
    out
}

const COLUMNS: usize = 8;
const STATE: usize = 3;

fn cells(router: &VirtualRouter) -> [String; COLUMNS] {
    let priority = if router.priority == router.base_priority {
        router.priority.to_string()
    } else {
        format!("{} ({})", router.priority, router.base_priority)
    };
    let master = match (&router.master, router.master_priority) {
        _ if router.state == "master" => "this director".to_owned(),
        (Some(master), Some(0)) => format!("{master}, leaving"),
        (Some(master), Some(priority)) => format!("{master}, {priority}"),
        (Some(master), None) => master.clone(),
        (None, _) => "-".to_owned(),
    };
    [
        router.name.clone(),
        router.interface.clone(),
        router.virtual_router_id.to_string(),
        router.state.clone(),
        router.since.map_or_else(|| "-".to_owned(), long_time),
        priority,
        master,
        router.addresses.join(", "),
    ]
}

fn role(state: &str) -> Role {
    match state {
        "master" => Role::Good,
        "fault" => Role::Bad,
        _ => Role::Faint,
    }
}

fn details(out: &mut String, router: &VirtualRouter, style: Style) {
    for fault in &router.faults {
        let _ = writeln!(out, "  {} {fault}", style.paint(Role::Bad, "fault:"));
    }
    for moved in &router.moved_by {
        let _ = writeln!(out, "  {} {moved}", style.paint(Role::Faint, "priority:"));
    }
    let group = router.group.as_ref();
    let group = group.map_or_else(String::new, |group| format!(", group {group}"));
    let mac = router.virtual_mac.as_ref();
    let mac = mac.map_or_else(String::new, |mac| format!(", virtual MAC {mac}"));
    let _ = writeln!(
        out,
        "  {} version {}, every {} ms, sent {}, heard {}, master {}{group}{mac}",
        style.paint(Role::Faint, "adverts:"),
        router.version,
        router.advert_interval,
        grouped(router.sent),
        grouped(router.heard),
        plural_times(router.masterships),
    );
    if let Some(mac) = &router.claimed_by {
        let _ = writeln!(
            out,
            "  {} others claimed its addresses {}, the last was {mac}",
            style.paint(Role::Warning, "conflict:"),
            plural_times(router.claims),
        );
    }
    for rejected in &router.rejected {
        let _ = writeln!(
            out,
            "  {} {} not heeded: {}",
            style.paint(Role::Warning, "rejected:"),
            grouped(rejected.packets),
            rejected.about
        );
    }
}

fn plural_times(n: u64) -> String {
    match n {
        1 => "once".to_owned(),
        n => plural(usize::try_from(n).unwrap_or(usize::MAX), "time"),
    }
}

fn timers(out: &mut String, vrrp: &Vrrp, style: Style) {
    let warning = style.paint(Role::Warning, "warning:");
    if !vrrp.realtime {
        let _ = writeln!(
            out,
            "{warning} no real-time priority: a busy machine may delay advertisements"
        );
    }
    if vrrp.late_timers > 0 {
        let _ = writeln!(
            out,
            "{warning} {} timers were more than 10 ms late, the worst by {} ms",
            grouped(vrrp.late_timers),
            vrrp.latest_timer
        );
    }
    for (unread, whose) in [
        (vrrp.unread, "that seem to be of no master"),
        (vrrp.unread_of_masters, "that seem to be of a master"),
    ] {
        if unread > 0 {
            let _ = writeln!(
                out,
                "{warning} {} packets {whose} came faster than they are looked at",
                grouped(unread)
            );
        }
    }
}

/// `VI_1: backup → master, priority 100: no master was heard`
pub fn event(event: &VrrpEvent, style: Style) -> String {
    let VrrpEvent {
        router,
        from,
        to,
        priority,
        why,
    } = event;
    let to = style.paint(role(to), to);
    format!("{router}: {from} → {to}, priority {priority}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Rejected;

    fn router(name: &str, state: &str) -> VirtualRouter {
        VirtualRouter {
            name: name.into(),
            interface: "eth0".into(),
            virtual_router_id: 51,
            version: 2,
            state: state.into(),
            since: Some(3_723),
            priority: 100,
            base_priority: 100,
            moved_by: Vec::new(),
            faults: Vec::new(),
            advert_interval: 1_000,
            source: Some("192.0.2.1".into()),
            master: None,
            master_priority: None,
            addresses: vec!["192.0.2.80/24".into()],
            group: None,
            virtual_mac: None,
            masterships: 1,
            claims: 0,
            claimed_by: None,
            sent: 3_724,
            heard: 0,
            rejected: Vec::new(),
        }
    }

    #[test]
    fn each_router_has_a_line_and_below_it_what_matters() {
        let mut backup = router("VI_2", "backup");
        backup.priority = 50;
        backup.moved_by = vec!["service web is down: -50".into()];
        backup.master = Some("192.0.2.2".into());
        backup.master_priority = Some(150);
        backup.group = Some("both".into());
        backup.virtual_mac = Some("00:00:5e:00:01:34".into());
        backup.claims = 3;
        backup.claimed_by = Some("02:00:00:00:00:a1".into());
        backup.rejected = vec![Rejected {
            reason: "ttl".into(),
            about: "its TTL is not 255, so it comes from beyond a router".into(),
            packets: 7,
        }];
        let mut fault = router("VI_3", "fault");
        fault.faults = vec!["interface eth0 is down".into()];
        fault.since = None;
        let vrrp = Vrrp {
            realtime: true,
            late_timers: 2,
            latest_timer: 40,
            unread: 1_234,
            unread_of_masters: 0,
            routers: vec![router("VI_1", "master"), backup, fault],
        };
        assert_eq!(
            table(&vrrp, Style::PLAIN),
            "\
Router  Interface  VRID  State   Since      Priority  Master          Addresses
VI_1    eth0       51    master  1 h 2 min  100       this director   192.0.2.80/24
  adverts: version 2, every 1000 ms, sent 3,724, heard 0, master once
VI_2    eth0       51    backup  1 h 2 min  50 (100)  192.0.2.2, 150  192.0.2.80/24
  priority: service web is down: -50
  adverts: version 2, every 1000 ms, sent 3,724, heard 0, master once, group both, virtual MAC 00:00:5e:00:01:34
  conflict: others claimed its addresses 3 times, the last was 02:00:00:00:00:a1
  rejected: 7 not heeded: its TTL is not 255, so it comes from beyond a router
VI_3    eth0       51    fault   -          100       -               192.0.2.80/24
  fault: interface eth0 is down
  adverts: version 2, every 1000 ms, sent 3,724, heard 0, master once
warning: 2 timers were more than 10 ms late, the worst by 40 ms
warning: 1,234 packets that seem to be of no master came faster than they are looked at
"
        );
        assert_eq!(
            table(&Vrrp::default(), Style::PLAIN),
            "no virtual routers are configured\n"
        );
    }
}
