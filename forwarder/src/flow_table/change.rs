//! What puts entries in and takes them out: where one finds room, who gives way, and what is noted at its homes.

use super::{BEYOND, BLOCK, FlowTable, Slot, SlotId, WINDOW, WINDOWS};
use crate::clock::Tick;
use packet_io::TableMemory;

/// A fresh entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted<V> {
    /// Where it is.
    pub slot: SlotId,
    /// The entry that gave way to it, if one had to.
    pub evicted: Option<V>,
}

/// Where an entry finds room ([`FlowTable::room`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Where it will be.
    pub slot: SlotId,
    window: u32,
    /// An entry lives there, which has to give way.
    taken: bool,
}

/// Every slot that the entry might live in is taken by one that must not give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no slot is free for this connection: the flow table is too small, or this client endpoint has too many")]
pub struct Full;

impl<V: Copy + Default, M: TableMemory<Slot<V>>> FlowTable<V, M> {
    /// Asks for the slot that an entry of this hash would take now, if it is another than where a search begins.
    #[inline]
    pub fn prepare(&self, hash: u64) {
        let home = self.home(hash, 0);
        if let Some(at) = nearest(!self.blocks[home / BLOCK].occupied, home)
            && at != home
        {
            self.slots.prefetch(at);
        }
    }

    /// Where an entry of this hash finds room.
    ///
    /// Only if every slot it might live in is taken is `evictable` asked about their entries: none keeps the entry;
    /// of the others one with the lowest number gives way, and 0 ends the search.
    #[inline]
    pub fn room(&self, hash: u64, evictable: impl Fn(&V) -> Option<u8>) -> Result<Room, Full> {
        let home = self.home(hash, 0);
        match nearest(!self.blocks[home / BLOCK].occupied, home) {
            Some(at) => Ok(Room { slot: SlotId(at as u32), window: 0, taken: false }),
            None => self.room_beyond(hash, evictable),
        }
    }

    #[cold]
    fn room_beyond(&self, hash: u64, evictable: impl Fn(&V) -> Option<u8>) -> Result<Room, Full> {
        for window in 1..WINDOWS {
            let home = self.home(hash, window);
            if let Some(at) = nearest(!self.blocks[home / BLOCK].occupied, home) {
                return Ok(Room { slot: SlotId(at as u32), window, taken: false });
            }
        }
        let (window, at) = self.victim(hash, evictable).ok_or(Full)?;
        Ok(Room { slot: SlotId(at as u32), window, taken: true })
    }

    /// The entry that gives way to one that is put into this room, if one has to.
    #[inline]
    #[must_use]
    pub fn giving_way(&self, room: Room) -> Option<&V> {
        room.taken.then(|| self.get(room.slot))
    }

    /// Puts an entry where [`room`](Self::room) was found for its hash, without a look whether one like it is there. The
    /// table must not have changed since; whoever had the room is gone.
    #[inline(always)] // so that a value that was just made is written where it belongs, and not copied there
    pub fn put(&mut self, room: Room, hash: u64, value: V, expires: Tick) {
        if room.taken {
            self.vacate(room.slot);
        }
        if room.window > 0 {
            self.pass_by(hash, room.window);
        }
        self.place(hash, self.home(hash, room.window), room.slot.0 as usize, expires);
        self.slots[room.slot.0 as usize].value = value;
    }

    /// Adds an entry: finds [`room`](Self::room), and [`put`](Self::put)s it there.
    pub fn insert(
        &mut self,
        hash: u64,
        value: V,
        expires: Tick,
        evictable: impl Fn(&V) -> Option<u8>,
    ) -> Result<Inserted<V>, Full> {
        let room = self.room(hash, evictable)?;
        let evicted = self.giving_way(room).copied();
        self.put(room, hash, value, expires);
        Ok(Inserted { slot: room.slot, evicted })
    }

    /// An entry goes beyond its homes in the windows before this one.
    #[cold]
    fn pass_by(&mut self, hash: u64, window: u32) {
        for passed in 0..window {
            let home = self.home(hash, passed);
            self.slots[home].entries |= BEYOND;
            self.beyond[home / BLOCK] += 1;
        }
    }

    /// The window and the slot of the entry that gives way most easily.
    fn victim(&self, hash: u64, evictable: impl Fn(&V) -> Option<u8>) -> Option<(u32, usize)> {
        let mut best: Option<(u8, u32, usize)> = None;
        for window in 0..WINDOWS {
            let home = self.home(hash, window);
            for at in (0..BLOCK - 1).map(|position| home ^ position) {
                match evictable(&self.slots[at].value) {
                    Some(0) => return Some((window, at)),
                    Some(rank) if best.is_none_or(|(lowest, ..)| rank < lowest) => best = Some((rank, window, at)),
                    _ => {}
                }
            }
        }
        best.map(|(_, window, at)| (window, at))
    }

    /// Notes everything about an entry but its value.
    #[inline]
    fn place(&mut self, hash: u64, home: usize, at: usize, expires: Tick) {
        let (bit, of_home) = (1 << (home ^ at), &mut self.slots[home]);
        match (of_home.entries & (bit - 1)).count_ones() {
            0 => of_home.tags = [hash as u8, of_home.tags[0]],
            1 => of_home.tags[1] = hash as u8,
            _ => {}
        }
        of_home.entries |= bit;
        let slot = &mut self.slots[at];
        (slot.place, slot.step, slot.tag) = ((hash >> 32) as u32, (hash >> 24) as u8, hash as u8);
        slot.expires = expires;
        let block = &mut self.blocks[at / BLOCK];
        block.earliest = if block.occupied == 0 { expires } else { block.earliest.min(expires) };
        block.occupied |= 1 << (at % BLOCK);
        self.len += 1;
    }

    /// Takes an entry out. None if there is no entry in that slot.
    pub fn remove(&mut self, slot: SlotId) -> Option<V> {
        let value = self.slots.get(slot.0 as usize)?.value;
        self.vacate(slot).then_some(value)
    }

    /// Takes an entry out. Answers false if there is none in that slot.
    pub(super) fn vacate(&mut self, slot: SlotId) -> bool {
        if !self.contains(slot) {
            return false;
        }
        let at = slot.0 as usize;
        let hash = self.slots[at].hash();
        let window = (0..WINDOWS).find(|&window| {
            let home = self.home(hash, window);
            let position = home ^ at;
            position < BLOCK - 1 && self.slots[home].entries & 1 << position != 0
        });
        let Some(window) = window else { return false };
        let home = self.home(hash, window);
        // What is left of it must not be taken for an entry by who looks before reading who lives there.
        self.slots[at].value = V::default();
        self.slots[home].entries &= !(1 << (home ^ at));
        self.retag(home, 1 << (home ^ at));
        self.blocks[at / BLOCK].occupied &= !(1 << (at % BLOCK));
        self.len -= 1;
        if window > 0 {
            self.unpass(hash, window);
        }
        true
    }

    /// An entry is gone from those of a home: the bit that stood for it tells which tags others have now.
    #[inline]
    fn retag(&mut self, home: usize, gone: u32) {
        let Slot { entries, tags, .. } = self.slots[home];
        let others = entries & WINDOW;
        let second = others & others.wrapping_sub(1);
        let before = (others & (gone - 1)).count_ones();
        // One that moves up to the second place is asked for its tag; with none there, any will do.
        let next =
            if second == 0 || before > 1 { tags[1] } else { self.slots[home ^ second.trailing_zeros() as usize].tag };
        self.slots[home].tags = match before {
            0 => [tags[1], next],
            _ => [tags[0], next],
        };
    }

    /// An entry is gone that had passed by its homes in the windows before this one.
    #[cold]
    fn unpass(&mut self, hash: u64, window: u32) {
        for passed in 0..window {
            let block = self.home(hash, passed) / BLOCK;
            self.beyond[block] -= 1;
            // Only here can be said that no search that comes by this block needs to go on.
            if self.beyond[block] == 0 {
                for slot in &mut self.slots[block * BLOCK..][..BLOCK] {
                    slot.entries &= WINDOW;
                }
            }
        }
    }
}

/// Which of the `free` slots of its block an entry should take: its home, else the other slot of the same 128 bytes,
/// else the next. One slot, `home ^ 31`, is out of the home's reach.
#[inline]
pub(super) fn nearest(free: u32, home: usize) -> Option<usize> {
    let reachable = free & !(1 << ((home ^ (BLOCK - 1)) % BLOCK));
    let is_free = |at: usize| reachable & 1 << (at % BLOCK) != 0;
    if is_free(home) {
        Some(home)
    } else if is_free(home ^ 1) {
        Some(home ^ 1)
    } else if reachable != 0 {
        let distance = reachable.rotate_right((home % BLOCK) as u32).trailing_zeros() as usize;
        Some(home / BLOCK * BLOCK + (home + distance) % BLOCK)
    } else {
        None
    }
}
