//! Which server a new connection gets. One file a family; each gives its rule in words and where the rule is from.
//!
//! A scheduler sees the service's members, their loads and the request's addresses, never bytes. What can be prepared
//! from the members alone is a [`Table`] in the snapshot, built by the control thread; what changes from pick to pick
//! is the state behind [`Scheduler`], one for each service on each worker.

mod delay;
mod failover;
mod hash;
mod lblc;
mod lblcr;
mod least;
mod load;
mod locality;
mod mh;
mod rr;
mod tournament;
mod twos;
mod wrr;

use crate::clock::Tick;
use crate::service::{Family, Member, Service, Settings};
use crate::stats::Loads;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known about the packet that starts a connection.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The client.
    pub client: IpAddr,
    /// Its port, host byte order.
    pub client_port: u16,
    /// The destination address of the packet (the virtual address, or any address for a mark service).
    pub target: IpAddr,
    /// The moment.
    pub now: Tick,
    /// The snapshot's settings: how long lblc and lblcr remember.
    pub settings: &'a Settings,
}

/// The state of one service's scheduler on one worker.
pub trait Scheduler: Send {
    /// The index in `service.members` of the server for this request, or none if nobody can serve.
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, request: &Request<'_>) -> Option<usize>;

    /// The service was changed from `old` to `new` (same generation, same scheduler): bring positions up to date.
    /// Called once for each published change; after it, only `new` is given to [`Scheduler::pick`].
    fn changed(&mut self, old: &Service, new: &Service) {
        let _ = (old, new);
    }
}

/// A prepared lookup table: indices into the members.
pub type Table = Option<Arc<[u16]>>;

/// `-b`: flag-1 is fallback, flag-2 is port, for sh and mh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Flags {
    pub fallback: bool,
    pub port: bool,
    pub flag3: bool,
}

/// A scheduler by name, with what makes its table and its state.
#[derive(Clone, Copy)]
pub struct Definition {
    /// The name on ipvsadm's command line.
    pub name: &'static str,
    /// It weighs servers by their connections, of all workers.
    pub by_load: bool,
    /// Builds the table of a service from its members, where the scheduler has one.
    pub prepare: fn(&[Member], Flags, Family) -> Table,
    /// The state of a service that is new or gets this scheduler at this moment. `seed` feeds the random draws of
    /// twos and keys the caches of lblc and lblcr: give each service on each worker another one.
    pub start: fn(&Service, Tick, u64) -> Box<dyn Scheduler>,
}

/// A known scheduler: an index into [`SCHEDULERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

/// Every scheduler: one line each.
pub const SCHEDULERS: &[Definition] = &[
    Definition { name: "rr", by_load: false, prepare: no_table, start: rr::start },
    Definition { name: "wrr", by_load: false, prepare: no_table, start: wrr::start },
    Definition { name: "lc", by_load: true, prepare: no_table, start: least::start_lc },
    Definition { name: "wlc", by_load: true, prepare: no_table, start: least::start_wlc },
    Definition { name: "lblc", by_load: true, prepare: no_table, start: lblc::start },
    Definition { name: "lblcr", by_load: true, prepare: no_table, start: lblcr::start },
    Definition { name: "dh", by_load: false, prepare: hash::prepare_dh, start: hash::start_dh },
    Definition { name: "sh", by_load: false, prepare: hash::prepare_sh, start: hash::start_sh },
    Definition { name: "sed", by_load: true, prepare: no_table, start: delay::start_sed },
    Definition { name: "nq", by_load: true, prepare: no_table, start: delay::start_nq },
    Definition { name: "fo", by_load: false, prepare: no_table, start: failover::start_fo },
    Definition { name: "ovf", by_load: true, prepare: no_table, start: failover::start_ovf },
    Definition { name: "mh", by_load: false, prepare: mh::prepare, start: mh::start },
    Definition { name: "twos", by_load: true, prepare: no_table, start: twos::start },
];

fn no_table(_: &[Member], _: Flags, _: Family) -> Table {
    None
}

impl Kind {
    /// The scheduler of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        SCHEDULERS.iter().position(|known| known.name == name).map(|index| Self(index as u8))
    }

    /// Its definition.
    #[must_use]
    pub fn definition(self) -> &'static Definition {
        &SCHEDULERS[self.0 as usize]
    }
}
