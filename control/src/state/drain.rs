//! Draining: a server gets no new connections, and is done with when it has none left, or too much time has passed.
//!
//! Connections that a persistence template brings are not new ones, as in the kernel; `expire_quiescent_template` makes
//! them so.

use super::{Observed, State};
use crate::command::{DrainView, Error, ServerName, ServerSpec, ServiceName};
use forwarder::clock::{TICKS_PER_SECOND, Tick};
use forwarder::service::DestId;

/// The longest deadline, seconds: 31 days.
const LONGEST: u32 = 31 * 86_400;

/// A server that drains.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    service: ServiceName,
    server: ServerName,
    id: DestId,
    /// When it began.
    since: Tick,
    /// Ticks that it may take.
    limit: Option<u32>,
    /// Whether the server is deleted at the end.
    delete: bool,
}

impl Drain {
    pub fn id(&self) -> DestId {
        self.id
    }
}

/// A drain that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Of this service.
    pub service: ServiceName,
    /// The server.
    pub server: ServerName,
    /// Seconds that it took.
    pub seconds: u32,
    /// Connections that were left when the time was over.
    pub connections: u32,
    /// Whether the server was deleted.
    pub deleted: bool,
}

impl State {
    pub(super) fn drain(
        &mut self,
        service: ServiceName,
        server: ServerName,
        deadline: Option<u32>,
        delete: bool,
        observed: &dyn Observed,
    ) -> Result<(), Error> {
        if deadline.is_some_and(|seconds| seconds > LONGEST) {
            return Err(Error::OutOfRange);
        }
        let known = self.table.find(&service).ok_or(Error::ServiceNotDefined)?;
        let member = self.table.member(known, server).ok_or(Error::NoSuchDestination)?;
        let (id, quiet) = (member.id, ServerSpec { weight: 0, ..member.spec });
        self.edit_server(service, quiet)?;
        let limit = deadline.map(|seconds| seconds * TICKS_PER_SECOND);
        self.drains.push(Drain { service, server, id, since: observed.now(), limit, delete });
        Ok(())
    }

    /// A server that is edited, deleted or brought back drains no more.
    pub(super) fn forget_drain(&mut self, id: DestId) {
        self.drains.retain(|drain| drain.id != id);
    }

    /// How far a server's drain has come, if it drains.
    pub(super) fn drain_view(&self, id: DestId, observed: &dyn Observed) -> Option<DrainView> {
        let drain = self.drains.iter().find(|drain| drain.id == id)?;
        let passed = observed.now().since(drain.since);
        Some(DrainView {
            seconds: passed / TICKS_PER_SECOND,
            remaining: drain.limit.map(|limit| limit.saturating_sub(passed) / TICKS_PER_SECOND),
            delete: drain.delete,
        })
    }

    /// Ends the drains whose servers have no connection left, or whose time is over.
    pub(super) fn end_drains(&mut self, observed: &dyn Observed) {
        let now = observed.now();
        let ended = |drain: &Drain| {
            let live = observed.live(drain.id);
            let late = drain.limit.is_some_and(|limit| now.since(drain.since) >= limit);
            let connections = live.active.saturating_add(live.inactive);
            (connections == 0 || late).then_some(connections)
        };
        let (done, going): (Vec<_>, Vec<_>) = std::mem::take(&mut self.drains)
            .into_iter()
            .map(|drain| (ended(&drain), drain))
            .partition(|(end, _)| end.is_some());
        self.drains = going.into_iter().map(|(_, drain)| drain).collect();
        for (connections, drain) in done {
            let deleted = drain.delete && self.delete_server(drain.service, drain.server, observed).is_ok();
            self.drained.push(Drained {
                service: drain.service,
                server: drain.server,
                seconds: now.since(drain.since) / TICKS_PER_SECOND,
                connections: connections.unwrap_or_default(),
                deleted,
            });
        }
    }

    /// The drains that came to their end since this was last asked.
    pub fn take_drained(&mut self) -> Vec<Drained> {
        std::mem::take(&mut self.drained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, ConnectionPage, Counters, Reply, ServiceSpec};
    use crate::state::{Limits, Live};
    use forwarder::service::Protocol;
    use std::cell::Cell;

    /// Every server has as many connections.
    #[derive(Default)]
    struct Busy {
        now: Cell<u32>,
        active: Cell<u32>,
    }

    impl Observed for Busy {
        fn now(&self) -> Tick {
            Tick(self.now.get())
        }
        fn counters(&self, _: DestId) -> Counters {
            Counters::default()
        }
        fn live(&self, _: DestId) -> Live {
            Live { active: self.active.get(), ..Live::default() }
        }
        fn connections(&self, _: u64) -> Result<ConnectionPage, Error> {
            Ok(ConnectionPage::default())
        }
        fn interface_mtu(&self, _: &str) -> Option<u32> {
            None
        }
    }

    const SERVICE: ServiceName = ServiceName::Address {
        protocol: Protocol::Tcp,
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        port: 80,
    };

    fn server() -> ServerSpec {
        ServerSpec::new("10.0.0.2".parse().unwrap(), 80)
    }

    fn begin(deadline: Option<u32>, delete: bool) -> (State, Busy) {
        let busy = Busy::default();
        busy.active.set(5);
        let mut state = State::new(Limits::default(), Tick(0));
        let commands = [
            Command::AddService(ServiceSpec::new(SERVICE)),
            Command::AddServer { service: SERVICE, server: server() },
            Command::DrainServer { service: SERVICE, server: server().name(), deadline, delete },
        ];
        for command in commands {
            state.execute(command, &busy).unwrap();
        }
        (state, busy)
    }

    fn pass(state: &mut State, busy: &Busy, seconds: u32) -> Vec<Drained> {
        busy.now.set(busy.now.get() + seconds * TICKS_PER_SECOND);
        state.advance(busy);
        state.take_drained()
    }

    fn shown(state: &mut State, busy: &Busy) -> Option<(u32, Option<DrainView>)> {
        match state.execute(Command::Services { service: None }, busy) {
            Ok(Reply::Services(services)) => services[0].servers.first().map(|view| (view.spec.weight, view.drain)),
            _ => None,
        }
    }

    #[test]
    fn a_server_is_drained_when_its_last_connection_is_gone() {
        let (mut state, busy) = begin(Some(60), true);
        assert_eq!(pass(&mut state, &busy, 10), []);
        let view = DrainView { seconds: 10, remaining: Some(50), delete: true };
        assert_eq!(shown(&mut state, &busy), Some((0, Some(view))));
        busy.active.set(0);
        let [drained] = &pass(&mut state, &busy, 2)[..] else { panic!() };
        assert_eq!((drained.seconds, drained.connections, drained.deleted), (12, 0, true));
        assert_eq!(shown(&mut state, &busy), None);
        assert_eq!(pass(&mut state, &busy, 60), []);
    }

    #[test]
    fn at_the_deadline_it_is_done_with_all_the_same() {
        let (mut state, busy) = begin(Some(60), false);
        assert_eq!(pass(&mut state, &busy, 59), []);
        let [drained] = &pass(&mut state, &busy, 1)[..] else { panic!() };
        assert_eq!((drained.seconds, drained.connections, drained.deleted), (60, 5, false));
        assert_eq!(shown(&mut state, &busy), Some((0, None)), "it stays, and gets nothing");
    }

    #[test]
    fn editing_and_deleting_end_a_drain() {
        let ends = [
            Command::EditServer { service: SERVICE, server: server() },
            Command::DeleteServer { service: SERVICE, server: server().name() },
            Command::Clear,
        ];
        for end in ends {
            let (mut state, busy) = begin(None, true);
            assert_eq!(pass(&mut state, &busy, 3600), [], "without a deadline it may take as long as it takes");
            state.execute(end, &busy).unwrap();
            busy.active.set(0);
            assert_eq!(pass(&mut state, &busy, 10), []);
        }
    }

    #[test]
    fn a_second_drain_takes_the_place_of_the_first() {
        let (mut state, busy) = begin(Some(10), true);
        let again =
            Command::DrainServer { service: SERVICE, server: server().name(), deadline: Some(100), delete: false };
        state.execute(again, &busy).unwrap();
        assert_eq!(pass(&mut state, &busy, 99), []);
        assert_eq!(pass(&mut state, &busy, 1).len(), 1);
        let bad =
            Command::DrainServer { service: SERVICE, server: server().name(), deadline: Some(u32::MAX), delete: false };
        assert_eq!(state.execute(bad, &busy), Err(Error::OutOfRange));
    }

    #[test]
    fn origins_are_remembered() {
        use crate::command::Origin;
        let busy = Busy::default();
        let mut state = State::new(Limits::default(), Tick(0));
        let add = Command::AddServer { service: SERVICE, server: server() };
        let commands = vec![Command::AddService(ServiceSpec::new(SERVICE)), add.clone()];
        let origins = |state: &mut State| match state.execute(Command::Services { service: None }, &busy) {
            Ok(Reply::Services(views)) => {
                views.first().map(|view| (view.origin, view.servers.first().map(|v| v.origin)))
            }
            _ => None,
        };
        state.execute(Command::Configure { commands: commands.clone() }, &busy).unwrap();
        assert_eq!(origins(&mut state), Some((Origin::File, Some(Origin::File))));
        state.execute(Command::EditServer { service: SERVICE, server: server() }, &busy).unwrap();
        assert_eq!(origins(&mut state), Some((Origin::File, Some(Origin::FileEdited))));
        state.execute(Command::DeleteServer { service: SERVICE, server: server().name() }, &busy).unwrap();
        state.execute(add, &busy).unwrap();
        assert_eq!(origins(&mut state), Some((Origin::File, Some(Origin::Runtime))));
        state.execute(Command::Clear, &busy).unwrap();
        state.execute(Command::Transaction { commands }, &busy).unwrap();
        assert_eq!(origins(&mut state), Some((Origin::Runtime, Some(Origin::Runtime))));
    }
}
