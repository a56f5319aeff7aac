//! How flows lie in memory: two lines a bucket, three flows a line. With IPv4 a line is a cache line, with IPv6 three.

use super::Recorded;
use crate::{
    atomic::{Atoms, Word},
    bound::masked,
    conn::{Meta, REFRESH, Tick},
    net::{Be16, Be32, Flow, Proto},
};

/// Lines in a bucket.
pub const LINES: usize = 2;
/// Flows in a line.
pub const SLOTS_PER_LINE: usize = 3;
/// Flows in a bucket.
pub const SLOTS_PER_BUCKET: usize = LINES * SLOTS_PER_LINE;

/// Three flows, field by field, and a note.
#[repr(C, align(64))]
pub struct Line<A: Atoms, N: Recorded = Be32> {
    /// The flows' [`Meta`] words.
    pub metas: [A::U64; SLOTS_PER_LINE],
    /// The flows' addresses as in the packet.
    pub addrs: [N::Cells<A>; SLOTS_PER_LINE],
    /// The flows' ports as in the packet: the client's in the low half, the service's in the high half.
    pub ports: [A::U32; SLOTS_PER_LINE],
    /// In the first line: how many flows whose home this is sit in their alternate bucket. In the second: the tick until
    /// which a flow may be under way that was turned away here, or 0.
    pub note: A::U32,
}

/// One element of the table.
#[repr(C, align(128))]
pub struct Bucket<A: Atoms, N: Recorded = Be32> {
    /// Its two lines.
    pub lines: [Line<A, N>; LINES],
}

#[cfg(target_has_atomic = "64")]
const _: () = {
    use crate::atomic::Host;
    use crate::net::Be128;
    assert!(size_of::<Line<Host>>() == 64);
    assert!(core::mem::offset_of!(Line<Host>, addrs) == 24);
    assert!(core::mem::offset_of!(Line<Host>, ports) == 48);
    assert!(core::mem::offset_of!(Line<Host>, note) == 60);
    assert!(size_of::<Bucket<Host>>() == 128);
    assert!(size_of::<Bucket<Host, Be128>>() == 384);
    assert!(core::mem::offset_of!(Bucket<Host>, lines) == 0);
};

/// A slot of a bucket: the line in bit 2, the flow of the line (0..=2) in the bits below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u32);

impl Slot {
    /// Every slot of a bucket.
    pub const ALL: [Self; SLOTS_PER_BUCKET] =
        [Self(0), Self(1), Self(2), Self(4), Self(5), Self(6)];

    #[inline(always)]
    pub(super) const fn new(line: u32, flow: u32) -> Self {
        Self((line & 1) << 2 | flow & 3)
    }

    #[inline(always)]
    pub(super) fn line(self) -> usize {
        masked::<1>(self.0 >> 2) as usize
    }

    #[inline(always)]
    pub(super) fn flow(self) -> usize {
        let flow = masked::<3>(self.0) as usize;
        // Never taken; it tells the compiler and the verifier what they cannot see.
        if flow >= SLOTS_PER_LINE { 0 } else { flow }
    }

    /// A number that grows in lookup order, in a bucket whose line `first` comes first.
    #[inline(always)]
    pub(super) const fn order(self, first: u32) -> u32 {
        self.0 ^ (first & 1) << 2
    }
}

/// A set of the slots of a bucket, a bit for each: bits 0..=2 and 4..=6.
#[derive(Clone, Copy)]
pub(super) struct Slots(pub(super) u32);

impl Slots {
    /// No slot.
    pub(super) const NONE: Self = Self(0);

    /// These but one.
    #[inline(always)]
    pub(super) const fn without(self, slot: Slot) -> Self {
        Self(self.0 & !(1 << slot.0))
    }

    /// The first one in lookup order, of a set that is not empty, in a bucket whose line `first` comes first.
    #[inline(always)]
    pub(super) const fn first(self, first: u32) -> Slot {
        let turn = (first & 1) << 2;
        let turned = (self.0 | self.0 << 8) >> turn & 0x77;
        // The lowest bit alone, times a de Bruijn sequence, has a number of three bits that names it. No branch, as which of the
        // slots it is cannot be predicted.
        let bit = turned & turned.wrapping_neg();
        let at = 0x3457_2610 >> (((bit * 0x1D) >> 5 & 7) << 2) & 7;
        Slot(at ^ turn)
    }

    /// How many there are.
    #[inline(always)]
    pub(super) const fn len(self) -> u32 {
        // One nibble for each number of three bits.
        const ONES: u32 = 0x3221_2110;
        (ONES >> ((self.0 & 7) << 2) & 3) + (ONES >> ((self.0 >> 4 & 7) << 2) & 3)
    }
}

/// The lowest of three bits that is set.
#[inline(always)]
pub(super) const fn lowest(bits: u32) -> u32 {
    // One nibble for each number of three bits.
    0x0102_0100 >> (bits << 2) & 3
}

/// A flow as the words of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key<N: Recorded> {
    pub(super) addrs: N::Pair,
    pub(super) ports: u32,
    pub(super) tag: u32,
}

impl<N: Recorded> Key<N> {
    #[inline(always)]
    pub(super) fn of(flow: &Flow<N>) -> Self {
        Self {
            addrs: N::pair(flow.client, flow.vip),
            ports: flow.client_port.0 as u32 | (flow.vip_port.0 as u32) << 16,
            tag: Meta::tag_of(flow.proto),
        }
    }

    /// The flow of a key, of the protocol that its tag says.
    pub(super) fn flow(self, proto: Proto) -> Flow<N> {
        let (client, client_port) = self.client();
        let (vip, vip_port) = self.service();
        Flow {
            client,
            vip,
            client_port,
            vip_port,
            proto,
        }
    }

    /// The client's address and port.
    #[inline(always)]
    pub(super) fn client(self) -> (N, Be16) {
        (N::client(self.addrs), Be16(self.ports as u16))
    }

    /// The virtual address and port.
    #[inline(always)]
    pub(super) fn service(self) -> (N, Be16) {
        (N::vip(self.addrs), Be16((self.ports >> 16) as u16))
    }
}

impl<A: Atoms, N: Recorded> core::fmt::Debug for Bucket<A, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list()
            .entries(Slot::ALL.iter().map(|&slot| self.meta(slot)))
            .finish()
    }
}

impl<A: Atoms, N: Recorded> Line<A, N> {
    fn new() -> Self {
        Self {
            metas: core::array::from_fn(|_| A::U64::new(0)),
            addrs: core::array::from_fn(|_| N::empty()),
            ports: core::array::from_fn(|_| A::U32::new(0)),
            note: A::U32::new(0),
        }
    }
}

impl<A: Atoms, N: Recorded> Bucket<A, N> {
    /// An empty bucket: all zero.
    pub fn empty() -> Self {
        Self {
            lines: core::array::from_fn(|_| Line::new()),
        }
    }

    /// The word of a slot, for compare-and-swap.
    #[inline(always)]
    pub(super) fn word(&self, slot: Slot) -> &A::U64 {
        &self.lines[slot.line()].metas[slot.flow()]
    }

    /// The word of a slot, now.
    #[inline(always)]
    pub(super) fn meta(&self, slot: Slot) -> Meta {
        Meta(self.word(slot).load())
    }

    /// Changes a slot's word from `old` to `new`; if it is not `old`, what it is.
    #[inline(always)]
    pub(super) fn swap(&self, slot: Slot, old: Meta, new: Meta) -> Result<(), Meta> {
        match self.word(slot).compare_exchange(old.0, new.0) {
            Ok(_) => Ok(()),
            Err(found) => Err(Meta(found)),
        }
    }

    /// Writes the key of a slot that the caller has claimed.
    #[inline(always)]
    pub(super) fn set_key(&self, slot: Slot, key: Key<N>) {
        let line = &self.lines[slot.line()];
        let flow = slot.flow();
        N::store(&line.addrs[flow], key.addrs);
        line.ports[flow].store(key.ports);
    }

    /// The key of a slot, as one of the protocol of `tag`; whole only while the slot's word does not change.
    #[inline(always)]
    pub(super) fn key(&self, slot: Slot, tag: u32) -> Key<N> {
        let line = &self.lines[slot.line()];
        let flow = slot.flow();
        Key {
            addrs: N::load(&line.addrs[flow]),
            ports: line.ports[flow].load(),
            tag,
        }
    }

    /// How many flows whose home this is sit in their alternate bucket.
    #[inline(always)]
    pub(super) fn overflow(&self) -> &A::U32 {
        &self.lines[0].note
    }

    /// Whether a flow that was turned away here may still be under way.
    #[inline(always)]
    pub(super) fn turned_away(&self, now: Tick) -> bool {
        let until = self.lines[1].note.load();
        until != 0 && Tick(until).since(now) > 0
    }

    /// Notes that a flow was turned away which may live until `until`.
    #[inline(always)]
    pub(super) fn note_turned_away(&self, now: Tick, until: Tick) {
        let note = &self.lines[1].note;
        let noted = note.load();
        if noted == 0
            || Tick(noted).since(now) <= 0
            || until.since(Tick(noted)) >= REFRESH.cast_signed()
        {
            note.store(until.0 | 1);
        }
    }

    /// Forgets that flows were turned away when none can be under way any more, lest the time come round again.
    pub(super) fn forget_turned_away(&self, now: Tick) {
        let note = &self.lines[1].note;
        let noted = note.load();
        if noted != 0 && Tick(noted).since(now) <= 0 {
            let _ = note.compare_exchange(noted, 0);
        }
    }
}
