//! What each scheduler must answer, as plainly as it can be said: no tables, no skipping, no sharing of code.

use crate::rig::{Rig, server};
use forwarder::clock::Tick;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The model of one scheduler.
pub trait Model {
    /// Its answer for this target now, before the scheduler is asked.
    fn expected(&mut self, rig: &Rig, target: IpAddr) -> Option<usize>;
    /// A server was added, edited or deleted (then `deleted` is its index of before).
    fn changed(&mut self, _rig: &Rig, _deleted: Option<usize>) {}
}

/// A model without memory.
struct Plain(fn(&Rig) -> Option<usize>);

impl Model for Plain {
    fn expected(&mut self, rig: &Rig, _: IpAddr) -> Option<usize> {
        (self.0)(rig)
    }
}

/// The model for a scheduler, if its answers can be told in advance.
pub fn of(name: &str) -> Option<Box<dyn Model>> {
    Some(match name {
        "rr" => Box::new(RoundRobin { last: None }),
        "wrr" => Box::new(Walk { last: None, wanted: 0, top: 0, step: 1 }),
        "lc" => Box::new(Plain(|rig| best(rig, usable(rig), |index| (overhead(rig, index), 1)))),
        "wlc" => Box::new(Plain(|rig| best(rig, usable(rig), |index| (overhead(rig, index), weight(rig, index))))),
        "sed" => Box::new(Plain(sed)),
        "nq" => {
            Box::new(Plain(|rig| usable(rig).into_iter().find(|&at| rig.load(at).active == 0).or_else(|| sed(rig))))
        }
        "fo" => Box::new(Plain(|rig| best(rig, usable(rig), |index| (1, weight(rig, index))))),
        "ovf" => Box::new(Plain(|rig| {
            let room = usable(rig).into_iter().filter(|&at| rig.load(at).active <= rig.weight(at)).collect();
            best(rig, room, |index| (1, weight(rig, index)))
        })),
        "lblc" => Box::new(Memory { replicate: false, ..Memory::default() }),
        "lblcr" => Box::new(Memory { replicate: true, ..Memory::default() }),
        _ => return None,
    })
}

fn usable(rig: &Rig) -> Vec<usize> {
    rig.all().filter(|&index| rig.usable(index)).collect()
}

fn weight(rig: &Rig, index: usize) -> u64 {
    u64::from(rig.weight(index))
}

fn overhead(rig: &Rig, index: usize) -> u64 {
    let load = rig.load(index);
    u64::from(load.active) * 256 + u64::from(load.inactive)
}

fn sed(rig: &Rig) -> Option<usize> {
    best(rig, usable(rig), |index| (u64::from(rig.load(index).active) + 1, weight(rig, index)))
}

fn compare((a, b): (u64, u64), (c, d): (u64, u64)) -> Ordering {
    (a * d).cmp(&(c * b))
}

/// The first of these whose fraction no other's is below.
fn best(_: &Rig, among: Vec<usize>, fraction: impl Fn(usize) -> (u64, u64)) -> Option<usize> {
    let beaten = |one: usize| among.iter().any(|&other| compare(fraction(other), fraction(one)).is_lt());
    among.iter().copied().find(|&index| !beaten(index))
}

struct RoundRobin {
    last: Option<usize>,
}

impl Model for RoundRobin {
    fn expected(&mut self, rig: &Rig, _: IpAddr) -> Option<usize> {
        let count = rig.all().len();
        let after = self.last.map_or(0, |last| last + 1);
        let found = (after..after + count).map(|index| index % count).find(|&index| rig.usable(index));
        self.last = found.or(self.last);
        found
    }

    fn changed(&mut self, rig: &Rig, deleted: Option<usize>) {
        match (self.last, deleted) {
            (Some(last), Some(deleted)) if deleted <= last => self.last = last.checked_sub(1),
            (Some(last), None) if rig.added => self.last = Some(last + 1),
            _ => {}
        }
    }
}

/// wrr as the kernel walks it, pass by pass.
struct Walk {
    last: Option<usize>,
    wanted: u32,
    top: u32,
    step: u32,
}

impl Model for Walk {
    fn expected(&mut self, rig: &Rig, _: IpAddr) -> Option<usize> {
        if self.top == 0 {
            return None;
        }
        let start = self.last;
        let (mut last_pass, mut again, mut stop) = (false, false, None);
        let mut from = start.map_or(0, |start| start + 1);
        loop {
            for index in from..rig.all().len() {
                if !rig.over(index) && rig.weight(index) >= self.wanted {
                    self.last = Some(index);
                    return self.last;
                }
                if stop == Some(index) {
                    self.last = stop;
                    return None;
                }
            }
            from = 0;
            if self.wanted > self.step {
                self.wanted -= self.step;
            } else {
                self.wanted = self.top;
                if last_pass || start.is_none() {
                    self.last = None;
                    return None;
                }
                again = true;
            }
            last_pass = self.wanted <= self.step;
            if last_pass && again {
                stop = start;
            }
        }
    }

    fn changed(&mut self, rig: &Rig, _: Option<usize>) {
        let weights = || rig.all().map(|index| rig.weight(index)).filter(|&weight| weight > 0);
        let divides = |divisor: &u32| weights().all(|weight| weight % divisor == 0);
        let highest = weights().max().unwrap_or(0);
        self.step = (1..=highest).rev().find(divides).unwrap_or(1);
        self.top = highest.saturating_sub(self.step - 1);
        self.last = None;
        if self.wanted > self.top || self.wanted == 0 {
            self.wanted = self.top;
        } else if self.step > 1 {
            self.wanted = self.wanted / self.step * self.step + 1;
        }
    }
}

/// lblc and lblcr: targets, their servers (newest first, by number), last use and last change, and the next tick of the
/// table's timer, whose every thirtieth looks for idle ones.
#[derive(Default)]
struct Memory {
    replicate: bool,
    targets: BTreeMap<IpAddr, (Vec<usize>, Tick, Tick)>,
    timer: Option<Tick>,
    ticks: u32,
    weights: BTreeMap<usize, u32>,
}

impl Memory {
    fn burdened(rig: &Rig, index: usize) -> bool {
        let bored = |other: usize| u64::from(rig.load(other).active) * 2 < weight(rig, other);
        rig.load(index).active > rig.weight(index) && rig.all().any(bored)
    }

    fn pass_time(&mut self, rig: &Rig, expiration: u32) {
        let next = |from: Tick| Tick((from.0.wrapping_add(6000) / 512 + 1).wrapping_mul(512));
        let mut timer = *self.timer.get_or_insert_with(|| next(rig.born));
        while rig.now.reached(timer) {
            self.ticks += 1;
            if self.ticks.is_multiple_of(30) {
                self.targets.retain(|_, (_, used, _)| timer.since(*used) < expiration * 100);
            }
            timer = next(timer);
        }
        self.timer = Some(timer);
    }
}

impl Model for Memory {
    fn expected(&mut self, rig: &Rig, target: IpAddr) -> Option<usize> {
        let expiration = if self.replicate { rig.settings.lblcr_expiration } else { rig.settings.lblc_expiration };
        self.pass_time(rig, expiration);
        let member = |n: usize| rig.service.members.iter().position(|member| member.address == server(n));
        let wlc = || best(rig, usable(rig), |index| (overhead(rig, index), weight(rig, index)));
        let replicate = self.replicate;
        if let Some((servers, used, changed)) = self.targets.get_mut(&target) {
            *used = rig.now;
            let mut present = servers.iter().filter_map(|&n| member(n));
            let choice = if replicate {
                // In the order of the set, not of the list.
                let usable: Vec<usize> = present.filter(|&index| rig.usable(index)).collect();
                best(rig, usable, |index| (overhead(rig, index), weight(rig, index)))
            } else {
                present.find(|&index| rig.weight(index) > 0)
            };
            if replicate && servers.len() > 1 && rig.now.since(*changed) > expiration * 100 {
                let cost = |&n: &usize| {
                    let load = rig.loads[n];
                    (u64::from(load.active) * 256 + u64::from(load.inactive), u64::from(self.weights[&n]))
                };
                let weighty: Vec<usize> = servers.iter().copied().filter(|n| self.weights[n] > 0).collect();
                let topped = |one: &usize| weighty.iter().any(|other| compare(cost(other), cost(one)).is_gt());
                if let Some(most) = weighty.iter().find(|n| !topped(n)) {
                    servers.retain(|n| n != most);
                    *changed = rig.now;
                }
            }
            if let Some(index) = choice.filter(|&index| !Self::burdened(rig, index)) {
                return Some(index);
            }
        }
        let index = wlc()?;
        let entry = self.targets.entry(target).or_insert((Vec::new(), rig.now, rig.now));
        if !replicate {
            entry.0 = vec![rig.id(index)];
        } else if !entry.0.contains(&rig.id(index)) {
            entry.0.insert(0, rig.id(index));
            entry.2 = rig.now;
        }
        Some(index)
    }

    fn changed(&mut self, rig: &Rig, _: Option<usize>) {
        self.weights.extend(rig.all().map(|index| (rig.id(index), rig.weight(index))));
    }
}
