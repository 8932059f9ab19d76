//! A burst: up to 32 frames in a fixed array, without allocation.

/// The most frames that are handled in one go (DPDK's usual burst; divisible by 8 for vector drivers).
pub const BURST: usize = 32;

/// Up to [`BURST`] frames in arrival order. The occupied slots are the first `len`.
///
/// The slots are `Option`s, so that a frame can leave the middle of a burst without a move of the others, and so that
/// an array of thin frame handles is an array of pointers, as DPDK wants it.
#[derive(Debug)]
pub struct Burst<F> {
    slots: [Option<F>; BURST],
    len: usize,
}

impl<F> Default for Burst<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> Burst<F> {
    /// An empty burst.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: [const { None }; BURST], len: 0 }
    }

    /// How many slots are in use, including those whose frame was taken out.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no slot is in use.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True when no frame can be added.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len == BURST
    }

    /// Adds a frame at the end; gives it back when the burst is full.
    #[inline]
    pub fn push(&mut self, frame: F) -> Result<(), F> {
        match self.slots.get_mut(self.len) {
            Some(slot) => {
                *slot = Some(frame);
                self.len += 1;
                Ok(())
            }
            None => Err(frame),
        }
    }

    /// The frame in slot `index`, unless it was taken.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&F> {
        self.slots.get(index)?.as_ref()
    }

    /// The frame in slot `index`, writable, unless it was taken.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut F> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// Takes the frame out of slot `index`, leaving the slot empty and the others where they are.
    #[inline]
    pub fn take(&mut self, index: usize) -> Option<F> {
        self.slots.get_mut(index)?.take()
    }

    /// Forgets all slots; frames still in them are released.
    #[inline]
    pub fn clear(&mut self) {
        for slot in &mut self.slots[..self.len] {
            *slot = None;
        }
        self.len = 0;
    }

    /// The free slots behind the last one in use, for a carrier that fills them from their front; follow with
    /// [`Burst::commit`].
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [Option<F>] {
        &mut self.slots[self.len..]
    }

    /// Declares the first `n` spare slots as filled.
    ///
    /// # Panics
    /// If there are fewer than `n` spare slots.
    #[inline]
    pub fn commit(&mut self, n: usize) {
        assert!(n <= BURST - self.len, "{n} frames committed where {} fit", BURST - self.len);
        self.len += n;
    }

    /// The slots in use.
    #[inline]
    pub fn slots_mut(&mut self) -> &mut [Option<F>] {
        &mut self.slots[..self.len]
    }

    /// All slots; those not in use are empty.
    #[inline]
    pub fn all_slots_mut(&mut self) -> &mut [Option<F>; BURST] {
        &mut self.slots
    }

    /// Declares that the first `n` slots were emptied by a carrier, and closes the gap.
    ///
    /// # Panics
    /// If fewer than `n` slots are in use.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        debug_assert!(self.slots[..n].iter().all(Option::is_none), "a carrier left a frame in a slot it consumed");
        if n == self.len {
            self.len = 0;
        } else {
            self.slots[..self.len].rotate_left(n);
            self.len -= n;
        }
    }

    /// Takes all frames out, in order; those that the caller leaves in the iterator are released with it.
    pub fn drain(&mut self) -> Drain<'_, F> {
        let len = std::mem::take(&mut self.len);
        Drain(self.slots[..len].iter_mut())
    }
}

/// The frames of a burst on their way out: see [`Burst::drain`].
#[derive(Debug)]
pub struct Drain<'a, F>(std::slice::IterMut<'a, Option<F>>);

impl<F> Iterator for Drain<'_, F> {
    type Item = F;
    fn next(&mut self) -> Option<F> {
        self.0.find_map(Option::take)
    }
}

// Spare slots are empty: a carrier that fills them looks at nothing.
impl<F> Drop for Drain<'_, F> {
    fn drop(&mut self) {
        self.0.by_ref().for_each(|slot| *slot = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partly_consumed_burst_keeps_the_rest_in_order() {
        let mut burst = Burst::new();
        for n in 0..5 {
            burst.push(n).unwrap();
        }
        for slot in &mut burst.slots_mut()[..2] {
            *slot = None;
        }
        burst.consume(2);
        assert_eq!(burst.len(), 3);
        assert_eq!(burst.drain().collect::<Vec<_>>(), [2, 3, 4]);
        assert!(burst.is_empty());
    }

    #[test]
    fn a_drain_that_is_left_early_leaves_nothing_behind() {
        let mut burst = Burst::new();
        for n in 0..5 {
            burst.push(n).unwrap();
        }
        assert_eq!(burst.drain().nth(1), Some(1));
        assert!(burst.is_empty() && burst.spare_mut().iter().all(Option::is_none));
    }

    #[test]
    fn a_full_burst_gives_the_frame_back() {
        let mut burst = Burst::new();
        for n in 0..BURST {
            burst.push(n).unwrap();
        }
        assert_eq!(burst.push(99), Err(99));
        burst.clear();
        assert_eq!(burst.len(), 0);
    }
}
