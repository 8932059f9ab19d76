//! Counters and rates as the kernel's estimator shows them (`net/netfilter/ipvs/ip_vs_est.c` of Linux 6.1).
//!
//! About every 2 s it copies the counters and moves each rate a quarter of the way to what was counted since. Lists show
//! the copies, so both are up to 2 s old. All estimators move at the same moment.

use crate::command::{Counters, Rates, Statistics};
use forwarder::clock::Tick;

/// Between two estimations, ticks. The kernel means 2 s, and its timer wheel makes 2.08 s of it at HZ=100 (8 jiffies a
/// slot, rounded up); rates are worked out as if it were 2 s. `tests/rates.rs` has the record.
pub const PERIOD: u32 = 208;

/// Fraction bits of the kernel's rates: 10 for connections and packets, 5 for bytes.
const PACKET_SHIFT: u32 = 10;
const BYTE_SHIFT: u32 = 5;

/// The estimator of a service, a destination or the whole director.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimator {
    /// The counters at the last estimation.
    copied: Counters,
    /// What lists subtract: the copy at the time of the last `-Z`.
    zero: Counters,
    /// Scaled rates, as the kernel keeps them.
    scaled: Rates,
}

impl Estimator {
    /// One estimation; `live` is what was counted until now.
    pub fn estimate(&mut self, live: Counters) {
        let new = live.since(self.copied);
        self.copied = live;
        let step = |scaled: &mut u64, counted: u64, shift: u32| {
            let rate = counted.wrapping_shl(shift - 1) as i64; // per 2 s, scaled
            *scaled = scaled.wrapping_add((rate.wrapping_sub(*scaled as i64) >> 2) as u64);
        };
        step(&mut self.scaled.connections, new.connections, PACKET_SHIFT);
        step(&mut self.scaled.in_packets, new.in_packets, PACKET_SHIFT);
        step(&mut self.scaled.out_packets, new.out_packets, PACKET_SHIFT);
        step(&mut self.scaled.in_bytes, new.in_bytes, BYTE_SHIFT);
        step(&mut self.scaled.out_bytes, new.out_bytes, BYTE_SHIFT);
    }

    /// `-Z`: lists show zero at once. What was counted since the last estimation will still show up.
    pub fn zero(&mut self) {
        self.zero = self.copied;
        self.scaled = Rates::default();
    }

    /// What lists show.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let packets = |scaled: u64| scaled.wrapping_add(0x1FF) >> PACKET_SHIFT;
        let bytes = |scaled: u64| scaled.wrapping_add(0xF) >> BYTE_SHIFT;
        Statistics {
            counters: self.copied.since(self.zero),
            rates: Rates {
                connections: packets(self.scaled.connections),
                in_packets: packets(self.scaled.in_packets),
                out_packets: packets(self.scaled.out_packets),
                in_bytes: bytes(self.scaled.in_bytes),
                out_bytes: bytes(self.scaled.out_bytes),
            },
        }
    }
}

/// When estimations are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    next: Tick,
}

/// After this many estimations without traffic every rate is 0, so a late caller need not make up for more.
const ENOUGH: u32 = 128;

impl Schedule {
    /// Starts now: the first estimation is due after one period.
    #[must_use]
    pub fn new(now: Tick) -> Self {
        Self { next: now.plus(PERIOD) }
    }

    /// How many estimations are due; they count as done.
    pub fn due(&mut self, now: Tick) -> u32 {
        if !now.reached(self.next) {
            return 0;
        }
        let due = now.since(self.next) / PERIOD + 1;
        self.next = self.next.plus(due * PERIOD);
        due.min(ENOUGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(n: u64) -> Counters {
        Counters { in_bytes: n, ..Counters::default() }
    }

    #[test]
    fn counters_stand_still_between_estimations() {
        let mut estimator = Estimator::default();
        assert_eq!(estimator.statistics(), Statistics::default());
        estimator.estimate(bytes(1076));
        assert_eq!(estimator.statistics().counters, bytes(1076));
    }

    /// `/proc/net/ip_vs_stats` of the record: 10 connections, 28 packets and 1076 bytes within the first 2 s.
    #[test]
    fn rates_round_as_the_kernels() {
        let mut estimator = Estimator::default();
        let live = Counters { connections: 10, in_packets: 0x1C, out_packets: 0x10, in_bytes: 0x434, out_bytes: 0x254 };
        estimator.estimate(live);
        let rates = estimator.statistics().rates;
        let all = [rates.connections, rates.in_packets, rates.out_packets, rates.in_bytes, rates.out_bytes];
        assert_eq!(all, [1, 3, 2, 0x86, 0x4A]);
    }

    #[test]
    fn an_idle_rate_falls_by_a_quarter() {
        let mut estimator = Estimator::default();
        estimator.estimate(bytes(8 * 138 * 32 / 32));
        let shown: Vec<u64> = (0..4)
            .map(|_| {
                let rate = estimator.statistics().rates.in_bytes;
                estimator.estimate(bytes(8 * 138));
                rate
            })
            .collect();
        assert_eq!(shown, [138, 103, 78, 58]);
    }

    #[test]
    fn zeroed_counters_start_from_the_last_copy() {
        let mut estimator = Estimator::default();
        estimator.estimate(bytes(100));
        estimator.zero();
        assert_eq!(estimator.statistics(), Statistics::default());
        estimator.estimate(bytes(130));
        assert_eq!(estimator.statistics().counters, bytes(30));
    }

    #[test]
    fn estimations_are_due_every_period_across_the_wrap() {
        let start = Tick(u32::MAX - 50);
        let mut schedule = Schedule::new(start);
        assert_eq!(schedule.due(start.plus(PERIOD - 1)), 0);
        assert_eq!(schedule.due(start.plus(PERIOD)), 1);
        assert_eq!(schedule.due(start.plus(2 * PERIOD - 1)), 0);
        assert_eq!(schedule.due(start.plus(5 * PERIOD)), 4);
        assert_eq!(schedule.due(start.plus(5 * PERIOD)), 0);
    }

    proptest! {
        /// Whatever was counted, a rate never overshoots the busiest 2 s and ends at 0.
        #[test]
        fn rates_stay_in_bounds(steps in prop::collection::vec(0u64..1 << 40, 1..30)) {
            let mut estimator = Estimator::default();
            let (mut live, mut busiest) = (0, 0);
            for step in steps {
                live += step;
                busiest = busiest.max(step);
                estimator.estimate(bytes(live));
                prop_assert!(estimator.statistics().rates.in_bytes <= busiest / 2 + 1);
            }
            for _ in 0..ENOUGH {
                estimator.estimate(bytes(live));
            }
            prop_assert_eq!(estimator.statistics().rates.in_bytes, 0);
        }
    }
}
