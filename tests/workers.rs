//! Several workers on real queues: whichever of them a frame reaches, connections are balanced as ever.

mod lab;

use lab::{Director, Driver, Lab, Options, eventually};
use std::collections::BTreeMap;

/// NAT with two workers or more: requests and replies of a connection come by different queues.
fn balance(options: Options) {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start_with(&lab, options);
    director.configure(&[
        "-A -t 172.16.0.1:8080 -s wlc",
        "-a -t 172.16.0.1:8080 -r 192.168.1.2:80 -m",
        "-a -t 172.16.0.1:8080 -r 192.168.1.3:80 -m",
        "-A -t 172.16.0.1:8081 -s rr -p 300",
        "-a -t 172.16.0.1:8081 -r 192.168.1.2:80 -m",
        "-a -t 172.16.0.1:8081 -r 192.168.1.3:80 -m",
    ]);
    let answers = lab.curl("client", "http://172.16.0.1:8080/", 20);
    let shares = answers.iter().fold(BTreeMap::<_, u32>::new(), |mut shares, who| {
        *shares.entry(who.as_str()).or_default() += 1;
        shares
    });
    // Connections come one after the other, slower than workers look at each other.
    assert!(
        shares.keys().eq(["rs2", "rs3"].iter()) && shares["rs2"].abs_diff(10) <= 2,
        "{shares:?}: {:?}\n{}",
        director.counters(),
        director.list("-Lnc")
    );

    // A client stays with its server over connections that belong to different workers.
    let answers = lab.curl("client", "http://172.16.0.1:8081/", 12);
    assert!(
        ["rs2", "rs3"].contains(&answers[0].as_str()) && answers.iter().all(|who| *who == answers[0]),
        "{answers:?}: {:?}\n{}",
        director.counters(),
        director.list("-Lnc")
    );

    watch_single_packets(&lab, &director);

    let flushed = director.console("flush conn tcp 172.16.0.1:8081");
    assert_eq!(flushed, "Removed connections: 12, persistence templates: 1\n");
    assert_eq!(director.console("show conn tcp 172.16.0.1:8081 count"), "0\n");

    // A port that was stopped, and one that has another device, are the same for the kernel and for connections.
    let device = options.driver.device(1, 1 + options.more_workers);
    let driver = options.driver.name();
    for (line, answer) in [
        (
            "set link-down port 1",
            &*format!("port 1: its driver, {driver}, cannot; 'port stop 1' takes the port out of use\n"),
        ),
        ("port reset 1", "Done\n"),
        ("port stop 1", "Done\n"),
        ("port detach 1", "Now total ports is 1\nDone\n"),
        (&format!("port attach {device}"), "Port 1 is attached. Now total ports is 2\nDone\n"),
        ("port start 1", "Done\n"),
    ] {
        let said = director.console(line);
        assert!(said.ends_with(answer), "{line}: {said}");
        if line.starts_with("port reset") || line.starts_with("port start") {
            lab.sh("rs2", "ping -c 1 -W 5 192.168.1.1");
            let answers = lab.curl("client", "http://172.16.0.1:8081/", 4);
            assert!(answers.iter().all(|who| ["rs2", "rs3"].contains(&who.as_str())), "{line}: {answers:?}");
        }
    }

    // Nothing was lost between them.
    eventually("quiet rings", || {
        let counters = director.counters();
        let went = counters.forwarded + counters.to_kernel + counters.held + counters.drops.values().sum::<u64>();
        counters.handed.0 > 0 && counters.handed.0 == counters.handed.1 && counters.received == went
    });
}

/// Who watches packets reads what became of them, over all workers; from then on until the director ends, one is waited for.
fn watch_single_packets(lab: &Lab, director: &Director<'_>) {
    let traced = |until: &dyn Fn(&str) -> bool| {
        let mut text = String::new();
        eventually("traces", || {
            text = director.console("trace show");
            until(&text)
        });
        text
    };
    assert_eq!(director.console("trace add vip 172.16.0.1:8080 count 500"), "");
    lab.curl("client", "http://172.16.0.1:8080/", 6);
    let text = traced(&|text| text.matches("new connection").count() == 6);
    for part in [
        "received by port 0, queue ",
        "service TCP 172.16.0.1:8080, scheduler wlc\n",
        ", chosen by wlc\n",
        "destination 172.16.0.1:8080 -> 192.168.1.",
        "sent by port 1 to 192.168.1.",
        "state SYN_RECV -> ESTABLISHED, expires in 900 s\n",
        "reply of connection TCP ",
        "source 192.168.1.",
        "handed over to worker ",
        "handed over, came by port ",
        "TTL 64 -> 63\n",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let json = director.console("show trace json");
    assert!(json.starts_with("{\"traced\":{\"packets\":[{\"steps\":[{\"worker\":"), "{json}");
    assert_eq!(director.console("trace clear"), "");
    assert_eq!(director.console("trace show"), "no packets are traced\n");

    // A service without servers: why, and what the client is told.
    director.configure(&["-A -t 172.16.0.1:8082 -s rr"]);
    assert_eq!(director.console("set verbose 2"), "Change verbose level to 2\n");
    assert_eq!(director.console("trace add vip 172.16.0.1:8082 count 1"), "");
    lab.try_sh("client", "curl -s -m 2 http://172.16.0.1:8082/");
    let text = traced(&|text| text.contains("Packet 1"));
    assert!(text.contains("dropped: no_destination; the sender is told by port 0: src="), "{text}");
    let told =
        "172.16.0.1:8082 TCP SYN: no connection; service TCP 172.16.0.1:8082, scheduler rr; dropped: no_destination";
    eventually("a line about the packet", || director.log().contains(told));
    assert_eq!(director.console("set verbose 0"), "Change verbose level to 0\n");
    // The frames that are dropped for it, as they came, in a file.
    let file = director.socket().with_extension("pcapng");
    std::thread::scope(|scope| {
        let capture = format!("capture start {} point drop host 172.16.0.1 count 2 seconds 20", file.display());
        let captured = scope.spawn(move || director.console(&capture));
        eventually("dropped frames", || {
            lab.try_sh("client", "curl -s -m 2 http://172.16.0.1:8082/");
            captured.is_finished()
        });
        assert_eq!(captured.join().expect("it ends"), "2 frames captured\n");
    });
    let bytes = std::fs::read(&file).expect("it was written");
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(b"dropped: no_destination") && has(&8082u16.to_be_bytes()));
    director.configure(&["-D -t 172.16.0.1:8082"]);
    assert_eq!(director.console("trace add client 203.0.113.1 count 1"), "");
}

#[test]
fn three_workers_on_the_queues_of_a_packet_fanout() {
    balance(Options { more_workers: 2, ..Options::default() });
}

#[test]
fn two_workers_on_ports_with_one_queue() {
    balance(Options { more_workers: 1, driver: Driver::Pcap, ..Options::default() });
}
