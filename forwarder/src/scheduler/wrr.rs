//! wrr: weighted round robin.
//!
//! With `step` the greatest common divisor of all weights and `top` = highest weight - (step - 1), the list is walked
//! in passes that each ask for a weight of at least `wanted`: top, top - step, .. 1, and again from top. A pick is the
//! next server of the walk that is heavy enough and not overloaded. Any added, edited or deleted server sends the
//! position back to the head of the list; `wanted` is kept where it still fits.
//!
//! Where no server is heavy enough, whole passes are skipped by arithmetic, so that a pick walks the list at most
//! three times whatever the weights are; position and `wanted` end as if every pass had been walked.
//!
//! Source: Linux 6.1, `ip_vs_wrr.c`; recorded in `sched/wrr.json` and `sched/change.json`.

use super::{Request, Scheduler};
use crate::clock::Tick;
use crate::service::{Member, Service};
use crate::stats::Loads;

struct WeightedRoundRobin {
    /// The server of the last pick; none stands for the head of the list.
    last: Option<usize>,
    /// The weight that this pass asks for (the kernel's cw).
    wanted: u32,
    /// Where passes start (mw); 0 if no server has a weight.
    top: u32,
    /// How much a pass asks less than the one before (di).
    step: u32,
}

pub(super) fn start(service: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    let (top, step) = passes(&service.members);
    Box::new(WeightedRoundRobin { last: None, wanted: top, top, step })
}

/// Where passes start, and the step between them.
fn passes(members: &[Member]) -> (u32, u32) {
    let step = members.iter().fold(0, |divisor, member| gcd(divisor, member.weight)).max(1);
    let highest = members.iter().map(|member| member.weight).max().unwrap_or(0);
    (highest.saturating_sub(step - 1), step)
}

/// Greatest common divisor; `gcd(a, 0)` is a.
pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl WeightedRoundRobin {
    /// The end of the list was reached and nothing heavy enough is left in this pass: go on to the pass that finds the
    /// heaviest server that can serve, of weight `heaviest`.
    fn descend(&mut self, heaviest: u32) {
        let next = if self.wanted > self.step { self.wanted - self.step } else { self.top };
        self.wanted = next - next.saturating_sub(heaviest).div_ceil(self.step) * self.step;
    }

    /// Nobody can serve: the walk of the kernel would have ended here.
    fn give_up(&mut self) {
        if self.last.is_some() && self.wanted <= self.step {
            // The pass was the lowest already, so one more round was made, up to the position.
            self.wanted = 1;
        } else {
            self.last = None;
            self.wanted = self.top;
        }
    }
}

impl Scheduler for WeightedRoundRobin {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        if self.top == 0 {
            return None;
        }
        let members = &service.members;
        let heavy_from = |first: usize, wanted: u32| {
            (first..members.len()).find(|&at| members[at].weight >= wanted && !loads.overloaded(members[at].id))
        };
        let mut found = heavy_from(self.last.map_or(0, |last| last + 1), self.wanted);
        if found.is_none() {
            let in_service = members.iter().filter(|member| !loads.overloaded(member.id));
            match in_service.map(|member| member.weight).max() {
                None | Some(0) => self.give_up(),
                Some(heaviest) => {
                    self.descend(heaviest);
                    found = heavy_from(0, self.wanted);
                }
            }
        }
        self.last = found.or(self.last);
        found
    }

    fn changed(&mut self, old: &Service, new: &Service) {
        if old.edits == new.edits {
            return;
        }
        (self.top, self.step) = passes(&new.members);
        self.last = None;
        if self.wanted > self.top || self.wanted == 0 {
            self.wanted = self.top;
        } else if self.step > 1 {
            self.wanted = self.wanted / self.step * self.step + 1;
        }
    }
}
