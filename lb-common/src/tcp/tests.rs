use super::*;
use crate::abi::TICK_SHIFT;

/// What Linux 6.1 did to entries in each state that segments can bring about, with `ipvsadm -Lnc` read after each
/// segment: state before, then `flags:state after`.
const SEEN_IN_DR: &str = "
    (new)       S:SYN_RECV     SA:SYN_RECV
    SYN_RECV    S:SYN_RECV     A:ESTABLISHED  FA:TIME_WAIT   R:SYN_RECV     SA:SYN_RECV
    ESTABLISHED S:ESTABLISHED  A:ESTABLISHED  FA:FIN_WAIT    R:CLOSE        SA:ESTABLISHED
    TIME_WAIT   S:SYN_RECV     A:TIME_WAIT    FA:TIME_WAIT   R:CLOSE        SA:SYN_RECV
    FIN_WAIT    S:SYN_RECV     A:FIN_WAIT     FA:FIN_WAIT    R:CLOSE        SA:SYN_RECV
    CLOSE       S:SYN_RECV     A:CLOSE        FA:CLOSE       R:CLOSE        SA:SYN_RECV
";
const SEEN_IN_NAT_FROM_CLIENT: &str = "
    (new)       S:SYN_RECV     SA:SYN_RECV
    SYN_RECV    S:SYN_RECV     A:ESTABLISHED  FA:TIME_WAIT   R:SYN_RECV     SA:SYN_RECV
    ESTABLISHED S:ESTABLISHED  A:ESTABLISHED  FA:CLOSE_WAIT  R:CLOSE        SA:ESTABLISHED
    TIME_WAIT   S:SYN_RECV     A:TIME_WAIT    FA:TIME_WAIT   R:CLOSE        SA:SYN_RECV
    CLOSE       S:SYN_RECV     A:CLOSE        FA:CLOSE       R:CLOSE        SA:SYN_RECV
    CLOSE_WAIT  S:SYN_RECV     A:CLOSE_WAIT   FA:CLOSE_WAIT  R:CLOSE        SA:SYN_RECV
    FIN_WAIT    S:SYN_RECV     A:FIN_WAIT     FA:TIME_WAIT   R:CLOSE        SA:SYN_RECV
    SYN_SENT    S:ESTABLISHED  A:SYN_SENT     FA:SYN_SENT    R:CLOSE        SA:ESTABLISHED
";
const SEEN_IN_NAT_FROM_REAL: &str = "
    SYN_RECV    S:SYN_RECV     A:ESTABLISHED  FA:TIME_WAIT   R:CLOSE        SA:SYN_RECV
    ESTABLISHED S:ESTABLISHED  A:ESTABLISHED  FA:FIN_WAIT    R:CLOSE        SA:ESTABLISHED
    TIME_WAIT   S:SYN_SENT     A:TIME_WAIT    FA:TIME_WAIT   R:TIME_WAIT    SA:SYN_SENT
    CLOSE       S:SYN_SENT     A:CLOSE        FA:CLOSE       R:CLOSE        SA:SYN_SENT
    CLOSE_WAIT  S:SYN_SENT     A:CLOSE_WAIT   FA:TIME_WAIT   R:CLOSE        SA:SYN_SENT
    FIN_WAIT    S:SYN_SENT     A:FIN_WAIT     FA:FIN_WAIT    R:CLOSE        SA:SYN_SENT
    SYN_SENT    S:SYN_SENT     A:SYN_SENT     FA:SYN_SENT    R:SYN_SENT     SA:SYN_SENT
";

fn state(name: &str) -> State {
    if name == "(new)" {
        return State::None;
    }
    *State::ALL
        .iter()
        .find(|s| s.label() == name)
        .unwrap_or_else(|| panic!("no state {name}"))
}

fn flags(letters: &str) -> u8 {
    letters.bytes().fold(0, |flags, letter| {
        flags
            | match letter {
                b'S' => flag::SYN,
                b'A' => flag::ACK,
                b'F' => flag::FIN,
                b'R' => flag::RST,
                _ => panic!("no flag {letter}"),
            }
    })
}

fn compare(view: View, seen: &str) -> usize {
    let mut compared = 0;
    for row in seen.lines().filter(|row| !row.trim().is_empty()) {
        let mut cells = row.split_whitespace();
        let from = state(cells.next().expect("a state"));
        for cell in cells {
            let (by, to) = cell.split_once(':').expect("flags:state");
            assert_eq!(
                next(view, Event::of(flags(by)), from),
                state(to),
                "{view:?}: {from:?} by {by}"
            );
            compared += 1;
        }
    }
    compared
}

#[test]
fn every_observed_transition_is_ours() {
    assert_eq!(compare(View::InputOnly, SEEN_IN_DR), 27);
    assert_eq!(compare(View::Input, SEEN_IN_NAT_FROM_CLIENT), 37);
    assert_eq!(compare(View::Output, SEEN_IN_NAT_FROM_REAL), 35);
}

/// The kernel's tables said in words: what changes; every other state stays.
#[test]
fn states_that_no_recording_reaches_follow_the_rules_too() {
    type Rule = (Event, &'static [State], State);
    const TO_INPUT: &[Rule] = &[
        (Event::Syn, &[NO, SR, FW, TW, CL, CW, LA, LI, SA], SR),
        (Event::Syn, &[SS], ES),
        (Event::Fin, &[NO], CL),
        (Event::Fin, &[ES], CW),
        (Event::Fin, &[SR, FW, SA], TW),
        (Event::Ack, &[NO, SR, SA], ES),
        (Event::Ack, &[LA], CL),
        (Event::Rst, &[NO, ES, SS, FW, TW, CL, CW], CL),
        (Event::Rst, &[SA], SR),
    ];
    const TO_OUTPUT: &[Rule] = &[
        (Event::Syn, &[NO, FW, TW, CL, CW, LA], SS),
        (Event::Syn, &[SA], SR),
        (Event::Fin, &[NO, SR, CW, SA], TW),
        (Event::Fin, &[ES], FW),
        (Event::Ack, &[NO, SR, LI, SA], ES),
        (Event::Rst, &[NO, ES, SR, FW, CW, LA, LI, SA], CL),
    ];
    // Where the input-only table differs from the input table.
    const ONLY: &[Rule] = &[
        (Event::Fin, &[ES], FW),
        (Event::Fin, &[FW], FW),
        (Event::Rst, &[SA], CL),
    ];

    let by = |rules: &[Rule], event, from| {
        rules
            .iter()
            .find(|(e, states, _)| *e == event && states.contains(&from))
            .map(|rule| rule.2)
    };
    for from in &State::ALL[..STATES] {
        for event in [Event::Syn, Event::Fin, Event::Ack, Event::Rst] {
            let input = by(TO_INPUT, event, *from).unwrap_or(*from);
            let output = by(TO_OUTPUT, event, *from).unwrap_or(*from);
            let only = by(ONLY, event, *from).unwrap_or(input);
            assert_eq!(
                next(View::Input, event, *from),
                input,
                "input: {from:?} by {event:?}"
            );
            assert_eq!(
                next(View::Output, event, *from),
                output,
                "output: {from:?} by {event:?}"
            );
            assert_eq!(
                next(View::InputOnly, event, *from),
                only,
                "input only: {from:?} by {event:?}"
            );
        }
    }
}

#[test]
fn a_segment_without_any_flag_closes() {
    for view in [View::Input, View::Output, View::InputOnly] {
        assert_eq!(
            next(view, Event::of(0x08), State::Established),
            State::Close
        );
    }
}

#[test]
fn the_first_of_rst_syn_fin_ack_counts() {
    for flags in 0..=u8::MAX {
        let expected = if flags & 4 != 0 {
            Event::Rst
        } else if flags & 2 != 0 {
            Event::Syn
        } else if flags & 1 != 0 {
            Event::Fin
        } else if flags & 16 != 0 {
            Event::Ack
        } else {
            Event::Nothing
        };
        assert_eq!(Event::of(flags), expected);
    }
}

/// As read from `ipvsadm -Lnc` right after the segment that led to the state.
#[test]
fn timeouts_are_those_observed() {
    for (name, seconds) in [
        ("SYN_RECV", 60),
        ("ESTABLISHED", 900),
        ("TIME_WAIT", 120),
        ("FIN_WAIT", 120),
        ("CLOSE", 10),
        ("CLOSE_WAIT", 60),
        ("SYN_SENT", 120),
        ("UDP", 300),
    ] {
        assert_eq!(default_timeout(state(name)), seconds, "{name}");
    }
    assert_eq!(default_timeout(State::UdpAssured), 300);
    let ticks = u64::from(Timeouts::ipvs().ticks[State::Established as usize]);
    let nanoseconds = ticks << TICK_SHIFT;
    assert!((900_000_000_000..900_100_000_000).contains(&nanoseconds));
}
