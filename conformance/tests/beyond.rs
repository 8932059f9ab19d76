//! What RVS does beyond the recordings, on the same director in memory.

use conformance::packet::{flags, tcp, udp};
use conformance::rig::{Rig, Setup};
use conformance::shell;
use conformance::subject::Subject;
use std::net::SocketAddrV4;

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn must(rig: &mut Rig, lines: &[&str]) {
    for line in lines {
        let printed = shell::run(rig, line, "").unwrap();
        assert_eq!(printed.status, 0, "{line}: {printed}");
    }
}

/// Client, state and seconds to live of each connection.
fn connections(rig: &mut Rig) -> Vec<(String, &'static str, u32)> {
    let views = rig.connections();
    let mut rows: Vec<_> = views.iter().map(|view| (view.client.to_string(), view.state, view.expires / 100)).collect();
    rows.sort();
    rows
}

#[test]
fn a_service_may_have_timeouts_of_its_own() {
    let mut rig = Rig::new(&Setup::default());
    must(
        &mut rig,
        &[
            "ipvsadm -A -t 172.16.0.1:80 -s rr --conn-timeouts 50/20/0",
            "ipvsadm -a -t 172.16.0.1:80 -r 192.168.1.2 -g",
            "ipvsadm -A -u 172.16.0.1:53 -s rr --conn-timeouts 0/0/7",
            "ipvsadm -a -u 172.16.0.1:53 -r 192.168.1.2 -g",
            "ipvsadm -A -u 172.16.0.1:54 -s rr",
            "ipvsadm -a -u 172.16.0.1:54 -r 192.168.1.2 -g",
        ],
    );
    let (web, one, two) = (at("172.16.0.1:80"), at("10.9.8.1:1"), at("10.9.8.1:2"));
    for (client, letters) in [(one, "S"), (one, "A"), (two, "S"), (two, "A"), (two, "FA")] {
        rig.client_sends(&tcp(client, web, flags(letters), 1, 1, &[]));
    }
    rig.client_sends(&udp(at("10.9.8.1:3"), at("172.16.0.1:53"), b"x"));
    rig.client_sends(&udp(at("10.9.8.1:4"), at("172.16.0.1:54"), b"x"));
    let row = |client: &str, state, left| (client.to_owned(), state, left);
    let (three, four) = (row("10.9.8.1:3", "UDP", 7), row("10.9.8.1:4", "UDP", 300));
    let expected = [row("10.9.8.1:1", "ESTABLISHED", 50), row("10.9.8.1:2", "FIN_WAIT", 20), three.clone(), four];
    assert_eq!(connections(&mut rig), expected);

    // What is set for all reaches a service only where it has nothing of its own; an edit gives that up.
    must(&mut rig, &["ipvsadm --set 100 30 200", "ipvsadm -E -t 172.16.0.1:80 -s rr"]);
    rig.client_sends(&tcp(one, web, flags("A"), 1, 1, &[]));
    rig.client_sends(&udp(at("10.9.8.1:3"), at("172.16.0.1:53"), b"x"));
    rig.client_sends(&udp(at("10.9.8.1:4"), at("172.16.0.1:54"), b"x"));
    let expected = [
        row("10.9.8.1:1", "ESTABLISHED", 100),
        row("10.9.8.1:2", "FIN_WAIT", 20),
        three,
        row("10.9.8.1:4", "UDP", 200),
    ];
    assert_eq!(connections(&mut rig), expected);
    rig.wait(21.0);
    assert_eq!(connections(&mut rig).len(), 2);
}
