//! The desired state against a small director that counts what it is told.

use super::*;
use crate::command::{ConnectionPage, ServerView, ServiceView};
use forwarder::service::Protocol;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// A director under the test's control.
#[derive(Default)]
struct Director {
    now: Cell<Tick>,
    counters: RefCell<HashMap<DestId, Counters>>,
    live: RefCell<HashMap<DestId, Live>>,
}

impl Observed for Director {
    fn now(&self) -> Tick {
        self.now.get()
    }
    fn counters(&self, id: DestId) -> Counters {
        self.counters.borrow().get(&id).copied().unwrap_or_default()
    }
    fn live(&self, id: DestId) -> Live {
        self.live.borrow().get(&id).copied().unwrap_or_default()
    }
    fn connections(&self, _: u64) -> Result<ConnectionPage, Error> {
        Ok(ConnectionPage::default())
    }
    fn interface_mtu(&self, name: &str) -> Option<u32> {
        (name == "int0").then_some(1500)
    }
    fn is_own(&self, address: IpAddr) -> bool {
        address == "fe80::1".parse::<IpAddr>().unwrap()
    }
}

impl Director {
    fn count(&self, id: DestId, connections: u64) {
        self.counters.borrow_mut().entry(id).or_default().connections += connections;
    }
    fn open(&self, id: DestId, active: u32) {
        self.live.borrow_mut().insert(id, Live { active, ..Live::default() });
    }
    fn pass(&self, state: &mut State, seconds: u32) {
        for _ in 0..seconds {
            self.now.set(self.now.get().plus_seconds(1));
            state.advance(self);
        }
    }
}

fn web() -> ServiceName {
    ServiceName::Address { protocol: Protocol::Tcp, address: "172.16.0.1".parse().unwrap(), port: 80 }
}

fn nat(last: u8, weight: u32) -> ServerSpec {
    let mut spec = ServerSpec::new(IpAddr::from([192, 168, 1, last]), 80);
    spec.method = Method::Nat;
    spec.weight = weight;
    spec
}

fn add(server: ServerSpec) -> Command {
    Command::AddServer { service: web(), server }
}

fn delete(server: ServerSpec) -> Command {
    Command::DeleteServer { service: web(), server: server.name() }
}

/// A state with the service and servers 2, 3 and 4, added in this order.
fn three(director: &Director) -> State {
    let mut state = State::new(Limits::default(), director.now());
    let commands = [Command::AddService(ServiceSpec::new(web())), add(nat(2, 1)), add(nat(3, 1)), add(nat(4, 1))];
    commands.into_iter().for_each(|command| assert_eq!(state.execute(command, director), Ok(Reply::Done)));
    state.take_changes();
    state
}

fn view(state: &mut State, director: &Director) -> ServiceView {
    match state.execute(Command::Services { service: Some(web()) }, director) {
        Ok(Reply::Services(mut services)) => services.remove(0),
        other => panic!("{other:?}"),
    }
}

/// The last byte of each server's address, in the kernel's order.
fn order(state: &mut State, director: &Director) -> Vec<u8> {
    let last = |server: &ServerView| match server.spec.address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(_) => 0,
    };
    view(state, director).servers.iter().map(last).collect()
}

fn id(state: &State, server: ServerSpec) -> DestId {
    state.table().member(state.table().find(&web()).unwrap(), server.name()).unwrap().id
}

#[test]
fn the_newest_server_is_the_first_and_an_edit_moves_nothing() {
    let director = Director::default();
    let mut state = three(&director);
    assert_eq!(order(&mut state, &director), [4, 3, 2]);
    state.execute(Command::EditServer { service: web(), server: nat(2, 9) }, &director).unwrap();
    assert_eq!(order(&mut state, &director), [4, 3, 2]);
    assert_eq!(view(&mut state, &director).servers[2].spec.weight, 9);
}

#[test]
fn a_direct_server_gets_the_services_port() {
    let director = Director::default();
    let mut state = three(&director);
    let server = ServerSpec { port: 8080, ..ServerSpec::new("192.168.1.9".parse().unwrap(), 0) };
    state.execute(add(server), &director).unwrap();
    assert_eq!(view(&mut state, &director).servers[0].spec.port, 80);
    let mark = ServiceName::Mark { mark: 1, ipv6: false };
    state.execute(Command::AddService(ServiceSpec::new(mark)), &director).unwrap();
    state.execute(Command::AddServer { service: mark, server }, &director).unwrap();
    let destination = state.table().destinations().last().unwrap();
    assert_eq!((destination.service_name, destination.spec.port), (mark, 8080));
}

#[test]
fn refused_commands_change_nothing() {
    let director = Director::default();
    let mut state = three(&director);
    let before = view(&mut state, &director);
    let other = ServiceName::Mark { mark: 9, ipv6: false };
    let thresholds = ServerSpec { upper: 5, lower: 6, ..nat(5, 1) };
    let tunnel = ServerSpec { method: Method::Tun(Tunnel::Gue(0, Default::default())), ..nat(5, 1) };
    let v6 = ServerSpec { address: "fd01::1".parse().unwrap(), ..nat(5, 1) };
    let multicast = ServerSpec { address: "224.0.0.1".parse().unwrap(), ..nat(5, 1) };
    let mut unknown = ServiceSpec::new(web());
    unknown.scheduler = "nosuch".to_owned();
    let mut engine = ServiceSpec::new(web());
    engine.engine = Some("nosuch".to_owned());
    let mut mask = ServiceSpec::new(web());
    mask.netmask = Some(Netmask::Prefix(64));
    let persistent = |seconds| ServiceSpec { persistence: Some(seconds), ..ServiceSpec::new(web()) };
    let rows = [
        (Command::AddService(ServiceSpec::new(web())), Error::ServiceExists),
        (Command::AddService(ServiceSpec::new(ServiceName::Mark { mark: 0, ipv6: false })), Error::Invalid),
        (Command::EditService(persistent(0)), Error::Invalid),
        (Command::EditService(persistent(MAX_TIMEOUT + 1)), Error::Invalid),
        (Command::EditService(unknown), Error::SchedulerNotFound),
        (Command::EditService(engine), Error::SchedulerNotFound),
        (Command::EditService(mask), Error::Invalid),
        (Command::EditService(ServiceSpec::new(other)), Error::NoSuchService),
        (Command::DeleteService { service: other }, Error::NoSuchService),
        (Command::Zero { service: Some(other) }, Error::NoSuchService),
        (add(nat(2, 1)), Error::DestinationExists),
        (add(nat(5, 1 << 31)), Error::OutOfRange),
        (add(thresholds), Error::OutOfRange),
        (add(tunnel), Error::Invalid),
        (add(v6), Error::Invalid),
        (add(multicast), Error::Invalid),
        (Command::AddServer { service: other, server: nat(2, 1) }, Error::ServiceNotDefined),
        (Command::EditServer { service: web(), server: nat(5, 1) }, Error::NoSuchDestination),
        (Command::EditServer { service: other, server: nat(5, 1) }, Error::ServiceNotDefined),
        (delete(nat(5, 1)), Error::NoSuchDestination),
        (Command::SetTimeouts(Timeouts { tcp: 1, tcp_fin: 2, udp: MAX_TIMEOUT + 1 }), Error::Invalid),
        (Command::StopDaemon { role: crate::command::DaemonRole::Master }, Error::NoDaemon),
    ];
    for (command, error) in rows {
        assert_eq!(state.execute(command.clone(), &director), Err(error), "{command:?}");
    }
    assert_eq!(view(&mut state, &director), before);
    assert_eq!(state.timeouts(), Timeouts::default());
    assert!(state.take_changes().is_empty());
}

#[test]
fn a_deleted_server_comes_back_with_its_connections() {
    let director = Director::default();
    let mut state = three(&director);
    let three = id(&state, nat(3, 1));
    director.open(three, 5);
    state.execute(delete(nat(3, 1)), &director).unwrap();
    assert!(!state.table().destination(three).unwrap().available);
    director.pass(&mut state, 1000);
    assert!(state.table().destination(three).is_some(), "its connections live");
    state.execute(add(nat(9, 1)), &director).unwrap();
    assert_ne!(id(&state, nat(9, 1)), three, "the slot is taken");
    state.take_changes();
    state.execute(add(nat(3, 7)), &director).unwrap();
    assert_eq!(id(&state, nat(3, 7)), three);
    assert_eq!(order(&mut state, &director), [3, 9, 4, 2]);
    let server = &view(&mut state, &director).servers[0];
    assert_eq!((server.active, server.spec.weight), (5, 7));
    assert!(state.take_changes().destinations.contains(&three));
}

#[test]
fn clearing_keeps_connections_for_the_same_service_added_again() {
    let director = Director::default();
    let mut state = three(&director);
    let two = id(&state, nat(2, 1));
    director.open(two, 1);
    state.execute(Command::Clear, &director).unwrap();
    assert_eq!(state.table().services().count(), 0);
    let mut other = ServiceSpec::new(ServiceName::Mark { mark: 1, ipv6: false });
    other.scheduler = "rr".to_owned();
    state.execute(Command::AddService(other.clone()), &director).unwrap();
    state.execute(Command::AddServer { service: other.service, server: nat(2, 1) }, &director).unwrap();
    let stranger = state.table().find(&other.service).unwrap().members[0];
    assert_ne!(stranger, two, "another service's server is another server");
    state.execute(Command::AddService(ServiceSpec::new(web())), &director).unwrap();
    state.execute(add(nat(2, 1)), &director).unwrap();
    assert_eq!(id(&state, nat(2, 1)), two);
}

#[test]
fn a_forgotten_servers_slot_gets_another_generation() {
    let director = Director::default();
    let mut state = three(&director);
    let old = state.table().destination(id(&state, nat(3, 1))).unwrap().clone();
    director.count(old.id, 100);
    state.execute(delete(nat(3, 1)), &director).unwrap();
    director.pass(&mut state, 119);
    assert!(state.table().destination(old.id).is_some());
    director.pass(&mut state, 3);
    assert!(state.table().destination(old.id).is_none());
    state.execute(add(nat(5, 1)), &director).unwrap();
    let new = state.table().destination(id(&state, nat(5, 1))).unwrap().clone();
    assert_eq!(new.id, old.id);
    assert_ne!(new.generation, old.generation);
    director.count(new.id, 1);
    director.pass(&mut state, 3);
    let view = view(&mut state, &director);
    assert_eq!(view.servers[0].statistics.counters.connections, 1, "its own, not its predecessor's");
    assert_eq!(view.statistics.counters.connections, 101, "the service had both");
}

#[test]
fn services_and_the_total_keep_what_deleted_ones_counted() {
    let director = Director::default();
    let mut state = three(&director);
    for last in [2, 3, 4] {
        director.count(id(&state, nat(last, 1)), u64::from(last));
    }
    state.execute(delete(nat(4, 1)), &director).unwrap();
    assert_eq!(view(&mut state, &director).statistics.counters.connections, 0, "as of the last estimation");
    director.pass(&mut state, 3);
    let before = view(&mut state, &director);
    assert_eq!(before.statistics.counters.connections, 9);
    assert_eq!(before.servers.iter().map(|s| s.statistics.counters.connections).collect::<Vec<_>>(), [3, 2]);
    state.execute(Command::Zero { service: Some(web()) }, &director).unwrap();
    assert_eq!(view(&mut state, &director).statistics, Statistics::default());
    assert_eq!(state.statistics().counters.connections, 9);
    state.execute(Command::Clear, &director).unwrap();
    director.pass(&mut state, 3);
    assert_eq!(state.statistics().counters.connections, 9);
    state.execute(Command::Zero { service: None }, &director).unwrap();
    assert_eq!(state.statistics(), Statistics::default());
}

#[test]
fn a_quiesced_server_remembers_its_weight() {
    let director = Director::default();
    let mut state = three(&director);
    let last = |state: &State| state.table().destination(id(state, nat(2, 0))).unwrap().last_weight;
    state.execute(Command::EditServer { service: web(), server: nat(2, 5) }, &director).unwrap();
    state.execute(Command::EditServer { service: web(), server: nat(2, 0) }, &director).unwrap();
    assert_eq!(last(&state), 5);
    state.execute(delete(nat(2, 0)), &director).unwrap();
    state.execute(add(nat(2, 0)), &director).unwrap();
    assert_eq!(last(&state), 0, "added with weight 0");
}

#[test]
fn a_raised_threshold_ends_overload() {
    let director = Director::default();
    let mut state = three(&director);
    let two = id(&state, nat(2, 1));
    for (upper, relieved) in [(4, true), (4, false), (3, false), (8, true), (0, true)] {
        let server = ServerSpec { upper, ..nat(2, 1) };
        state.execute(Command::EditServer { service: web(), server }, &director).unwrap();
        assert_eq!(state.take_changes().relieved.contains(&two), relieved, "{upper}");
    }
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let director = Director::default();
    let mut state = three(&director);
    let before = view(&mut state, &director);
    let commands = vec![Command::Clear, Command::AddService(ServiceSpec::new(web())), add(nat(7, 1)), add(nat(7, 1))];
    let refused = state.execute(Command::Transaction { commands: commands.clone() }, &director);
    assert_eq!(refused, Err(Error::Transaction { index: 3, error: Box::new(Error::DestinationExists) }));
    assert_eq!(view(&mut state, &director), before);
    assert!(state.take_changes().is_empty());
    let question = Command::Transaction { commands: vec![Command::Clear, Command::Version] };
    assert!(matches!(state.execute(question, &director), Err(Error::Transaction { index: 1, .. })));
    state.execute(Command::Transaction { commands: commands[..3].to_vec() }, &director).unwrap();
    assert_eq!(order(&mut state, &director), [7]);
}

#[test]
fn each_command_stands_for_itself() {
    let director = Director::default();
    let mut state = three(&director);
    let commands = vec![add(nat(7, 1)), add(nat(7, 1)), Command::Version, add(nat(8, 1))];
    let Ok(Reply::Each(outcomes)) = state.execute(Command::Each { commands }, &director) else { panic!() };
    assert_eq!((&outcomes[0], &outcomes[1], &outcomes[3]), (&None, &Some(Error::DestinationExists), &None));
    assert!(matches!(outcomes[2], Some(Error::Unsupported { .. })));
    assert_eq!(order(&mut state, &director)[..2], [8, 7]);
}

#[test]
fn slots_are_limited() {
    let director = Director::default();
    let mut state = State::new(Limits { services: 1, destinations: 1 }, director.now());
    state.execute(Command::AddService(ServiceSpec::new(web())), &director).unwrap();
    let second = ServiceSpec::new(ServiceName::Mark { mark: 1, ipv6: true });
    assert_eq!(state.execute(Command::AddService(second), &director), Err(Error::OutOfMemory));
    state.execute(add(nat(2, 1)), &director).unwrap();
    assert_eq!(state.execute(add(nat(3, 1)), &director), Err(Error::OutOfMemory));
    assert_eq!(order(&mut state, &director), [2]);
}

#[test]
fn real_servers_are_unicast() {
    let director = Director::default();
    let rows = [
        ("192.168.1.2", true),
        ("127.0.0.1", true),
        ("0.0.0.0", false),
        ("255.255.255.255", false),
        ("239.1.2.3", false),
        ("fd01::2", true),
        ("::1", true),
        ("::", false),
        ("::ffff:192.168.1.2", false),
        ("ff02::1", false),
        ("fe80::2", false),
        ("fe80::1", true), // the director's own
    ];
    for (address, expected) in rows {
        assert_eq!(is_unicast(address.parse().unwrap(), &director), expected, "{address}");
    }
}
