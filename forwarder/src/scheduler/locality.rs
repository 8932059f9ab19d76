//! What lblc and lblcr share: a bounded memory of targets, the servers it names, and when a server is burdened.
//!
//! A target is a destination address of a request: one for a virtual address, many for a mark service in front of
//! transparent proxies. Memory is taken in steps as targets are seen (none at start, then 64, 256, 1024, 4096, 16384),
//! so that thousands of services with few targets cost little, and no packet but the one that fills a step allocates.
//!
//! Source: Linux 6.1, `ip_vs_lblc.c` and `ip_vs_lblcr.c`. Entries are only ever looked through by a timer of the table,
//! every 60 s: at each 30th tick those idle for the configured time go; in between, once there are more than 16384,
//! those idle for six minutes. The timer runs on the kernel's timer wheel, which at HZ=100 rounds 60 s up to 61.44 s
//! (a multiple of 512 ticks): thus full scans are 1843.2 s apart, as recorded in `sched/tt-scan.json`. Here the scan is
//! made by the first pick after its time, before it looks anything up. Where the kernel goes beyond 16384 until the
//! timer comes, RVS collects idle entries at once, and remembers no further target if there are none.

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::service::{DestId, Member};
use crate::stats::Loads;
use std::collections::HashMap;
use std::net::IpAddr;

/// Targets remembered at most.
const LIMIT: usize = 16 * 1024;
/// Targets there is room for after the first one was seen; each further step is four times the one before.
const FIRST_STEP: usize = 64;
/// Entries idle for so long, ticks, may go when the memory is full.
const IDLE: u32 = 6 * 60 * TICKS_PER_SECOND;
/// The table's timer as armed, ticks.
const TIMER: u32 = 60 * TICKS_PER_SECOND;
/// The wheel rounds such a timer up to the next multiple of this, ticks.
const WHEEL: u32 = 512;
/// The timer as it comes, ticks.
const PERIOD: u32 = TIMER.next_multiple_of(WHEEL);
/// Ticks of the timer between full scans.
const SCAN_EVERY: u32 = 30;
/// No entry.
const NONE: u32 = u32::MAX;

/// True if a server has more active connections than its weight while another has less than half of its own.
pub(super) fn burdened(member: &Member, members: &[Member], loads: &Loads<'_>) -> bool {
    let bored = |other: &Member| u64::from(loads.of(other.id).active) * 2 < u64::from(other.weight);
    loads.of(member.id).active > member.weight && members.iter().any(bored)
}

/// A target and what is remembered about it.
struct Entry<V> {
    address: [u32; 4],
    used: Tick,
    next: u32,
    value: V,
}

/// A hash map from targets to `V`, chained through its entries.
pub(super) struct Targets<V> {
    entries: Vec<Entry<V>>,
    /// The first entry of each chain; as many chains as there is room for entries.
    chains: Vec<u32>,
    key: [u64; 2],
    next_scan: Tick,
    next_collection: Tick,
}

impl<V: Copy> Targets<V> {
    /// Nothing remembered yet; the timer starts at `now`. `seed` keys the hash against chosen collisions.
    pub(super) fn new(now: Tick, seed: u64) -> Self {
        let first = Tick((now.plus(TIMER).0 / WHEEL + 1).wrapping_mul(WHEEL));
        let key = [seed ^ 0x9E37_79B9_7F4A_7C15, seed.rotate_left(32) ^ 0xD6E8_FEB8_6659_FD93];
        let next_scan = first.plus((SCAN_EVERY - 1) * PERIOD);
        Self { entries: Vec::new(), chains: Vec::new(), key, next_scan, next_collection: now }
    }

    /// Makes the full scan that was due since the last call, if one was: entries idle for `seconds` go.
    pub(super) fn scan(&mut self, now: Tick, seconds: u32, released: impl FnMut(V)) {
        const EVERY: u32 = SCAN_EVERY * PERIOD;
        let late = now.0.wrapping_sub(self.next_scan.0);
        if late > u32::MAX - EVERY - WHEEL {
            return; // it lies ahead
        }
        let scan = self.next_scan.plus(late / EVERY * EVERY);
        self.next_scan = scan.plus(EVERY);
        self.forget_idle(scan, u64::from(seconds) * u64::from(TICKS_PER_SECOND), released);
    }

    /// Where a target is remembered; it counts as used.
    pub(super) fn find(&mut self, target: IpAddr, now: Tick) -> Option<usize> {
        let address = words(target);
        let mut at = *self.chains.get(self.chain(address))?;
        while let Some(entry) = self.entries.get_mut(at as usize) {
            if entry.address == address {
                entry.used = now;
                return Some(at as usize);
            }
            at = entry.next;
        }
        None
    }

    /// What is remembered at a place from [`Targets::find`].
    pub(super) fn value(&mut self, at: usize) -> &mut V {
        &mut self.entries[at].value
    }

    /// Remembers a target that is not remembered yet. False if there is no room.
    pub(super) fn insert(&mut self, target: IpAddr, now: Tick, value: V, released: impl FnMut(V)) -> bool {
        if self.entries.len() == LIMIT && now.reached(self.next_collection) {
            self.next_collection = now.plus(PERIOD);
            self.forget_idle(now, u64::from(IDLE), released);
        }
        if self.entries.len() == LIMIT {
            return false;
        }
        if self.entries.len() == self.chains.len() {
            let room = (self.chains.len() * 4).clamp(FIRST_STEP, LIMIT);
            self.entries.reserve_exact(room - self.entries.len());
            self.chains = vec![NONE; room];
            self.link_all();
        }
        let address = words(target);
        let chain = self.chain(address);
        let next = std::mem::replace(&mut self.chains[chain], self.entries.len() as u32);
        self.entries.push(Entry { address, used: now, next, value });
        true
    }

    /// Forgets everything, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.chains.fill(NONE);
    }

    fn forget_idle(&mut self, now: Tick, ticks: u64, mut released: impl FnMut(V)) {
        let before = self.entries.len();
        self.entries.retain(|entry| {
            // Never later than `now`, so the distance is right up to the whole wrap.
            let keep = u64::from(now.0.wrapping_sub(entry.used.0)) < ticks;
            if !keep {
                released(entry.value);
            }
            keep
        });
        if self.entries.len() != before {
            self.chains.fill(NONE);
            self.link_all();
        }
    }

    fn link_all(&mut self) {
        for at in 0..self.entries.len() {
            let chain = self.chain(self.entries[at].address);
            self.entries[at].next = std::mem::replace(&mut self.chains[chain], at as u32);
        }
    }

    fn chain(&self, address: [u32; 4]) -> usize {
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let (high, low) = (pair(address[0], address[1]), pair(address[2], address[3]));
        let product = u128::from(high ^ self.key[0]) * u128::from(low ^ self.key[1]);
        (product as u64 ^ (product >> 64) as u64) as usize & self.chains.len().wrapping_sub(1)
    }
}

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [0, 0, 0, u32::from(address)],
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
        }
    }
}

/// A server that the memory may name.
pub(super) struct Server {
    pub(super) id: DestId,
    pub(super) weight: u32,
    /// Its index among the members; none while it is deleted. The kernel keeps a deleted server while it is
    /// remembered, so that adding it back makes it serve its targets again.
    pub(super) member: Option<usize>,
}

/// The servers of a service by numbers that stay the same while members come and go.
#[derive(Default)]
pub(super) struct Servers {
    known: Vec<Server>,
    by_name: HashMap<(IpAddr, u16), u32>,
    of_member: Vec<u32>,
}

impl Servers {
    /// Takes the members as they are now. False if the numbers given so far are void, because too many servers that
    /// are long gone had one.
    pub(super) fn update(&mut self, members: &[Member]) -> bool {
        let valid = self.known.len() <= 2 * members.len() + 1024;
        if !valid {
            self.known.clear();
            self.by_name.clear();
        }
        self.known.iter_mut().for_each(|server| server.member = None);
        self.of_member.clear();
        for (index, member) in members.iter().enumerate() {
            let new = self.known.len() as u32;
            let number = *self.by_name.entry((member.address, member.port)).or_insert(new);
            let server = Server { id: member.id, weight: member.weight, member: Some(index) };
            if number == new {
                self.known.push(server);
            } else {
                self.known[number as usize] = server;
            }
            self.of_member.push(number);
        }
        valid
    }

    /// The number of a member.
    pub(super) fn number(&self, member: usize) -> u32 {
        self.of_member[member]
    }

    /// The server of a number.
    pub(super) fn get(&self, number: u32) -> &Server {
        &self.known[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn target(n: usize) -> IpAddr {
        Ipv4Addr::from(0x5D00_0000 + n as u32).into()
    }

    #[test]
    fn memory_grows_in_steps_up_to_the_kernels_limit() {
        let mut targets = Targets::new(Tick(u32::MAX), 1);
        let start = Tick(u32::MAX).plus(1);
        let mut steps = Vec::new();
        for n in 0..LIMIT {
            assert!(targets.find(target(n), start).is_none());
            assert!(targets.insert(target(n), start, n, |_| ()));
            steps.push(targets.chains.len());
        }
        steps.dedup();
        assert_eq!(steps, [64, 256, 1024, 4096, 16384]);
        assert!((0..LIMIT).all(|n| targets.find(target(n), start).is_some_and(|at| *targets.value(at) == n)));

        // Full: nothing more until entries are idle for six minutes, and then those go.
        assert!(!targets.insert(target(LIMIT), start.plus(IDLE - 1), 0, |_| ()));
        assert!(targets.find(target(3), start.plus(IDLE - 1)).is_some());
        let mut gone = 0;
        let later = start.plus(IDLE + PERIOD);
        assert!(targets.insert(target(LIMIT), later, 0, |_| gone += 1));
        assert_eq!((gone, targets.entries.len()), (LIMIT - 1, 2));
        assert!(targets.find(target(3), later).is_some() && targets.find(target(4), later).is_none());
    }

    #[test]
    fn full_memory_is_looked_through_once_a_minute_at_most() {
        let start = Tick(5);
        let mut targets = Targets::new(start, 1);
        (0..LIMIT).for_each(|n| assert!(targets.insert(target(n), start, n, |_| ())));
        let full = start.plus(IDLE - 10);
        assert!(!targets.insert(target(LIMIT), full, 0, |_| ()));
        assert!(!targets.insert(target(LIMIT), full.plus(PERIOD - 1), 0, |_| ()));
        assert!(targets.insert(target(LIMIT), full.plus(PERIOD), 0, |_| ()));
    }

    #[test]
    fn full_scans_come_every_thirtieth_tick_of_the_wheel() {
        // Made at tick 0: the timer comes at 6144, 12288, ..; the full scans at 184320, 368640, ..
        let mut targets = Targets::new(Tick(0), 1);
        let mut gone_at = |used: u32, at: u32| {
            targets.insert(target(1), Tick(used), (), |()| ());
            let mut gone = false;
            targets.scan(Tick(at), 120, |()| gone = true);
            targets.clear();
            gone
        };
        assert!(!gone_at(0, 184_319));
        assert!(gone_at(0, 184_320));
        assert!(!gone_at(368_640 - 11_999, 368_640 + 50), "not idle enough at the moment of the scan");
        assert!(gone_at(552_960 - 12_000, 552_960 + 50));
        assert!(gone_at(552_960, u32::MAX - 10), "after a long time without picks");
    }

    #[test]
    fn numbers_of_servers_outlive_their_deletion() {
        let member = |n: u16| Member {
            id: DestId(u32::from(n)),
            address: target(usize::from(n)),
            port: n,
            weight: 1,
            last_weight: 1,
            upper: 0,
            lower: 0,
        };
        let mut servers = Servers::default();
        assert!(servers.update(&[member(1), member(2)]));
        let two = servers.number(1);
        assert!(servers.update(&[member(1)]));
        assert!(servers.get(two).member.is_none());
        assert!(servers.update(&[member(2), member(3), member(1)]));
        assert_eq!((servers.number(0), servers.get(two).member), (two, Some(0)));
        // Too many that are gone: the numbers start anew.
        assert!((0..1022).all(|n| servers.update(&[member(n + 10)])));
        assert!(!(0..10).all(|n| servers.update(&[member(n + 2000)])));
    }
}
