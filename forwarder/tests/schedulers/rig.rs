//! One service with one scheduler, whose servers, loads and clock a test moves as it likes.

use forwarder::clock::Tick;
use forwarder::scheduler::{Flags, Kind, Request, Scheduler};
use forwarder::service::{DestId, Family, Member, Protocol, Service, ServiceId, ServiceKey, Settings};
use forwarder::stats::{DestCounters, Load, Loads, Touched};
use std::net::{IpAddr, Ipv4Addr};

pub struct Rig {
    pub service: Service,
    /// When the service was made.
    pub born: Tick,
    pub now: Tick,
    /// The last change added a server.
    pub added: bool,
    pub settings: Settings,
    pub loads: Vec<Load>,
    pub overloaded: Vec<bool>,
    /// What the scheduler was last told: only what differs is marked as touched.
    told: Vec<(Load, bool)>,
    touched: Touched,
    scheduler: Box<dyn Scheduler>,
}

/// The n-th server there ever was.
pub fn server(n: usize) -> IpAddr {
    Ipv4Addr::from(0xC0A8_0000 + 2 + n as u32).into()
}

impl Rig {
    /// A service with this scheduler and flags and no servers.
    pub fn new(name: &str, flags: Flags, seed: u64) -> Self {
        let scheduler = Kind::by_name(name).expect("a known scheduler");
        let service = Service {
            id: ServiceId(0),
            generation: 0,
            key: ServiceKey::Address(Protocol::Tcp, Ipv4Addr::new(172, 16, 0, 1).into(), 80),
            scheduler,
            flags,
            persistence: None,
            one_packet: false,
            timeouts: None,
            members: Vec::new(),
            edits: 0,
            table: None,
        };
        let now = Tick(u32::MAX - 500_000); // long enough runs cross the wrap
        let state = (scheduler.definition().start)(&service, now, seed);
        let settings = Settings::default();
        let (loads, overloaded) = (Vec::new(), Vec::new());
        let (told, touched) = (Vec::new(), Touched::new(1024));
        Self { service, born: now, now, added: false, settings, loads, overloaded, told, touched, scheduler: state }
    }

    /// The same with these weights, the first one's server added first (so last in the list).
    pub fn with_weights(name: &str, weights: &[u32]) -> Self {
        let mut rig = Self::new(name, Flags::default(), 1);
        weights.iter().enumerate().for_each(|(n, &weight)| rig.add(n, weight));
        rig
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<Member>)) {
        let old = self.service.clone();
        change(&mut self.service.members);
        self.added = self.service.members.len() > old.members.len();
        self.service.edits += 1;
        let prepare = self.service.scheduler.definition().prepare;
        self.service.table = prepare(&self.service.members, self.service.flags, Family::V4);
        self.scheduler.changed(&old, &self.service);
    }

    /// Adds the n-th server, at the head.
    pub fn add(&mut self, n: usize, weight: u32) {
        if self.loads.len() <= n {
            self.loads.resize(n + 1, Load::default());
            self.overloaded.resize(n + 1, false);
        }
        let (id, address) = (DestId(n as u32), server(n));
        let member = Member { id, address, port: 80, weight, last_weight: weight, upper: 0, lower: 0 };
        self.change(|members| members.insert(0, member));
    }

    pub fn edit(&mut self, index: usize, weight: u32) {
        self.change(|members| {
            members[index].weight = weight;
            if weight > 0 {
                members[index].last_weight = weight;
            }
        });
    }

    pub fn delete(&mut self, index: usize) {
        self.change(|members| _ = members.remove(index));
    }

    pub fn id(&self, index: usize) -> usize {
        self.service.members[index].id.0 as usize
    }

    pub fn weight(&self, index: usize) -> u32 {
        self.service.members[index].weight
    }

    pub fn load(&self, index: usize) -> Load {
        self.loads[self.id(index)]
    }

    pub fn over(&self, index: usize) -> bool {
        self.overloaded[self.id(index)]
    }

    pub fn usable(&self, index: usize) -> bool {
        self.weight(index) > 0 && !self.over(index)
    }

    /// Indices of all members.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.service.members.len()
    }

    /// The scheduler's answer for this client and target.
    pub fn pick(&mut self, client: IpAddr, target: IpAddr) -> Option<usize> {
        let own: Vec<DestCounters> = self.loads.iter().map(|_| DestCounters::default()).collect();
        let mut overloaded = vec![0; self.overloaded.len().div_ceil(64)];
        for (n, _) in self.overloaded.iter().enumerate().filter(|(_, over)| **over) {
            overloaded[n / 64] |= 1 << (n % 64);
        }
        let now: Vec<(Load, bool)> = self.loads.iter().copied().zip(self.overloaded.iter().copied()).collect();
        for n in (0..now.len()).filter(|&n| self.told.get(n) != Some(&now[n])) {
            self.touched.mark(DestId(n as u32));
        }
        self.told = now;
        // The loads are given as another worker's: the sum is what counts.
        let loads = Loads { own: &own, others: &self.loads, overloaded: &overloaded, touched: &self.touched };
        let request = Request { client, client_port: 1024, target, now: self.now, settings: &self.settings };
        self.scheduler.pick(&self.service, &loads, &request)
    }

    /// A pick by the n-th client, whose connection is kept: counted active.
    pub fn hold(&mut self, n: u32) -> Option<usize> {
        let index = self.pick(Ipv4Addr::from(0x0A00_0000 + n).into(), Ipv4Addr::new(172, 16, 0, 1).into())?;
        let id = self.id(index);
        self.loads[id].active += 1;
        Some(index)
    }
}
