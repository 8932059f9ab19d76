//! Real connections through a real director, by each forwarding method.

mod lab;

use lab::{Director, Driver, Lab, Options, eventually};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};

const VIP: &str = "192.168.0.254";

/// How many of the answers each server gave.
fn shares(answers: &[String]) -> BTreeMap<&str, usize> {
    answers.iter().fold(BTreeMap::new(), |mut shares, who| {
        *shares.entry(who.as_str()).or_default() += 1;
        shares
    })
}

/// Puts the VIP on the director, and on each server's device as tutorials do.
fn virtual_address(lab: &Lab, servers: &[&str], device: &str) {
    lab.sh("director", &format!("ip addr add {VIP}/32 dev lvs1; ip route add {VIP}/32 dev lvs1"));
    for server in servers {
        lab.sh(
            server,
            &format!(
                "ip addr add {VIP}/32 dev {device}; ip link set {device} up; cd /proc/sys/net/ipv4/conf
                 for i in all {device}; do echo 1 >$i/arp_ignore; echo 2 >$i/arp_announce; echo 0 >$i/rp_filter; done"
            ),
        );
    }
}

/// ActiveConn and InActConn of a real server in `ipvsadm -Ln`.
fn connections(director: &Director<'_>, server: &str) -> Option<(u32, u32)> {
    let listing = director.list("-Ln");
    let mut fields = listing.lines().find(|line| line.contains(&format!("-> {server}:")))?.split_whitespace().rev();
    let inactive = fields.next()?.parse().ok()?;
    Some((fields.next()?.parse().ok()?, inactive))
}

/// A connection that stays open over several requests is counted as active, and as inactive once it is closed.
fn held_connections_are_counted(lab: &Lab, director: &Director<'_>, url: &str, servers: [&str; 2]) {
    let before = servers.map(|server| connections(director, server).expect("it is listed").1);
    let mut holder = lab.python("client", &["demo/hold.py", url, "4"]);
    let mut output = BufReader::new(holder.0.stdout.take().expect("piped"));
    let mut answers = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).expect("text"), 0, "it ended early");
        if line == "open\n" {
            break;
        }
        answers.push(line);
    }
    assert_eq!(answers.len(), 4);
    for server in servers {
        assert_eq!(connections(director, server).expect("it is listed").0, 2, "{}", director.list("-Ln"));
    }
    drop(holder.0.stdin.take());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, answers.concat(), "a connection stays with its server");
    for (server, before) in servers.into_iter().zip(before) {
        eventually("inactive connections", || connections(director, server) == Some((0, before + 2)));
    }
}

#[test]
fn nat_rewrites_both_directions() {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start(&lab);
    director.configure(&[
        "-A -t 172.16.0.1:8080 -s wrr",
        "-a -t 172.16.0.1:8080 -r 192.168.1.2:80 -m -w 2",
        "-a -t 172.16.0.1:8080 -r 192.168.1.3:80 -m -w 3",
    ]);
    let answers = lab.curl("client", "http://172.16.0.1:8080/", 20);
    assert_eq!(shares(&answers), BTreeMap::from([("rs2", 8), ("rs3", 12)]));
    director.configure(&["-E -t 172.16.0.1:8080 -s rr"]);
    held_connections_are_counted(&lab, &director, "http://172.16.0.1:8080/", ["192.168.1.2", "192.168.1.3"]);
}

#[test]
fn tun_lets_the_server_answer_directly() {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start(&lab);
    virtual_address(&lab, &["rs2", "rs3"], "tunl0");
    director.configure(&[
        "-A -t 192.168.0.254:80 -s wlc",
        "-a -t 192.168.0.254:80 -r 192.168.0.2:80 -i -w 1",
        "-a -t 192.168.0.254:80 -r 192.168.0.3:80 -i -w 1",
    ]);
    let answers = lab.curl("client", "http://192.168.0.254/", 20);
    assert_eq!(shares(&answers), BTreeMap::from([("rs2", 10), ("rs3", 10)]));
    held_connections_are_counted(&lab, &director, "http://192.168.0.254/", ["192.168.0.2", "192.168.0.3"]);
}

#[test]
fn dr_lets_the_server_answer_directly() {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start(&lab);
    virtual_address(&lab, &["rs3", "rs4"], "lo");
    director.configure(&[
        "-A -t 192.168.0.254:80 -s lc",
        "-a -t 192.168.0.254:80 -r 192.168.0.3:80 -g -w 1",
        "-a -t 192.168.0.254:80 -r 192.168.0.4:80 -g -w 1",
    ]);
    let answers = lab.curl("client", "http://192.168.0.254/", 20);
    assert_eq!(shares(&answers), BTreeMap::from([("rs3", 10), ("rs4", 10)]));
    held_connections_are_counted(&lab, &director, "http://192.168.0.254/", ["192.168.0.3", "192.168.0.4"]);
}

#[test]
fn datagrams_are_balanced() {
    balance_datagrams(Driver::AfPacket, 100);
}

#[test]
fn datagrams_in_fragments_are_balanced_as_one() {
    balance_datagrams(Driver::Pcap, 4000);
}

fn balance_datagrams(driver: Driver, bytes: usize) {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start_with(&lab, Options { driver, ..Options::default() });
    director.configure(&[
        "-A -u 172.16.0.1:53 -s rr",
        "-a -u 172.16.0.1:53 -r 192.168.1.2:5353 -m",
        "-a -u 172.16.0.1:53 -r 192.168.1.3:5353 -m",
    ]);
    let servers = ["rs2", "rs3"].map(|server| {
        let mut echo = lab.python(server, &["tests/udp.py", "echo", server, "5353"]);
        let mut ready = String::new();
        BufReader::new(echo.0.stdout.as_mut().expect("piped")).read_line(&mut ready).expect("text");
        assert_eq!(ready, "ready\n");
        echo
    });
    // A lost datagram is not sent again, so everybody is to know everybody's MAC address.
    for (host, neighbour) in [("client", "172.16.0.1"), ("rs2", "192.168.1.1"), ("rs3", "192.168.1.1")] {
        lab.sh(host, &format!("ping -c 1 -W 5 {neighbour}"));
    }
    let answers = lab.sh("client", &format!("python3 tests/udp.py ask 172.16.0.1 53 6 {bytes}"));
    let answers: Vec<String> = answers.lines().map(str::to_owned).collect();
    assert_eq!(shares(&answers), BTreeMap::from([("rs2", 3), ("rs3", 3)]));
    assert_eq!(connections(&director, "192.168.1.2"), Some((0, 3)), "UDP counts as inactive");
    drop(servers);
}

#[test]
fn rules_change_while_connections_live() {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start(&lab);
    let url = "http://172.16.0.1/";
    director.configure(&["-A -t 172.16.0.1:80 -s rr", "-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m"]);
    assert_eq!(shares(&lab.curl("client", url, 4)), BTreeMap::from([("rs2", 4)]));
    director.configure(&["-a -t 172.16.0.1:80 -r 192.168.1.3:80 -m", "-e -t 172.16.0.1:80 -r 192.168.1.2:80 -m -w 0"]);
    assert_eq!(shares(&lab.curl("client", url, 4)), BTreeMap::from([("rs3", 4)]), "weight 0 gets nothing new");
    director.configure(&["-d -t 172.16.0.1:80 -r 192.168.1.3:80", "-e -t 172.16.0.1:80 -r 192.168.1.2:80 -m -w 1"]);
    assert_eq!(shares(&lab.curl("client", url, 4)), BTreeMap::from([("rs2", 4)]));
    director.configure(&["-C"]);
    assert_eq!(director.list("-Sn"), "");
    assert_eq!(lab.curl("client", url, 1), [""], "without a service the director's kernel refuses");
}
