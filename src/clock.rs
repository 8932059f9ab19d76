//! The director's time: ticks of 10 ms, counted from the processor's cycle counter, the same for every thread.

use dpdk_ffi::clock::{tsc, tsc_hz};
use dpdk_ffi::eal::EalHandle;
use forwarder::clock::{TICK_MS, TICKS_PER_SECOND, Tick};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where ticks are counted from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: u64,
    cycles: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start(eal: &EalHandle) -> Self {
        Self { start: tsc(), cycles: (tsc_hz(eal) / u64::from(TICKS_PER_SECOND)).max(1) }
    }

    /// The moment.
    pub fn now(&self) -> Tick {
        // Wraps with the tick.
        Tick((tsc().wrapping_sub(self.start) / self.cycles) as u32)
    }

    /// Milliseconds since midnight UT at tick 0.
    pub fn day(&self) -> u32 {
        const DAY: u128 = 86_400_000;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let since = u128::from(self.now().0) * u128::from(TICK_MS);
        (unix.saturating_sub(since) % DAY) as u32
    }

    /// The moment, for a loop that asks all the time: divides only when a tick is over.
    pub fn follow(&self) -> Follower {
        Follower { clock: *self, now: self.now(), next: 0, cycles: 0 }
    }
}

/// See [`Clock::follow`].
#[derive(Debug)]
pub struct Follower {
    clock: Clock,
    now: Tick,
    next: u64,
    cycles: u64,
}

impl Follower {
    /// What the cycle counter was at the last [`now`](Self::now), since the clock's start.
    #[inline]
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// The moment: one read of the cycle counter.
    #[inline]
    pub fn now(&mut self) -> Tick {
        let cycles = tsc().wrapping_sub(self.clock.start);
        self.cycles = cycles;
        if cycles >= self.next {
            let ticks = cycles / self.clock.cycles;
            self.now = Tick(ticks as u32);
            self.next = (ticks + 1) * self.clock.cycles;
        }
        self.now
    }
}
