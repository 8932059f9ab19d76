//! A set of addresses, each there for as long as a service or a destination needs it.

use forwarder::route::AddressSet;
use forwarder::service::{DestId, ServiceId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::Ipv4Addr;

/// Who needs an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum User {
    /// The service in this slot.
    Service(ServiceId),
    /// The destination in this slot.
    Destination(DestId),
}

/// Who needs which address.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// How many need it.
    counts: HashMap<Ipv4Addr, u32>,
    by_user: HashMap<User, Ipv4Addr>,
    /// Addresses that nobody needed before.
    new: Vec<Ipv4Addr>,
}

impl Addresses {
    /// What `user` needs.
    pub fn of(&self, user: User) -> Option<Ipv4Addr> {
        self.by_user.get(&user).copied()
    }

    /// `user` needs this address, or none, from now on.
    pub fn need(&mut self, user: User, address: Option<Ipv4Addr>) {
        if self.of(user) == address {
            return;
        }
        if let Some(old) = self.by_user.remove(&user)
            && let Entry::Occupied(mut count) = self.counts.entry(old)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if let Some(address) = address {
            self.by_user.insert(user, address);
            let count = self.counts.entry(address).or_default();
            *count += 1;
            if *count == 1 {
                self.new.push(address);
            }
        }
    }

    /// Brings a set up to date with what changed since the last time. An address too many costs a wasted look now and
    /// then, one too few a connection: the set may be late to shrink.
    pub fn settle(&mut self, set: &mut AddressSet) {
        let fits = self.new.drain(..).all(|address| set.may_contain(address) || set.insert(address));
        if !fits || self.counts.len() < set.told() / 4 {
            *set = AddressSet::new(self.counts.keys().copied());
        }
    }

    /// True if somebody needs this address.
    pub fn contain(&self, address: Ipv4Addr) -> bool {
        self.counts.contains_key(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_needed_is_in_the_set_and_little_else(
            steps in prop::collection::vec((0u32..300, prop::option::weighted(0.7, 0u8..200), any::<bool>()), 1..600),
        ) {
            let (mut addresses, mut set, mut model) = (Addresses::default(), AddressSet::default(), HashMap::new());
            for (id, address, settle) in steps {
                let address = address.map(|last| Ipv4Addr::new(10, 0, 0, last));
                addresses.need(User::Destination(DestId(id)), address);
                match address {
                    Some(address) => model.insert(id, address),
                    None => model.remove(&id),
                };
                if settle {
                    addresses.settle(&mut set);
                    prop_assert!(model.values().all(|&needed| set.may_contain(needed) && addresses.contain(needed)));
                    let mut needed: Vec<_> = model.values().collect();
                    needed.sort_unstable();
                    needed.dedup();
                    prop_assert!(set.told() <= needed.len() * 4 + 3, "{} for {}", set.told(), needed.len());
                }
            }
        }
    }
}
