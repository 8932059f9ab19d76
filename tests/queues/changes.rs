//! What changes while frames go through: ports that come and go, and who serves their queues.

use crate::flows::{self, Flows};
use crate::lab::{PATIENCE, eventually};
use crate::packets::{endpoints, udp};
use crate::rig::{ASIDE, Cable, OUTSIDE, Rig, VIP, said};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const STOPPED: &str = "Stopping ports...\nChecking link statuses...\nDone\n";

/// Runs a command of the console while all flows between the first two ports go on.
fn meanwhile(rig: &mut Rig, flows: &mut Flows, line: &str) -> String {
    let mut command = rig.console(line);
    let end = Instant::now() + PATIENCE;
    while command.0.try_wait().expect("it was started").is_none() {
        flows.round(rig);
        assert!(Instant::now() < end, "{line} does not end");
    }
    flows.round(rig);
    said(command)
}

/// Asks through the third port, and hears the answer. Devices lose what comes before both ends are ready.
fn reached(rig: &mut Rig, flows: &mut Flows) {
    let (client, service) = (SocketAddrV4::new(Ipv4Addr::new(10, 6, 0, 1), 6000), SocketAddrV4::new(VIP, 58));
    let end = Instant::now() + PATIENCE;
    let (mut there, mut back) = (false, false);
    while !(there && back) {
        assert!(Instant::now() < end, "there {there}, back {back}: {}", rig.log());
        flows.round(rig);
        rig.send(OUTSIDE, 0, &udp(client, service, b"?"));
        let round = Instant::now() + Duration::from_millis(20);
        while Instant::now() < round {
            if let Some((_, packet)) = rig.receive(ASIDE) {
                let (from, server) = endpoints(&packet, 0);
                assert_eq!((from, *server.ip()), (client, Ipv4Addr::new(192, 168, 2, 2)));
                there = true;
                for queue in 0..rig.queues(ASIDE) {
                    rig.send(ASIDE, queue, &udp(server, from, b"!"));
                }
            }
            back |= flows.strangers(rig).iter().any(|packet| endpoints(packet, 0) == (service, client));
        }
    }
}

/// The third port is stopped, started, detached and attached; the others lose nothing and reorder nothing.
pub fn a_port_comes_and_goes_while_others_forward(rig: &mut Rig) {
    rig.ipvsadm("-A -u 172.16.0.1:58 -s rr");
    rig.ipvsadm("-a -u 172.16.0.1:58 -r 192.168.2.2:5353 -m");
    let mut flows = Flows::new(rig);
    reached(rig, &mut flows);
    let drops = rig.counters().drops;

    assert_eq!(meanwhile(rig, &mut flows, "port detach 2"), "Removing a device...\nPort not stopped\n");
    assert_eq!(meanwhile(rig, &mut flows, "port stop 2"), STOPPED);
    assert!(meanwhile(rig, &mut flows, "port start 2").ends_with("Done\n"));
    reached(rig, &mut flows);
    assert_eq!(meanwhile(rig, &mut flows, "port stop 2"), STOPPED);
    let detached = "Removing a device...\nDevice is detached. Now total ports is 2\nDone\n";
    assert_eq!(meanwhile(rig, &mut flows, "port detach 2"), detached);
    assert!(meanwhile(rig, &mut flows, "port start 2").contains("Invalid port 2\nThe valid ports array is [ 0 1 ]\n"));
    let wrong = meanwhile(rig, &mut flows, "port attach net_nosuch0");
    assert!(wrong.starts_with("Attaching a new port...\n") && wrong.contains("net_nosuch0"), "{wrong}");
    if rig.workers > 1 {
        let few = meanwhile(rig, &mut flows, "port attach net_af_packet7,iface=lo");
        assert!(few.contains("it has 1 queues"), "{few}");
    }

    let elsewhere = tempfile::tempdir().expect("a place for sockets");
    if rig.cable != Cable::Veth {
        rig.unplug(ASIDE);
    }
    let device = rig.device(ASIDE, elsewhere.path());
    let attached = "Attaching a new port...\nPort 2 is attached. Now total ports is 3\nDone\n";
    assert_eq!(meanwhile(rig, &mut flows, &format!("port attach {device}")), attached);
    let full = meanwhile(rig, &mut flows, "port attach net_null9");
    assert!(full.contains("detach another first"), "{full}");
    assert!(meanwhile(rig, &mut flows, "port start 2").ends_with("Done\n"));
    if rig.cable != Cable::Veth {
        rig.plug(ASIDE, elsewhere.path());
    }
    reached(rig, &mut flows);

    assert!(flows.finish(rig) > 1000);
    // What asked for the third port while there was none is dropped by name, and nothing else.
    eventually("exact counters", || {
        let now = rig.counters();
        let went = now.forwarded + now.to_kernel + now.held + now.drops.values().sum::<u64>();
        now.received == went && now.handed.0 == now.handed.1
    });
    let now = rig.counters().drops;
    assert!(now.iter().all(|(why, frames)| why == "transmit_full" || drops.get(why) == Some(frames)), "{now:?}");
    rig.ipvsadm("-D -u 172.16.0.1:58");
}

/// From the next start on, some workers serve no queue; what belongs to them comes from the others.
pub fn fewer_workers_serve_from_the_next_start_on(rig: &mut Rig) {
    let all = rig.workers;
    let refused = format!("'{}' is no value for nbcore (1 to {all})\n", all + 1);
    assert_eq!(rig.say(&format!("set nbcore {}", all + 1)), refused);
    for serving in [1, all - 1, all] {
        assert_eq!(rig.say(&format!("set nbcore {serving}")), format!("Number of forwarding cores set to {serving}\n"));
        assert!(rig.say("stop").ends_with("Done.\n"));
        assert_eq!(rig.say("start"), "");
        let idle = rig.say("show config fwd").matches("forwards packets on 0 streams").count();
        assert_eq!(idle, all - serving);
        flows::nothing_is_lost_and_nothing_overtakes(rig, serving);
    }
}
