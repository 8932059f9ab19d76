//! The kernel's recordings, and what they do not cover.

use super::*;
use crate::clock::TICKS_PER_SECOND;
use crate::service::{Protocol, ServiceKey, Settings};
use crate::wire::tcp::flags;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

fn recording<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = format!("{}/../tests/corpus/states/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A packet of the recordings: `c` or `s`, and flags.
fn packet(text: &str) -> (Direction, u8) {
    use crate::wire::tcp::flags::{ACK, FIN, RST, SYN};
    let (side, flags) = text.split_at(1);
    let direction = if side == "c" { Direction::Request } else { Direction::Reply };
    let flags = match flags {
        "S" => SYN,
        "SA" => SYN | ACK,
        "A" | "P" => ACK,
        "F" => FIN | ACK,
        "f" => FIN,
        "R" => RST,
        "RA" => RST | ACK,
        other => panic!("unknown flags '{other}'"),
    };
    (direction, flags)
}

fn socket(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn connection(forward: &str, protocol: Protocol) -> Conn {
    let forward = match forward {
        "nat" => Forward::Nat,
        "tun" => Forward::Tun,
        "dr" => Forward::Dr,
        other => panic!("unknown method '{other}'"),
    };
    let request = Endpoints::new(socket("10.7.7.7:2000"), socket("172.16.0.1:80"));
    Conn::new(request, protocol as u8, forward, socket("192.168.1.2:8080"))
}

/// What a director makes of a sequence of TCP packets: the connection at its end, if there is one.
fn play(forward: &str, packets: &str, settings: &Settings) -> Option<Conn> {
    let mut conn: Option<Conn> = None;
    for (direction, flags) in packets.split(' ').map(packet) {
        let signal = Signal::Tcp(flags);
        let weight = 1;
        if starts_anew(signal) && direction == Direction::Request {
            conn = conn.filter(|conn| !is_replaced(conn, weight, settings));
        }
        if conn.is_none() {
            if direction == Direction::Reply || !may_start(signal, settings) {
                continue;
            }
            conn = Some(connection(forward, Protocol::Tcp));
        }
        let conn = conn.as_mut().unwrap();
        let before = *conn;
        let change = conn.see(direction, signal, settings.secure_tcp == 3);
        if before.is_steady(direction, flags) {
            assert_eq!((*conn, change), (before, Change::default()), "{packets}: not so steady");
        }
        assert_eq!(change.recount.is_some(), before.is_active() != conn.is_active());
    }
    conn
}

#[derive(Deserialize)]
struct Sequences {
    fwd: String,
    sysctl: BTreeMap<String, u8>,
    extra_cmds: Vec<String>,
    map: BTreeMap<String, Option<(String, u32)>>,
}

#[test]
fn every_recorded_sequence_ends_in_the_kernels_state_with_its_timeout() {
    let files = [
        "tcp-seq-nat",
        "tcp-seq-nat-set",
        "tcp-seq-nat-sloppy",
        "tcp-seq-nat-secure",
        "tcp-seq-dr",
        "tcp-seq-dr-sloppy",
        "tcp-seq-dr-secure",
        "tcp-seq-tun",
    ];
    for file in files {
        let recorded: Sequences = recording(file);
        let mut settings = Settings::default();
        for (name, &value) in &recorded.sysctl {
            match name.as_str() {
                "secure_tcp" => settings.secure_tcp = value,
                "sloppy_tcp" => settings.sloppy_tcp = value != 0,
                other => panic!("{file}: unknown setting '{other}'"),
            }
        }
        let mut timeouts = Timeouts::default();
        for command in &recorded.extra_cmds {
            let numbers = command.strip_prefix("ipvsadm --set ").expect("a --set command");
            let numbers: Vec<u32> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            timeouts.set(numbers[0], numbers[1], numbers[2]);
        }
        assert!(!recorded.map.is_empty());
        for (packets, expected) in &recorded.map {
            let got = play(&recorded.fwd, packets, &settings).map(|conn| conn.state);
            let name = got.map(State::name);
            assert_eq!(name, expected.as_ref().map(|(state, _)| state.as_str()), "{file}: {packets}");
            if let (Some(state), Some((_, seconds))) = (got, expected) {
                // A recording was made up to a second after its last packet, and cuts off.
                let timeout = timeouts.of(state) / TICKS_PER_SECOND;
                assert!(timeout == *seconds || timeout == seconds + 1, "{file}: {packets}: {timeout} s, not {seconds}");
            }
        }
    }
}

#[derive(Deserialize)]
struct Rows<T> {
    rows: Vec<T>,
}

#[test]
fn active_and_inactive_connections_count_as_recorded() {
    let recorded: Rows<(String, String, String, u32, u32)> = recording("active-counts");
    for (forward, packets, state, active, inactive) in recorded.rows {
        let conn = if packets == "udp" {
            let mut conn = connection(&forward, Protocol::Udp);
            assert_eq!(conn.see(Direction::Request, Signal::Udp, false).recount, None);
            conn
        } else {
            play(&forward, &packets, &Settings::default()).unwrap()
        };
        let counts = if conn.is_active() { (1, 0) } else { (0, 1) };
        assert_eq!((conn.state.name(), counts), (state.as_str(), (active, inactive)), "{forward} {packets}");
    }
}

#[test]
fn a_new_syn_on_an_old_connection_goes_where_it_was_recorded_to_go() {
    // (method, conn_reuse_mode, expire_nodest_conn, weight, packets, state, where the new SYN went, entries after).
    type Row = (String, u8, u8, String, String, String, Vec<String>, serde_json::Value);
    let recorded: Rows<Row> = recording("reuse-matrix");
    assert!(!recorded.rows.is_empty());
    for (forward, mode, nodest, weight, packets, state, went, _) in recorded.rows {
        let settings = Settings { conn_reuse_mode: mode, expire_nodest_conn: nodest != 0, ..Settings::default() };
        // The old connection came about under the same settings, but without a second SYN.
        let conn = play(&forward, &packets, &settings).unwrap();
        assert_eq!(conn.state.name(), state);
        let replaced = is_replaced(&conn, u32::from(weight != "w0"), &settings);
        let expected = went.iter().any(|went| went == "server 2");
        assert_eq!(replaced, expected, "{forward} reuse {mode} nodest {nodest} {weight} {packets}: {went:?}");
    }
}

#[test]
fn a_templated_connection_is_not_rescheduled_for_its_state() {
    let settings = Settings::default();
    let mut conn = play("nat", "cS cF", &settings).unwrap();
    assert!(is_replaced(&conn, 1, &settings));
    conn.set_template(5);
    assert!(!is_replaced(&conn, 1, &settings));
    assert!(is_replaced(&conn, 0, &Settings { expire_nodest_conn: true, ..settings }));
}

#[test]
fn rst_goes_before_syn_before_fin_before_ack_and_no_flag_at_all_closes() {
    use crate::wire::tcp::flags::{ACK, FIN, RST, SYN};
    let after = |flags| transition(State::Established, View::Request, Signal::Tcp(flags), false);
    assert_eq!(after(RST | SYN | FIN | ACK), State::Close);
    assert_eq!(after(SYN | FIN | ACK), State::Established);
    assert_eq!(after(FIN | ACK), State::CloseWait);
    assert_eq!(after(ACK), State::Established);
    assert_eq!(after(0x28), State::Close); // PSH and URG
}

#[test]
fn an_sctp_association_goes_through_the_recorded_states() {
    use signal::chunk::*;
    let mut conn = connection("nat", Protocol::Sctp);
    // packets/sctp-nat: the state and the seconds that -Lnc showed after each packet.
    let steps = [
        (Direction::Request, INIT, "INIT1", 3),
        (Direction::Reply, INIT_ACK, "C-SENT", 60),
        (Direction::Request, COOKIE_ECHO, "C-REPLIED", 60),
        (Direction::Reply, COOKIE_ACK, "ESTABLISHED", 899),
        (Direction::Request, SHUTDOWN, "S-RECEIVED", 60),
        (Direction::Reply, SHUTDOWN_ACK, "S-ACK-SENT", 60),
        (Direction::Request, SHUTDOWN_COMPLETE, "CLOSED", 60),
    ];
    for (direction, chunk, name, seconds) in steps {
        let change = conn.see(direction, Signal::Sctp(chunk), false);
        let left = (Timeouts::default().of(conn.state) - 1) / TICKS_PER_SECOND;
        assert_eq!((conn.state.name(), left), (name, seconds));
        assert_eq!((conn.is_active(), change.assured), (name == "ESTABLISHED", name == "ESTABLISHED"));
    }
    assert!(is_replaced(&conn, 1, &Settings::default()));
}

#[test]
fn states_stay_within_their_protocol_whatever_comes() {
    for state in State::ALL {
        assert_eq!(State::ALL[state as usize], state);
        for view in [View::Request, View::Reply, View::RequestOnly] {
            for byte in 0..=255 {
                for secure in [false, true] {
                    let tcp = transition(state, view, Signal::Tcp(byte), secure);
                    assert!(tcp < State::Udp || tcp == state);
                }
                let sctp = transition(state, view, Signal::Sctp(byte), false);
                assert!(sctp > State::Udp || sctp == state, "{state:?} {view:?} chunk {byte}");
            }
        }
    }
}

#[test]
fn who_may_start_a_connection() {
    use crate::wire::tcp::flags as tcp;
    use signal::chunk;
    let (strict, sloppy) =
        (Settings::default(), Settings { sloppy_tcp: true, sloppy_sctp: true, ..Settings::default() });
    for flags in 0..64 {
        let (syn, rst) = (flags & tcp::SYN != 0, flags & tcp::RST != 0);
        assert_eq!(may_start(Signal::Tcp(flags), &strict), syn && !rst);
        assert_eq!(may_start(Signal::Tcp(flags), &sloppy), !rst);
    }
    assert!(may_start(Signal::Udp, &strict) && may_start(Signal::Sctp(chunk::INIT), &strict));
    assert!(!may_start(Signal::Sctp(chunk::DATA), &strict) && may_start(Signal::Sctp(chunk::DATA), &sloppy));
    assert!(!may_start(Signal::Sctp(chunk::ABORT), &sloppy));
}

#[test]
fn a_removed_server_drops_or_restarts_by_expire_nodest_conn() {
    let mut settings = Settings::default();
    assert_eq!(on_unavailable(&settings), Unavailable::Drop);
    settings.expire_nodest_conn = true;
    assert_eq!(on_unavailable(&settings), Unavailable::Anew);
}

#[test]
fn a_connection_is_found_from_both_sides_by_what_stands_in_the_packets() {
    let request = Endpoints::new(socket("10.7.7.7:2000"), socket("172.16.0.1:80"));
    assert_eq!(request.addresses.to_ne_bytes(), [10, 7, 7, 7, 172, 16, 0, 1]);
    assert_eq!(request.ports.to_ne_bytes(), [0x07, 0xd0, 0, 80]);
    assert_eq!((request.source(), request.destination()), (socket("10.7.7.7:2000"), socket("172.16.0.1:80")));
    assert_eq!(request.reversed(), Endpoints::new(request.destination(), request.source()));

    let nat = connection("nat", Protocol::Tcp);
    let reply = Endpoints::new(socket("192.168.1.2:8080"), socket("10.7.7.7:2000"));
    assert!(nat.is_request(request.addresses, request.ports, 6) && nat.is_reply(reply.addresses, reply.ports, 6));
    assert!(
        !nat.is_request(request.addresses, request.ports, 17) && !nat.is_reply(request.addresses, request.ports, 6)
    );
    assert_eq!((nat.request(), nat.reply()), (request, reply));
    // Whoever is not translated answers from the virtual address.
    assert_eq!(connection("dr", Protocol::Tcp).reply(), request.reversed());
    for (method, forward) in [
        (Method::Nat, Forward::Nat),
        (Method::Tun(Default::default()), Forward::Tun),
        (Method::Dr, Forward::Dr),
        (Method::Local, Forward::Local),
    ] {
        assert_eq!(Forward::from(method), forward);
        let conn = Conn::new(request, 6, forward, socket("192.168.1.2:8080"));
        assert_eq!((conn.forward(), conn.has_no_replies()), (forward, forward != Forward::Nat));
    }
}

#[test]
fn a_reply_of_a_server_behind_dr_ends_the_one_sided_view() {
    let mut conn = play("dr", "cS cA", &Settings::default()).unwrap();
    assert!(conn.is_steady(Direction::Request, flags::ACK) && !conn.is_steady(Direction::Reply, flags::ACK));
    conn.see(Direction::Reply, Signal::Tcp(flags::ACK), false);
    assert!(!conn.has_no_replies() && conn.is_steady(Direction::Reply, flags::ACK));
    conn.see(Direction::Request, Signal::Tcp(flags::FIN), false);
    assert_eq!(conn.state, State::CloseWait);
}

#[test]
fn udp_becomes_steady_with_the_second_packet_of_a_direction_and_then_no_longer_gives_way() {
    let mut conn = connection("nat", Protocol::Udp);
    let ack = flags::ACK;
    assert!(conn.see(Direction::Request, Signal::Udp, false).moved);
    assert_eq!((conn.is_steady(Direction::Request, ack), conn.evictable()), (false, Some(0)));
    // The first reply assures the template, so it must not pass unseen.
    let mut replied = conn;
    assert_eq!(replied.see(Direction::Reply, Signal::Udp, false), Change { assured: true, ..Change::default() });
    assert_eq!(replied.evictable(), None);
    assert!(replied.is_steady(Direction::Reply, ack) && !replied.is_steady(Direction::Request, ack));
    assert_eq!(conn.see(Direction::Request, Signal::Udp, false), Change::default());
    assert!(conn.is_steady(Direction::Request, ack) && !conn.is_steady(Direction::Reply, ack));
    assert_eq!(conn.evictable(), None);
}

#[test]
fn half_open_connections_give_way_before_closed_ones_and_living_ones_never() {
    let rank = |packets| play("nat", packets, &Settings::default()).unwrap().evictable();
    assert_eq!((rank("cS"), rank("cS sSA")), (Some(0), Some(0)));
    assert_eq!((rank("cS cF"), rank("cS cA sR")), (Some(1), Some(1)));
    assert_eq!((rank("cS cA"), rank("cS cA cF"), rank("cS cA sF")), (None, None, None));
    let mut ended = play("nat", "cS cA", &Settings::default()).unwrap();
    ended.end();
    assert_eq!(ended.evictable(), Some(0));
}

#[test]
fn set_changes_three_timeouts_and_zero_leaves_them() {
    let mut timeouts = Timeouts::default();
    assert_eq!(timeouts.shown(), [900, 120, 300]);
    timeouts.set(1000, 0, 70);
    assert_eq!(timeouts.shown(), [1000, 120, 70]);
    timeouts.set_state(State::SynRecv, u32::MAX);
    assert_eq!(timeouts.of(State::SynRecv), Timeouts::MAX_SECONDS * TICKS_PER_SECOND);
    assert_eq!(timeouts.of(State::SctpEstablished), 900 * TICKS_PER_SECOND);
}

fn key(service: ServiceKey, mask: [u8; 4], client: &str, target: &str, protocol: Protocol) -> TemplateKey {
    let target = socket(target);
    let client: Ipv4Addr = client.parse().unwrap();
    TemplateKey::new(&service, u32::from_be_bytes(mask), client, *target.ip(), protocol, target.port())
}

#[test]
fn clients_share_a_template_by_mask_service_port_and_mark() {
    let vip = IpAddr::from([172, 16, 0, 1]);
    let web = ServiceKey::Address(Protocol::Tcp, vip, 80);
    let all = [255; 4];
    let template_of = |key| Template::new(key, socket("192.168.1.2:8080"), DestId(3), 1, 360);

    let template = template_of(key(web, [255, 255, 255, 0], "10.7.7.7", "172.16.0.1:80", Protocol::Tcp));
    assert_eq!(template.key().client, Ipv4Addr::new(10, 7, 7, 0));
    assert!(template.matches(&key(web, [255, 255, 255, 0], "10.7.7.200", "172.16.0.1:80", Protocol::Tcp)));
    assert!(!template.matches(&key(web, [255, 255, 255, 0], "10.7.8.7", "172.16.0.1:80", Protocol::Tcp)));
    assert_eq!(
        (template.listed_target(), template.listed_server()),
        (socket("172.16.0.1:80"), socket("192.168.1.2:8080"))
    );

    // A service for all ports: one template for all of them. FTP's is for all ports, too.
    for service in [ServiceKey::Address(Protocol::Tcp, vip, 0), ServiceKey::Address(Protocol::Tcp, vip, 21)] {
        let template = template_of(key(service, all, "10.7.7.7", "172.16.0.1:21", Protocol::Tcp));
        assert!(template.matches(&key(service, all, "10.7.7.7", "172.16.0.1:21", Protocol::Tcp)));
        assert_eq!((template.listed_target().port(), template.listed_server().port()), (0, 0));
    }
    // A mark: one for all addresses, ports and protocols, listed with the mark as an address.
    let mark = ServiceKey::Mark(1, crate::service::Family::V4);
    let template = template_of(key(mark, all, "10.7.7.7", "172.16.0.1:80", Protocol::Tcp));
    assert!(template.matches(&key(mark, all, "10.7.7.7", "172.16.0.9:443", Protocol::Udp)));
    assert_eq!((template.key().protocol, template.listed_target()), (0, socket("0.0.0.1:0")));
    // Equal keys have equal hashes, different ones others.
    let secret = crate::flow_table::Secret::new([1, 2]);
    let hash = |service, client, target| key(service, all, client, target, Protocol::Tcp).hash(&secret);
    assert_eq!(hash(mark, "10.7.7.7", "172.16.0.1:80"), hash(mark, "10.7.7.7", "172.16.0.9:443"));
    assert_ne!(hash(mark, "10.7.7.7", "172.16.0.1:80"), hash(mark, "10.7.7.8", "172.16.0.1:80"));
    assert_ne!(hash(web, "10.7.7.7", "172.16.0.1:80"), hash(mark, "10.7.7.7", "172.16.0.1:80"));
}

#[test]
fn a_call_finds_its_template_from_any_client() {
    let sip = ServiceKey::Address(Protocol::Udp, IpAddr::from([172, 16, 0, 1]), 5060);
    let call = |client, call| TemplateKey { call, ..key(sip, [255; 4], client, "172.16.0.1:5060", Protocol::Udp) };
    let template = Template::new(call("10.7.7.7", 99), socket("192.168.1.2:5060"), DestId(0), 1, 360);
    assert!(template.matches(&call("10.8.8.8", 99)) && !template.matches(&call("10.7.7.7", 98)));
    let secret = crate::flow_table::Secret::new([1, 2]);
    assert_eq!(call("10.7.7.7", 99).hash(&secret), call("10.8.8.8", 99).hash(&secret));
}

#[test]
fn a_template_lives_by_its_timeout_then_by_its_connections() {
    let web = ServiceKey::Address(Protocol::Tcp, IpAddr::from([172, 16, 0, 1]), 80);
    let key = key(web, [255; 4], "10.7.7.7", "172.16.0.1:80", Protocol::Tcp);
    let fresh = Template::new(key, socket("192.168.1.2:80"), DestId(0), 1, 300);
    let mut template = fresh;
    assert_eq!((template.scheduled(), template.scheduled(), template.connections()), (30_000, 30_000, 2));
    assert_eq!(template.state_name(), "NONE");
    template.assure();
    assert_eq!(template.state_name(), "ASSURED");
    assert!(!template.left(Leaving::Ended));
    // It outlives its time while a connection hangs on it; from then on in minutes.
    assert_eq!((template.time_is_up(), template.scheduled()), (Some(6000), 6000));
    assert!(!template.left(Leaving::Ended) && !template.left(Leaving::Ended));
    assert_eq!(template.time_is_up(), None);

    for (why, assured, goes) in
        [(Leaving::Ended, false, false), (Leaving::GaveWay, false, true), (Leaving::GaveWay, true, false)]
    {
        let mut template = fresh;
        template.scheduled();
        template.scheduled();
        if assured {
            template.assure();
        }
        assert!(!template.left(why), "another connection is left");
        assert_eq!(template.left(why), goes, "{why:?}, assured {assured}");
    }
}

#[test]
fn an_unusable_template_is_no_longer_found_and_listed_with_port_65535() {
    let settings = Settings::default();
    let quiescent = Settings { expire_quiescent_template: true, ..Settings::default() };
    assert!(template_usable(true, 0, &settings) && template_usable(true, 1, &quiescent));
    assert!(!template_usable(false, 1, &settings) && !template_usable(true, 0, &quiescent));
    let web = ServiceKey::Address(Protocol::Tcp, IpAddr::from([172, 16, 0, 1]), 80);
    let key = key(web, [255; 4], "10.7.7.7", "172.16.0.1:80", Protocol::Tcp);
    let mut template = Template::new(key, socket("192.168.1.3:80"), DestId(0), 1, 300);
    template.invalidate();
    assert!(!template.matches(&key));
    assert_eq!(template.listed_target(), socket("172.16.0.1:65535"));
    assert_eq!(template.listed_server(), socket("192.168.1.3:65535"));
}
