//! What must hold after every step of a play, and when everything has ended.

use super::{KERNELS, MARKED, Play, VIPS, remember};
use crate::world::{DESTINATIONS, MACS, World, lock};
use forwarder::pipeline::DropReason;
use forwarder::route::NextHop;
use forwarder::service::{DestId, Snapshot};
use forwarder::stats::{DestCounters, Gauge};
use packet_io::Checksums;
use std::net::Ipv4Addr;

impl Play {
    /// Takes what has left, and looks at it.
    pub(super) fn look(&mut self) {
        let snapshot = self.world.director.snapshot();
        let late = self.world.lcore.lock().stubborn || self.jammed || self.on_their_way;
        for (port, bytes) in self.world.sent() {
            if bytes.get(..6) == Some(&KERNELS[..]) {
                continue;
            }
            if let Err(wrong) = self.leaving.frame(&bytes, !self.bent) {
                panic!("{wrong}\nin {bytes:02x?}");
            }
            let (to, from) = (&bytes[..6], &bytes[6..12]);
            assert_eq!(from, MACS[usize::from(port)], "a wrong source");
            let known = snapshot.routes.links.iter().any(|link| {
                link.port == port && link.mac.is_some_and(|mac| mac == to) && !link.address.is_unspecified()
            });
            let answered = self.senders.iter().any(|(by, mac)| *by == port && mac == to);
            assert!(known || answered || late, "a frame to nobody by port {port}: {bytes:02x?}");
            self.look_at_hop(&snapshot, port, &bytes, late);
            remember(&mut self.left, port, bytes);
        }
        let workers = &mut self.world.lcore.lock().workers;
        workers.iter_mut().for_each(|worker| worker.kernel_link().got.clear());
        self.held = self.world.sum(|stats| stats.held.get()) > 0;
        self.on_their_way =
            self.world.sum(|stats| stats.handed_out.get()) != self.world.sum(|stats| stats.handed_in.get());
    }

    /// A packet to somebody else than a virtual address leaves to the next hop of its destination.
    fn look_at_hop(&self, snapshot: &Snapshot, port: u16, bytes: &[u8], late: bool) {
        let parsed = forwarder::parse::parse(bytes, Checksums::Ipv4Good);
        let destination = parsed.destination();
        let held = self.held || self.world.sum(|stats| stats.held.get()) > 0;
        let of_a_service = [VIPS[0], VIPS[1], MARKED].iter().any(|target| destination == Ipv4Addr::from(*target));
        if late || held || of_a_service || self.marked || parsed.addresses == 0 {
            return;
        }
        if let NextHop::Link(id) = snapshot.routes.lookup(destination)
            && let Some(link) = snapshot.routes.link(id)
            && let Some(mac) = link.mac
        {
            let answered = self.senders.iter().any(|(by, mac)| *by == port && *mac == bytes[..6]);
            assert!(bytes[..6] == mac || answered, "{destination} is at {mac:02x?}, not {:02x?}", &bytes[..6]);
        }
    }

    /// Everything adds up.
    pub(super) fn audit(&mut self) {
        let snapshot = self.world.director.snapshot();
        let lcore = self.world.lcore.clone();
        let running = &mut *lcore.lock();
        for (worker, stats) in running.workers.iter_mut().zip(&self.world.stats) {
            let came = stats.received.get() + stats.handed_in.get();
            let went = stats.forwarded.get() + stats.to_kernel.get() + stats.handed_out.get();
            let ended = went + stats.dropped() + stats.held.get();
            assert_eq!(came, ended, "what came is not what was forwarded, handed over, dropped or held");
            let is_adopted = stats.snapshot.get() == snapshot.version;
            if is_adopted && let Err(wrong) = worker.pipeline().audit(&snapshot) {
                panic!("{wrong}");
            }
        }
        self.look_at_told();
        for id in (0..DESTINATIONS as u32).map(DestId) {
            let sum = |of: fn(&DestCounters) -> &Gauge| -> u32 {
                self.world.stats.iter().map(|stats| of(&stats.destinations[id.0 as usize]).get()).sum()
            };
            let table = self.world.director.state().table();
            let (active, inactive) = (sum(|counters| &counters.active), sum(|counters| &counters.inactive));
            let persistent = sum(|counters| &counters.persistent);
            let in_use = active + inactive + persistent > 0;
            assert!(!in_use || table.destination(id).is_some(), "a slot was freed while it was in use: {id:?}");
            let Some(destination) = table.destination(id) else { continue };
            let published = snapshot.destination(id).map(|published| published.generation);
            assert_eq!(published, Some(destination.generation), "{id:?}");
            if let [worker] = running.workers.as_mut_slice() {
                self.look_at_threshold(id, active + inactive, worker.pipeline().is_overloaded(id));
            }
        }
    }

    /// A destination whose limits nobody touched is overloaded where its count says so.
    fn look_at_threshold(&mut self, id: DestId, total: u32, overloaded: bool) {
        let index = id.0 as usize;
        let (upper, lower, _) = self.limits[index];
        let relieved = if lower != 0 { total < lower } else { u64::from(total) * 4 < u64::from(upper) * 3 };
        match self.overloaded[index] {
            Some(_) if upper == 0 => assert!(!overloaded, "{id:?} has no limit"),
            Some(_) if total >= upper => assert!(overloaded, "{id:?} has {total} of {upper}"),
            Some(_) if relieved => assert!(!overloaded, "{id:?} has {total} of {upper}, {lower}"),
            _ => {}
        }
        if total == 0 {
            assert!(!overloaded || lower == 0 && upper == 0, "{id:?} has nothing");
            self.overloaded[index] = Some(overloaded);
        }
    }

    /// Where a command changed the limits, only time tells.
    pub(super) fn note_limits(&mut self) {
        let table = self.world.director.state().table();
        for index in 0..DESTINATIONS {
            let now = table.destination(DestId(index as u32)).map_or((0, 0, 0), |destination| {
                (destination.spec.upper, destination.spec.lower, destination.generation)
            });
            if now != self.limits[index] {
                let counters = &self.world.stats[0].destinations[index];
                let empty = counters.active.get() + counters.inactive.get() == 0;
                self.limits[index] = now;
                self.overloaded[index] = empty.then_some(false);
            }
        }
    }

    /// Everything ends: each frame comes back, each connection and template goes, and deleted destinations with them.
    pub(super) fn end(mut self) {
        {
            let running = &mut *self.world.lcore.lock();
            running.stubborn = false;
            for port in 0..2 {
                for queue in running.transmit_queues(port) {
                    queue.room = usize::MAX;
                }
            }
        }
        self.command("-C");
        // Nothing lives longer than a month; templates go after the connections that hang on them.
        for ticks in [20_000, 31 * 86_400 * 100, 6_000, 6_000] {
            self.world.pass(ticks);
            for _ in 0..3 {
                self.world.pass(70);
                (0..80).for_each(|_| self.world.turn());
            }
            self.audit();
        }
        self.look();
        assert_eq!(self.world.list(), 0, "entries stay for ever");
        for _ in 0..3 {
            self.world.pass(12_100);
            assert_eq!(self.world.director.tick(), Ok(()));
            self.turn();
        }
        assert_eq!(self.world.director.state().table().destinations().count(), 0, "deleted destinations stay for ever");
        let Self { world, .. } = self;
        let (pool, stats) = (world.pool.clone(), world.stats.clone());
        let World { director, lcore, .. } = world;
        drop((director, lcore));
        assert_eq!(lock(&pool).in_use(), 0, "frames were not released");
        let live = stats
            .iter()
            .flat_map(|stats| &stats.destinations)
            .map(|counters| counters.active.get() + counters.inactive.get());
        assert_eq!(live.sum::<u32>(), 0, "something counts that is gone");
    }

    /// Who watches was told of each frame that was dropped, once and by its name.
    fn look_at_told(&self) {
        let Some((notes, before)) = &self.watching else { return };
        for ((reason, told), before) in DropReason::ALL.iter().zip(notes.told()).zip(before) {
            let dropped = self.world.dropped(*reason) - before;
            match reason {
                // A packet that came in several frames is told of as one.
                DropReason::NoBuffer => assert!(told <= dropped && (told > 0) == (dropped > 0), "{told} of {dropped}"),
                _ => assert_eq!(told, dropped, "{}", reason.name()),
            }
        }
    }
}
