//! Which addresses the kernel is asked to resolve, and when. Pure: time is an argument and the asking is the caller's.
//!
//! Two kinds of addresses are asked for. What somebody asked for by [`Resolver::ask`] is repeated once a second until it
//! is resolved, and given up after a while. What is kept fresh (real servers, gateways) is asked for as long as it is
//! wanted: the kernel sees none of the data path's packets, so without that it would never find out that a MAC address
//! has changed.

use forwarder::route::{NextHop, Routes};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Milliseconds since some start.
pub(super) type Millis = u64;

/// A neighbour: port and address.
pub(super) type Key = (u16, Ipv4Addr);

/// At most once in this time for an address that is not resolved: the kernel's own interval between ARP requests.
const RETRY: Millis = 1_000;

/// At most once in this time for a resolved address that is kept fresh. The kernel does not ask the network each time:
/// a reachable neighbour stays so for 15 to 45 s.
const REFRESH: Millis = 5_000;

/// How often something is asked for until it has to be asked for again.
const TRIES: u8 = 10;

/// Addresses asked for at a time.
pub(super) const MOST_ASKED: usize = 1024;

/// Addresses kept fresh at a time.
pub(super) const MOST_KEPT: usize = 4096;

/// Requests to the kernel in one [`WINDOW`], at most.
const MOST_SENT: usize = 100;

/// The span that [`MOST_SENT`] is about.
const WINDOW: Millis = 100;

/// What is asked for, and when next.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    entries: HashMap<Key, Entry>,
    /// How many of them nobody keeps.
    asked: usize,
    /// When something is due next; never if none.
    next: Option<Millis>,
    window: Millis,
    sent: usize,
}

#[derive(Debug)]
struct Entry {
    /// When the kernel was last asked.
    last: Option<Millis>,
    resolved: bool,
    tries: u8,
    kept: bool,
}

impl Entry {
    const NEW: Self = Self { last: None, resolved: false, tries: 0, kept: false };

    fn next(&self) -> Millis {
        self.last.map_or(0, |last| last + if self.resolved { REFRESH } else { RETRY })
    }
}

impl Resolver {
    /// Asks for an address, unless it is being asked for already. False if too many are.
    pub(super) fn ask(&mut self, key: Key, now: Millis) -> bool {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.tries = TRIES;
            return true;
        }
        if self.asked >= MOST_ASKED {
            return false;
        }
        self.asked += 1;
        self.entries.insert(key, Entry { tries: TRIES, ..Entry::NEW });
        self.next = Some(now);
        true
    }

    /// Keeps fresh the next hops to these addresses and all gateways, and no others. To be called again when the
    /// routes have changed.
    pub(super) fn keep(&mut self, addresses: &[Ipv4Addr], routes: &Routes, now: Millis) {
        for entry in self.entries.values_mut() {
            entry.kept = false;
        }
        let gateways = routes.gateways().filter_map(|id| routes.link(id)).map(|link| (link.port, link.address));
        let next_hops = addresses.iter().filter_map(|address| match routes.lookup(*address) {
            NextHop::Link(id) => routes.link(id).map(|link| (link.port, link.address)),
            NextHop::Unknown(port) => Some((port, *address)),
            NextHop::Local | NextHop::Unreachable => None,
        });
        let mut kept = 0;
        for key in gateways.chain(next_hops) {
            let entry = self.entries.entry(key).or_insert(Entry::NEW);
            kept += usize::from(!entry.kept);
            entry.kept = true;
            if kept >= MOST_KEPT {
                break;
            }
        }
        self.forget();
        self.next = Some(now);
    }

    /// Calls back with each address that it is time to ask the kernel for, those that wait longest first.
    pub(super) fn due(&mut self, now: Millis, routes: &Routes, mut send: impl FnMut(Key)) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        if now >= self.window + WINDOW {
            (self.window, self.sent) = (now, 0);
        }
        for (key, entry) in &mut self.entries {
            let link = routes.neighbour(key.0, key.1).and_then(|id| routes.link(id));
            entry.resolved = link.is_some_and(|link| link.mac.is_some());
            if entry.resolved {
                entry.tries = 0;
            }
        }
        self.forget();
        let mut due: Vec<_> = self.entries.iter_mut().filter(|(_, entry)| entry.next() <= now).collect();
        due.sort_unstable_by_key(|(key, entry)| (entry.next(), **key));
        for (key, entry) in due.into_iter().take(MOST_SENT - self.sent) {
            self.sent += 1;
            send(*key);
            entry.last = Some(now);
            entry.tries = entry.tries.saturating_sub(1);
        }
        // With the window's requests used up, the rest waits for the next one.
        let earliest = if self.sent >= MOST_SENT { self.window + WINDOW } else { now };
        self.next = self.entries.values().map(Entry::next).min().map(|next| next.max(earliest));
    }

    /// When [`Resolver::due`] has something to do next.
    pub(super) fn next(&self) -> Option<Millis> {
        self.next
    }

    fn forget(&mut self) {
        self.entries.retain(|_, entry| entry.kept || entry.tries > 0);
        self.asked = self.entries.values().filter(|entry| !entry.kept).count();
    }
}
