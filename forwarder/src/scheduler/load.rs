//! How loaded a server is: what the load-based schedulers share.
//!
//! Source: Linux 6.1.176, `ip_vs.h` (`ip_vs_dest_conn_overhead`) and the comparison that wlc, lblc, lblcr, sed, nq and
//! twos have in common. Later 6.1 kernels weigh an active connection 257; see the corpus.

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

/// What schedulers compare servers by: `cost / weight`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    pub(super) cost: u64,
    pub(super) weight: u32,
}

impl Price {
    /// Of a server that cannot serve: above every other price, but not above itself.
    pub(super) const NEVER: Self = Self { cost: 1, weight: 0 };

    /// Overhead for weight, if the server is usable: the price of wlc, lblc, lblcr and twos.
    #[inline]
    pub(super) fn of_overhead(member: &Member, loads: &Loads<'_>) -> Self {
        if usable(member, loads) {
            Self { cost: overhead(loads.of(member.id)), weight: member.weight }
        } else {
            Self::NEVER
        }
    }

    /// True if this is more than `other`, compared without dividing.
    #[inline]
    pub(super) fn above(self, other: Self) -> bool {
        u128::from(self.cost) * u128::from(other.weight) > u128::from(other.cost) * u128::from(self.weight)
    }
}
