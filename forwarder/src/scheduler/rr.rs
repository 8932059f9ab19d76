//! rr: round robin.
//!
//! The next usable server after the last pick, around the list; weights count only as zero or not. An edit leaves the
//! position alone, a new server (at the head of the list) does too; when the server of the position is deleted, the
//! position steps back to the one before it.
//!
//! Source: Linux 6.1, `ip_vs_rr.c`; recorded in `sched/rr.json` and `sched/change.json`.

use super::load::usable;
use super::{Request, Scheduler};
use crate::clock::Tick;
use crate::service::{Member, Service};
use crate::stats::Loads;

struct RoundRobin {
    /// The server of the last pick; none stands for the head of the list, before the first server.
    last: Option<usize>,
}

pub(super) fn start(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(RoundRobin { last: None })
}

impl Scheduler for RoundRobin {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        let members = &service.members;
        let next = self.last.map_or(0, |last| last + 1);
        let around = |index: usize| if index < members.len() { index } else { index - members.len() };
        let found = (next..next + members.len()).map(around).find(|&index| usable(&members[index], loads))?;
        self.last = Some(found);
        Some(found)
    }

    fn changed(&mut self, old: &Service, new: &Service) {
        let Some(last) = self.last else { return };
        let up_to_last = old.members.get(..=last).unwrap_or(&old.members);
        self.last = up_to_last.iter().rev().find_map(|before| {
            let same = |now: &Member| now.id == before.id && now.address == before.address && now.port == before.port;
            new.members.iter().position(same)
        });
    }
}
