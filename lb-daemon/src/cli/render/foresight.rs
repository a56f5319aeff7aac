//! `lbctl explain` and `lbctl simulate`.

use std::fmt::Write as _;

use super::number::grouped;
use super::style::{Role, Style};
use crate::api::types::{
    Both, Candidate, DecidedBy, Explanation, Live, RealState, SimulatedReal, Simulation,
};

/// Where a connection goes, why, and how the real servers compare.
pub fn explanation(answer: &Explanation, style: Style) -> String {
    let mut out = String::new();
    let flow = &answer.flow;
    let end = match (&answer.real, answer.decided_by) {
        (Some(real), _) => style.paint(Role::Good, real),
        (None, DecidedBy::NoService) => style.paint(Role::Warning, "no service"),
        (None, DecidedBy::Standby) => style.paint(Role::Warning, "another director"),
        (None, DecidedBy::Nobody) => style.paint(Role::Bad, "nobody"),
        (None, DecidedBy::Scheduler | DecidedBy::Template | DecidedBy::Connection) => {
            "by lot".to_owned()
        }
    };
    let _ = writeln!(
        out,
        "{} {} -> {} -> {end}",
        flow.protocol.name(),
        flow.client,
        flow.vip
    );
    for reason in &answer.reasons {
        let _ = writeln!(out, "  {reason}");
    }
    if !answer.candidates.is_empty() {
        let heading = "  -> RemoteAddress:Port      Weight ActiveConn InActConn Compared";
        let _ = writeln!(out, "{}", style.paint(Role::Heading, heading));
    }
    for candidate in &answer.candidates {
        let line = candidate_line(candidate);
        let line = if candidate.chosen {
            style.paint(Role::Good, &line)
        } else {
            line
        };
        let _ = writeln!(out, "{line}");
    }
    out
}

fn candidate_line(candidate: &Candidate) -> String {
    let Candidate {
        address,
        weight,
        active,
        inactive,
        state,
        score,
        chance,
        chosen,
    } = candidate;
    let mark = if *chosen { '*' } else { ' ' };
    let mut line = format!("{mark} -> {address:<23} {weight:<6} {active:<10} {inactive:<9} ");
    match (score, state) {
        (Some(score), _) => line.push_str(score),
        (None, RealState::Up) => {}
        (None, state) => line.push_str(state.name()),
    }
    if let Some(chance) = chance {
        let _ = write!(line, " ({chance} %)");
    }
    line.trim_end().to_owned()
}

/// Shares before and after, and what happens to the connections that there are.
pub fn simulation(answer: &Simulation, style: Style) -> String {
    let mut out = String::new();
    let Simulation {
        service,
        scheduler,
        connections,
        refused,
        reals,
        live,
    } = answer;
    let scheduled = if scheduler.before == scheduler.after {
        scheduler.before.clone()
    } else {
        format!("{} -> {}", scheduler.before, scheduler.after)
    };
    let count = grouped(u64::from(*connections));
    let _ = writeln!(
        out,
        "service {service}, {scheduled}: {count} new connections that stay open"
    );
    let heading = "RemoteAddress:Port     Weight        Before             After            Change";
    let _ = writeln!(out, "{}", style.paint(Role::Heading, heading));
    for real in reals {
        let _ = writeln!(out, "{}", real_line(real, *connections, style));
    }
    if refused.before + refused.after > 0 {
        let _ = writeln!(
            out,
            "{}",
            style.paint(
                Role::Bad,
                &format!(
                    "refused: {} before, {} after",
                    grouped(refused.before),
                    grouped(refused.after)
                )
            ),
        );
    }
    out.push_str(&present(live));
    out
}

fn real_line(real: &SimulatedReal, connections: u32, style: Style) -> String {
    let weight = |weight: Option<u16>| weight.map_or("-".to_owned(), |weight| weight.to_string());
    let weights = match real.weight {
        Both { before, after } if before == after => weight(before),
        Both { before, after } => format!("{}->{}", weight(before), weight(after)),
    };
    let percent = |share: u64| share as f64 * 100.0 / f64::from(connections.max(1));
    let Both { before, after } = real.share;
    let change = percent(after) - percent(before);
    let shown = format!("{change:+.1} %");
    let role = if change.abs() < 0.05 {
        Role::Faint
    } else {
        Role::Warning
    };
    format!(
        "{:<22} {weights:<12} {before:>7} {:>5.1} % {after:>9} {:>5.1} % {}",
        real.address,
        percent(before),
        percent(after),
        style.paint(role, &format!("{shown:>8}")),
    )
}

fn present(live: &Live) -> String {
    let Live {
        stay,
        finish,
        moved,
        elsewhere,
    } = *live;
    let total = stay + finish + moved;
    let mut out = format!(
        "{} live connection{}: {} stay, {} finish where they are, {} move\n",
        grouped(total),
        if total == 1 { "" } else { "s" },
        grouped(stay),
        grouped(finish),
        grouped(moved)
    );
    if let Some(elsewhere) = elsewhere {
        let _ = writeln!(
            out,
            "{} of them would come to another real server if opened anew",
            grouped(elsewhere)
        );
    }
    out
}
