//! The director's kernel as the slow path: what is no service's traffic behaves as on any machine.

mod lab;

use lab::{Director, Driver, Lab, Options, eventually};

/// A service on the director's own address, with no server: what passes here passes beside it.
fn with_service(lab: &Lab) -> Director<'_> {
    with_service_on(lab, Driver::AfPacket)
}

fn with_service_on(lab: &Lab, driver: Driver) -> Director<'_> {
    let director = Director::start_with(lab, Options { driver, ..Options::default() });
    director.configure(&["-A -t 172.16.0.1:80 -s rr"]);
    director
}

#[test]
fn the_kernel_answers_ping_and_arp() {
    let Some(lab) = Lab::new() else { return };
    let _director = with_service(&lab);
    let said = lab.sh("client", "ping -c 3 -i 0.2 -W 2 172.16.0.1");
    assert!(said.contains("3 packets transmitted, 3 received"), "{said}");
    let neighbour = lab.sh("client", "ip neigh show 172.16.0.1 dev wan");
    assert!(neighbour.contains(&lab.mac("director", "lvs0")), "{neighbour}");
    assert_eq!(lab.mac("director", "lvs0"), lab.mac("director", "port0"), "the port's own MAC address");
}

#[test]
fn connections_to_the_director_itself_pass() {
    let Some(lab) = Lab::new() else { return };
    let _director = with_service(&lab);
    let mut server = lab.python("director", &["demo/web.py", "director", "22"]);
    let mut ready = [0; 6];
    std::io::Read::read_exact(server.0.stdout.as_mut().expect("piped"), &mut ready).expect("it prints `ready`");
    assert_eq!(lab.curl("client", "http://172.16.0.1:22/", 3), ["director"; 3]);
    assert_eq!(lab.curl("rs2", "http://192.168.1.1:22/", 3), ["director"; 3]);
    // And from the director.
    assert_eq!(lab.curl("director", "http://172.16.0.100/", 3), ["outside"; 3]);
    assert_eq!(lab.curl("director", "http://192.168.1.3/", 3), ["rs3"; 3]);
}

#[test]
fn full_sized_packets_pass_both_ways() {
    let Some(lab) = Lab::new() else { return };
    let _director = with_service(&lab);
    let said = lab.sh("client", "ping -M do -s 1472 -c 2 -i 0.2 -W 2 172.16.0.1");
    assert!(said.contains("2 packets transmitted, 2 received"), "{said}");
}

#[test]
fn fragments_pass_both_ways() {
    let Some(lab) = Lab::new() else { return };
    let _director = with_service_on(&lab, Driver::Pcap);
    let said = lab.sh("client", "ping -s 4000 -c 2 -i 0.2 -W 2 172.16.0.1");
    assert!(said.contains("2 packets transmitted, 2 received"), "{said}");
}

#[test]
fn the_kernel_forwards_and_masquerades() {
    let Some(lab) = Lab::new() else { return };
    let director = with_service(&lab);
    director.configure(&["-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m"]);
    assert_eq!(lab.curl("client", "http://172.16.0.1/", 1), ["rs2"]);
    lab.sh("director", "echo 1 > /proc/sys/net/ipv4/ip_forward");
    lab.sh("director", "iptables -t nat -A POSTROUTING -s 192.168.1.0/24 -j MASQUERADE");
    for server in ["rs2", "rs3"] {
        assert_eq!(lab.sh(server, "curl --silent --max-time 5 http://172.16.0.100/"), "outside 172.16.0.1");
    }
}

#[test]
fn a_service_without_servers_answers_port_unreachable() {
    let Some(lab) = Lab::new() else { return };
    let _director = with_service(&lab);
    // The kernel's IPVS answers TCP so too: curl sees a refused connection at once, and never a timeout.
    let output = lab.try_sh("client", "curl --silent --max-time 5 http://172.16.0.1/");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

#[test]
fn interfaces_that_are_down_and_up_again_still_work() {
    let Some(lab) = Lab::new() else { return };
    let _director = with_service(&lab);
    lab.sh("director", "ip link set lvs0 down; ip link set lvs0 up");
    eventually("an answer to ping", || lab.try_sh("client", "ping -c 1 -W 1 172.16.0.1").status.success());
}
