//! Services and destinations in their slots: mechanism only. Who may do what, and what it means, is the parent's.

use super::estimator::Estimator;
use super::observed::Observed;
use crate::command::{Counters, Error, ServerName, ServerSpec, ServiceName, ServiceSpec};
use forwarder::clock::Tick;
use forwarder::service::{DestId, ServiceId};
use std::collections::{BTreeSet, HashMap};

/// A virtual service as it is wanted.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its slot.
    pub id: ServiceId,
    /// Rises with each service ever made, so it also tells which of two is older.
    pub generation: u32,
    /// Its configuration.
    pub spec: ServiceSpec,
    /// Its destinations, the newest first, as the kernel's list has them.
    pub members: Vec<DestId>,
    /// What destinations that are no longer members counted while they were.
    pub(super) carried: Counters,
    pub(super) estimator: Estimator,
}

/// A destination: a member of its service, or deleted and kept for the connections that still refer to it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its slot.
    pub id: DestId,
    /// Differs from that of an earlier destination in the same slot.
    pub generation: u16,
    /// The service's slot; of a deleted destination perhaps a slot that is free or another service's by now.
    pub service: ServiceId,
    /// The service's name.
    pub service_name: ServiceName,
    /// Its configuration.
    pub spec: ServerSpec,
    /// The last weight that was not 0, since it was added.
    pub last_weight: u32,
    /// False once it is deleted.
    pub available: bool,
    pub(super) service_generation: u32,
    /// The slot's counters when it was taken, and when the destination last became a member.
    base: Counters,
    joined: Counters,
    /// Since when nobody refers to it, once it is deleted.
    pub(super) idle_since: Option<Tick>,
    pub(super) estimator: Estimator,
}

impl Destination {
    /// What it counted in its life.
    pub(super) fn counted(&self, observed: &dyn Observed) -> Counters {
        observed.counters(self.id).since(self.base)
    }
}

/// How many of each there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Services.
    pub services: u32,
    /// Destinations, deleted ones with living connections included.
    pub destinations: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: 65_536, destinations: 65_536 }
    }
}

/// Slots of a kind: the lowest free one is taken first.
#[derive(Clone, Debug)]
struct Slots<T> {
    used: Vec<Option<T>>,
    free: BTreeSet<u32>,
    limit: u32,
}

impl<T> Slots<T> {
    fn new(limit: u32) -> Self {
        Self { used: Vec::new(), free: BTreeSet::new(), limit }
    }

    fn next(&self) -> Option<u32> {
        let end = self.used.len() as u32;
        self.free.first().copied().or((end < self.limit).then_some(end))
    }

    fn put(&mut self, slot: u32, value: T) {
        if slot as usize == self.used.len() {
            self.used.push(None);
        }
        self.free.remove(&slot);
        self.used[slot as usize] = Some(value);
    }

    fn take(&mut self, slot: u32) -> Option<T> {
        let value = self.used.get_mut(slot as usize)?.take()?;
        self.free.insert(slot);
        Some(value)
    }

    fn get(&self, slot: u32) -> Option<&T> {
        self.used.get(slot as usize)?.as_ref()
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.used.get_mut(slot as usize)?.as_mut()
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.used.iter().flatten()
    }
}

/// Every service and destination.
#[derive(Clone, Debug)]
pub struct Table {
    services: Slots<Service>,
    by_name: HashMap<ServiceName, ServiceId>,
    /// By what operators call them.
    called: HashMap<String, ServiceId>,
    generation: u32,
    destinations: Slots<Destination>,
    /// The generation that the next destination of a slot gets.
    generations: Vec<u16>,
    /// Deleted destinations, by what would bring them back.
    trash: HashMap<(ServiceName, ServerName), DestId>,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            services: Slots::new(limits.services),
            by_name: HashMap::new(),
            called: HashMap::new(),
            generation: 0,
            destinations: Slots::new(limits.destinations),
            generations: Vec::new(),
            trash: HashMap::new(),
        }
    }

    /// The service of this name.
    #[must_use]
    pub fn find(&self, name: &ServiceName) -> Option<&Service> {
        self.service(*self.by_name.get(name)?)
    }

    /// The service that operators call so.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<ServiceId> {
        self.called.get(name).copied()
    }

    /// The service in a slot.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0)
    }

    /// Every service, by slot.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter()
    }

    /// The destination in a slot, deleted or not.
    #[must_use]
    pub fn destination(&self, id: DestId) -> Option<&Destination> {
        self.destinations.get(id.0)
    }

    /// Every destination by slot, deleted ones too.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.iter()
    }

    /// Slots of destinations that were ever used: every [`DestId`] is below.
    #[must_use]
    pub fn destination_slots(&self) -> u32 {
        self.destinations.used.len() as u32
    }

    /// The member of a service that has this name.
    #[must_use]
    pub fn member(&self, service: &Service, name: ServerName) -> Option<&Destination> {
        service.members.iter().filter_map(|id| self.destination(*id)).find(|member| member.spec.name() == name)
    }

    pub(super) fn service_mut(&mut self, id: ServiceId) -> Option<&mut Service> {
        self.services.get_mut(id.0)
    }

    pub(super) fn destination_mut(&mut self, id: DestId) -> Option<&mut Destination> {
        self.destinations.get_mut(id.0)
    }

    /// What a service and all that ever served it counted.
    pub(super) fn counted(&self, service: &Service, observed: &dyn Observed) -> Counters {
        let members = service.members.iter().filter_map(|id| self.destination(*id));
        members.fold(service.carried, |sum, member| sum.plus(observed.counters(member.id).since(member.joined)))
    }

    /// Adds a service whose name is free.
    pub(super) fn add_service(&mut self, spec: ServiceSpec) -> Result<ServiceId, Error> {
        let id = ServiceId(self.services.next().ok_or(Error::OutOfMemory)?);
        self.generation = self.generation.wrapping_add(1);
        self.by_name.insert(spec.service, id);
        self.called.extend(spec.name.clone().map(|name| (name, id)));
        let service = Service {
            id,
            generation: self.generation,
            spec,
            members: Vec::new(),
            carried: Counters::default(),
            estimator: Estimator::default(),
        };
        self.services.put(id.0, service);
        Ok(id)
    }

    /// Configures a service anew, with a name that is free.
    pub(super) fn edit_service(&mut self, id: ServiceId, spec: ServiceSpec) {
        let Some(service) = self.services.get_mut(id.0) else { return };
        if let Some(name) = &service.spec.name {
            self.called.remove(name);
        }
        self.called.extend(spec.name.clone().map(|name| (name, id)));
        service.spec = spec;
    }

    /// Removes a service without members.
    pub(super) fn remove_service(&mut self, id: ServiceId) {
        if let Some(service) = self.services.take(id.0) {
            debug_assert!(service.members.is_empty());
            self.by_name.remove(&service.spec.service);
            if let Some(name) = &service.spec.name {
                self.called.remove(name);
            }
        }
    }

    /// The deleted destination that an added server would bring back.
    pub(super) fn trashed(&self, service: ServiceName, server: ServerName) -> Option<DestId> {
        self.trash.get(&(service, server)).copied()
    }

    /// Puts a new destination, or one that was deleted before, at the head of its service's list.
    pub(super) fn join(
        &mut self,
        service: ServiceId,
        spec: ServerSpec,
        observed: &dyn Observed,
    ) -> Result<DestId, Error> {
        let (name, generation) = self.service(service).map(|s| (s.spec.service, s.generation)).ok_or(Error::Invalid)?;
        let id = match self.trash.remove(&(name, spec.name())) {
            Some(id) => id,
            None => self.take_slot(service, name, generation, spec, observed)?,
        };
        if let Some(destination) = self.destination_mut(id) {
            if destination.service_generation != generation {
                destination.estimator.zero();
            }
            destination.service = service;
            destination.service_generation = generation;
            destination.spec = spec;
            destination.last_weight = spec.weight;
            destination.available = true;
            destination.idle_since = None;
            destination.joined = observed.counters(id);
        }
        if let Some(service) = self.service_mut(service) {
            service.members.insert(0, id);
        }
        Ok(id)
    }

    fn take_slot(
        &mut self,
        service: ServiceId,
        service_name: ServiceName,
        service_generation: u32,
        spec: ServerSpec,
        observed: &dyn Observed,
    ) -> Result<DestId, Error> {
        let id = DestId(self.destinations.next().ok_or(Error::OutOfMemory)?);
        if id.0 as usize == self.generations.len() {
            self.generations.push(0);
        }
        let counters = observed.counters(id);
        let destination = Destination {
            id,
            generation: self.generations[id.0 as usize],
            service,
            service_name,
            spec,
            last_weight: spec.weight,
            available: true,
            service_generation,
            base: counters,
            joined: counters,
            idle_since: None,
            estimator: Estimator::default(),
        };
        self.destinations.put(id.0, destination);
        Ok(id)
    }

    /// Takes a member out of its service and keeps it for its connections.
    pub(super) fn leave(&mut self, id: DestId, observed: &dyn Observed) {
        let Some(destination) = self.destination_mut(id) else { return };
        destination.available = false;
        let counted = observed.counters(id).since(destination.joined);
        let (service, key) = (destination.service, (destination.service_name, destination.spec.name()));
        self.trash.insert(key, id);
        if let Some(service) = self.service_mut(service) {
            service.members.retain(|member| *member != id);
            service.carried = service.carried.plus(counted);
        }
    }

    /// Deleted destinations, in no order.
    pub(super) fn trash(&self) -> Vec<DestId> {
        self.trash.values().copied().collect()
    }

    /// Frees the slot of a deleted destination.
    pub(super) fn forget(&mut self, id: DestId) {
        if let Some(destination) = self.destinations.take(id.0) {
            self.trash.remove(&(destination.service_name, destination.spec.name()));
            let generation = &mut self.generations[id.0 as usize];
            *generation = generation.wrapping_add(1);
        }
    }
}
