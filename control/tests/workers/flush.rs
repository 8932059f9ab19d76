//! Connections that an operator takes away, of one or several workers.

use crate::ownership::{VIP, client, service};
use crate::packets::{ACK, SYN, endpoints, tcp, udp};
use crate::rig::{FULL, INSIDE, OUTSIDE, Rig, SECOND};
use control::command::{Command, ConnectionView, Error, FlushedView, Reply, ServerName, ServiceName};
use control::ipvsadm::Executor;
use forwarder::pipeline::DropReason;
use forwarder::service::Protocol;
use proptest::prelude::*;
use std::net::IpAddr;

const SERVICES: &str = "
    -A -t 172.16.0.1:80 -s rr -p 300
    -a -t 172.16.0.1:80 -r 192.168.1.2:80 -m -x 40
    -a -t 172.16.0.1:80 -r 192.168.1.3:80 -m -x 40
    -A -u 172.16.0.1:53 -s wlc
    -a -u 172.16.0.1:53 -r 192.168.1.2:5353 -m
    -a -u 172.16.0.1:53 -r 192.168.1.4:53 -g
";

fn name(protocol: Protocol, port: u16) -> ServiceName {
    ServiceName::Address { protocol, address: VIP.into(), port }
}

fn flush(
    rig: &mut Rig,
    service: Option<ServiceName>,
    server: Option<(u8, u16)>,
    of: Option<u16>,
) -> Result<Reply, Error> {
    let server = server.map(|(last, port)| ServerName { address: IpAddr::from([192, 168, 1, last]), port });
    let client = of.map(|number| IpAddr::V4(*client(number).ip()));
    rig.execute(Command::FlushConnections { service, server, client })
}

fn flushed(connections: u64, templates: u64) -> Result<Reply, Error> {
    Ok(Reply::Flushed(FlushedView { connections, templates }))
}

/// Clients open TCP connections from 0 on, which are answered, and send datagrams.
fn fill(rig: &mut Rig, clients: u16) {
    let workers = rig.stats.len();
    for number in 0..clients {
        let queue = usize::from(number) % workers;
        let sent = rig.send(queue, OUTSIDE, &tcp(client(number), service(80), SYN, b""));
        if let [(INSIDE, packet)] = &sent[..] {
            let (_, server) = endpoints(packet, 0);
            rig.send(queue, INSIDE, &tcp(server, client(number), SYN | ACK, b""));
            rig.send(queue, OUTSIDE, &tcp(client(number), service(80), ACK, b""));
        }
        rig.send(queue, OUTSIDE, &udp(client(number), service(53), b"x"));
        rig.wait(1);
    }
}

#[test]
fn what_is_named_goes_and_nothing_else() {
    for workers in [1, 3] {
        let mut rig = Rig::new(&vec![FULL; workers]);
        rig.ipvsadm(SERVICES);
        fill(&mut rig, 20);
        let tcp_service = name(Protocol::Tcp, 80);
        assert_eq!(rig.connections().len(), 60, "40 connections and 20 templates");
        assert_eq!(flush(&mut rig, None, None, Some(7)), flushed(2, 1));
        let connections = rig.connections();
        let of_tcp = connections.iter().filter(|(_, view)| view.protocol == 6 && !view.template);
        let of_server = of_tcp.filter(|(_, view)| view.server.ip().octets()[3] == 2).count() as u64;
        assert!((5..15).contains(&of_server));
        assert_eq!(flush(&mut rig, Some(tcp_service), Some((2, 80)), None), flushed(of_server, of_server));
        assert_eq!(flush(&mut rig, Some(tcp_service), Some((2, 80)), None), flushed(0, 0));
        rig.settle();
        rig.audit();
        let left: Vec<_> = rig.connections().into_iter().map(|(_, view)| view).collect();
        assert_eq!(left.iter().filter(|view| view.protocol == 6 && !view.template).count() as u64, 19 - of_server);
        assert!(left.iter().all(|view| view.protocol == 17 || view.server.ip().octets()[3] == 3));
        assert_eq!(flush(&mut rig, Some(name(Protocol::Udp, 53)), None, None), flushed(19, 0));
        assert_eq!(flush(&mut rig, None, None, None), flushed(19 - of_server, 19 - of_server));
        assert_eq!((rig.connections().len(), rig.sum(|stats| &stats.flushed)), (0, 40));
        assert_eq!(rig.sum(|stats| &stats.expired), 0);
        rig.audit();
        // Its clients are free to go anywhere: they are scheduled anew.
        fill(&mut rig, 20);
        assert_eq!(rig.connections().len(), 60);
    }
}

#[test]
fn what_is_unknown_is_refused() {
    let mut rig = Rig::new(&[FULL]);
    rig.ipvsadm(SERVICES);
    fill(&mut rig, 2);
    let tcp_service = Some(name(Protocol::Tcp, 80));
    assert_eq!(flush(&mut rig, Some(name(Protocol::Tcp, 81)), None, None), Err(Error::NoSuchService));
    assert_eq!(flush(&mut rig, tcp_service, Some((9, 80)), None), Err(Error::NoSuchDestination));
    assert!(matches!(flush(&mut rig, None, Some((2, 80)), None), Err(Error::BadRequest { .. })));
    let client = Some("2001:db8::1".parse().unwrap());
    let of_ipv6 = Command::FlushConnections { service: None, server: None, client };
    assert_eq!(rig.execute(of_ipv6), flushed(0, 0));
    rig.ipvsadm("-D -t 172.16.0.1:80");
    assert_eq!(flush(&mut rig, tcp_service, None, None), flushed(2, 2), "of a service that is gone, too");
    assert_eq!(rig.connections().len(), 2);
}

/// Pages of the connections of a service.
fn listed(rig: &mut Rig, service: ServiceName) -> Result<Vec<ConnectionView>, Error> {
    let (mut cursor, mut listed) = (Some(0), Vec::new());
    while let Some(from) = cursor {
        match rig.execute(Command::Connections { cursor: from, service: Some(service) })? {
            Reply::Connections(page) => (listed.extend(page.connections), cursor = page.next),
            other => panic!("{other:?}"),
        };
    }
    Ok(listed)
}

#[test]
fn connections_of_a_mark_are_those_of_its_service() {
    let mut rig = Rig::new(&[FULL; 2]);
    let seven = ServiceName::Mark { mark: 7, ipv6: false };
    assert_eq!(listed(&mut rig, seven), Err(Error::NoSuchService));
    rig.mark("tcp to 172.16.0.1 port 80 set 7");
    rig.ipvsadm(
        "-A -f 7 -s rr -p 300
        -a -f 7 -r 192.168.1.2 -m
        -a -f 7 -r 192.168.1.3 -m
        -A -u 172.16.0.1:53 -s rr
        -a -u 172.16.0.1:53 -r 192.168.1.2:53 -m",
    );
    fill(&mut rig, 10);
    assert_eq!(rig.connections().len(), 30);
    let of_mark = listed(&mut rig, seven).unwrap();
    let templates = of_mark.iter().filter(|view| view.protocol == "IP").count();
    assert_eq!((of_mark.len(), templates), (20, 10), "{of_mark:?}");
    assert!(of_mark.iter().all(|view| view.protocol == "IP" || view.target_port == 80));
    assert_eq!(listed(&mut rig, name(Protocol::Udp, 53)).unwrap().len(), 10);
    // Those of servers that are gone are still its own.
    rig.ipvsadm("-D -f 7");
    assert_eq!(listed(&mut rig, seven).unwrap().len(), 20);
    assert_eq!(flush(&mut rig, Some(seven), None, None), flushed(10, 10));
    assert_eq!(listed(&mut rig, seven).unwrap(), []);
    assert_eq!(listed(&mut rig, name(Protocol::Udp, 53)).unwrap().len(), 10);
}

#[test]
fn a_flow_that_stays_notices_nothing() {
    let mut rig = Rig::new(&[FULL; 2]);
    rig.ipvsadm(SERVICES);
    fill(&mut rig, 30);
    flush(&mut rig, None, None, Some(11)).unwrap();
    for number in 0..30 {
        let sent = rig.send(1, OUTSIDE, &tcp(client(number), service(80), ACK, b"more"));
        assert!(sent.iter().all(|(port, _)| *port == INSIDE) && sent.len() == usize::from(number != 11), "{number}");
    }
    assert_eq!(rig.dropped(DropReason::NoConnection), 1);
    rig.check_identities();
}

#[test]
fn thresholds_reopen_and_drains_end() {
    let mut rig = Rig::new(&[FULL; 3]);
    rig.ipvsadm(SERVICES);
    rig.ipvsadm("-E -t 172.16.0.1:80 -s rr");
    fill(&mut rig, 100);
    let of_service = |rig: &mut Rig| rig.connections().iter().filter(|(_, view)| view.protocol == 6).count();
    assert_eq!(of_service(&mut rig), 80, "both servers are full");
    let drain = Command::DrainServer {
        service: name(Protocol::Tcp, 80),
        server: ServerName { address: IpAddr::from([192, 168, 1, 3]), port: 80 },
        deadline: None,
        delete: true,
    };
    rig.execute(drain).unwrap();
    rig.wait(2 * SECOND);
    let servers = |rig: &mut Rig| match rig.execute(Command::Services { service: Some(name(Protocol::Tcp, 80)) }) {
        Ok(Reply::Services(services)) => services[0].servers.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(servers(&mut rig).len(), 2);
    assert_eq!(flush(&mut rig, Some(name(Protocol::Tcp, 80)), None, None), flushed(80, 0));
    rig.wait(2 * SECOND);
    let left = servers(&mut rig);
    assert_eq!((left.len(), left[0].active, left[0].inactive), (1, 0, 0), "the drained one is deleted");
    rig.audit();
    fill(&mut rig, 50);
    assert_eq!(of_service(&mut rig), 40, "up to the threshold again");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is flushed between whatever connections, every counter is that of the tables, and what is left is what was
    /// not meant.
    #[test]
    fn counters_stay_right(
        workers in 1..4usize,
        steps in prop::collection::vec((0u16..40, 0u8..6, prop::option::of(2u8..5)), 1..60),
    ) {
        let mut rig = Rig::new(&vec![FULL; workers]);
        rig.ipvsadm(SERVICES);
        for (number, what, server) in steps {
            let queue = usize::from(number) % workers;
            match what {
                0 | 1 => _ = rig.send(queue, OUTSIDE, &tcp(client(number), service(80), SYN, b"")),
                2 => _ = rig.send(queue, OUTSIDE, &tcp(client(number), service(80), ACK, b"")),
                3 => _ = rig.send(queue, OUTSIDE, &udp(client(number), service(53), b"x")),
                4 => _ = flush(&mut rig, None, None, Some(number)),
                _ => {
                    let before = rig.connections();
                    let of_server = server.map(|last| (last, 80));
                    let known = server.is_none_or(|last| last < 4);
                    let answer = flush(&mut rig, Some(name(Protocol::Tcp, 80)), of_server, None);
                    prop_assert_eq!(answer.is_ok(), known);
                    let mut after = before;
                    after.retain(|(_, view)| {
                        !known || view.protocol != 6 || server.is_some_and(|last| view.server.ip().octets()[3] != last)
                    });
                    let now = rig.connections();
                    prop_assert_eq!(now.len(), after.len());
                }
            }
            rig.settle();
            rig.audit();
        }
    }
}
