//! How loaded a server is, and who is the least loaded: what the load-based schedulers share.
//!
//! Source: Linux 6.1.176, `ip_vs.h` (`ip_vs_dest_conn_overhead`) and the scan that wlc, lblc, lblcr and sed have in
//! common. Later 6.1 kernels weigh an active connection 257; see the corpus.

use crate::service::Member;
use crate::stats::{Load, Loads};

/// An active connection weighs as much as 256 inactive ones.
#[inline]
pub(super) fn overhead(load: Load) -> u64 {
    u64::from(load.active) * 256 + u64::from(load.inactive)
}

/// True if the server may get new connections: it has a weight and is not over its threshold.
#[inline]
pub(super) fn usable(member: &Member, loads: &Loads<'_>) -> bool {
    member.weight > 0 && !loads.overloaded(member.id)
}

/// True if `cost / weight` is more than `other_cost / other_weight`, without dividing.
#[inline]
pub(super) fn heavier(cost: u64, weight: u32, other_cost: u64, other_weight: u32) -> bool {
    u128::from(cost) * u128::from(other_weight) > u128::from(other_cost) * u128::from(weight)
}

/// The usable one of these members (with their indices) that has the least cost for its weight; the first among equals.
#[inline]
pub(super) fn least_for_weight<'a>(
    members: impl Iterator<Item = (usize, &'a Member)>,
    loads: &Loads<'_>,
    cost: impl Fn(Load) -> u64,
) -> Option<usize> {
    let mut usable = members.filter(|(_, member)| usable(member, loads));
    let (mut least, first) = usable.next()?;
    let (mut least_cost, mut least_weight) = (cost(loads.of(first.id)), first.weight);
    for (index, member) in usable {
        let this = cost(loads.of(member.id));
        if heavier(least_cost, least_weight, this, member.weight) {
            (least, least_cost, least_weight) = (index, this, member.weight);
        }
    }
    Some(least)
}
