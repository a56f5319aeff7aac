//! How the state of a TCP connection moves: the tables of IPVS.

use crate::{
    abi::{Timeouts, seconds_to_ticks},
    conn::State,
};

/// What a segment is, by its flags; the first of these that is set counts.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// SYN.
    Syn = 0,
    /// FIN.
    Fin = 1,
    /// ACK.
    Ack = 2,
    /// RST, whatever else is set.
    Rst = 3,
    /// None of them.
    Nothing = 4,
}

/// Bits of the byte of a TCP header that holds the flags.
pub mod flag {
    /// The sender has nothing more to send.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets a connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

impl Event {
    /// The event of a segment with these flags.
    #[inline(always)]
    pub const fn of(flags: u8) -> Self {
        const ALL: u8 = flag::RST | flag::SYN | flag::FIN | flag::ACK;
        if flags & ALL == flag::ACK {
            // The one that nearly all are.
            Self::Ack
        } else if flags & flag::RST != 0 {
            Self::Rst
        } else if flags & flag::SYN != 0 {
            Self::Syn
        } else if flags & flag::FIN != 0 {
            Self::Fin
        } else if flags & flag::ACK != 0 {
            Self::Ack
        } else {
            Self::Nothing
        }
    }
}

/// From where a segment is seen.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum View {
    /// From the client, of a connection whose replies pass here (NAT).
    Input = 0,
    /// From the real server.
    Output = 1,
    /// From the client, of a connection whose replies do not pass here (DR, TUN).
    InputOnly = 2,
}

/// States that TCP connections have.
const STATES: usize = State::SynAck as usize + 1;

/// The next state by event (rows) and state (columns).
struct Chart([[State; STATES]; 4]);

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    None as NO, SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

#[rustfmt::skip]
const INPUT: Chart = Chart([
    //         NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* SYN */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    /* FIN */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    /* ACK */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* RST */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
]);

#[rustfmt::skip]
const OUTPUT: Chart = Chart([
    //         NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* SYN */ [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    /* FIN */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    /* ACK */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    /* RST */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
]);

#[rustfmt::skip]
const INPUT_ONLY: Chart = Chart([
    //         NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    /* SYN */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    /* FIN */ [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    /* ACK */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* RST */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
]);

impl Chart {
    /// A row as one number, four bits a state: the data plane keeps no table in memory.
    const fn row(&self, event: usize) -> u64 {
        let mut packed = 0;
        let mut i = 0;
        while i < STATES {
            packed |= (self.0[event][i] as u64) << (4 * i);
            i += 1;
        }
        packed
    }

    const fn rows(&self) -> [u64; 4] {
        [self.row(0), self.row(1), self.row(2), self.row(3)]
    }
}

/// The state after a segment.
#[inline(always)]
pub const fn next(view: View, event: Event, state: State) -> State {
    State::from_number(next_number(view, event, state as u32) as u8)
}

/// The number of the state after a segment, from that of the state before: without the detour over the enum, which costs the
/// data plane more than the table does.
#[inline(always)]
pub const fn next_number(view: View, event: Event, state: u32) -> u32 {
    const IN: [u64; 4] = INPUT.rows();
    const OUT: [u64; 4] = OUTPUT.rows();
    const ONLY: [u64; 4] = INPUT_ONLY.rows();
    let row = match (view, event) {
        (_, Event::Nothing) => return State::Close as u32,
        (View::Input, Event::Syn) => IN[0],
        (View::Input, Event::Fin) => IN[1],
        (View::Input, Event::Ack) => IN[2],
        (View::Input, Event::Rst) => IN[3],
        (View::Output, Event::Syn) => OUT[0],
        (View::Output, Event::Fin) => OUT[1],
        (View::Output, Event::Ack) => OUT[2],
        (View::Output, Event::Rst) => OUT[3],
        (View::InputOnly, Event::Syn) => ONLY[0],
        (View::InputOnly, Event::Fin) => ONLY[1],
        (View::InputOnly, Event::Ack) => ONLY[2],
        (View::InputOnly, Event::Rst) => ONLY[3],
    };
    (row >> (4 * (state & 15)) & 15) as u32
}

/// IPVS's timeout of a state, in seconds.
pub const fn default_timeout(state: State) -> u64 {
    match state {
        NO => 2,
        ES => 900,
        SS | FW | TW | LI | SA => 120,
        SR | CW => 60,
        CL => 10,
        LA => 30,
        State::UdpOnce | State::UdpAssured => 300,
    }
}

impl Timeouts {
    /// IPVS's timeouts.
    pub const fn ipvs() -> Self {
        let mut ticks = [0; 16];
        let mut i = 0;
        while i < State::ALL.len() {
            let state = State::ALL[i];
            ticks[state as usize] = seconds_to_ticks(default_timeout(state));
            i += 1;
        }
        Self { ticks }
    }
}

#[cfg(test)]
mod tests;
