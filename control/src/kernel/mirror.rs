//! The thread that follows the kernel.

use super::pace::Pace;
use super::resolver::{Key, Millis, Resolver};
use super::socket::{Heard, Message, Monitor, Requests};
use super::translate::{Then, Translator};
use super::{Error, Fixed};
use crossbeam_queue::ArrayQueue;
use forwarder::route::{Event, Mac, Port, Routes, RoutesBuilder};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests to resolve that wait for the thread, at most.
const WAITING: usize = 1024;

/// Datagrams read in one go, before anything else is looked after.
const READ_AT_ONCE: usize = 64;

/// Time for the messages that come with a change to arrive, before everything is read anew.
const SETTLE: Millis = 5;

/// Time until what failed is tried again.
const AGAIN: Millis = 1_000;

/// Dumps in a row that a change may spoil, before the last one is taken as it is.
const DUMPS: usize = 3;

/// What to mirror.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many ports the director has, 0 to `ports` - 1.
    pub ports: u16,
    /// The kernel interface of each port that has one. An interface need not exist yet.
    pub interfaces: Vec<(u16, String)>,
    /// What the configuration says about the other ports.
    pub fixed: Fixed,
    /// The buffer for the kernel's messages, bytes; when it overflows everything is read anew.
    pub receive_buffer: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { ports: 0, interfaces: Vec::new(), fixed: Fixed::default(), receive_buffer: 4 << 20 }
    }
}

/// A new state of routes and ports.
#[derive(Clone, Debug)]
pub struct Update {
    /// Routes and neighbours.
    pub routes: Routes,
    /// The ports, by number.
    pub ports: Vec<Port>,
}

/// What the mirror has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Updates given to the callback.
    pub published: u64,
    /// Times that everything was read anew.
    pub resyncs: u64,
    /// Times that messages of the kernel were lost (each mended by a resync).
    pub overruns: u64,
    /// Messages that were not understood, and ignored.
    pub unknown: u64,
    /// Requests to the kernel to resolve or refresh a neighbour.
    pub asked: u64,
    /// Requests that were refused, because too many were waiting or by the kernel.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counters {
    published: AtomicU64,
    resyncs: AtomicU64,
    overruns: AtomicU64,
    unknown: AtomicU64,
    asked: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    asked: ArrayQueue<Key>,
    keep: Mutex<Option<Vec<Ipv4Addr>>>,
    stop: AtomicBool,
    wake: OwnedFd,
    /// How often somebody asked to be told when all is published.
    waiting: AtomicU64,
    /// How many of them were.
    told: (Mutex<u64>, Condvar),
    counters: Counters,
}

impl Shared {
    fn wake(&self) {
        // It can only fail when the counter is full, and then the thread is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// Asks the kernel to resolve addresses; cheap to clone, for any control thread.
#[derive(Clone, Debug)]
pub struct Asker(Arc<Shared>);

impl Asker {
    /// Has the kernel resolve an address on a port's network (ARP), again and again until it is or some seconds are
    /// over. An update follows when it is. Asking often does no harm. False if too many requests are waiting.
    ///
    /// This wakes a thread by a system call: not for the data path.
    pub fn resolve(&self, port: u16, address: Ipv4Addr) -> bool {
        let taken = self.0.asked.push((port, address)).is_ok();
        if !taken {
            self.0.counters.refused.fetch_add(1, Relaxed);
        }
        self.0.wake();
        taken
    }

    /// Waits until what the kernel has said up to now is published; false if that takes longer than `patience`. The caller
    /// must hold nothing that the mirror's callback waits for.
    #[must_use]
    pub fn settle(&self, patience: Duration) -> bool {
        let ticket = self.0.waiting.fetch_add(1, SeqCst) + 1;
        self.0.wake();
        let (told, changed) = &self.0.told;
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(told, patience, |told| *told < ticket);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Sets the addresses (real servers) whose next hops are kept resolved, in place of those set before. Gateways of
    /// routes always are.
    pub fn keep_fresh(&self, addresses: Vec<Ipv4Addr>) {
        *self.0.keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(addresses);
        self.0.wake();
    }
}

/// The mirror of the kernel's links, addresses, routes and neighbours. Dropping it stops its thread.
#[derive(Debug)]
pub struct Mirror {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Reads the kernel's state, answers it, and from then on calls `publish` on a thread of its own with each new one:
    /// soon after a change, and at most 50 times a second however many there are. While `publish` runs, changes
    /// collect.
    ///
    /// The network namespace is that of the calling thread.
    ///
    /// # Errors
    /// No netlink, or a fixed route that no port leads to.
    pub fn start(config: Config, publish: impl FnMut(Update) + Send + 'static) -> Result<(Self, Update), Error> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| Error::Start(e.into()))?;
        let shared = Arc::new(Shared {
            asked: ArrayQueue::new(WAITING),
            keep: Mutex::default(),
            stop: AtomicBool::new(false),
            wake,
            waiting: AtomicU64::new(0),
            told: Default::default(),
            counters: Counters::default(),
        });
        let mut follower = Follower::new(config, Arc::clone(&shared))?;
        follower.resync()?;
        let (routes, ports) = follower.builder.build().unwrap_or_default();
        follower.note_gone(&ports);
        follower.routes = routes.clone();
        let thread = std::thread::Builder::new()
            .name("rvs-kernel".to_owned())
            .spawn(move || follower.run(publish))
            .map_err(Error::Start)?;
        Ok((Self { shared, thread: Some(thread) }, Update { routes, ports }))
    }

    /// A handle to ask for addresses.
    #[must_use]
    pub fn asker(&self) -> Asker {
        Asker(Arc::clone(&self.shared))
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Counters { published, resyncs, overruns, unknown, asked, refused } = &self.shared.counters;
        let [published, resyncs, overruns, unknown, asked, refused] =
            [published, resyncs, overruns, unknown, asked, refused].map(|counter| counter.load(Relaxed));
        Counts { published, resyncs, overruns, unknown, asked, refused }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the kernel mirror has panicked");
        }
    }
}

struct Follower {
    shared: Arc<Shared>,
    start: Instant,
    receive_buffer: usize,
    monitor: Option<Monitor>,
    requests: Requests,
    translator: Translator,
    builder: RoutesBuilder,
    fixed: Vec<Event>,
    pace: Pace,
    resolver: Resolver,
    keep: Vec<Ipv4Addr>,
    /// What was published last.
    routes: Routes,
    /// Ports whose interfaces are there.
    there: Vec<bool>,
    /// False while the builder holds the part of a state that could not be read to its end.
    whole: bool,
    resync_at: Option<Millis>,
    /// No resync before this moment, so that they take a fifth of the time at most.
    rest_until: Millis,
}

impl Follower {
    fn new(config: Config, shared: Arc<Shared>) -> Result<Self, Error> {
        Ok(Self {
            shared,
            start: Instant::now(),
            receive_buffer: config.receive_buffer,
            monitor: Some(Monitor::open(config.receive_buffer)?),
            requests: Requests::open()?,
            translator: Translator::new(&config.interfaces),
            builder: RoutesBuilder::new(config.ports),
            fixed: config.fixed.events()?,
            pace: Pace::default(),
            resolver: Resolver::default(),
            keep: Vec::new(),
            routes: Routes::default(),
            there: Vec::new(),
            whole: false,
            resync_at: None,
            rest_until: 0,
        })
    }

    fn now(&self) -> Millis {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    fn run(mut self, mut publish: impl FnMut(Update)) {
        self.resolver.keep(&self.keep, &self.routes, self.now());
        while !self.shared.stop.load(SeqCst) {
            self.wait();
            let waiting = self.shared.waiting.load(SeqCst);
            self.take_requests();
            let heard_all = self.listen();
            if self.resync_at.is_some_and(|at| at <= self.now()) {
                self.resync_at = None;
                if let Err(error) = self.resync() {
                    tracing::warn!(%error, "cannot read the kernel's routes; trying again");
                    self.resync_at = Some(self.now() + AGAIN);
                }
                self.pace.changed(self.now());
            }
            if self.whole
                && self.pace.due(self.now())
                && let Some((routes, ports)) = self.builder.build()
            {
                self.routes = routes.clone();
                self.note_gone(&ports);
                publish(Update { routes, ports });
                self.count(&self.shared.counters.published);
                self.pace.published(self.now());
                self.resolver.keep(&self.keep, &self.routes, self.now());
            }
            self.ask();
            if heard_all && self.resync_at.is_none() && self.pace.next().is_none() {
                self.tell(waiting);
            }
        }
    }

    /// Tells those who waited before this turn that all is published.
    fn tell(&self, waiting: u64) {
        let (told, changed) = &self.shared.told;
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told < waiting {
            *told = waiting;
            changed.notify_all();
        }
    }

    /// Tells an operator who took an interface away what that means.
    fn note_gone(&mut self, ports: &[Port]) {
        let there: Vec<bool> = ports.iter().map(|port| port.mac != Mac::default()).collect();
        for (port, _) in self.there.iter().zip(&there).enumerate().filter(|(_, (before, now))| **before && !**now) {
            tracing::error!(port, "the kernel interface is gone: nothing is routed by this port; start rvsd again");
        }
        self.there = there;
    }

    fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Sleeps until something is heard or due.
    fn wait(&self) {
        let publication = self.pace.next().filter(|_| self.whole);
        let next = [publication, self.resolver.next(), self.resync_at].into_iter().flatten().min();
        let timeout = next.map(|next| {
            let left = next.saturating_sub(self.now());
            Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as i64 }
        });
        let wake = PollFd::new(&self.shared.wake, PollFlags::IN);
        let waited = match &self.monitor {
            Some(monitor) => poll(&mut [wake, PollFd::new(monitor, PollFlags::IN)], timeout.as_ref()),
            None => poll(&mut [wake], timeout.as_ref()),
        };
        if let Err(error) = waited
            && error != rustix::io::Errno::INTR
        {
            tracing::error!(%error, "cannot wait for the kernel");
            std::thread::sleep(std::time::Duration::from_millis(AGAIN));
        }
    }

    fn take_requests(&mut self) {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut counter);
        let now = self.now();
        if let Some(keep) = self.shared.keep.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.keep = keep;
            self.resolver.keep(&self.keep, &self.routes, now);
        }
        for _ in 0..WAITING {
            let Some(key) = self.shared.asked.pop() else { break };
            if !self.resolver.ask(key, now) {
                self.count(&self.shared.counters.refused);
            }
        }
    }

    /// Takes in what the kernel said; true if that was all.
    fn listen(&mut self) -> bool {
        let now = self.now();
        let (mut resync, mut all) = (false, false);
        for _ in 0..READ_AT_ONCE {
            let Some(monitor) = &mut self.monitor else { return false };
            let (builder, translator, counters) = (&mut self.builder, &mut self.translator, &self.shared.counters);
            let heard = monitor.receive(|message| match message {
                Message::Route(inner, flags) => {
                    resync |= translator.translate(&inner, flags, |event| builder.apply(event)) == Then::Resync;
                }
                Message::NextHops => resync = true,
                Message::Done(_) => {}
                Message::Unknown(_) => {
                    counters.unknown.fetch_add(1, Relaxed);
                }
            });
            match heard {
                Ok(Heard::Something) => self.pace.changed(now),
                Ok(Heard::Nothing) => {
                    all = true;
                    break;
                }
                Ok(Heard::Overrun) => {
                    self.count(&self.shared.counters.overruns);
                    resync = true;
                }
                Err(error) => {
                    tracing::error!(%error, "the netlink socket broke; opening another");
                    self.monitor = None;
                    self.resync_at = Some(now + AGAIN);
                    return false;
                }
            }
        }
        if resync {
            self.resync_at.get_or_insert((now + SETTLE).max(self.rest_until));
        }
        all
    }

    /// Reads everything anew.
    fn resync(&mut self) -> Result<(), Error> {
        let started = self.now();
        self.count(&self.shared.counters.resyncs);
        for attempt in 1..=DUMPS {
            self.forget_the_past()?;
            if self.read_everything()? {
                break;
            }
            if attempt == DUMPS {
                self.resync_at = Some(self.now() + AGAIN);
            }
        }
        let ended = self.now();
        self.rest_until = ended + 4 * (ended - started);
        Ok(())
    }

    /// Drops the messages that were sent before now. They must not be applied to a newer state: after an overrun, the
    /// ones that took them back may be lost.
    fn forget_the_past(&mut self) -> Result<(), Error> {
        let monitor = match &mut self.monitor {
            Some(monitor) => monitor,
            None => self.monitor.insert(Monitor::open(self.receive_buffer)?),
        };
        // Bounded by what the socket's buffer can hold; more has come meanwhile and does no harm.
        for _ in 0..self.receive_buffer / 256 {
            if monitor.receive(|_| {})? == Heard::Nothing {
                break;
            }
        }
        Ok(())
    }

    /// Lists links, addresses, routes and neighbours. False if they changed meanwhile.
    fn read_everything(&mut self) -> Result<bool, Error> {
        self.whole = false;
        self.builder.reset();
        self.translator.reset();
        for event in &self.fixed {
            self.builder.apply(event.clone());
        }
        let mut links = LinkMessage::default();
        links.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let mut addresses = AddressMessage::default();
        addresses.header.family = AddressFamily::Inet;
        let mut routes = RouteMessage::default();
        routes.header.address_family = AddressFamily::Inet;
        let mut neighbours = NeighbourMessage::default();
        neighbours.header.family = AddressFamily::Inet;
        let mut consistent = true;
        for (doing, request) in [
            ("cannot list the kernel's interfaces", RouteNetlinkMessage::GetLink(links)),
            ("cannot list the kernel's addresses", RouteNetlinkMessage::GetAddress(addresses)),
            ("cannot list the kernel's routes", RouteNetlinkMessage::GetRoute(routes)),
            ("cannot list the kernel's neighbours", RouteNetlinkMessage::GetNeighbour(neighbours)),
        ] {
            let (builder, translator) = (&mut self.builder, &mut self.translator);
            consistent &= self.requests.dump(doing, request, |message| {
                // In the order of the list, and there is nothing newer to read than this.
                let _ = translator.translate(&message, NLM_F_APPEND, |event| builder.apply(event));
            })?;
        }
        self.whole = true;
        Ok(consistent)
    }

    /// Asks the kernel for the neighbours that are due.
    fn ask(&mut self) {
        let now = self.now();
        let (requests, translator, counters) = (&mut self.requests, &self.translator, &self.shared.counters);
        self.resolver.due(now, &self.routes, |(port, address)| {
            let Some(index) = translator.index_of(port).filter(|_| !translator.is_fixed((port, address))) else {
                return;
            };
            let mut message = NeighbourMessage::default();
            message.header.family = AddressFamily::Inet;
            message.header.ifindex = index;
            message.header.flags = NeighbourFlags::Use;
            message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
            counters.asked.fetch_add(1, Relaxed);
            let message = RouteNetlinkMessage::NewNeighbour(message);
            if let Err(error) = requests.request("cannot resolve a neighbour", message, NLM_F_CREATE) {
                counters.refused.fetch_add(1, Relaxed);
                tracing::debug!(%error, port, %address, "the kernel resolves nothing");
            }
        });
    }
}
