//! twos: the power of two choices.
//!
//! Two usable servers are drawn at random, each with a chance proportional to its weight; of the two the one with the
//! less overhead for its weight serves, the first one drawn if they are equal. A draw is a number from 0 to the sum of
//! all usable weights, both included, and means the server at which the running sum of weights reaches it: the first
//! server in the list is favoured by one number in sum + 1, as in the kernel.
//!
//! Source: Linux 6.1, `ip_vs_twos.c`; shares of picks recorded in `sched/twos.json`. The generator is SplitMix64
//! (Steele, Lea, Flood 2014): small, fast, and random enough for a balancer.

use super::load::{Price, usable};
use super::{Request, Scheduler};
use crate::clock::Tick;
use crate::service::Service;
use crate::stats::Loads;

struct PowerOfTwoChoices {
    state: u64,
}

pub(super) fn start(_: &Service, _: Tick, seed: u64) -> Box<dyn Scheduler> {
    Box::new(PowerOfTwoChoices { state: seed })
}

impl PowerOfTwoChoices {
    /// A number from 0 to `last`, both included. The bias is below `last` in 2^64.
    fn draw(&mut self, last: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * (u128::from(last) + 1)) >> 64) as u64
    }
}

impl Scheduler for PowerOfTwoChoices {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        let members = &service.members;
        let usable = || members.iter().enumerate().filter(|(_, member)| usable(member, loads));
        let sum: u64 = usable().map(|(_, member)| u64::from(member.weight)).sum();
        let (first, second) = (self.draw(sum), self.draw(sum));
        let at = |number: u64| {
            let mut reached = 0;
            let mut reaches = |weight: u32| {
                reached += u64::from(weight);
                reached >= number
            };
            usable().find(|(_, member)| reaches(member.weight))
        };
        let ((one, this), (other, that)) = (at(first)?, at(second)?);
        Some(if Price::of_overhead(this, loads).above(Price::of_overhead(that, loads)) { other } else { one })
    }
}
