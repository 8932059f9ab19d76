//! What routers said about the paths to tunnels' ends: the director is the sender of outer packets, so it must believe
//! "fragmentation needed" about them (RFC 1191), as the kernel's routes do (`ipv4_update_pmtu`).

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::service::Mix;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Paths that are remembered, at most.
const CAPACITY: usize = 1024;
/// For how long (net.ipv4.route.mtu_expires), ticks.
const LIFE: u32 = 600 * TICKS_PER_SECOND;
/// A smaller MTU is not believed (net.ipv4.route.min_pmtu), bytes.
const LEAST: u16 = 552;

/// The paths that are narrower than their first link.
#[derive(Debug)]
pub(super) struct PathMtus {
    known: HashMap<u32, Path, Mix>,
}

#[derive(Clone, Copy, Debug)]
struct Path {
    mtu: u16,
    /// Until then it is believed.
    until: Tick,
    /// The MTU that the last packet was held against.
    used: u16,
}

impl Path {
    fn now(&self, link: u16, now: Tick) -> u16 {
        if now.passed(self.until) { link } else { self.mtu.min(link) }
    }
}

impl PathMtus {
    pub fn new() -> Self {
        Self { known: HashMap::with_capacity_and_hasher(CAPACITY, Mix) }
    }

    /// True if every path takes what its first link takes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The MTU of the path to an address whose first link takes `link` bytes, for a packet that goes there now.
    #[inline]
    pub fn of(&mut self, address: Ipv4Addr, link: u16, now: Tick) -> u16 {
        if self.known.is_empty() { link } else { self.look_up(address, link, now) }
    }

    #[cold]
    fn look_up(&mut self, address: Ipv4Addr, link: u16, now: Tick) -> u16 {
        self.known.get_mut(&address.to_bits()).map_or(link, |path| {
            path.used = path.now(link, now);
            path.used
        })
    }

    /// The MTU that the last packet to this address was held against.
    pub fn used(&self, address: Ipv4Addr, link: u16) -> u16 {
        self.known.get(&address.to_bits()).map_or(link, |path| path.used)
    }

    /// A router said that this is the MTU of the path (0: it does not know). A path never gets wider by being told.
    pub fn learn(&mut self, address: Ipv4Addr, link: u16, said: u16, now: Tick) {
        let (key, used) = (address.to_bits(), self.used(address, link));
        let current = self.known.get(&key).map_or(link, |path| path.now(link, now));
        let mtu = if said < LEAST { current.min(LEAST) } else { said };
        if mtu > current {
            return;
        }
        if self.known.len() >= CAPACITY {
            self.known.retain(|_, path| !now.passed(path.until));
        }
        if self.known.len() < CAPACITY || self.known.contains_key(&key) {
            self.known.insert(key, Path { mtu, until: now.plus(LIFE), used });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);

    #[test]
    fn a_path_narrows_and_is_forgotten() {
        let (mut paths, now) = (PathMtus::new(), Tick(u32::MAX - 10));
        // What is said, and what is believed after it.
        for (said, mtu) in [(1600, 1500), (1400, 1400), (1450, 1400), (1300, 1300), (0, 552), (600, 552), (100, 552)] {
            paths.learn(A, 1500, said, now);
            assert_eq!(paths.of(A, 1500, now), mtu, "{said}");
        }
        assert_eq!(paths.of(A, 500, now), 500);
        assert_eq!(paths.of(Ipv4Addr::new(192, 168, 1, 3), 1500, now), 1500);
        assert_eq!(paths.of(A, 1500, now.plus(LIFE)), 552);
        assert_eq!(paths.of(A, 1500, now.plus(LIFE + 1)), 1500);
    }

    #[test]
    fn what_is_new_is_used_by_the_next_packet() {
        let (mut paths, now) = (PathMtus::new(), Tick(0));
        assert_eq!(paths.used(A, 1500), 1500);
        paths.learn(A, 1500, 1400, now);
        paths.learn(A, 1500, 1300, now);
        assert_eq!(paths.used(A, 1500), 1500);
        assert_eq!((paths.of(A, 1500, now), paths.used(A, 1500)), (1300, 1300));
    }

    #[test]
    fn no_more_is_remembered_than_fits() {
        let (mut paths, now) = (PathMtus::new(), Tick(0));
        let address = |n: u32| Ipv4Addr::from(0x0a00_0000 + n);
        (0..2 * CAPACITY as u32).for_each(|n| paths.learn(address(n), 1500, 1400, now));
        assert_eq!(paths.known.len(), CAPACITY);
        let later = now.plus(LIFE + 1);
        paths.learn(address(5000), 1500, 1300, later);
        assert_eq!((paths.known.len(), paths.of(address(5000), 1500, later)), (1, 1300));
    }
}
