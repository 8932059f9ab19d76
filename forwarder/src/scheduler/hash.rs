//! dh and sh: destination and source hashing, over a table of 256 slots.
//!
//! dh: the slots go round the list of servers, one each, whatever their weights; the destination address chooses the
//! slot. sh: each server gets as many slots in a row as its weight (at least one), round and round until the table is
//! full; the client's address, with sh-port plus its port, chooses the slot. If the server of the slot has no weight or
//! is over its threshold, nobody serves; with sh-fallback, sh goes on to other slots, from its own on, each step's slot
//! number plus the first slot's once more.
//!
//! Source: Linux 6.1, `ip_vs_dh.c`, `ip_vs_sh.c` and `hash.h`; recorded in `sched/dh.json`, `sched/sh.json` and
//! `sched/sh-flags.json`. IPv6 addresses count as the exclusive or of their four words.

use super::load::usable;
use super::{Flags, Request, Scheduler, Table};
use crate::clock::Tick;
use crate::service::{Family, Member, Service};
use crate::stats::Loads;
use std::net::IpAddr;

/// Slots of a table.
const SLOTS: usize = 256;

/// An address as the kernel hashes it: 32 bits, host byte order.
pub(super) fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}

/// The slot of a number: the top 8 bits of its product with 2^32 divided by the golden ratio.
fn slot(number: u32) -> usize {
    (number.wrapping_mul(0x61C8_8647) >> 24) as usize
}

/// A table of the members, each as many slots in a row as `turns` says, until it is full.
fn fill(members: &[Member], turns: impl Fn(&Member) -> usize) -> Table {
    let round = || members.iter().enumerate().flat_map(|(at, member)| std::iter::repeat_n(at as u16, turns(member)));
    (!members.is_empty()).then(|| std::iter::repeat_with(round).flatten().take(SLOTS).collect())
}

pub(super) fn prepare_dh(members: &[Member], _: Flags, _: Family) -> Table {
    fill(members, |_| 1)
}

pub(super) fn prepare_sh(members: &[Member], _: Flags, _: Family) -> Table {
    fill(members, |member| member.weight.max(1) as usize)
}

struct DestinationHashing;
struct SourceHashing;

pub(super) fn start_dh(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(DestinationHashing)
}

pub(super) fn start_sh(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(SourceHashing)
}

/// The member in a slot of the service's table, if it can serve.
#[inline]
pub(super) fn serving(service: &Service, loads: &Loads<'_>, slot: usize) -> Option<usize> {
    let index = usize::from(*service.table.as_ref()?.get(slot)?);
    service.members.get(index).filter(|member| usable(member, loads)).map(|_| index)
}

impl Scheduler for DestinationHashing {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, request: &Request<'_>) -> Option<usize> {
        serving(service, loads, slot(fold(request.target)))
    }
}

impl Scheduler for SourceHashing {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, request: &Request<'_>) -> Option<usize> {
        let port = if service.flags.port { u32::from(request.client_port) } else { 0 };
        let first = slot(fold(request.client).wrapping_add(port));
        let found = serving(service, loads, first);
        if found.is_some() || !service.flags.fallback {
            return found;
        }
        (0..SLOTS).find_map(|step| serving(service, loads, (step + first + first) % SLOTS))
    }
}
