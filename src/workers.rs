//! The running lcores, as the director sees them.

use crate::clock::Clock;
use crate::layout;
use crate::lcore::{Flush, Question, Request, Shared, Silent};
use crate::ports::DirectorPort;
use crate::queues::{Eyes, Place, Queues};
use crate::rss::Delivery;
use control::command::{ConnectionPage, Error, ExtendedStat, LayoutView, PortRates, PortStats, PortView};
use control::director::{self, Adjustment, Workers};
use dpdk_ffi::lcore::Lcore;
use dpdk_ffi::port::Port;
use forwarder::clock::Tick;
use forwarder::pipeline::{ConnView, Flushed, Listing, Which};
use forwarder::service::Snapshot;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Slots that one question looks at: some microseconds of an lcore's time.
const SLOTS: usize = 4096;
/// Pieces of a table that are flushed before a worker answers: far less than it may take to answer.
const PIECES: u32 = 1024;
/// Times that the director looks at a worker at once, before it sleeps between looks.
const EAGER: u32 = 2_000;
/// How long it sleeps.
const NAP: Duration = Duration::from_micros(100);
/// Looks in all: about five seconds.
const LOOKS: u32 = EAGER + 50_000;

/// The lcores.
pub struct Lcores {
    /// The clock that they follow.
    pub clock: Clock,
    /// What is shared with each.
    pub shared: Vec<Arc<Shared>>,
    /// The ports.
    pub ports: Arc<Mutex<Vec<DirectorPort>>>,
    /// What looks at frames.
    pub eyes: Arc<Eyes>,
    /// What each worker shows to them is as it was wanted then ([`Eyes::version`]).
    pub watched: Vec<u64>,
    /// The lcores that the workers run on; those behind them run on threads.
    pub lcores: Vec<Lcore>,
    /// Frames that are received at once, at most.
    pub burst: u16,
    /// How many workers, from the first on, serve receive queues.
    pub serving: usize,
}

impl Lcores {
    /// Gives a worker other queues of a port, and drops those it had.
    fn replace(&self, worker: &Shared, port: u16, (rx, tx): Queues) -> Result<(), String> {
        let rx = rx.into_iter().map(|queue| Place::new(port, queue, &self.eyes)).collect();
        let replaced = worker.ask(|answer| Request::Replace { port, rx, tx, answer });
        replaced.map(drop).map_err(|Silent| "a worker does not answer".to_owned())
    }

    /// Lets the workers show to the eyes what these want to see by now.
    ///
    /// # Errors
    /// [`Error::Silent`], when all others do; the next call tries again.
    pub fn watch(&mut self) -> Result<(), Error> {
        let version = self.eyes.version();
        if self.watched.iter().all(|watched| *watched == version) {
            return Ok(());
        }
        let (watcher, mut done) = (Eyes::watcher(&self.eyes), Ok(()));
        for (worker, (shared, watched)) in self.shared.iter().zip(&mut self.watched).enumerate() {
            if *watched == version {
                continue;
            }
            match shared.ask(|answer| Request::Watch(watcher.clone(), answer)) {
                Ok(()) => *watched = version,
                Err(Silent) => done = done.and(Err(Error::Silent { worker })),
            }
        }
        done
    }

    /// The connections of the next slots that are not all empty, as far as they are to be shown.
    fn page(&self, cursor: u64, shown: impl Fn(&ConnView) -> bool) -> Result<ConnectionPage, Error> {
        let (mut worker, mut listing) = place(cursor);
        let mut page = ConnectionPage::default();
        while let Some(shared) = self.shared.get(worker) {
            let room = Vec::with_capacity(SLOTS);
            let list = |answer| Request::List(Question { from: listing, limit: SLOTS, room, answer });
            // A worker that does not answer is stalled: a list without its connections would look whole.
            let (views, next) = shared.ask(list).map_err(|Silent| Error::Silent { worker })?;
            page.connections.extend(views.iter().filter(|view| shown(view)).map(director::connection));
            (worker, listing) = if next == Listing::End { (worker + 1, Listing::Start) } else { (worker, next) };
            if !views.is_empty() {
                break;
            }
        }
        page.next = (worker < self.shared.len()).then(|| self::cursor(worker, listing));
        Ok(page)
    }

    /// Takes a port's queues from the workers.
    fn take_queues(&self, port: u16) -> Result<(), String> {
        self.shared.iter().try_for_each(|worker| self.replace(worker, port, (Vec::new(), None)))
    }

    /// Deals a port's queues out.
    fn deal_queues(&self, number: u16, port: &mut DirectorPort) -> Result<(), String> {
        self.shared.iter().enumerate().try_for_each(|(worker, shared)| {
            let queues = port.queues_of(worker, self.serving).map_err(in_words)?;
            self.replace(shared, number, queues)
        })
    }
}

fn in_words(error: anyhow::Error) -> String {
    match error.downcast::<dpdk_ffi::Error>() {
        Ok(error) => why(error),
        Err(error) => format!("{error:#}"),
    }
}

impl Workers for Lcores {
    fn now(&self) -> Tick {
        self.clock.now()
    }

    fn wait(&mut self, looks: u32) -> bool {
        if looks < EAGER {
            std::hint::spin_loop();
        } else {
            std::thread::sleep(NAP);
        }
        looks < LOOKS
    }

    fn connections(&mut self, cursor: u64) -> Result<ConnectionPage, Error> {
        self.page(cursor, |_| true)
    }

    fn connections_of(&mut self, which: &Which, cursor: u64) -> Result<ConnectionPage, Error> {
        self.page(cursor, |view| which.listed(view))
    }

    fn flush(
        &mut self,
        worker: usize,
        which: &Arc<Which>,
        snapshot: &Arc<Snapshot>,
        from: Listing,
        flushed: &mut Flushed,
    ) -> Result<Listing, Error> {
        let stalled = Error::Stalled { worker };
        let shared = self.shared.get(worker).ok_or_else(|| stalled.clone())?;
        let (which, snapshot, so_far) = (which.clone(), snapshot.clone(), *flushed);
        let flush =
            |answer| Request::Flush(Flush { which, snapshot, place: from, pieces: PIECES, flushed: so_far, answer });
        let (so_far, next) = shared.ask(flush).map_err(|Silent| stalled)?;
        *flushed = so_far;
        Ok(next)
    }

    fn interface_mtu(&self, name: &str) -> Option<u32> {
        if name.contains('/') {
            return None;
        }
        std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?.trim().parse().ok()
    }

    fn ports(&mut self, only: Option<u16>, extended: bool) -> Vec<PortView> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let numbered = (0u16..).zip(ports.iter()).filter(|(number, _)| only.is_none_or(|only| only == *number));
        let all_serve = self.serving == self.shared.len();
        numbered.filter_map(|(number, port)| view(number, port, extended, all_serve)).collect()
    }

    fn set_forwarding(&mut self, on: bool) {
        for shared in &self.shared {
            shared.rest.store(!on, Relaxed);
        }
    }

    fn set_promiscuous(&mut self, port: u16, on: bool) -> Result<(), String> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        device(&mut ports, port)?.set_promiscuous(on).map_err(why)
    }

    fn layout(&mut self) -> LayoutView {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = self.shared.len();
        LayoutView {
            burst: self.burst,
            workers: layout::seats(workers, &self.lcores),
            ports: (0u16..)
                .zip(ports.iter())
                .filter_map(|(number, port)| layout::of_port(number, port, workers, self.serving))
                .collect(),
        }
    }

    fn adjust(&mut self, to: Adjustment) -> Result<(), String> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        match to {
            Adjustment::Burst(frames) => {
                self.burst = frames;
                ports.iter().filter_map(|port| port.port.as_ref()).for_each(|port| port.set_burst(frames));
            }
            Adjustment::Link(number, up) => {
                let port = device(&mut ports, number)?;
                port.set_link(up).map_err(|error| match error {
                    dpdk_ffi::Error::NoLink { driver, .. } => {
                        format!("its driver, {driver}, cannot; 'port stop {number}' takes the port out of use")
                    }
                    error => why(error),
                })?;
            }
            Adjustment::AllMulticast(number, on) => {
                device(&mut ports, number)?.set_all_multicast(on).map_err(why)?;
            }
            Adjustment::Clear(number, extended) => {
                let port = device(&mut ports, number)?;
                let done = if extended { port.reset_extended_stats() } else { port.reset_stats() };
                done.map_err(why)?;
            }
            Adjustment::Verbose(level) => {
                drop(ports);
                self.eyes.set(level);
                self.watch().map_err(|error| error.to_string())?;
            }
            Adjustment::Stop(number) => {
                self.take_queues(number)?;
                slot(&mut ports, number)?.stop().map_err(in_words)?;
            }
            Adjustment::Detach(number) => slot(&mut ports, number)?.detach().map_err(in_words)?,
            Adjustment::Serving(workers) => {
                self.serving = workers.into();
                for (number, port) in (0u16..).zip(ports.iter_mut()).filter(|(_, port)| !port.stopped) {
                    self.take_queues(number)?;
                    self.deal_queues(number, port)?;
                }
            }
            Adjustment::Start(number) => {
                let port = ports.get_mut(usize::from(number)).filter(|port| port.stopped);
                let Some(port) = port else { return Ok(()) };
                port.start().map_err(in_words)?;
                port.device().map_err(in_words)?.set_burst(self.burst);
                self.deal_queues(number, port)?;
            }
        }
        Ok(())
    }

    fn attach(&mut self, device: &str) -> Result<u16, String> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (0u16..).zip(ports.iter_mut()).find(|(_, port)| port.port.is_none());
        let Some((number, port)) = free else {
            return Err("there is no place for one more port: detach another first (port stop P, port detach P)".into());
        };
        port.attach(device).map_err(in_words)?;
        Ok(number)
    }
}

/// Why a port's device did not do something, without the number that DPDK knows it by.
fn why(error: dpdk_ffi::Error) -> String {
    match error {
        dpdk_ffi::Error::Port { what, reason, .. } => format!("it cannot {what}: {reason}"),
        other => other.to_string(),
    }
}

fn slot(ports: &mut [DirectorPort], number: u16) -> Result<&mut DirectorPort, String> {
    ports.get_mut(usize::from(number)).ok_or_else(|| "it is gone".to_owned())
}

/// The device of a port.
fn device(ports: &mut [DirectorPort], number: u16) -> Result<&mut Port, String> {
    slot(ports, number)?.device().map_err(in_words)
}

/// A port that has a device, as it stands. What its driver does not tell is left at zero. With some workers that serve no
/// queue, no device can bring frames to all owners.
fn view(number: u16, of: &DirectorPort, extended: bool, all_serve: bool) -> Option<PortView> {
    let DirectorPort { port, info, kernel, queues, delivery, stopped, .. } = of;
    let port = port.as_ref()?;
    let delivery = if all_serve || *delivery == Delivery::Single { *delivery } else { Delivery::HandedOver };
    let stats = port.stats().unwrap_or_default();
    let link = port.link().ok();
    let info = port.info().unwrap_or_else(|_| info.clone());
    let extended = if extended { port.extended_stats().unwrap_or_default() } else { Vec::new() };
    Some(PortView {
        port: number,
        mac: info.mac.map(|byte| format!("{byte:02x}")).join(":"),
        device: info.name,
        driver: info.driver,
        mtu: info.mtu,
        numa_node: info.socket,
        queues: *queues,
        delivery: delivery.name().to_owned(),
        kernel: kernel.as_ref().map(|(_, name)| name.clone()),
        stopped: *stopped,
        link_up: link.is_some_and(|link| link.up),
        speed: link.and_then(|link| link.speed),
        stats: PortStats {
            rx_packets: stats.rx_packets,
            rx_bytes: stats.rx_bytes,
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
            rx_nombuf: stats.no_mbuf,
            tx_packets: stats.tx_packets,
            tx_bytes: stats.tx_bytes,
            tx_errors: stats.tx_errors,
        },
        rates: PortRates::default(),
        extended: extended.into_iter().map(|(name, value)| ExtendedStat { name, value }).collect(),
    })
}

/// A cursor: the worker above bit 48, whether it is about templates at bit 40, the slot below.
fn cursor(worker: usize, listing: Listing) -> u64 {
    let (templates, slot) = match listing {
        Listing::Start | Listing::End => (0, 0),
        Listing::Conns(slot) => (0, slot),
        Listing::Templates(slot) => (1, slot),
    };
    (worker as u64) << 48 | templates << 40 | slot as u64
}

fn place(cursor: u64) -> (usize, Listing) {
    let slot = (cursor & 0xff_ffff_ffff) as usize;
    let listing = if cursor >> 40 & 1 == 1 { Listing::Templates(slot) } else { Listing::Conns(slot) };
    ((cursor >> 48) as usize, listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_names_its_place() {
        for (worker, listing) in [(0, Listing::Conns(0)), (3, Listing::Conns(1 << 31)), (7, Listing::Templates(5))] {
            assert_eq!(place(cursor(worker, listing)), (worker, listing));
        }
        assert_eq!(place(0), (0, Listing::Conns(0)));
    }
}
