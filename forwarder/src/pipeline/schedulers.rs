//! The schedulers' states of one worker, by service slot, kept in step with the snapshot.

use super::Ledger;
use crate::clock::Tick;
use crate::scheduler::{Request, Scheduler};
use crate::service::{Service, ServiceId, Snapshot};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

pub(super) struct Schedulers {
    slots: Vec<Option<Slot>>,
    seed: u64,
}

struct Slot {
    /// The version of the service that the state was last brought up to date with.
    service: Arc<Service>,
    state: Box<dyn Scheduler>,
}

impl Schedulers {
    pub fn new(seed: u64) -> Self {
        Self { slots: Vec::new(), seed }
    }

    /// Brings one service's state up to date with the snapshot.
    pub fn adopt(&mut self, id: ServiceId, snapshot: &Snapshot, now: Tick) {
        let index = id.0 as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let slot = &mut self.slots[index];
        let Some(new) = snapshot.service(id) else {
            *slot = None;
            return;
        };
        match slot {
            Some(slot) if slot.service.generation == new.generation && slot.service.scheduler == new.scheduler => {
                slot.state.changed(&slot.service, new);
                slot.service = new.clone();
            }
            _ => {
                let seed = self.seed ^ (u64::from(id.0) << 32 | u64::from(new.generation));
                let state = (new.scheduler.definition().start)(new, now, seed);
                *slot = Some(Slot { service: new.clone(), state });
            }
        }
    }

    /// The same for every service.
    pub fn adopt_all(&mut self, snapshot: &Snapshot, now: Tick) {
        for id in (0..snapshot.services.len() as u32).map(ServiceId) {
            if snapshot.service(id).is_none_or(|service| !self.follows(service)) {
                self.adopt(id, snapshot, now);
            }
        }
    }

    /// True if the state of this service's scheduler is in step with it.
    pub fn follows(&self, service: &Arc<Service>) -> bool {
        let slot = self.slots.get(service.id.0 as usize);
        slot.and_then(Option::as_ref).is_some_and(|slot| Arc::ptr_eq(&slot.service, service))
    }

    /// The member of the service that a new connection gets.
    pub fn pick(
        &mut self,
        service: &Service,
        ledger: &Ledger,
        snapshot: &Snapshot,
        client: (Ipv4Addr, u16),
        target: Ipv4Addr,
        now: Tick,
    ) -> Option<usize> {
        let request = Request {
            client: IpAddr::V4(client.0),
            client_port: client.1,
            target: IpAddr::V4(target),
            now,
            settings: &snapshot.settings,
        };
        self.slots.get_mut(service.id.0 as usize)?.as_mut()?.state.pick(service, &ledger.loads(), &request)
    }
}
