//! Where a connection is found: a hash table of cache lines that never grows, and moves an entry only when asked to
//! ([`FlowTable::exchange`]).
//!
//! It is the mechanism only. It stores a `Copy` value under a hash that the caller computed, and knows neither packets
//! nor what a value means. One worker owns a table; nothing here is shared.
//!
//! # Layout
//!
//! A slot is one cache line: the entry that lives in it (its hash, its expiry, its value), and one word that belongs not
//! to that entry but to the slot: which slots nearby hold the entries whose *home* this slot is, with a byte of the hash
//! of the first two of them. Slots come in blocks of 32, and an entry lives in its home's block: bit *p* of the home's
//! word stands for the slot `home ^ p`. So a miss reads one line, a hit one or two, and bit 0 is the home itself and bit
//! 1 the other line of the same 128 bytes, which many processors load along. (This is hopscotch hashing, Herlihy, Shavit
//! and Tzafrir 2008, without the hopping.)
//!
//! When no slot of the home's window is free, the entry goes to the next of [`WINDOWS`] windows, whose homes come from
//! the other half of the hash, and bit 31 of each home passed by says that a search must go on there. Entries with one
//! hash (one client endpoint that talks to many services) fill one window after the other, so there can be 124 of them.
//!
//! # Expiry
//!
//! A packet only stores its entry's new expiry ([`FlowTable::touch`]). Beside the slots each block has the earliest
//! moment at which one of its entries may expire. A hand goes round the blocks once in 0.64 seconds ([`FlowTable::advance`])
//! and looks into those whose moment has come; expiries are so never early, and late by less than a second. The blocks
//! of ten million connections are 4 MB that are read in order, which costs less than a thousandth of a processor; and
//! compared with a timer wheel, linked through the slots, an entry that comes, goes or changes its timeout touches no
//! other entry's line. See ARCHITECTURE.md.

mod change;
mod expiry;
mod hash;
#[cfg(test)]
mod tests;

pub use change::{Full, Inserted, Room};
pub use expiry::{Fate, TURN};
pub use hash::{Secret, hash, owner};

use crate::clock::Tick;
use packet_io::TableMemory;
use std::marker::PhantomData;

/// Windows in which an entry is looked for, one after the other; nearly always the first is the only one.
pub const WINDOWS: u32 = 4;
/// Slots in a block.
pub const BLOCK: usize = 32;
/// In a table of which one slot in so many is taken, one entry in twice as many found its home taken.
const SPARSE: usize = 64;
/// The bits of a home's word that stand for slots of its window.
const WINDOW: u32 = (1 << (BLOCK - 1)) - 1;
/// The bit that sends a search on to the next window.
const BEYOND: u32 = !WINDOW;

/// One cache line of a table. Its content is the table's business; fresh memory holds `Slot::default()`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Slot<V> {
    /// Of the hash of the entry that lives here: what says where its first home is,
    place: u32,
    /// how far the next are from it,
    step: u8,
    /// and what tells it from others of the same home.
    tag: u8,
    /// The tags of the entries that the two lowest bits of `entries` stand for.
    tags: [u8; 2],
    /// Bit `p`: the slot `this ^ p` holds an entry whose home this slot is. Bit 31: there are more in the next window.
    entries: u32,
    /// When the entry that lives here expires.
    expires: Tick,
    value: V,
}

/// What is known about 32 slots without looking at them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(8))]
struct Block {
    /// Bit `i`: an entry lives in slot `i` of the block.
    occupied: u32,
    /// No entry of the block expires before this.
    earliest: Tick,
}

impl<V> Slot<V> {
    /// The bits of the hash that the table knows of the entry that lives here.
    #[inline]
    fn hash(&self) -> u64 {
        u64::from(self.place) << 32 | u64::from(self.step) << 24 | u64::from(self.tag)
    }

    /// Of the entries whose home this slot is, by the bits of `entries`, those that may have this hash: the first two are
    /// judged by their tags, without a look at their own lines.
    #[inline(always)]
    fn likely(&self, hash: u64) -> u32 {
        let (all, [first, second]) = (self.entries & WINDOW, self.tags);
        // Without a branch that nobody could foresee.
        let without_first = all & all.wrapping_sub(1);
        let left = if first == hash as u8 { all } else { without_first };
        let other = if second == hash as u8 { 0 } else { without_first & without_first.wrapping_neg() };
        left & !other
    }
}

/// Where an entry is looked for first: the result of a step of a search that is made in several, so that each step finds
/// in the cache what the one before asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate(u32);

impl Candidate {
    /// Nothing is looked for.
    pub const NOWHERE: Self = Self(u32::MAX);
}

/// Where an entry is found.
impl From<SlotId> for Candidate {
    fn from(slot: SlotId) -> Self {
        Self(slot.0)
    }
}

/// The place of an entry. It stays the same for the entry's life, but for [`FlowTable::exchange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u32);

/// Memory that cannot be a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a flow table needs a multiple of 32 slots, up to 2^31, not {0}: use slots_for()")]
pub struct BadSize(pub usize);

/// How many slots a table for this many entries should have: so many that 3 in 5 are taken.
#[must_use]
pub const fn slots_for(entries: usize) -> usize {
    let slots = (entries / 3).saturating_mul(5).saturating_add(5);
    slots.saturating_add(BLOCK - 1) / BLOCK * BLOCK
}

/// A table in the memory `M`.
#[derive(Debug)]
pub struct FlowTable<V, M> {
    slots: M,
    blocks: Box<[Block]>,
    /// For each block, how many entries live in a further window after they passed by a home in it. Apart, because
    /// hardly anybody asks.
    beyond: Box<[u32]>,
    len: usize,
    hand: expiry::Hand,
    value: PhantomData<V>,
}

impl<V: Copy + Default, M: TableMemory<Slot<V>>> FlowTable<V, M> {
    /// An empty table of as many slots as `slots` has; see [`slots_for`]. All its memory is taken, and touched, here.
    pub fn new(mut slots: M, now: Tick) -> Result<Self, BadSize> {
        let count = slots.len();
        if count == 0 || !count.is_multiple_of(BLOCK) || count > 1 << 31 {
            return Err(BadSize(count));
        }
        slots.fill(Slot::default());
        let blocks = vec![Block::default(); count / BLOCK].into_boxed_slice();
        let beyond = vec![0; count / BLOCK].into_boxed_slice();
        Ok(Self { slots, blocks, beyond, len: 0, hand: expiry::Hand::new(now), value: PhantomData })
    }

    /// Entries in the table.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no entry.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Slots in the table.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// True if nearly every entry lives in its home, so that the second step of a search is not worth its time.
    #[inline]
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        self.len < self.slots.len() / SPARSE
    }

    /// The first step of a search: where it begins. Asks for the cache line that [`candidate`](Self::candidate),
    /// [`find`](Self::find) and [`room`](Self::room) will read first.
    #[inline(always)]
    #[must_use]
    pub fn begin(&self, hash: u64) -> Candidate {
        let home = self.home(hash, 0);
        self.slots.prefetch(home);
        Candidate(home as u32)
    }

    /// The second step: where the entry most likely is. Asks for its cache line.
    #[inline(always)]
    #[must_use]
    pub fn candidate(&self, begin: Candidate, hash: u64) -> Candidate {
        let home = begin.0 as usize;
        let Some(slot) = self.slots.get(home) else { return begin };
        // The bit that is always there leads to some slot of the block.
        let at = home ^ (slot.likely(hash) | BEYOND).trailing_zeros() as usize;
        self.slots.prefetch(at);
        Candidate(at as u32)
    }

    /// For the last step: a look at what is there ([`Lines::get_mut`]), and a [`find`](Self::find) if it is the wrong one.
    #[inline(always)]
    pub fn lines(&mut self) -> Lines<'_, V> {
        Lines(&mut self.slots)
    }

    /// The entry with this hash that `matches`. Hashes are not compared: `matches` has to be exact.
    #[inline]
    pub fn find(&self, hash: u64, matches: impl Fn(&V) -> bool) -> Option<SlotId> {
        find(&self.slots, hash, matches)
    }

    /// Lets two entries with the same hash change places, so that searches find them in the other order. Both must live.
    /// A walk on its way between them ([`scan`](Self::scan), [`retain`](Self::retain)) sees one twice and the other not.
    #[cold]
    pub fn exchange(&mut self, one: SlotId, other: SlotId) {
        debug_assert_eq!(self.slots[one.0 as usize].hash(), self.slots[other.0 as usize].hash());
        let (at_one, at_other) = (self.expires(one), self.expires(other));
        let (value, others) = (*self.get(one), *self.get(other));
        (*self.get_mut(one), *self.get_mut(other)) = (others, value);
        self.rearm(one, at_other);
        self.rearm(other, at_one);
    }

    /// True if an entry lives in this slot.
    #[inline]
    #[must_use]
    pub fn contains(&self, slot: SlotId) -> bool {
        let at = slot.0 as usize;
        self.blocks.get(at / BLOCK).is_some_and(|block| block.occupied & 1 << (at % BLOCK) != 0)
    }

    /// The value of an entry. `slot` must be one that this table gave out, and its entry must still live; else the
    /// value is that of whoever lives or lived there.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: SlotId) -> &V {
        &self.slots[slot.0 as usize].value
    }

    /// As [`get`](Self::get), to be changed. The change must keep the hash.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, slot: SlotId) -> &mut V {
        &mut self.slots[slot.0 as usize].value
    }

    /// When an entry expires.
    #[inline]
    #[must_use]
    pub fn expires(&self, slot: SlotId) -> Tick {
        self.slots[slot.0 as usize].expires
    }

    /// Lets an entry live on until `expires`: a plain store, for every packet. If that is earlier than before, the
    /// entry may stay until its former moment: use [`rearm`](Self::rearm).
    #[inline]
    pub fn touch(&mut self, slot: SlotId, expires: Tick) {
        self.slots[slot.0 as usize].expires = expires;
    }

    /// Lets an entry expire at `expires`, earlier or later than before.
    #[inline]
    pub fn rearm(&mut self, slot: SlotId, expires: Tick) {
        self.touch(slot, expires);
        let block = &mut self.blocks[slot.0 as usize / BLOCK];
        block.earliest = block.earliest.min(expires);
    }

    #[inline(always)]
    fn home(&self, hash: u64, window: u32) -> usize {
        home(self.slots.len(), hash, window)
    }
}

/// The slots of a table, without what is beside them.
#[derive(Debug)]
pub struct Lines<'a, V>(&'a mut [Slot<V>]);

impl<V> Lines<'_, V> {
    /// The value and the expiry in a slot, which may be another entry than the one that is looked for, or none; the rules
    /// of [`FlowTable::get_mut`] and [`FlowTable::touch`] hold.
    #[inline(always)]
    pub fn get_mut(&mut self, candidate: Candidate) -> Option<(&mut V, &mut Tick)> {
        let Slot { value, expires, .. } = self.0.get_mut(candidate.0 as usize)?;
        Some((value, expires))
    }
}

/// The home of a hash in its `window`-th window: the upper half of the hash says where the first is, 8 bits of the lower
/// half how far the next are from each other: between an eighth and a quarter of the table, so that they never meet.
#[inline(always)]
fn home(slots: usize, hash: u64, window: u32) -> usize {
    let step = (1 << 29) + (u32::from((hash >> 24) as u8) << 21);
    let place = ((hash >> 32) as u32).wrapping_add(window.wrapping_mul(step));
    // Scales a 32-bit number to the number of slots, which need be no power of two.
    ((u64::from(place) * slots as u64) >> 32) as usize
}

#[inline]
fn find<V>(slots: &[Slot<V>], hash: u64, matches: impl Fn(&V) -> bool) -> Option<SlotId> {
    let home = home(slots.len(), hash, 0);
    match find_among(slots, home, hash, &matches) {
        None if slots[home].entries & BEYOND != 0 => find_beyond(slots, hash, matches),
        found => found,
    }
}

#[inline]
fn find_among<V>(slots: &[Slot<V>], home: usize, hash: u64, matches: &impl Fn(&V) -> bool) -> Option<SlotId> {
    let mut left = slots[home].likely(hash);
    while left != 0 {
        let at = home ^ left.trailing_zeros() as usize;
        if matches(&slots[at].value) {
            return Some(SlotId(at as u32));
        }
        left &= left - 1;
    }
    None
}

#[cold]
fn find_beyond<V>(slots: &[Slot<V>], hash: u64, matches: impl Fn(&V) -> bool) -> Option<SlotId> {
    for window in 1..WINDOWS {
        let home = home(slots.len(), hash, window);
        let found = find_among(slots, home, hash, &matches);
        if found.is_some() || slots[home].entries & BEYOND == 0 {
            return found;
        }
    }
    None
}
