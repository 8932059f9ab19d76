//! A flow table takes its memory once: nothing that happens to it later allocates.

use allocation_counter::measure;
use forwarder::clock::Tick;
use forwarder::conn::{Conn, Direction, Endpoints, Forward, Signal};
use forwarder::flow_table::{Fate, FlowTable, Secret, Slot, hash};
use forwarder::wire::tcp::flags;
use std::net::{Ipv4Addr, SocketAddrV4};

fn client(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x0a00_0000 | n >> 8), 1024 + (n & 255) as u16)
}

#[test]
fn nothing_allocates_once_the_table_stands() {
    let virtual_server = SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 1), 80);
    let real_server = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 80);
    let secret = Secret::new([7, 9]);
    let mut table = FlowTable::new(vec![Slot::<Conn>::default(); 4096], Tick(0)).unwrap();
    let (mut inserted, mut evicted, mut refused, mut expired, mut found) = (0, 0, 0, 0, 0);
    let counted = measure(|| {
        let mut now = Tick(0);
        // More connections than there is room for, half of them established, so that every path is taken.
        for n in 0..40_000u32 {
            let request = Endpoints::new(client(n), virtual_server);
            let key = hash(u64::from(n), &secret);
            let _ = table.candidate(table.begin(key), key);
            let mut conn = Conn::new(request, 6, Forward::Nat, real_server);
            conn.see(Direction::Request, Signal::Tcp(flags::SYN), false);
            if n % 2 == 0 {
                conn.see(Direction::Request, Signal::Tcp(flags::ACK), false);
            }
            match table.insert(key, conn, now.plus(3000), Conn::evictable) {
                Ok(entry) => {
                    inserted += 1;
                    evicted += usize::from(entry.evicted.is_some());
                }
                Err(_) => refused += 1,
            }
            // Look for a recent one.
            let recent = Endpoints::new(client(n.saturating_sub(1000)), virtual_server);
            let slot = table.find(hash(u64::from(n.saturating_sub(1000)), &secret), |conn| conn.request() == recent);
            if let Some(slot) = slot {
                found += 1;
                table.rearm(slot, now.plus(2900));
            }
            if n % 4 == 0 {
                now = now.plus(1);
                table.advance(now, 64, |_, _| {
                    expired += 1;
                    Fate::Expire
                });
            }
        }
        let mut next = Some(0);
        while let Some(from) = next {
            next = table.retain(from, 100, |_, conn| conn.is_active());
        }
    });
    let paths = [inserted, evicted, refused, expired, found];
    assert!(paths.iter().all(|&taken| taken > 1000), "a path was hardly taken: {paths:?}");
    assert_eq!(counted.count_total, 0, "allocations");
}
