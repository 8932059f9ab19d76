//! The kernel's recorded timelines of single connections and templates, on a flow table with simulated time: which
//! entries there are at each moment, in which state, how long they have left, and how they count.
//!
//! The kernel's own timers are late by up to 2 % (it lists such entries with 00:00); the flow table's are not.

use forwarder::clock::{TICKS_PER_SECOND, Tick};
use forwarder::conn::{
    Conn, Direction, Endpoints, Forward, Leaving, Signal, State, Template, TemplateKey, Timeouts, is_replaced,
    may_start, starts_anew,
};
use forwarder::flow_table::{Fate, FlowTable, Secret, Slot, SlotId, TURN, hash};
use forwarder::service::{DestId, Protocol, ServiceKey, Settings};
use forwarder::wire::tcp::flags::{ACK, FIN, PSH, RST, SYN};
use serde_json::Value;
use std::net::SocketAddrV4;

const SLOTS: usize = 1024;

/// What is listed of an entry: protocol, state, source, virtual and real endpoint.
type Row = [String; 5];

struct Director {
    now: Tick,
    conns: FlowTable<Conn, Vec<Slot<Conn>>>,
    templates: FlowTable<Template, Vec<Slot<Template>>>,
    secret: Secret,
    settings: Settings,
    timeouts: Timeouts,
    forward: Forward,
    /// `-p`, seconds.
    persistence: Option<u32>,
    /// The newest first, as in the kernel.
    servers: Vec<SocketAddrV4>,
    /// Connections that the round robin has scheduled.
    picks: usize,
}

impl Director {
    fn new() -> Self {
        Self {
            now: Tick(0),
            conns: FlowTable::new(vec![Slot::default(); SLOTS], Tick(0)).unwrap(),
            templates: FlowTable::new(vec![Slot::default(); SLOTS], Tick(0)).unwrap(),
            secret: Secret::new([1, 2]),
            settings: Settings::default(),
            timeouts: Timeouts::default(),
            forward: Forward::Nat,
            persistence: None,
            servers: Vec::new(),
            picks: 0,
        }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let after = |option: &str| words.iter().position(|word| *word == option).map(|at| words[at + 1]);
        match words[1] {
            "-A" => self.persistence = after("-p").map(|seconds| seconds.parse().unwrap()),
            "-a" => {
                self.servers.insert(0, after("-r").unwrap().parse().unwrap());
                self.forward = if words.contains(&"-m") { Forward::Nat } else { Forward::Dr };
            }
            "--set" => {
                let seconds: Vec<u32> = words[2..].iter().map(|word| word.parse().unwrap()).collect();
                self.timeouts.set(seconds[0], seconds[1], seconds[2]);
            }
            "-Ln" => {}
            other => panic!("no such command: {other}"),
        }
    }

    /// Lets time pass in small steps, as a worker sees it.
    fn wait_until(&mut self, moment: Tick) {
        while self.now != moment {
            self.now = self.now.plus(moment.since(self.now).min(TURN / 4));
            let (now, templates) = (self.now, &mut self.templates);
            while self.conns.advance(now, 32, |conn, _| {
                if let Some(slot) = conn.template() {
                    assert!(!templates.get_mut(slot).left(Leaving::Ended));
                }
                Fate::Expire
            }) > 0
            {}
            while templates.advance(now, 32, |template, _| match template.time_is_up() {
                Some(life) => Fate::Renew(now.plus(life)),
                None => Fate::Expire,
            }) > 0
            {}
        }
    }

    fn packet(&mut self, protocol: Protocol, direction: Direction, signal: Signal, client: SocketAddrV4, port: u16) {
        let target = SocketAddrV4::new([172, 16, 0, 1].into(), port);
        let (request, hash) = (Endpoints::new(client, target), self.hash(client, protocol));
        let mut slot = self.conns.find(hash, |conn| {
            let conn_keys = if direction == Direction::Request { conn.request() } else { conn.reply().reversed() };
            conn_keys.source() == client && conn.protocol == protocol as u8
        });
        if let Some(old) = slot
            && direction == Direction::Request
            && starts_anew(signal)
            && is_replaced(self.conns.get(old), 1, &self.settings)
        {
            self.conns.remove(old);
            slot = None;
        }
        let slot = match slot {
            Some(slot) => slot,
            None if direction == Direction::Request && may_start(signal, &self.settings) => {
                self.connect(protocol, request, hash)
            }
            None => return,
        };
        let conn = self.conns.get_mut(slot);
        let change = conn.see(direction, signal, false);
        let (state, template) = (conn.state, conn.template());
        if let (true, Some(template)) = (change.assured, template) {
            self.templates.get_mut(template).assure();
        }
        let expires = self.now.plus(self.timeouts.of(state));
        // As the pipeline does it: only a change of state can make the timeout shorter ...
        if change.moved {
            self.conns.rearm(slot, expires);
        } else {
            self.conns.touch(slot, expires);
        }
    }

    fn connect(&mut self, protocol: Protocol, request: Endpoints, hash: u64) -> SlotId {
        let (client, target) = (*request.source().ip(), request.destination());
        let service = ServiceKey::Address(protocol, (*target.ip()).into(), target.port());
        let key = TemplateKey::new(&service, u32::MAX, client, *target.ip(), protocol, target.port());
        let key_hash = key.hash(&self.secret);
        let known = self.templates.find(key_hash, |template| template.matches(&key));
        let server = match known {
            Some(slot) => self.templates.get(slot).listed_server(),
            None => {
                self.picks += 1;
                self.servers[(self.picks - 1) % self.servers.len()]
            }
        };
        let mut conn = Conn::new(request, protocol as u8, self.forward, server);
        if let Some(seconds) = self.persistence {
            let slot = known.unwrap_or_else(|| {
                let template = Template::new(key, server, DestId(0), 0, seconds);
                self.templates.insert(key_hash, template, self.now, |_| None).unwrap().slot
            });
            let life = self.templates.get_mut(slot).scheduled();
            self.templates.rearm(slot, self.now.plus(life));
            conn.set_template(slot.0);
        }
        // Its server is not in its keys where replies come from the virtual address, so it is kept for the listing.
        conn.dest = DestId(self.servers.iter().position(|known| *known == server).unwrap() as u32);
        self.conns.insert(hash, conn, self.now, |_| None).unwrap().slot
    }

    fn hash(&self, client: SocketAddrV4, protocol: Protocol) -> u64 {
        let key = u64::from(client.ip().to_bits()) << 32 | u64::from(client.port()) << 16 | protocol as u64;
        hash(key, &self.secret)
    }

    /// Every entry, and the ticks it has left.
    fn listing(&self) -> Vec<(Row, u32)> {
        let mut rows = Vec::new();
        let name = |protocol| if protocol == Protocol::Tcp as u8 { "TCP" } else { "UDP" }.to_string();
        self.conns.scan(0, SLOTS, |_, conn, expires| {
            let request = conn.request();
            let server = self.servers[conn.dest.0 as usize];
            let ends = [request.source(), request.destination(), server].map(|end| end.to_string());
            let [source, target, server] = ends;
            let state = conn.state.name().to_string();
            rows.push(([name(conn.protocol), state, source, target, server], expires.since(self.now)));
        });
        self.templates.scan(0, SLOTS, |_, template, expires| {
            let ends = [template.listed_target(), template.listed_server()].map(|end| end.to_string());
            let ([target, server], source) = (ends, format!("{}:0", template.key().client));
            let state = template.state_name().to_string();
            rows.push(([name(template.key().protocol), state, source, target, server], expires.since(self.now)));
        });
        rows
    }

    /// ActiveConn and InActConn of a server.
    fn counts(&self, server: &str) -> (usize, usize) {
        let (mut active, mut inactive) = (0, 0);
        self.conns.scan(0, SLOTS, |_, conn, _| {
            if self.servers[conn.dest.0 as usize].to_string() == server {
                *if conn.is_active() { &mut active } else { &mut inactive } += 1;
            }
        });
        (active, inactive)
    }
}

/// A row of `-Lnc` with its seconds left.
fn listed(line: &str) -> (Row, u32) {
    let words: Vec<_> = line.split_whitespace().collect();
    let (minutes, seconds) = words[1].split_once(':').unwrap();
    let left = minutes.parse::<u32>().unwrap() * 60 + seconds.parse::<u32>().unwrap();
    ([words[0], words[2], words[3], words[4], words[5]].map(str::to_string), left)
}

/// Compares a listing with the recorded one. True if the same entries are in both.
fn compare(ours: Vec<(Row, u32)>, recorded: &Value, context: &str) -> bool {
    let recorded: Vec<_> = recorded.as_array().unwrap().iter().map(|line| listed(line.as_str().unwrap())).collect();
    let mut same = ours.len() == recorded.len();
    for (row, left) in &recorded {
        let is_template = row[2].ends_with(":0");
        // Each time the kernel's timer is late, what it arms next is late, too; only templates are armed repeatedly.
        let late = if is_template { 3 } else { 0 };
        match ours.iter().find(|(own, _)| own == row) {
            Some((_, own)) => {
                let own = own / TICKS_PER_SECOND;
                let apart = own.abs_diff(*left);
                assert!(apart.min(apart.abs_diff(60)) <= 1 + late, "{context}: {row:?} has {own} s left, not {left}");
                assert!(is_template || apart <= 1, "{context}: {row:?} has {own} s left, not {left}");
            }
            None => {
                assert!(*left <= late, "{context}: {row:?} with {left} s left is missing among {ours:?}");
                same = false;
            }
        }
    }
    for (row, left) in &ours {
        assert!(*left == 0 || recorded.iter().any(|(other, _)| other == row), "{context}: {row:?} should be gone");
    }
    same
}

fn replay(name: &str) {
    let path = format!("{}/../tests/corpus/states/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).unwrap();
    let mut director = Director::new();
    let (mut same, mut compared) = (true, 0);
    for event in recorded["log"].as_array().unwrap() {
        let context = format!("{name}: {event}");
        let ticks = event[0].as_f64().unwrap() * f64::from(TICKS_PER_SECOND);
        director.wait_until(Tick(ticks.round() as u32));
        let text = |at: usize| event[at].as_str().unwrap();
        match text(1) {
            "cmd" => director.command(text(2)),
            "tcp" => {
                let (side, letters) = text(2).split_at(1);
                let direction = if side == "c" { Direction::Request } else { Direction::Reply };
                let flags = match letters {
                    "S" => SYN,
                    "SA" => SYN | ACK,
                    "A" => ACK,
                    "P" => PSH | ACK,
                    "F" => FIN | ACK,
                    "R" => RST,
                    other => panic!("{context}: unknown flags {other}"),
                };
                let (client, port) = (text(3).parse().unwrap(), event[4].as_u64().unwrap() as u16);
                director.packet(Protocol::Tcp, direction, Signal::Tcp(flags), client, port);
            }
            "udp" => {
                let direction = if text(2) == "request" { Direction::Request } else { Direction::Reply };
                let (client, port) = (text(3).parse().unwrap(), event[4].as_u64().unwrap() as u16);
                director.packet(Protocol::Udp, direction, Signal::Udp, client, port);
            }
            "Lnc" => {
                same = compare(director.listing(), &event[2], &context);
                compared += 1;
            }
            // While an entry is late in the kernel, it still counts there.
            "Ln" if same => {
                for line in event[2].as_array().unwrap() {
                    let words: Vec<_> = line.as_str().unwrap().split_whitespace().collect();
                    if words[0] == "->" {
                        let counts = (words[4].parse().unwrap(), words[5].parse().unwrap());
                        assert_eq!(director.counts(words[1]), counts, "{context}");
                    }
                }
            }
            "Ln" => {}
            other => panic!("{context}: unknown event {other}"),
        }
    }
    assert!(compared > 2, "{name}: nothing was compared");
}

#[test]
fn connections_expire_when_the_kernels_do() {
    for name in ["close", "established", "finwait", "synrecv", "udp"] {
        replay(&format!("expire-{name}-nat"));
        replay(&format!("expire-{name}-dr"));
    }
    replay("expire-closewait-nat");
    replay("expire-timewait-nat");
}

#[test]
fn traffic_refreshes_a_connection_and_a_new_timeout_reaches_it_with_its_next_packet() {
    replay("refresh-established-nat");
}

#[test]
fn templates_live_as_long_as_the_kernels() {
    for name in ["persist-nat", "persist-dr", "persist-held-nat", "persist-held-dr"] {
        replay(name);
    }
}

#[test]
fn every_state_expires_by_its_timeout() {
    for state in State::ALL {
        let mut table = FlowTable::new(vec![Slot::default(); SLOTS], Tick(0)).unwrap();
        let timeout = Timeouts::default().of(state);
        table.insert(7, state, Tick(timeout), |_| None).unwrap();
        let mut gone = None;
        for tick in 0..timeout + 2 * TURN {
            while table.advance(Tick(tick), 8, |_, _| Fate::Expire) > 0 {}
            if table.is_empty() {
                gone = gone.or(Some(tick));
            }
        }
        let gone = gone.expect("it expires");
        assert!((timeout..=timeout + TURN + 1).contains(&gone), "{state:?}: {gone} ticks, not {timeout}");
    }
}
