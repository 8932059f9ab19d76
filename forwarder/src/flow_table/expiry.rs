//! What looks at entries without a packet: the hand that finds expired ones, and walks in chunks.

use super::{BLOCK, Block, FlowTable, Slot, SlotId};
use crate::clock::Tick;
use packet_io::TableMemory;

/// The hand goes round once in this time, ticks.
pub const TURN: u32 = 64;

/// What happens to an entry whose moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes.
    Expire,
    /// It lives on until then. A moment that has passed already means: ask again in the next turn.
    Renew(Tick),
}

/// Where the hand is, and what it has yet to do.
#[derive(Debug)]
pub(super) struct Hand {
    /// The block it looks at next.
    block: usize,
    /// Blocks that it should have passed by now.
    owed: usize,
    /// A block it has passed whose moment has come: its slots are on their way into the cache.
    due: Option<usize>,
    /// The moment up to which `owed` was reckoned.
    reckoned: Tick,
}

impl Hand {
    pub(super) fn new(now: Tick) -> Self {
        Self { block: 0, owed: 0, due: None, reckoned: now }
    }
}

impl<V: Copy + Default, M: TableMemory<Slot<V>>> FlowTable<V, M> {
    /// Moves the hand on to where it should be at `now`, and asks `decide` about entries whose moment has come.
    ///
    /// One call looks into one block of 32 slots at most, and passes `budget` others: the hand stops at a block whose
    /// moment has come, asks for its slots, and the next call finds them in the cache. The answer is how many blocks
    /// are left to do; 0 means that everything is gone that expired before `now` minus [`TURN`]. A hand that is behind
    /// makes expiries late, nothing else.
    pub fn advance(&mut self, now: Tick, budget: usize, decide: impl FnMut(&mut V, SlotId) -> Fate) -> usize {
        // The next block's slots are asked for first, and come while this one's are looked at.
        let due = self.hand.due.take();
        let elapsed = now.since(self.hand.reckoned);
        if elapsed > 0 {
            let more = (u64::from(elapsed) * self.blocks.len() as u64).div_ceil(u64::from(TURN)) as usize;
            self.hand.owed = self.blocks.len().min(self.hand.owed + more);
            self.hand.reckoned = now;
        }
        let mut left = budget.min(self.hand.owed);
        while left > 0 && self.hand.due.is_none() {
            left -= 1;
            let block = self.hand.block;
            self.hand.block = if block + 1 == self.blocks.len() { 0 } else { block + 1 };
            self.hand.owed -= 1;
            let Block { occupied, earliest } = self.blocks[block];
            if occupied != 0 && now.passed(earliest) {
                self.hand.due = Some(block);
                slots_of(block, occupied).for_each(|at| self.slots.prefetch(at));
            }
        }
        if let Some(block) = due {
            self.look_into(block, now, decide);
        }
        self.hand.owed + usize::from(self.hand.due.is_some())
    }

    /// Asks about the expired entries of a block, and finds out when the next may expire.
    fn look_into(&mut self, block: usize, now: Tick, mut decide: impl FnMut(&mut V, SlotId) -> Fate) {
        let occupied = self.blocks[block].occupied;
        let mut earliest = None;
        for at in slots_of(block, occupied) {
            let slot = &mut self.slots[at];
            if now.passed(slot.expires) {
                match decide(&mut slot.value, SlotId(at as u32)) {
                    Fate::Renew(expires) => slot.expires = expires,
                    Fate::Expire => {
                        self.vacate(SlotId(at as u32));
                        continue;
                    }
                }
            }
            let expires = slot.expires;
            earliest = Some(earliest.map_or(expires, |earliest: Tick| earliest.min(expires)));
        }
        if let Some(earliest) = earliest {
            self.blocks[block].earliest = earliest;
        }
    }

    /// Shows the entries in slots `from` to `from + limit` to `visit`, with their expiries, and answers where to go on;
    /// none at the end. An entry that lives throughout such a walk is seen once, unless it is
    /// [exchanged](Self::exchange).
    pub fn scan(&self, from: usize, limit: usize, mut visit: impl FnMut(SlotId, &V, Tick)) -> Option<usize> {
        let end = self.slots.len().min(from.saturating_add(limit));
        for block in from / BLOCK..end.div_ceil(BLOCK) {
            for at in slots_of(block, self.blocks[block].occupied).filter(|at| (from..end).contains(at)) {
                let slot = &self.slots[at];
                visit(SlotId(at as u32), &slot.value, slot.expires);
            }
        }
        (end < self.slots.len()).then_some(end)
    }

    /// As [`scan`](Self::scan), but entries that `keep` answers false for are taken out.
    pub fn retain(&mut self, from: usize, limit: usize, mut keep: impl FnMut(SlotId, &mut V) -> bool) -> Option<usize> {
        let end = self.slots.len().min(from.saturating_add(limit));
        for block in from / BLOCK..end.div_ceil(BLOCK) {
            for at in slots_of(block, self.blocks[block].occupied).filter(|at| (from..end).contains(at)) {
                let slot = SlotId(at as u32);
                if !keep(slot, &mut self.slots[at].value) {
                    self.vacate(slot);
                }
            }
        }
        (end < self.slots.len()).then_some(end)
    }
}

/// The slots of a block whose bits are set.
fn slots_of(block: usize, mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = (bits != 0).then(|| block * BLOCK + bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        at
    })
}
