//! mh: Maglev hashing, a lookup table in which a server that comes or goes moves few clients.
//!
//! Each server walks the 4093 slots in an order of its own, (offset + n * skip) mod 4093, both hashed from its address
//! and port. In turn, in list order, each takes the next free slots of its walk, as many a turn as its weight divided
//! by the greatest common divisor of all (at least one; where the largest such share has more than 6 bits, all lose as
//! many of their low bits). The weight is the last one that was not zero: a quiesced server keeps its slots, a server
//! added with weight 0 gets none.
//!
//! The client's address, with mh-port plus its port, is hashed to a slot. If the slot's server has no weight or is over
//! its threshold, nobody serves; with mh-fallback, further slots are tried: the same hash with the numbers from the
//! first slot on, around the table, added before hashing.
//!
//! Source: Linux 6.1, `ip_vs_mh.c` (Eisenbud and others, Maglev, NSDI 2016, section 3.4) with CONFIG_IP_VS_MH_TAB_INDEX
//! 12 and `siphash.c` on 64-bit machines; recorded in `sched/mh.json` and `sched/mh-flags.json`.

use super::hash::{fold, serving};
use super::load::usable;
use super::wrr::gcd;
use super::{Flags, Request, Scheduler, Table};
use crate::clock::Tick;
use crate::service::{Family, Member, Service};
use crate::stats::Loads;

/// Slots of a table, a prime.
const SLOTS: u32 = 4093;
/// Shares of servers are cut to this many bits.
const SHARE_BITS: u32 = 6;
/// Both words of the key for offsets and for clients.
const KEY_1: u64 = 2_654_435_761;
/// Both words of the key for skips.
const KEY_2: u64 = 2_654_446_892;

/// The low half of SipHash-1-3 (Aumasson and Bernstein) of four little-endian bytes, both words of the key being `key`.
fn siphash(key: u64, value: u32) -> u32 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    let round = |v: &mut [u64; 4]| {
        v[0] = v[0].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    };
    // The only block is the last one: the length in its top byte.
    let block = 4 << 56 | u64::from(value);
    v[3] ^= block;
    round(&mut v);
    v[0] ^= block;
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

/// One server's walk over the slots while the table is filled.
struct Walk {
    member: u16,
    next: u32,
    skip: u32,
    /// Slots it takes a turn.
    share: u32,
}

/// The walks of the members that have had a weight.
fn walks(members: &[Member]) -> Vec<Walk> {
    let divisor = members.iter().fold(0, |divisor, member| gcd(divisor, member.last_weight)).max(1);
    let largest = members.iter().map(|member| member.last_weight / divisor).max().unwrap_or(0);
    let shift = (u32::BITS - largest.leading_zeros()).saturating_sub(SHARE_BITS);
    let walk = |(index, member): (usize, &Member)| {
        let server = fold(member.address).wrapping_add(u32::from(member.port));
        Walk {
            member: index as u16,
            next: siphash(KEY_1, server) % SLOTS,
            skip: siphash(KEY_2, server) % (SLOTS - 1) + 1,
            share: ((member.last_weight / divisor) >> shift).max(1),
        }
    };
    members.iter().enumerate().filter(|(_, member)| member.last_weight > 0).map(walk).collect()
}

/// With more servers than slots the kernel leaves the table as it was; here the last ones in the list, the oldest,
/// have it.
pub(super) fn prepare(members: &[Member], _: Flags, _: Family) -> Table {
    const FREE: u16 = u16::MAX;
    let surplus = members.len().saturating_sub(SLOTS as usize);
    let mut walks = walks(&members[surplus..]);
    if walks.is_empty() {
        return None;
    }
    let mut table = vec![FREE; SLOTS as usize];
    let mut free = SLOTS;
    while free > 0 {
        for walk in &mut walks {
            for _ in 0..walk.share.min(free) {
                while table[walk.next as usize] != FREE {
                    walk.next += walk.skip;
                    walk.next -= if walk.next >= SLOTS { SLOTS } else { 0 };
                }
                table[walk.next as usize] = walk.member + surplus as u16;
                free -= 1;
            }
        }
    }
    Some(table.into())
}

struct Maglev;

pub(super) fn start(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Maglev)
}

impl Scheduler for Maglev {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, request: &Request<'_>) -> Option<usize> {
        let port = if service.flags.port { u32::from(request.client_port) } else { 0 };
        let client = fold(request.client).wrapping_add(port);
        let slot = |offset: u32| siphash(KEY_1, client.wrapping_add(offset)) % SLOTS;
        let first = slot(0);
        let found = serving(service, loads, first as usize);
        if found.is_some() || !service.flags.fallback || !service.members.iter().any(|member| usable(member, loads)) {
            return found;
        }
        (0..SLOTS).find_map(|step| serving(service, loads, slot((step + first) % SLOTS) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::DestId;

    fn table(weights: &[u32]) -> Vec<usize> {
        let member = |(n, &weight): (usize, &u32)| Member {
            id: DestId(n as u32),
            address: std::net::Ipv4Addr::from(0xC0A8_0102 + n as u32).into(),
            port: 80,
            weight,
            last_weight: weight,
            upper: 0,
            lower: 0,
        };
        let members: Vec<Member> = weights.iter().enumerate().map(member).collect();
        let table = prepare(&members, Flags::default(), Family::V4).expect("a table");
        (0..weights.len()).map(|n| table.iter().filter(|&&slot| usize::from(slot) == n).count()).collect()
    }

    #[test]
    fn shares_of_more_than_six_bits_are_cut() {
        // 63 to 1 stays; 64 to 1 is cut to 32 to 1 (at least one each); 1000 to 100 (10 to 1) is not large.
        let slots = |share: usize, round: usize| (share * 4093 / round)..=(share * 4093 / round + share);
        assert!(slots(63, 64).contains(&table(&[63, 1])[0]));
        assert!(slots(32, 33).contains(&table(&[64, 1])[0]));
        assert!(slots(10, 11).contains(&table(&[1000, 100])[0]));
    }

    #[test]
    fn more_servers_than_slots_leave_the_newest_without() {
        let slots = table(&[1; 4095]);
        assert_eq!((slots[0], slots[1], slots[2]), (0, 0, 1));
        assert!(slots[2..].iter().all(|&count| count == 1));
    }
}
