//! What the table knows of one connection beside its addresses: state, real server, time of expiry, in one word.

use crate::{abi::Load, net::Proto};

/// A time in ticks of the data plane's clock ([`crate::abi::ticks`]); differences are taken modulo 2^32.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tick(pub u32);

impl Tick {
    /// The tick at a time of the clock, in nanoseconds.
    #[inline(always)]
    pub const fn at(nanoseconds: u64) -> Self {
        Self(crate::abi::ticks(nanoseconds))
    }

    /// So many ticks later.
    #[inline(always)]
    pub const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// How many ticks this is after `other`; negative when it is before.
    #[inline(always)]
    pub const fn since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

/// The state of a connection; the first eleven are those of IPVS, by its own numbers.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// No connection is ever left in it: the first segment moves it on. It is the state of a free slot.
    None = 0,
    /// Both sides talk.
    Established = 1,
    /// The real server opened towards the client.
    SynSent = 2,
    /// The client's SYN was seen.
    SynRecv = 3,
    /// One side has closed (the client, where replies are not seen).
    FinWait = 4,
    /// Both sides have closed.
    TimeWait = 5,
    /// Reset.
    Close = 6,
    /// The client has closed, the real server not yet.
    CloseWait = 7,
    /// The last FIN is not acknowledged yet.
    LastAck = 8,
    /// Never reached by balanced traffic; kept so that the tables are IPVS's.
    Listen = 9,
    /// The real server's SYN-ACK was seen (under `secure_tcp`).
    SynAck = 10,
    /// UDP: one datagram has been seen.
    UdpOnce = 11,
    /// UDP: more than one datagram, or a reply, has been seen.
    UdpAssured = 12,
}

/// The number of states.
pub const STATES: usize = 13;

/// 1 if `x` is zero, else 0, without a branch.
#[inline(always)]
pub(crate) const fn is_zero(x: u32) -> u32 {
    ((x as u64).wrapping_sub(1) >> 63) as u32
}

/// 1 if `x` is below zero, else 0, without a branch.
#[inline(always)]
const fn is_negative(x: i32) -> u32 {
    x.cast_unsigned() >> 31
}

/// One of the sets that [`State::is_in`] asks about: a bit for each state.
const fn set(states: &[State]) -> u32 {
    let mut bits = 0;
    let mut i = 0;
    while i < states.len() {
        bits |= 1 << states[i] as u32;
        i += 1;
    }
    bits
}

/// What IPVS counts as active.
const ACTIVE: u32 = set(&[
    State::Established,
    State::SynSent,
    State::SynRecv,
    State::SynAck,
]);
/// Over, and kept only for late segments.
const CLOSED: u32 = set(&[State::Close, State::TimeWait]);
/// Nobody has proved yet that there is a client at that address.
const HALF_OPEN_TCP: u32 = set(&[State::SynRecv, State::SynSent, State::SynAck]);
/// The same of UDP.
const HALF_OPEN_UDP: u32 = set(&[State::UdpOnce]);

impl State {
    /// Every state, by number.
    pub const ALL: [Self; STATES] = [
        Self::None,
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::SynAck,
        Self::UdpOnce,
        Self::UdpAssured,
    ];

    /// The state of a number; `None` for one that has no state.
    #[inline(always)]
    pub const fn from_number(n: u8) -> Self {
        // A match rather than an index into ALL: no table in memory on the BPF side.
        match n {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait,
            5 => Self::TimeWait,
            6 => Self::Close,
            7 => Self::CloseWait,
            8 => Self::LastAck,
            9 => Self::Listen,
            10 => Self::SynAck,
            11 => Self::UdpOnce,
            12 => Self::UdpAssured,
            _ => Self::None,
        }
    }

    /// The name that `ipvsadm -Lnc` shows.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::SynAck => "SYNACK",
            Self::UdpOnce | Self::UdpAssured => "UDP",
        }
    }

    #[inline(always)]
    const fn is_in(self, set: u32) -> bool {
        set >> self as u32 & 1 != 0
    }

    /// Whether IPVS counts such a connection as active. UDP never is.
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        self.is_in(ACTIVE)
    }

    /// Whether the connection is over.
    #[inline(always)]
    pub const fn is_closed(self) -> bool {
        self.is_in(CLOSED)
    }

    /// Whether the client has not proved yet that it is there.
    #[inline(always)]
    pub const fn is_half_open(self) -> bool {
        self.is_in(HALF_OPEN_TCP | HALF_OPEN_UDP)
    }
}

/// An entry is gone so many ticks (one second) after its time of expiry.
///
/// The time of expiry moves with every packet, but is written only when that moves it by as much as this. With the
/// same allowance at the end, a connection always has its whole timeout, and at most a second more.
pub const REFRESH: u32 = crate::abi::seconds_to_ticks(1);

const EXPIRES_BITS: u32 = 32;
const REAL: u32 = EXPIRES_BITS;
const REAL_MASK: u64 = crate::abi::MAX_REALS as u64;
const STATE: u32 = REAL + 17;
const PROTO: u32 = STATE + 4;
const NO_OUTPUT: u64 = 1 << 55;
const CONTROLLED: u64 = 1 << 56;
const TEMPLATE: u32 = 57;
const ALTERNATE: u64 = 1 << 59;
const BUSY: u64 = 1 << 60;
const USE: u32 = 61;

/// The word of one slot of the table.
///
/// ```text
///  63   61   60     59        58  57     56          55      54  53 52 49 48  32 31     0
/// | use | busy | alternate | template | controlled | no_output | proto | state | real | expires |
/// ```
///
/// - `expires`: the [`Tick`] at which the connection ends if no packet comes.
/// - `real`: the real server's slot in `REALS`.
/// - `proto`: 0 in a slot that holds no connection.
/// - `no_output`: replies do not pass here (DR, TUN), so the input-only state table holds.
/// - `controlled`, `template`: made under a persistence template, and which use of it.
/// - `alternate`: it sits in its alternate bucket, and its home bucket has counted that.
/// - `busy`: claimed by a CPU that is still writing the key; `expires` is until when the claim is believed.
/// - `use`: counts the uses of the slot, modulo 8, so that equal words are the same connection's.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta(pub u64);

impl Meta {
    /// A slot that was never used.
    pub const FREE: Self = Self(0);

    /// A connection's word, not yet in the table.
    #[inline(always)]
    pub const fn new(proto: Proto, state: State, real: u32, expires: Tick) -> Self {
        Self(
            Self::proto_bits(proto)
                | (state as u64) << STATE
                | (real as u64 & REAL_MASK) << REAL
                | expires.0 as u64,
        )
    }

    #[inline(always)]
    const fn proto_bits(proto: Proto) -> u64 {
        match proto {
            Proto::Tcp => 1 << PROTO,
            Proto::Udp => 2 << PROTO,
        }
    }

    /// When the connection ends if no packet comes.
    #[inline(always)]
    pub const fn expires(self) -> Tick {
        Tick((self.0 & u32::MAX as u64) as u32)
    }

    /// The real server's slot.
    #[inline(always)]
    pub const fn real(self) -> u32 {
        (self.0 >> REAL & REAL_MASK) as u32
    }

    /// The state.
    #[inline(always)]
    pub const fn state(self) -> State {
        State::from_number(self.state_number() as u8)
    }

    /// The state's number, without the detour over the enum.
    #[inline(always)]
    pub const fn state_number(self) -> u32 {
        (self.0 >> STATE & 15) as u32
    }

    /// Whether the connection is over.
    #[inline(always)]
    pub const fn is_closed(self) -> bool {
        CLOSED >> self.state_number() & 1 != 0
    }

    /// Whether it counts the same as `other`, a word of the same connection.
    #[inline(always)]
    pub(crate) const fn counts_as(self, other: Self) -> bool {
        (ACTIVE >> self.state_number() ^ ACTIVE >> other.state_number()) & 1 == 0
    }

    /// The protocol, if the slot holds a connection.
    #[inline(always)]
    pub const fn proto(self) -> Option<Proto> {
        match self.0 >> PROTO & 3 {
            1 => Some(Proto::Tcp),
            2 => Some(Proto::Udp),
            _ => None,
        }
    }

    /// Whether replies do not pass here.
    #[inline(always)]
    pub const fn no_output(self) -> bool {
        self.0 & NO_OUTPUT != 0
    }

    /// Which use of a persistence template it was made under, if any.
    #[inline(always)]
    pub const fn template(self) -> Option<u32> {
        if self.0 & CONTROLLED == 0 {
            None
        } else {
            Some((self.0 >> TEMPLATE & 3) as u32)
        }
    }

    /// Whether it sits in its alternate bucket.
    #[inline(always)]
    pub const fn in_alternate(self) -> bool {
        self.0 & ALTERNATE != 0
    }

    /// Whether the slot is claimed, its key not complete.
    #[inline(always)]
    pub const fn is_busy(self) -> bool {
        self.0 & BUSY != 0
    }

    /// Whether the slot holds a connection (that may have expired).
    #[inline(always)]
    pub const fn is_live(self) -> bool {
        self.0 & 3 << PROTO != 0
    }

    /// The same in another state, that ends at `expires`.
    #[inline(always)]
    #[must_use]
    pub const fn with_state(self, state: State, expires: Tick) -> Self {
        self.with_state_number(state as u32, expires)
    }

    /// The same in a state of another number (0 to 15), that ends at `expires`.
    #[inline(always)]
    #[must_use]
    pub const fn with_state_number(self, state: u32, expires: Tick) -> Self {
        const KEEP: u64 = !(15 << STATE | u32::MAX as u64);
        Self(self.0 & KEEP | (state as u64) << STATE | expires.0 as u64)
    }

    /// The same at another real server.
    #[inline(always)]
    #[must_use]
    pub const fn with_real(self, real: u32) -> Self {
        Self(self.0 & !(REAL_MASK << REAL) | (real as u64 & REAL_MASK) << REAL)
    }

    /// The same with or without replies that pass here.
    #[inline(always)]
    #[must_use]
    pub const fn with_no_output(self, no_output: bool) -> Self {
        if no_output {
            Self(self.0 | NO_OUTPUT)
        } else {
            Self(self.0 & !NO_OUTPUT)
        }
    }

    /// The same under a use of a persistence template.
    #[inline(always)]
    #[must_use]
    pub const fn with_template(self, generation: u32) -> Self {
        Self(self.0 & !(3 << TEMPLATE) | CONTROLLED | (generation as u64 & 3) << TEMPLATE)
    }

    /// Whether the time of expiry has passed, with the allowance of [`REFRESH`].
    #[inline(always)]
    pub const fn is_expired(self, now: Tick) -> bool {
        now.since(self.expires()) >= REFRESH.cast_signed()
    }

    /// What it adds to its real server's [`Load::conns`].
    #[inline(always)]
    pub const fn load(self) -> u64 {
        if !self.is_live() {
            return 0;
        }
        if ACTIVE >> self.state_number() & 1 == 0 {
            Load::ONE
        } else {
            Load::ONE + Load::ACTIVE
        }
    }

    /// How readily it gives way when a place is needed.
    ///
    /// Computed without a branch: an insert asks it of up to twelve slots, and the kernel's verifier would follow every
    /// way through them. A claimed slot counts as what its state is, a held one.
    #[inline(always)]
    pub const fn rank(self, now: Tick, spare: Spare) -> Rank {
        let state = self.state_number();
        let lives = is_negative(
            now.since(self.expires())
                .wrapping_sub(REFRESH.cast_signed()),
        );
        let by_state = RANKS >> (2 * state + 32 * lives) & 3;
        let young_tcp = HALF_OPEN_TCP >> state & !is_negative(self.expires().since(spare.tcp));
        let young_udp = HALF_OPEN_UDP >> state & !is_negative(self.expires().since(spare.udp));
        Rank(by_state as u32 + ((young_tcp | young_udp) & 1))
    }

    // What follows is for the table alone.

    /// The bits by which a lookup tells a connection of `proto` from a free or claimed slot, as [`Self::tag`] gives
    /// them.
    #[inline(always)]
    pub(crate) const fn tag_of(proto: Proto) -> u32 {
        (Self::proto_bits(proto) >> 32) as u32
    }

    #[inline(always)]
    pub(crate) const fn tag(self) -> u32 {
        ((self.0 & (BUSY | 3 << PROTO)) >> 32) as u32
    }

    /// Whether both are words of one and the same connection.
    #[inline(always)]
    pub(crate) const fn is_same(self, other: Self) -> bool {
        const SAME: u64 = 7 << USE | BUSY | 3 << PROTO;
        (self.0 ^ other.0) & SAME == 0
    }

    /// This word as it stands in a slot that is `slot` now: the slot's count of uses and place are kept.
    #[inline(always)]
    pub(crate) const fn placed_as(self, slot: Self) -> Self {
        const PLACE: u64 = 7 << USE | ALTERNATE;
        Self(self.0 & !PLACE | slot.0 & PLACE)
    }

    /// The slot claimed for its next use.
    #[inline(always)]
    pub(crate) const fn claimed(self, until: Tick, alternate: bool) -> Self {
        let next_use = (self.0 >> USE).wrapping_add(1) << USE;
        let place = if alternate { ALTERNATE } else { 0 };
        Self(next_use | BUSY | place | (State::Listen as u64) << STATE | until.0 as u64)
    }

    /// The slot without its connection.
    #[inline(always)]
    pub(crate) const fn freed(self) -> Self {
        Self(self.0 & 7 << USE)
    }

    /// Whether `next` is worth a write over this word: anything but a small move of the time of expiry is.
    #[inline(always)]
    pub(crate) const fn is_worth(self, next: Self) -> bool {
        let moved = next.expires().since(self.expires());
        (self.0 ^ next.0) >> EXPIRES_BITS != 0 || moved.unsigned_abs() >= REFRESH
    }
}

impl core::fmt::Debug for Meta {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Meta")
            .field("state", &self.state())
            .field("real", &self.real())
            .field("expires", &self.expires().0)
            .field("proto", &self.proto())
            .field("bits", &format_args!("{:#x}", self.0 >> 55))
            .finish()
    }
}

/// In which order entries give way to a new connection: the lowest first, and held ones never.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank(pub(crate) u32);

impl Rank {
    /// There is none, or its time has passed.
    pub const GONE: Self = Self(0);
    /// It is over; only late segments would miss it.
    pub const CLOSED: Self = Self(1);
    /// A handshake that has been waiting for longer than [`HANDSHAKE`], or a single datagram as old.
    pub const HALF_OPEN: Self = Self(2);
    /// Everything else.
    pub const HELD: Self = Self(3);
}

/// Ranks of two bits, by state, and 32 bits higher for those whose time has not passed.
const RANKS: u64 = {
    let mut ranks = 0;
    let mut state = 0;
    while state < 16 {
        let rank = if state == State::None as u32 {
            Rank::GONE
        } else if CLOSED >> state & 1 != 0 {
            Rank::CLOSED
        } else if (HALF_OPEN_TCP | HALF_OPEN_UDP) >> state & 1 != 0 {
            Rank::HALF_OPEN
        } else {
            Rank::HELD
        };
        ranks |= (rank.0 as u64) << (2 * state + 32);
        state += 1;
    }
    ranks
};

/// How long a half-open connection is safe from being replaced, in ticks (three seconds): a client that is there
/// answers sooner, so a flood of opening segments cannot cut handshakes under way.
pub const HANDSHAKE: u32 = crate::abi::seconds_to_ticks(3);

/// Which half-open connections may be replaced: those that expire before these times.
#[derive(Clone, Copy, Debug)]
pub struct Spare {
    /// TCP.
    pub tcp: Tick,
    /// UDP.
    pub udp: Tick,
}

impl Spare {
    /// Those that began more than [`HANDSHAKE`] ago, if they run under timeouts (in ticks) like these.
    #[inline(always)]
    pub const fn new(now: Tick, syn_recv: u32, udp: u32) -> Self {
        Self {
            tcp: now.plus(syn_recv.saturating_sub(HANDSHAKE)),
            udp: now.plus(udp.saturating_sub(HANDSHAKE)),
        }
    }
}

/// Where the table reports what changes in the load of a real server.
///
/// A connection is added before anybody can find it, and subtracted when nobody can any more, so no sum is ever
/// below the truth.
pub trait Loads {
    /// Adds to [`Load::conns`] of a real server, modulo 2^64, in one atomic addition.
    fn add(&self, real: u32, change: u64);
}

#[cfg(test)]
mod tests;
