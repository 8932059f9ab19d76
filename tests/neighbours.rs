//! Real servers that are not resolved yet, are dead, or change their MAC address.

mod lab;

use lab::{Director, Lab, eventually};
use std::io::{BufRead as _, BufReader, Read as _};

const URL: &str = "http://172.16.0.1/";
/// The wire's end of the director's cable to the real servers.
const TO_SERVERS: &str = "director-port1";

fn serve_with<'lab>(lab: &'lab Lab, server: &str) -> Director<'lab> {
    let director = Director::start(lab);
    director.configure(&["-A -t 172.16.0.1:80 -s rr", &format!("-a -t 172.16.0.1:80 -r {server}:80 -m")]);
    director
}

/// The destination MAC addresses of frames that carry an IPv4 packet to this address.
fn sent_to(frames: &[Vec<u8>], address: [u8; 4]) -> Vec<String> {
    let ipv4 = frames.iter().filter(|frame| frame.len() >= 34 && frame[12..14] == [8, 0] && frame[30..34] == address);
    let hex = |mac: &[u8]| mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    ipv4.map(|frame| hex(&frame[..6])).collect()
}

#[test]
fn an_unresolved_server_gets_resolved() {
    let Some(lab) = Lab::new() else { return };
    let director = serve_with(&lab, "192.168.1.2");
    let seen = lab.sniff("wire", TO_SERVERS);
    assert_eq!(lab.curl("client", URL, 1), ["rs2"], "never asked before");
    lab.sh("director", "ip neigh flush all");
    assert_eq!(lab.curl("client", URL, 1), ["rs2"], "forgotten");
    let macs = sent_to(&seen.stop(), [192, 168, 1, 2]);
    let right = lab.mac("rs2", "lan");
    assert!(!macs.is_empty() && macs.iter().all(|mac| *mac == right), "{macs:?}, rs2 is {right}");

    // What an operator writes is what the data path has, until it is taken back.
    let known = || director.console("show neigh json").contains("02:00:00:00:00:77");
    assert_eq!(director.console("neigh add 192.168.1.2 02:00:00:00:00:77 port 1"), "");
    assert!(known());
    assert_eq!(director.console("neigh del 192.168.1.2 port 1"), "");
    assert!(!known());
    assert_eq!(lab.curl("client", URL, 1), ["rs2"], "resolved again");
    assert_eq!(director.console("route add 198.51.100.0/24 via 192.168.1.3"), "");
    assert_eq!(
        director.console("show route 198.51.100.9"),
        "198.51.100.0 - 198.51.100.255: via 192.168.1.3 on port 1\n"
    );
    assert_eq!(director.console("route del 198.51.100.0/24"), "");
    let gone = director.console("route del 198.51.100.0/24");
    assert_eq!(gone, "cannot delete the route to 198.51.100.0/24: there is none like that\n");
}

#[test]
fn nothing_for_a_dead_server_goes_astray() {
    let Some(lab) = Lab::new() else { return };
    let _director = serve_with(&lab, "192.168.1.4");
    lab.sh("rs4", "ip link set lan down");
    let seen = lab.sniff("wire", TO_SERVERS);
    assert_eq!(lab.try_sh("client", &format!("curl --silent --max-time 3 {URL}")).stdout, b"");
    let frames = seen.stop();
    assert_eq!(sent_to(&frames, [192, 168, 1, 4]), [""; 0]);
    let arp = frames.iter().filter(|frame| frame[12..14] == [8, 6] && frame[38..42] == [192, 168, 1, 4]).count();
    assert!(arp > 0, "nobody asked for the server's address");
    lab.sh("rs4", "ip link set lan up; ip route replace default via 192.168.1.1");
    eventually("the server to serve again", || lab.curl("client", URL, 1) == ["rs4"]);
}

#[test]
fn a_changed_mac_is_followed_within_a_connection() {
    let Some(lab) = Lab::new() else { return };
    let _director = serve_with(&lab, "192.168.1.3");
    let mut holder = lab.python("client", &["demo/hold.py", URL, "2"]);
    let mut output = BufReader::new(holder.0.stdout.take().expect("piped"));
    let mut line = String::new();
    while line != "open\n" {
        line.clear();
        assert_ne!(output.read_line(&mut line).expect("text"), 0, "it ended early");
    }
    lab.sh("rs3", "ip link set lan address 02:00:00:00:00:99");
    // The server speaks to the director, as it would sooner or later, and its ARP tells the director's kernel.
    lab.sh("rs3", "ip neigh flush all; ping -c 1 -W 2 192.168.1.1");
    drop(holder.0.stdin.take());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "rs3 172.16.0.10\n".repeat(2));
    assert_eq!(lab.curl("client", URL, 1), ["rs3"]);
}

#[test]
fn a_mac_that_changes_in_silence_is_noticed() {
    let Some(lab) = Lab::new() else { return };
    let _director = serve_with(&lab, "192.168.1.3");
    // The kernel's own clock for doubting a neighbour, made quick.
    lab.sh(
        "director",
        "cd /proc/sys/net/ipv4/neigh/lvs1; echo 500 >base_reachable_time_ms; echo 1 >delay_first_probe_time",
    );
    assert_eq!(lab.curl("client", URL, 1), ["rs3"]);
    lab.sh("rs3", "ip link set lan address 02:00:00:00:00:99");
    eventually("an answer from the new address", || {
        let output = lab.try_sh("client", &format!("curl --silent --max-time 1 {URL}"));
        output.stdout.starts_with(b"rs3")
    });
}
