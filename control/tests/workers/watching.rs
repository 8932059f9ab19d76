//! Packets that somebody watches are treated as if nobody did, and everything that is told of them is so.

use crate::ownership::{VIP, client, service};
use crate::packets::{ACK, SYN, datagram, endpoints, ip, tcp, udp, unreachable, with_ttl};
use crate::rig::{FULL, INSIDE, OUTSIDE, Rig, SECOND};
use control::command::TracePage;
use control::console::trace::text;
use control::director::trail::{joined, step};
use forwarder::conn::Direction;
use forwarder::parse::Kind;
use forwarder::pipeline::{DropReason, Remembered, Sight, Verdict};
use forwarder::stats::WorkerStats;
use forwarder::worker::{Came, Trail, Watcher};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Keeps all that it is told.
#[derive(Debug, Default)]
struct Notes {
    trails: bool,
    drops: bool,
    /// Only of this client.
    client: Option<Ipv4Addr>,
    numbers: AtomicU32,
    kept: Mutex<Vec<Trail>>,
    dropped: Mutex<Vec<(u16, DropReason, Vec<u8>)>>,
}

impl Watcher for Notes {
    fn wants_trails(&self) -> bool {
        self.trails
    }
    fn wants_drops(&self) -> bool {
        self.drops
    }
    fn may_want(&self) -> bool {
        true
    }
    fn wants(&self, sight: &Sight) -> bool {
        self.client.is_none_or(|client| sight.concerns_client(client))
    }
    fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Relaxed) + 1
    }
    fn keep(&self, trail: &Trail) {
        self.kept.lock().unwrap().push(*trail);
    }
    fn dropped(&self, port: u16, reason: DropReason, bytes: &[u8], length: usize) {
        assert!(bytes.len() <= length);
        self.dropped.lock().unwrap().push((port, reason, bytes.to_vec()));
    }
}

/// Every way of forwarding, and everything that a service may have.
const SERVICES: &str = "
    -A -t 172.16.0.1:80 -s wlc
    -a -t 172.16.0.1:80 -r 192.168.1.2:8080 -m -x 6
    -a -t 172.16.0.1:80 -r 192.168.1.3:8080 -m
    -A -u 172.16.0.1:53 -s rr
    -a -u 172.16.0.1:53 -r 192.168.1.2:5353 -m
    -a -u 172.16.0.1:53 -r 192.168.1.4:53 -g
    -a -u 172.16.0.1:53 -r 192.168.1.5:53 -i
    -A -t 172.16.0.1:443 -s wrr -p 60
    -a -t 172.16.0.1:443 -r 192.168.1.6:443 -i
    -a -t 172.16.0.1:443 -r 192.168.1.7:443 -i
    -A -u 172.16.0.1:123 -s rr -o
    -a -u 172.16.0.1:123 -r 192.168.1.8:123 -m
    -A -t 172.16.0.2:80 -s rr
";

fn rig(workers: usize) -> Rig {
    let mut rig = Rig::new(&vec![FULL; workers]);
    rig.ipvsadm(SERVICES);
    rig
}

fn notes(notes: Notes) -> (Arc<Notes>, Arc<dyn Watcher>) {
    let notes = Arc::new(notes);
    (notes.clone(), notes)
}

fn all() -> Notes {
    Notes { trails: true, drops: true, ..Notes::default() }
}

/// Identifications that the director chooses differ with the order in which it looks at packets of one burst.
fn without_id(mut packet: Vec<u8>) -> Vec<u8> {
    if packet.len() >= 20 && matches!(packet[9], 1 | 4) {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

#[derive(Clone, Debug)]
enum Step {
    /// A packet by this queue, of this kind, client and number.
    Come(usize, u8, u8, u16),
    /// Whatever this is.
    Bytes(usize, u16, Vec<u8>),
    Turn(usize),
    Settle,
    Wait(u32),
    /// The watcher comes or goes.
    Watch(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..3_usize, 0..18_u8, 0..6_u8, 0..40_u16).prop_map(|(queue, kind, client, n)| Step::Come(queue, kind, client, n)),
        2 => (0..3_usize, 0..2_u16, bytes()).prop_map(|(queue, port, bytes)| Step::Bytes(queue, port, bytes)),
        3 => (0..3_usize).prop_map(Step::Turn),
        1 => Just(Step::Settle),
        1 => (1..900_u32).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Watch),
    ]
}

/// A packet with some bytes changed, cut somewhere.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (0..18_u8, 0..6_u8, prop::collection::vec(change, 0..6), any::<prop::sample::Index>()).prop_map(
        |(kind, client, changes, end)| {
            let (_, mut bytes) = packet(kind, client, 7);
            let head = bytes.len().min(60);
            changes.iter().for_each(|(at, value)| bytes[at.index(head)] = *value);
            bytes.truncate(end.index(2 * bytes.len() + 1));
            bytes
        },
    )
}

/// The port that a packet comes by, and the packet.
fn packet(kind: u8, number: u8, n: u16) -> (u16, Vec<u8>) {
    let client = client(u16::from(number));
    let server = |last, port| SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, last), port);
    let whole = datagram(client.port(), 53, &[number; 1000]);
    let mut odd = udp(client, service(53), b"?");
    match kind {
        0 => (OUTSIDE, tcp(client, service(80), SYN, b"")),
        1 => (OUTSIDE, tcp(client, service(80), ACK, &n.to_be_bytes())),
        2 => (INSIDE, tcp(server(2 + (n % 2) as u8, 8080), client, SYN | ACK, b"")),
        3 => (INSIDE, tcp(server(2 + (n % 2) as u8, 8080), client, ACK, &n.to_be_bytes())),
        4 => (OUTSIDE, tcp(client, service(80), 1 | ACK, b"")),
        5 | 6 => (OUTSIDE, udp(client, service(53), &n.to_be_bytes())),
        7 => (INSIDE, udp(server(2, 5353), client, &n.to_be_bytes())),
        8 => (OUTSIDE, tcp(client, service(443), SYN, b"")),
        9 => (OUTSIDE, tcp(client, service(443), ACK, &vec![0; usize::from(n) * 40])),
        10 => (OUTSIDE, udp(client, service(123), &n.to_be_bytes())),
        // No server; no service; not for anybody here.
        11 => (OUTSIDE, tcp(client, SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 2), 80), SYN, b"")),
        12 => (OUTSIDE, tcp(client, SocketAddrV4::new(VIP, 22), SYN, b"")),
        13 => (INSIDE, unreachable(Ipv4Addr::new(192, 168, 1, 2), *client.ip(), &udp(client, server(2, 5353), b"?"))),
        14 => (OUTSIDE, ip(*client.ip(), VIP, 17, n % 4, 0x2000, &whole[..504])),
        15 => (OUTSIDE, ip(*client.ip(), VIP, 17, n % 4, 63, &whole[504..])),
        // Its time to live is over.
        16 => (OUTSIDE, with_ttl(odd, 1)),
        _ => {
            odd[10] ^= 0xff;
            (OUTSIDE, odd)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn who_watches_changes_nothing(
        workers in 1..4_usize,
        trails in any::<bool>(),
        drops in any::<bool>(),
        one in prop::option::of(0..6_u16),
        room in prop_oneof![Just(usize::MAX), 1..40_usize],
        steps in prop::collection::vec(any_step(), 1..300),
    ) {
        let (notes, watcher) = notes(Notes { trails, drops, client: one.map(|n| *client(n).ip()), ..Notes::default() });
        let (mut plain, mut watched) = (rig(workers), rig(workers));
        watched.watch(Some(&watcher));
        let (mut watching, mut came) = (true, 0);
        for rig in [&mut plain, &mut watched] {
            rig.narrow(INSIDE, room);
        }
        for step in steps {
            if let Step::Watch(on) = step {
                watched.watch(on.then_some(&watcher));
                watching &= on;
                continue;
            }
            came += usize::from(matches!(step, Step::Come(..) | Step::Bytes(..)));
            for rig in [&mut plain, &mut watched] {
                match step {
                    Step::Come(queue, kind, client, n) => {
                        let (port, packet) = packet(kind, client, n);
                        rig.receive(queue % workers, port, &packet);
                    }
                    Step::Bytes(queue, port, ref bytes) => rig.receive(queue % workers, port, bytes),
                    Step::Turn(worker) => _ = rig.turn(worker % workers),
                    Step::Settle => {}
                    Step::Wait(ticks) => rig.wait(ticks),
                    Step::Watch(_) => {}
                }
            }
            if let Step::Settle = step {
                same(&mut plain, &mut watched)?;
            }
        }
        same(&mut plain, &mut watched)?;
        if !watching {
            return Ok(());
        }
        // Each frame that came has a trail, and each that was dropped was told of by its name.
        let kept = notes.kept.lock().unwrap();
        // A fragment that is handed over has its first trail where it is collected; then the whole may be handed over.
        let wholes: HashSet<u32> =
            kept.iter().filter(|trail| matches!(trail.came, Came::Whole(_))).map(|trail| trail.number).collect();
        let begins = |trail: &&Trail| match trail.came {
            Came::Received(_) => true,
            Came::HandedOver => trail.sight.parsed.kind == Kind::Fragment && !wholes.contains(&trail.follows),
            _ => false,
        };
        let received = kept.iter().filter(begins).count();
        if trails && one.is_none() {
            prop_assert_eq!(received, came);
        }
        prop_assert!(trails || kept.is_empty());
        let mut told: HashMap<&str, u64> = HashMap::new();
        for (_, reason, _) in notes.dropped.lock().unwrap().iter() {
            *told.entry(reason.name()).or_default() += 1;
        }
        for reason in DropReason::ALL {
            let expected = if drops { watched.dropped(*reason) } else { 0 };
            prop_assert_eq!(told.remove(reason.name()).unwrap_or_default(), expected, "{}", reason.name());
        }
    }
}

/// Lets both come to rest, and compares everything that can be seen of them.
fn same(plain: &mut Rig, watched: &mut Rig) -> Result<(), TestCaseError> {
    let sent = [plain.settle(), watched.settle()]
        .map(|sent| sent.into_iter().map(|(port, packet)| (port, without_id(packet))).collect::<Vec<_>>());
    prop_assert_eq!(&sent[0], &sent[1]);
    prop_assert_eq!(plain.to_kernel(), watched.to_kernel());
    prop_assert_eq!(plain.connections(), watched.connections());
    let counters = |rig: &Rig| rig.stats.iter().map(|stats| format!("{stats:#?}")).collect::<Vec<_>>();
    prop_assert_eq!(counters(plain), counters(watched));
    watched.audit_tables();
    (0..watched.stats.len()).for_each(|worker| watched.check_worker(worker));
    Ok(())
}

/// The trails of packets that are sent one after the other.
fn trails(rig: &mut Rig, notes: &Notes, worker: usize, port: u16, packet: &[u8]) -> Vec<Trail> {
    rig.send(worker, port, packet);
    std::mem::take(&mut *notes.kept.lock().unwrap())
}

#[test]
fn a_trail_says_what_was_found_and_decided() {
    let (notes, watcher) = notes(all());
    let mut rig = rig(1);
    rig.watch(Some(&watcher));
    let (client, mac) = (client(1), [2, 0, 0, 0, 0, 0xfe]);
    // A new connection.
    let [trail] = trails(&mut rig, &notes, 0, OUTSIDE, &tcp(client, service(80), SYN, b""))[..] else { panic!() };
    let offer = trail.sight.offer.expect("a service");
    assert_eq!((offer.scheduler, offer.mark, offer.template), ("wlc", 0, Remembered::Nothing));
    assert!(trail.made && trail.sight.found.is_none() && !trail.no_room);
    let made = trail.connection.expect("a connection");
    assert_eq!((made.view.client, made.view.state), (client, "SYN_RECV"));
    assert_eq!((trail.verdict, trail.neighbour), (Verdict::Transmit(INSIDE), Some(*made.view.server.ip())));
    assert_eq!(trail.before.bytes()[6..12], mac);
    assert_eq!(endpoints(&trail.after.bytes()[14..], 0), (client, made.view.server));
    assert_eq!((trail.came, trail.worker, trail.port, trail.follows), (Came::Received(0), 0, OUTSIDE, 0));
    // Its reply goes back from the service.
    let reply = tcp(made.view.server, client, SYN | ACK, b"");
    let [trail] = trails(&mut rig, &notes, 0, INSIDE, &reply)[..] else { panic!() };
    let (found, after) = (trail.sight.found.expect("known"), trail.connection.expect("it lives"));
    assert_eq!((found.direction, found.view.state, after.view.state), (Direction::Reply, "SYN_RECV", "SYN_RECV"));
    assert!(!trail.made && found.view.target == service(80));
    assert_eq!((trail.verdict, trail.neighbour), (Verdict::Transmit(OUTSIDE), Some(Ipv4Addr::new(10, 0, 0, 254))));
    assert_eq!(endpoints(&trail.after.bytes()[14..], 0), (service(80), client));
    // A state changes; then ordinary packets go the ordinary way, and have trails too.
    for before in ["SYN_RECV", "ESTABLISHED", "ESTABLISHED"] {
        let [trail] = trails(&mut rig, &notes, 0, OUTSIDE, &tcp(client, service(80), ACK, b"data"))[..] else {
            panic!()
        };
        let (found, after) = (trail.sight.found.expect("known"), trail.connection.expect("it lives"));
        assert_eq!((found.view.state, after.view.state), (before, "ESTABLISHED"));
        assert_eq!(endpoints(&trail.after.bytes()[14..], 0), (client, made.view.server));
    }
    // Nobody can serve: the client is told, and what came is kept as it came.
    let refused = tcp(client, SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 2), 80), SYN, b"");
    let [trail] = trails(&mut rig, &notes, 0, OUTSIDE, &refused)[..] else { panic!() };
    assert_eq!(trail.verdict, Verdict::Answer(OUTSIDE, DropReason::NoDestination));
    let dropped = std::mem::take(&mut *notes.dropped.lock().unwrap());
    let [(OUTSIDE, DropReason::NoDestination, bytes)] = &dropped[..] else { panic!("{dropped:?}") };
    assert_eq!(bytes[14..], refused);
    // A server of a service without connections.
    let [trail] = trails(&mut rig, &notes, 0, OUTSIDE, &udp(client, service(123), b"?"))[..] else { panic!() };
    let server = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 8), 123);
    assert_eq!((trail.one_packet_server, trail.connection.map(|_| ())), (Some(server), None));
    // The first packet makes a template, and the next is scheduled by it.
    for (port, remembers) in [(1, false), (2, true)] {
        let client = SocketAddrV4::new(*client.ip(), port);
        let [trail] = trails(&mut rig, &notes, 0, OUTSIDE, &tcp(client, service(443), SYN, b""))[..] else { panic!() };
        let template = trail.sight.offer.expect("a service").template;
        assert_eq!(matches!(template, Remembered::Server(_)), remembers, "{template:?}");
        assert!(trail.connection.is_some_and(|made| made.templated));
    }
    rig.watch(None);
    assert_eq!(trails(&mut rig, &notes, 0, OUTSIDE, &tcp(client, service(80), ACK, b"")).len(), 0);
}

#[test]
fn a_trail_leads_on_to_the_worker_that_decides() {
    let (notes, watcher) = notes(all());
    let mut rig = rig(3);
    rig.watch(Some(&watcher));
    let (mut handed, mut asked) = (0, 0);
    for number in 0..60 {
        for (port, service) in [(OUTSIDE, service(80)), (OUTSIDE, service(443))] {
            let way = trails(&mut rig, &notes, 0, port, &tcp(client(number), service, SYN, b""));
            let (first, last) = (way.first().expect("a trail"), way.last().expect("a trail"));
            assert!(way.is_sorted_by(|one, next| next.follows == one.number), "client {number}: {way:?}");
            assert_eq!((first.follows, first.came, first.worker), (0, Came::Received(0), 0));
            for pair in way.windows(2) {
                match pair[0].verdict {
                    Verdict::HandOver(worker) => {
                        handed += 1;
                        assert_eq!((pair[1].worker, pair[1].came), (worker, Came::HandedOver));
                    }
                    Verdict::Ask(_) => {
                        asked += 1;
                        assert_eq!((pair[1].worker, pair[1].came), (pair[0].worker, Came::Answered));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(last.made && last.verdict == Verdict::Transmit(INSIDE), "{last:?}");
        }
    }
    assert!(handed > 60 && asked > 20, "{handed} {asked}");
}

/// Frames wait together for their way to another worker. Whoever reads trails must know the first part of a packet's way
/// before that worker can tell the second.
#[test]
fn a_trail_is_kept_before_its_packet_goes_on() {
    #[derive(Debug)]
    struct Order(Arc<WorkerStats>, AtomicU32);
    impl Watcher for Order {
        fn wants_trails(&self) -> bool {
            true
        }
        fn wants_drops(&self) -> bool {
            false
        }
        fn may_want(&self) -> bool {
            true
        }
        fn wants(&self, _: &Sight) -> bool {
            true
        }
        fn number(&self) -> u32 {
            1
        }
        fn keep(&self, trail: &Trail) {
            if trail.worker == 0 && matches!(trail.verdict, Verdict::HandOver(_)) {
                let kept = u64::from(self.1.fetch_add(1, Relaxed));
                assert!(self.0.handed_out.get() <= kept, "it has gone already");
            }
        }
        fn dropped(&self, _: u16, _: DropReason, _: &[u8], _: usize) {}
    }
    let mut rig = rig(2);
    let order = Arc::new(Order(rig.stats[0].clone(), AtomicU32::new(0)));
    let watcher: Arc<dyn Watcher> = order.clone();
    rig.watch(Some(&watcher));
    (0..200).for_each(|number| rig.receive(0, OUTSIDE, &udp(client(number), service(53), b"?")));
    rig.settle();
    assert!(order.1.load(Relaxed) > 64 && rig.stats[0].handed_out.get() == u64::from(order.1.load(Relaxed)));
}

/// A datagram that comes in fragments is one packet for whoever watches, whatever ways its fragments take.
#[test]
fn fragments_and_the_whole_are_one_packets_way() {
    for workers in 1..=3 {
        let (notes, watcher) = notes(all());
        let mut rig = rig(workers);
        rig.watch(Some(&watcher));
        for number in 0..20 {
            let client = client(number);
            let whole = datagram(client.port(), 53, &[0; 1000]);
            let piece = |at: usize, end: usize, more: u16| {
                ip(*client.ip(), VIP, 17, number, more | (at / 8) as u16, &whole[at..end])
            };
            rig.receive(0, OUTSIDE, &piece(504, 1008, 0));
            rig.receive(workers - 1, OUTSIDE, &piece(0, 504, 0x2000));
            rig.settle();
            let kept = std::mem::take(&mut *notes.kept.lock().unwrap());
            let steps = kept.iter().map(|trail| (trail.number, trail.follows, step(trail, 0)));
            let packets = joined(steps);
            assert_eq!(packets.len(), 1, "{}", text(&TracePage { packets, ..TracePage::default() }));
            let last = packets[0].steps.last().expect("a step");
            assert_eq!((last.came.as_str(), last.decision.as_str()), ("whole", "sent"), "{packets:?}");
        }
    }
}

/// What an operator reads of packets that are sent one after the other.
fn told(rig: &mut Rig, notes: &Notes, worker: usize, port: u16, packet: &[u8]) -> String {
    let trails = trails(rig, notes, worker, port, packet);
    let steps = trails.iter().map(|trail| (trail.number, trail.follows, step(trail, 0)));
    let page = TracePage { packets: joined(steps), ..TracePage::default() };
    assert_eq!(page.packets.len(), 1, "{page:?}");
    let page: TracePage = serde_json::from_str(&serde_json::to_string(&page).unwrap()).unwrap();
    text(&page)
}

#[test]
fn what_is_kept_is_told_in_words() {
    let (notes, watcher) = notes(all());
    let mut rig = rig(1);
    rig.ipvsadm("-A -f 7 -s rr");
    rig.ipvsadm("-a -f 7 -r 192.168.1.9:0 -i");
    rig.mark("tcp to 172.16.0.3 set 7");
    rig.watch(Some(&watcher));
    let client = client(1);
    let to = |last, port| SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, last), port);
    let server = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 3), 8080);
    let whole = datagram(client.port(), 53, &[0; 1000]);
    let connection = "TCP 10.9.0.1:40001 -> 172.16.0.1:80 to 192.168.1.3:8080 (nat)";
    let rows: [(u16, Vec<u8>, &[&str]); 10] = [
        (
            OUTSIDE,
            tcp(client, service(80), SYN, b""),
            &[
                "received by port 0, queue 0: src=02:00:00:00:00:FE",
                "  no connection\n  service TCP 172.16.0.1:80, scheduler wlc\n",
                &format!("new connection {connection}, SYN_RECV, expires in 60 s, chosen by wlc\n"),
                "  destination 172.16.0.1:80 -> 192.168.1.3:8080\n  TTL 64 -> 63\n",
                "  sent by port 1 to 192.168.1.3\n",
            ],
        ),
        (
            INSIDE,
            tcp(server, client, SYN | ACK, b""),
            &[
                &format!("reply of connection {connection}, SYN_RECV"),
                "  source 192.168.1.3:8080 -> 172.16.0.1:80\n",
                "  sent by port 0 to 10.0.0.254\n",
            ],
        ),
        (OUTSIDE, tcp(client, service(80), ACK, b""), &["state SYN_RECV -> ESTABLISHED, expires in 900 s\n"]),
        (
            OUTSIDE,
            tcp(client, service(443), SYN, b""),
            &[
                "  the client has no template\n",
                "(tun), SYN_RECV, expires in 60 s, chosen by wrr, template made\n",
                "  put into IPIP from 192.168.1.1 to 192.168.1.",
            ],
        ),
        (OUTSIDE, tcp(to(3, 1), to(3, 99), SYN, b""), &["service FWM 7, by mark 7, scheduler rr\n"]),
        (OUTSIDE, tcp(client, to(2, 80), SYN, b""), &["dropped: no_destination; the sender is told by port 0: src="]),
        (OUTSIDE, udp(client, service(123), b""), &["one packet\n  to 192.168.1.8:123, and no connection is kept\n"]),
        (
            OUTSIDE,
            with_ttl(tcp(client, service(80), ACK, b""), 1),
            &["dropped: ttl_exceeded; the sender is told by port 0: "],
        ),
        (OUTSIDE, ip(*client.ip(), VIP, 17, 1, 0x2000, &whole[..504]), &["  kept until all fragments are there\n"]),
        (
            OUTSIDE,
            tcp(client, SocketAddrV4::new(VIP, 22), SYN, b""),
            &["  no connection, no service\n  to the kernel's interface of port 0\n"],
        ),
    ];
    for (port, packet, parts) in rows {
        let told = told(&mut rig, &notes, 0, port, &packet);
        let mut rest = told.as_str();
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part}\nis not in\n{told}"));
            rest = &rest[at..];
        }
    }
}

#[test]
fn a_held_packets_way_goes_on() {
    let (notes, watcher) = notes(all());
    let mut rig = rig(2);
    // Nobody knows this one's MAC address, and nobody answers.
    rig.ipvsadm("-A -t 172.16.0.5:80 -s rr");
    rig.ipvsadm("-a -t 172.16.0.5:80 -r 10.0.0.77:80 -m");
    rig.watch(Some(&watcher));
    let to = SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 5), 80);
    let before = trails(&mut rig, &notes, 0, OUTSIDE, &tcp(client(2), to, SYN, b""));
    let held = before.last().expect("a trail");
    assert!(matches!(held.verdict, Verdict::Hold(_)), "{held:?}");
    rig.wait(4 * SECOND);
    let [after] = std::mem::take(&mut *notes.kept.lock().unwrap())[..] else { panic!() };
    assert_eq!((after.follows, after.came), (held.number, Came::Held));
    assert_eq!(after.verdict, Verdict::Drop(DropReason::Unresolved));
    let steps = before.iter().chain([&after]).map(|trail| (trail.number, trail.follows, step(trail, 0)));
    let told = text(&TracePage { packets: joined(steps), ..TracePage::default() });
    let end = "  held until the MAC address of 10.0.0.77 on port 0 is known\n00:00:00.000000 worker ";
    assert!(told.contains(end) && told.ends_with("  was held\n  dropped: neighbour_unresolved\n\n"), "{told}");
}

#[test]
fn only_what_is_wanted_is_kept() {
    let (notes, watcher) = notes(Notes { client: Some(*client(3).ip()), ..all() });
    let mut rig = rig(2);
    rig.watch(Some(&watcher));
    let mut sent = Vec::new();
    for number in 0..6 {
        rig.receive(0, OUTSIDE, &udp(client(number), service(53), b"?"));
    }
    sent.extend(rig.settle());
    // Its replies, and what routers say about it, are its too.
    rig.send(1, INSIDE, &unreachable(Ipv4Addr::new(192, 168, 1, 77), *client(0).ip(), &sent[0].1));
    rig.send(1, INSIDE, &unreachable(Ipv4Addr::new(192, 168, 1, 77), VIP, &udp(client(3), service(53), b"?")));
    let kept = notes.kept.lock().unwrap();
    assert!(kept.iter().any(|trail| trail.sight.parsed.protocol == 1));
    for trail in kept.iter() {
        assert_eq!(trail.sight.about.source(), client(3), "{trail:?}");
    }
}
