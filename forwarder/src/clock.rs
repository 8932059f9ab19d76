//! Time as the data path counts it. Nobody here reads a clock: the worker is told what time it is.

/// Ticks in a second: a tick is 10 ms, the jiffy of the kernel that the corpus was recorded from (HZ=100).
pub const TICKS_PER_SECOND: u32 = 100;

/// Milliseconds in a tick.
pub const TICK_MS: u32 = 1000 / TICKS_PER_SECOND;

/// A moment, in ticks since some start. It wraps after 497 days; moments are compared by their distance, which must
/// stay below 2^31 ticks (248 days; the longest timeout that ipvsadm takes is 24.8 days).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tick(pub u32);

impl Tick {
    /// The moment `ticks` later.
    #[inline]
    #[must_use]
    pub fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// The moment `seconds` later.
    #[inline]
    #[must_use]
    pub fn plus_seconds(self, seconds: u32) -> Self {
        self.plus(seconds.wrapping_mul(TICKS_PER_SECOND))
    }

    /// True if this moment is at or after `other`.
    #[inline]
    #[must_use]
    pub fn reached(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) < 1 << 31
    }

    /// True if this moment is after `other`: as the kernel's timers, ours run out when their tick is over.
    #[inline]
    #[must_use]
    pub fn passed(self, other: Self) -> bool {
        self != other && self.reached(other)
    }

    /// The earlier of two moments.
    #[inline]
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        if self.reached(other) { other } else { self }
    }

    /// Ticks from `earlier` to this moment; 0 if `earlier` is in fact later.
    #[inline]
    #[must_use]
    pub fn since(self, earlier: Self) -> u32 {
        if self.reached(earlier) { self.0.wrapping_sub(earlier.0) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_compare_across_the_wrap() {
        let before = Tick(u32::MAX - 5);
        let after = before.plus(10);
        assert!(after.reached(before) && !before.reached(after) && before.reached(before));
        assert_eq!((after.since(before), before.since(after)), (10, 0));
        assert_eq!(before.plus_seconds(1).since(before), TICKS_PER_SECOND);
    }
}
