//! The flattened table, for who wants to see it. Nothing here is for the data path.

use super::{Answer, NextHop, Routes};
use std::net::Ipv4Addr;

/// Addresses that share an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: Ipv4Addr,
    /// The last.
    pub last: Ipv4Addr,
    /// Where their packets leave: several for a route with several next hops. [`NextHop::Unknown`] stands for the
    /// address itself, on this port.
    pub hops: Vec<NextHop>,
}

impl Routes {
    /// All ranges, in the order of their addresses.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range> + '_ {
        (0..self.starts.len().min(self.answers.len())).map(|at| {
            let after = self.starts.get(at + 1);
            let hops = match self.answers[at] {
                Answer::Several(group) => {
                    let paths = self.groups.get(group as usize).into_iter().flatten();
                    paths.map(|path| self.hop(path.1)).collect()
                }
                answer => vec![self.hop(answer)],
            };
            Range {
                first: self.starts[at].into(),
                last: after.map_or(u32::MAX, |start| start.wrapping_sub(1)).into(),
                hops,
            }
        })
    }

    fn hop(&self, answer: Answer) -> NextHop {
        match answer {
            Answer::Local => NextHop::Local,
            Answer::Via(id) => NextHop::Link(id),
            Answer::OnLink(port) => NextHop::Unknown(port),
            Answer::Unreachable | Answer::Several(_) => NextHop::Unreachable,
        }
    }
}
