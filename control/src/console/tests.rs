//! Sessions with a director whose workers only say that they took what was published.

use super::*;
use crate::command::{ConnectionView, PortView};
use crate::director::still::Still;
use crate::director::{Adjustment, Director};
use crate::ipvsadm::names::Table;
use forwarder::pipeline::{DropReason, Which};
use forwarder::police::Class;
use forwarder::stats::WorkerStats;

struct Session(Director<Still>);

impl Session {
    fn new() -> Self {
        let view = |n: u16| ConnectionView {
            protocol: "TCP".into(),
            expires: 61,
            state: if n.is_multiple_of(2) { "ESTABLISHED" } else { "SYN_RECV" }.into(),
            client: format!("10.9.0.{n}").parse().unwrap(),
            client_port: 1000,
            target: "10.0.0.1".parse().unwrap(),
            target_port: 80,
            server: "10.0.0.2".parse().unwrap(),
            server_port: 80,
            engine: None,
        };
        let port = |port| PortView { port, device: format!("net_null{port}"), ..PortView::default() };
        let still =
            Still { ports: [0, 1].map(port).into(), connections: (0..6).map(view).collect(), ..Still::default() };
        Self(still.director(64))
    }

    fn count(&mut self, count: impl FnOnce(&WorkerStats)) {
        count(self.0.workers().stats.as_deref().unwrap());
    }

    fn say_at(&mut self, place: Place, line: &str) -> (String, Outcome) {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let names = Table::default();
        let outcome = Console::new(&mut self.0, &names, place, &mut output, &mut errors).line(line);
        output.extend(errors);
        (String::from_utf8(output).unwrap(), outcome)
    }

    fn say(&mut self, line: &str) -> (String, Outcome) {
        self.say_at(Place::Socket, line)
    }

    fn text(&mut self, line: &str) -> String {
        self.say(line).0
    }
}

#[test]
fn ipvsadm_is_spoken_at_the_prompt() {
    let mut session = Session::new();
    let list = "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
    let rows = [
        ("", String::new(), Outcome::Done),
        ("# a comment", String::new(), Outcome::Done),
        ("ipvsadm -A -t 10.0.0.1:80 -s rr", String::new(), Outcome::Done),
        ("-A -t 10.0.0.1:80", "Service already exists\n".into(), Outcome::Refused),
        ("  rvsadm   -Ln -t 10.0.0.1:80 ", format!("{list}TCP  10.0.0.1:80 rr\n"), Outcome::Done),
        (
            "-A",
            "You need to supply the 'service-address' option for the 'add-service' command\n".into(),
            Outcome::Usage,
        ),
    ];
    for (line, text, outcome) in rows {
        assert_eq!(session.say(line), (text, outcome), "{line}");
    }
}

#[test]
fn lines_of_our_own() {
    let mut session = Session::new();
    let valid = "Invalid port 7\nThe valid ports array is [ 0 1 ]\n";
    let rows = [
        ("set vs expire_nodest_conn 1", "", Outcome::Done),
        ("set vs sync_threshold 3 50", "", Outcome::Done),
        ("mark add tcp to 192.0.2.0/24 port 80 set 1", "", Outcome::Done),
        ("mark add set 2", "", Outcome::Done),
        ("mark add set 2", "Marking rule already exists\n", Outcome::Refused),
        ("mark add set 0", "bad marking rule: a mark is 1 to 4294967295\n", Outcome::Refused),
        ("show mark", "tcp to 192.0.2.0/24 port 80 set 1\nset 2\n", Outcome::Done),
        ("mark del set 2", "", Outcome::Done),
        ("mark del set 2", "No such marking rule\n", Outcome::Refused),
        ("mark", "Bad arguments\n", Outcome::Usage),
        ("set vs nosuch 1", "there is no setting 'nosuch'\n", Outcome::Refused),
        ("set vs secure_tcp 9", "'9' is no value for secure_tcp (0 to 3)\n", Outcome::Refused),
        ("set vs", "Bad arguments\n", Outcome::Usage),
        ("frobnicate", "Command not found\n", Outcome::Usage),
        ("st", "Ambiguous command\n", Outcome::Usage),
        ("show port info 7", valid, Outcome::Refused),
        ("show worker 3", "Invalid worker 3\n", Outcome::Refused),
        ("show drop nosuch", "Bad arguments\n", Outcome::Usage),
        ("start", "Packet forwarding already started\n", Outcome::Refused),
        ("clear fwd stats all", "", Outcome::Done),
        ("set promisc 0 on", "", Outcome::Done),
        ("set promisc all off", "", Outcome::Done),
        ("set promisc 7 off", valid, Outcome::Refused),
        ("set promisc 0", "Bad arguments\n", Outcome::Usage),
        ("set burst 16", "Number of packets per burst set to 16\n", Outcome::Done),
        ("set burst 3", "'3' is no value for burst (4 to 32)\n", Outcome::Refused),
        ("set burst 33", "'33' is no value for burst (4 to 32)\n", Outcome::Refused),
        ("set burst", "Bad arguments\n", Outcome::Usage),
        ("set verbose 1", "Change verbose level to 1\n", Outcome::Done),
        ("set verbose 4", "'4' is no value for verbose (0 to 3)\n", Outcome::Refused),
        ("set allmulti all on", "", Outcome::Done),
        ("set link-down port 1", "", Outcome::Done),
        ("set link-up port 7", valid, Outcome::Refused),
        ("clear port stats 1", "\n  NIC statistics for port 1 cleared\n", Outcome::Done),
        ("clear port xstats 7", valid, Outcome::Refused),
        ("clear drop", "", Outcome::Done),
        ("show rxq info 7 0", valid, Outcome::Refused),
        ("show rxq info 0 1", "Invalid RX queue 1 (>= nb_rxq=1)\n", Outcome::Refused),
        (
            "show port 0 rxq 0 desc used count",
            "port 0: its driver does not tell how many frames wait\n",
            Outcome::Refused,
        ),
        ("show config cores", "List of forwarding lcores: 1\n", Outcome::Done),
        ("show device info nosuch", "no device matches 'nosuch'\n", Outcome::Refused),
        ("set service tcp 10.0.0.9:80 timeout fin 30", "No such service\n", Outcome::Refused),
        ("set service tcp 10.0.0.9:80 timeout 30", "Bad arguments\n", Outcome::Usage),
        ("neigh add 10.0.0.2 02:00:00:00:00:02", "Bad arguments\n", Outcome::Usage),
        ("neigh add nobody 02:00:00:00:00:02 port 0", "bad request: 'nobody' is no address\n", Outcome::Refused),
        ("neigh del 10.0.0.2 port 65536", "bad request: '65536' is no port\n", Outcome::Refused),
        ("route add default", "Bad arguments\n", Outcome::Usage),
        (
            "route add default via 10.0.0.1 metric 4294967296",
            "bad request: '4294967296' is no metric\n",
            Outcome::Refused,
        ),
        ("set exception limit icmp 100", "", Outcome::Done),
        (
            "set exception limit icmp 4294967296",
            "'4294967296' is no value for the limit of icmp (0 to 4294967295)\n",
            Outcome::Refused,
        ),
        ("set exception limit dns 100", "Bad arguments\n", Outcome::Usage),
        ("show route 10.0.0.9", "", Outcome::Done),
        ("show route nobody", "bad request: 'nobody' is no address\n", Outcome::Refused),
        ("show neigh", "neighbour  port  MAC address\n", Outcome::Done),
        (
            "top",
            "top is a picture at a terminal: rvsadm top, or rvsadm console; without one: show service rate, show worker\n",
            Outcome::Refused,
        ),
        ("shutdown", "This ends the director, and forwarding with it: shutdown confirm\n", Outcome::Refused),
        ("set log global loud", "Bad arguments\n", Outcome::Usage),
        ("port stop 7", valid, Outcome::Refused),
        ("port", "Bad arguments\n", Outcome::Usage),
        ("quit", "", Outcome::Goodbye),
    ];
    for (line, text, outcome) in rows {
        assert_eq!(session.say(line), (text.to_owned(), outcome), "{line}");
    }
    assert_eq!(session.0.workers().promiscuous, [(0, true), (0, false), (1, false)]);
    let adjusted = [Adjustment::AllMulticast(0, true), Adjustment::AllMulticast(1, true)];
    assert!(
        session
            .0
            .workers()
            .adjustments
            .starts_with(&[&[Adjustment::Burst(16), Adjustment::Verbose(1)], &adjusted[..]].concat())
    );
    assert!(session.0.workers().adjustments.ends_with(&[Adjustment::Link(1, false), Adjustment::Clear(1, false)]));
    assert!(session.text("show vs").contains("expire_nodest_conn = 1\n"));
    session.count(|stats| stats.classes.refused[Class::Icmp as usize].add(3));
    let row = session
        .text("show exception")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .find(|line| line.starts_with("icmp"));
    assert_eq!(row.as_deref(), Some("icmp 0 0 3 100"));
    assert!(session.text("show vs --json").starts_with("{\"settings\":["));
}

#[test]
fn forwarding_stops_with_its_statistics_and_counts_anew() {
    let mut session = Session::new();
    session.0.workers().ports[0].stats.rx_packets = 20;
    session.count(|stats| {
        stats.received.add(10);
        stats.drops[DropReason::NoRoute as usize].add(4);
    });
    let (text, outcome) = session.say("stop");
    assert_eq!(outcome, Outcome::Done);
    assert!(text.starts_with("Telling cores to stop...\nWaiting for lcores to finish...\n\n  ------"), "{text}");
    assert!(text.contains("Forward statistics for port 0 ") && text.contains("    dropped as no_route: 4\n"), "{text}");
    assert!(text.contains("  RX-packets: 20             RX-dropped: 0             RX-total: 20\n"), "{text}");
    assert!(text.ends_with("\nDone.\n"), "{text}");
    assert_eq!(session.say("stop"), ("Packet forwarding not started\n".into(), Outcome::Refused));
    assert_eq!(session.say("start"), (String::new(), Outcome::Done));
    session.count(|stats| stats.received.add(1));
    let json: serde_json::Value = serde_json::from_str(&session.text("show fwd stats all json")).unwrap();
    let view = &json["forwarding"];
    assert_eq!((&view["running"], &view["workers"][0]["received"]), (&true.into(), &1.into()));
    assert_eq!(view["workers"][0]["drops"]["no_route"], 0);
    assert_eq!(session.text("show drop"), "reason    frames\nno_route       4\n", "other counters go on");
    session.text("clear drop");
    session.count(|stats| stats.drops[DropReason::NoRoute as usize].add(2));
    assert_eq!(session.text("show drop no_route json"), "{\"drops\":{\"no_route\":2}}\n");
    session.text("clear port stats all");
    session.0.workers().ports[0].stats.rx_packets = 30;
    let json: serde_json::Value = serde_json::from_str(&session.text("show fwd stats all json")).unwrap();
    assert_eq!(json["forwarding"]["ports"][0]["stats"]["rx_packets"], 30, "from zero, whatever it was before");
}

#[test]
fn queues_and_devices_are_shown() {
    let mut session = Session::new();
    let rows = [
        ("show rxq info 0 0", "Number of RXDs: 512\nServed by worker: 0\n"),
        ("show txq info 1 0", "Infos for port 1 , TX queue 0 "),
        ("show config rxtx", "  port 1: RX queue number: 1 Tx queue number: 1\n"),
        (
            "show config fwd",
            "worker 0, forwards packets on 2 streams:\n  RX P=0/Q=0 (socket any) -> TX by route: P=0/Q=0 P=1/Q=0\n",
        ),
        ("show device info net_null1", "\tPort id: 1\n"),
        ("show config fwd json", "{\"layout\":{\"burst\":32,"),
        ("show rxq info 0 0 json", "{\"queue\":{\"descriptors\":512,\"worker\":0}}\n"),
        ("show device info all json", "\"device\":\"net_null1\""),
    ];
    for (line, text) in rows {
        let (said, outcome) = session.say(line);
        assert!(said.contains(text) && outcome == Outcome::Done, "{line}: {said}");
    }
}

#[test]
fn ports_are_stopped_started_detached_and_attached() {
    let mut session = Session::new();
    let stopping = "Stopping ports...\nChecking link statuses...\nDone\n";
    let started = "Port 1: \nChecking link statuses...\nDone\n";
    let rows = [
        ("port stop 1", stopping.to_owned(), Outcome::Done),
        ("port start 1", started.to_owned(), Outcome::Done),
        ("port reset 1", format!("{stopping}{started}"), Outcome::Done),
        ("port detach 1", "Removing a device...\nPort not stopped\n".to_owned(), Outcome::Refused),
        ("port stop 1", stopping.to_owned(), Outcome::Done),
        (
            "port detach 1",
            "Removing a device...\nDevice is detached. Now total ports is 1\nDone\n".to_owned(),
            Outcome::Done,
        ),
        (
            "port detach 1",
            "Removing a device...\nInvalid port 1\nThe valid ports array is [ 0 ]\n".to_owned(),
            Outcome::Refused,
        ),
        (
            "port attach net_null1,size=64",
            "Attaching a new port...\nPort 1 is attached. Now total ports is 2\nDone\n".to_owned(),
            Outcome::Done,
        ),
        ("port attach net_null2", "Attaching a new port...\nno port is detached\n".to_owned(), Outcome::Refused),
        ("port attach", "Bad arguments\n".to_owned(), Outcome::Usage),
        ("set nbcore 2", "'2' is no value for nbcore (1 to 1)\n".to_owned(), Outcome::Refused),
        ("set nbcore 1", "Number of forwarding cores set to 1\n".to_owned(), Outcome::Done),
    ];
    for (line, text, outcome) in rows {
        assert_eq!(session.say(line), (text, outcome), "{line}");
    }
    session.text("stop");
    assert_eq!(session.say("start"), ("Not all ports were started\n".into(), Outcome::Refused));
    session.text("port start 1");
    assert_eq!(session.say("start"), (String::new(), Outcome::Done));
    let [stop, start] = [Adjustment::Stop(1), Adjustment::Start(1)];
    let detach = [stop, Adjustment::Detach(1), start, Adjustment::Serving(1)];
    let all = [&[stop, start, stop, start], &detach[..]].concat();
    assert_eq!(session.0.workers().adjustments, all);
    let json: serde_json::Value = serde_json::from_str(&session.text("show proc ip_vs json")).unwrap();
    assert!(json["text"].as_str().unwrap().contains("IP Virtual Server"), "{json}");
}

#[test]
fn long_forms_do_what_ipvsadm_does_and_edits_keep_what_is_not_named() {
    let mut session = Session::new();
    for line in [
        "service add tcp 10.0.0.1:80 scheduler rr persistent 300",
        "server add tcp 10.0.0.1:80 10.0.0.2:8080 mode nat weight 3 upper 10",
        "server edit tcp 10.0.0.1:80 10.0.0.2:8080 weight 0",
        "service edit tcp 10.0.0.1:80 scheduler wrr",
        "service add fwmark 7",
        "server add fwmark 7 10.0.0.3 mode tun",
        "server edit fwmark 7 10.0.0.3 upper 5",
    ] {
        assert_eq!(session.say(line), (String::new(), Outcome::Done), "{line}");
    }
    session.text("service add udp 10.0.0.1:53");
    for line in [
        "set service udp 10.0.0.1:53 timeout udp 30",
        "set service udp 10.0.0.1:53 timeout established 60",
        "set service udp 10.0.0.1:53 timeout persistence 90",
    ] {
        assert_eq!(session.say(line), (String::new(), Outcome::Done), "{line}");
    }
    let saved = session.text("save full");
    assert!(saved.contains("-A -u 10.0.0.1:53 -s wlc -p 90 --conn-timeouts 60/0/30\n"), "{saved}");
    session.text("service del udp 10.0.0.1:53");
    assert_eq!(
        session.text("save full"),
        "-A -t 10.0.0.1:80 -s wrr -p 300\n-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 0 -x 10\n\
         -A -f 7 -s wlc\n-a -f 7 -r 10.0.0.3:0 -i -w 1 -x 5 --tun-type ipip\n--set 900 120 300\n"
    );
    let rows = [
        ("server edit tcp 10.0.0.1:80 10.0.0.9 weight 1", "No such destination\n"),
        ("service edit tcp 10.0.0.9:80 scheduler rr", "No such service\n"),
        ("service add tcp 10.0.0.1:80", "Service already exists\n"),
        ("service del fwmark 7", ""),
        ("service zero all", ""),
        ("service flush", ""),
    ];
    for (line, text) in rows {
        assert_eq!(session.text(line), text, "{line}");
    }
}

#[test]
fn services_are_called_by_their_names() {
    let mut session = Session::new();
    let done =
        |session: &mut Session, line: &str| assert_eq!(session.say(line), (String::new(), Outcome::Done), "{line}");
    for line in [
        "service add tcp 10.0.0.1:80 name web scheduler rr",
        "service add fwmark 7 ipv6 name seven",
        "server add name web 10.0.0.2 mode nat weight 3",
        "server edit name web 10.0.0.2 weight 4",
        "service edit name web scheduler wrr",
        "set service name web timeout persistence 60",
        "service zero name web",
        // ipvsadm's edit knows no names, and leaves this one alone.
        "-E -t 10.0.0.1:80 -s wlc",
    ] {
        done(&mut session, line);
    }
    let shown = session.text("show service name web");
    assert!(shown.contains("TCP  10.0.0.1:80 wlc name web\n  -> 10.0.0.2:80 "), "{shown}");
    let shown = session.text("show service all stats");
    assert!(shown.contains("FWM  7 IPv6") && shown.contains(" name seven\n"), "{shown}");
    for line in ["-Ln", "-Sn", "-Sn --full", "save full", "-Ln --stats"] {
        assert!(!session.text(line).contains("web"), "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&session.text("show service name web json")).unwrap();
    assert_eq!(json["services"][0]["config"]["name"], "web");
    assert_eq!(session.text("show conn name web count"), "6\n");
    let rows = [
        ("service add udp 10.0.0.1:53 name web", "another service is called 'web'\n"),
        ("service edit name seven name web", "another service is called 'web'\n"),
        (
            "service add udp 10.0.0.1:53 name a/b",
            "'a/b' is no name for a service: 1 to 63 letters, digits, '.', '_' and '-'\n",
        ),
        ("service del name nobody", "no service is called 'nobody'\n"),
        ("show conn fwmark 7", "No such service\n"),
    ];
    for (line, text) in rows {
        assert_eq!(session.say(line), (text.to_owned(), Outcome::Refused), "{line}");
    }
    // Its connections are those that the director says, whatever their addresses are.
    for line in ["show conn name seven count", "show conn fwmark 7 ipv6 count"] {
        assert_eq!(session.text(line), "6\n", "{line}");
    }
    let no_server = Which { destinations: Some(vec![None]), client: None };
    assert_eq!(session.0.workers().listed, [no_server.clone(), no_server]);
    done(&mut session, "service edit name web name ''");
    assert_eq!(session.text("service del name web"), "no service is called 'web'\n");
    done(&mut session, "service edit tcp 10.0.0.1:80 name www");
    done(&mut session, "service add udp 10.0.0.1:53 name web");
    done(&mut session, "server drain name www 10.0.0.2 delete");
    done(&mut session, "service del name www");
    done(&mut session, "service add sctp 10.0.0.1:80 name www");
}

#[test]
fn connections_are_flushed() {
    let mut session = Session::new();
    session.text("-A -t 10.0.0.1:80\n");
    session.text("-a -t 10.0.0.1:80 -r 10.0.0.2 -m");
    session.text("-a -t 10.0.0.1:80 -r 10.0.0.3 -m");
    let removed = |connections| format!("Removed connections: {connections}, persistence templates: 0\n");
    let rows = [
        ("flush conn tcp 10.0.0.1:80 server 10.0.0.3 client 10.9.0.1", removed(6), Outcome::Done),
        ("flush conn client 10.9.0.7", removed(0), Outcome::Done),
        ("flush conn tcp 10.0.0.1:80", removed(0), Outcome::Done),
        ("flush conn all", removed(0), Outcome::Done),
        ("flush conn tcp 10.0.0.1:80 server 10.0.0.9", "No such destination\n".into(), Outcome::Refused),
        ("flush conn tcp 10.0.0.9:80", "No such service\n".into(), Outcome::Refused),
        ("flush conn client nobody", "bad request: 'nobody' is no address\n".into(), Outcome::Refused),
        ("flush conn", "Bad arguments\n".into(), Outcome::Usage),
        ("flush conn server 10.0.0.2", "Bad arguments\n".into(), Outcome::Usage),
    ];
    for (line, text, outcome) in rows {
        assert_eq!(session.say(line), (text, outcome), "{line}");
    }
    let both = Some(vec![Some(0), Some(0)]);
    let client = |last| Some(std::net::Ipv4Addr::new(10, 9, 0, last));
    let asked = [
        Which { destinations: Some(vec![None, Some(0)]), client: client(1) },
        Which { destinations: None, client: client(7) },
        Which { destinations: both, client: None },
        Which::default(),
    ];
    assert_eq!(session.0.workers().flushes, asked);
}

#[test]
fn connections_are_filtered_limited_and_counted() {
    let mut session = Session::new();
    let lines = |session: &mut Session, line: &str| session.text(line).lines().count() - 2;
    assert_eq!(lines(&mut session, "show conn"), 6);
    assert_eq!(lines(&mut session, "show conn state established"), 3);
    assert_eq!(lines(&mut session, "show conn tcp 10.0.0.1:80 limit 4"), 4);
    assert_eq!(lines(&mut session, "show conn client 10.9.0.5"), 1);
    assert_eq!(session.text("show conn udp 10.0.0.1:80 count"), "0\n");
    assert_eq!(session.text("show conn server 10.0.0.2 count json"), "{\"count\":6}\n");
    assert_eq!(session.say("show conn client nobody").1, Outcome::Refused);
    let json: serde_json::Value = serde_json::from_str(&session.text("show conn limit 2 json")).unwrap();
    assert_eq!(json["connections"].as_array().unwrap().len(), 2);
}

#[test]
fn files_are_read_where_the_client_is() {
    let mut session = Session::new();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("a"), "service add tcp 10.0.0.1:80\nfrobnicate\nset timeout 0 0 60\n").unwrap();
    std::fs::write(path("loop"), format!("load {}\n", path("loop"))).unwrap();
    for line in ["load", "load_echo", "restore", "save"].map(|verb| format!("{verb} {}", path("a"))) {
        let (text, outcome) = session.say(&line);
        assert!(text.contains("rvsadm console") && outcome == Outcome::Refused, "{line}: {text}");
    }
    let (text, outcome) = session.say_at(Place::Client, &format!("load_echo {}", path("a")));
    assert_eq!(outcome, Outcome::Usage, "a line that failed is not forgotten, but those after it are done");
    assert!(text.contains("frobnicate\n") && text.contains("Command not found\n"), "{text}");
    assert!(text.contains(&format!("Finished reading all CLI commands from {}\n", path("a"))), "{text}");
    assert_eq!(session.text("show timeout"), "Timeout (tcp tcpfin udp): 900 120 60\n");
    assert_eq!(session.say_at(Place::Client, &format!("load {}", path("loop"))).1, Outcome::Refused);
    assert_eq!(session.say_at(Place::Client, &format!("load {}", path("none"))).1, Outcome::Refused);
    assert_eq!(session.say_at(Place::Client, &format!("save {}", path("rules"))).1, Outcome::Done);
    session.text("service flush");
    assert_eq!(session.say_at(Place::Client, &format!("restore {}", path("rules"))), (String::new(), Outcome::Done));
    assert_eq!(session.text("save"), std::fs::read_to_string(path("rules")).unwrap());
    std::fs::write(path("bad"), "-A -t 10.0.0.7:80\n-A -t 10.0.0.7:80\n").unwrap();
    let (text, outcome) = session.say_at(Place::Client, &format!("restore {}", path("bad")));
    assert!(text.contains("line 2") && outcome == Outcome::Refused, "{text}");
    assert_eq!(session.text("save"), std::fs::read_to_string(path("rules")).unwrap(), "all or nothing");
}
