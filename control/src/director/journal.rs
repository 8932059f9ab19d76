//! What was changed lately, in order: for those who watch.

use crate::command::{Change, ChangePage, Command, Reply};
use std::collections::VecDeque;

/// Changes that are remembered.
const KEPT: usize = 4096;

/// The last changes.
#[derive(Debug, Default)]
pub(super) struct Journal {
    changes: VecDeque<Change>,
    /// The number of the next one.
    next: u64,
}

impl Journal {
    /// Remembers a command that was done, and what was answered. Of many in one, each counts for itself.
    pub fn done(&mut self, command: Command, reply: &Reply) {
        match (command, reply) {
            (Command::Transaction { commands } | Command::Configure { commands }, _) => {
                commands.into_iter().for_each(|command| self.push(command))
            }
            (Command::Each { commands }, Reply::Each(outcomes)) => {
                let done = commands.into_iter().zip(outcomes).filter(|(_, refused)| refused.is_none());
                done.for_each(|(command, _)| self.push(command));
            }
            (command, _) => self.push(command),
        }
    }

    fn push(&mut self, command: Command) {
        if self.changes.len() == KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(Change { number: self.next, change: command });
        self.next += 1;
    }

    /// The changes from this number on; none: only where the next will be.
    pub fn since(&self, number: Option<u64>) -> ChangePage {
        let from = number.unwrap_or(self.next);
        let changes: Vec<Change> = self.changes.iter().filter(|change| change.number >= from).cloned().collect();
        let oldest = self.changes.front().map_or(self.next, |change| change.number);
        ChangePage { changes, next: self.next, lost: oldest.saturating_sub(from) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Error, Timeouts};

    fn change(udp: u32) -> Command {
        Command::SetTimeouts(Timeouts { tcp: 0, tcp_fin: 0, udp })
    }

    #[test]
    fn changes_are_numbered_and_forgotten_in_order() {
        let mut journal = Journal::default();
        assert_eq!(journal.since(Some(0)), ChangePage { changes: Vec::new(), next: 0, lost: 0 });
        journal.done(Command::Transaction { commands: vec![change(1), change(2)] }, &Reply::Done);
        let outcomes = Reply::Each(vec![None, Some(Error::NoSuchService), None]);
        journal.done(Command::Each { commands: vec![change(3), change(4), change(5)] }, &outcomes);
        let page = journal.since(Some(1));
        assert_eq!(page.changes.iter().map(|change| change.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(page.changes.last().unwrap().change, change(5));
        assert_eq!((journal.since(None).next, journal.since(None).changes.len()), (4, 0));
        (0..KEPT as u32).for_each(|n| journal.done(change(n), &Reply::Done));
        let page = journal.since(Some(2));
        assert_eq!((page.changes.len(), page.changes[0].number, page.lost), (KEPT, 4, 2));
    }
}
