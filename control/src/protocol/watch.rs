//! Watching: changes as they are made, and at intervals what is and what was counted.

use super::{Id, line};
use crate::command::{ChangePage, Command, Error, PortView, Reply, ServiceView, Statistics, WorkerView};
use crate::ipvsadm::Executor;
use serde::{Deserialize, Serialize};

/// What to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Every change, once it was made; nothing if there is none.
    Changes,
    /// Services and servers with their counters and rates.
    Services,
    /// What all services counted, and their rates.
    Statistics,
    /// What each worker counted since the event before.
    Workers,
    /// Ports with their counters and rates.
    Ports,
}

/// `{"command":"watch"}`: events follow until the connection ends, or `{"command":"unwatch"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// What to watch; by default changes, statistics, workers and ports.
    #[serde(default = "default_what")]
    pub what: Vec<Topic>,
    /// Seconds between events, 1 to 3600.
    #[serde(default = "default_interval")]
    pub interval: u32,
}

fn default_what() -> Vec<Topic> {
    vec![Topic::Changes, Topic::Statistics, Topic::Workers, Topic::Ports]
}

fn default_interval() -> u32 {
    1
}

impl Watch {
    /// Checks what its type does not.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.interval {
            1..=3600 => Ok(()),
            interval => Err(Error::BadRequest { why: format!("interval {interval} is not 1 to 3600 seconds") }),
        }
    }
}

/// Something that is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // see Topic
pub enum Event {
    Changes(ChangePage),
    Services(Vec<ServiceView>),
    Statistics(Statistics),
    Workers(Vec<WorkerView>),
    Ports(Vec<PortView>),
    /// Why something cannot be told.
    Error(Error),
}

/// An event's line.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub(super) struct EventLine {
    /// The id of the request to watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    /// Seconds since the last time, or since the watch began.
    seconds: f64,
    /// What is told.
    event: Event,
}

/// A watch that goes on.
#[derive(Clone, Debug)]
pub struct Watching {
    id: Option<Id>,
    watch: Watch,
    /// The next change to tell of.
    next: u64,
    workers: Vec<WorkerView>,
}

impl Watching {
    /// Starts: what happens from now on is told.
    ///
    /// # Errors
    /// The director cannot be asked.
    pub fn start(id: Option<Id>, watch: Watch, executor: &mut dyn Executor) -> Result<Self, Error> {
        let next = match executor.execute(Command::Changes { since: None })? {
            Reply::Changes(page) => page.next,
            _ => 0,
        };
        let workers = match executor.execute(Command::Workers)? {
            Reply::Workers(workers) => workers,
            _ => Vec::new(),
        };
        Ok(Self { id, watch, next, workers })
    }

    /// Seconds between events.
    #[must_use]
    pub fn interval(&self) -> u32 {
        self.watch.interval
    }

    /// The lines that are due, `seconds` after the last ones.
    pub fn lines(&mut self, seconds: f64, executor: &mut dyn Executor) -> String {
        let mut lines = String::new();
        for topic in self.watch.what.clone() {
            let command = match topic {
                Topic::Changes => Command::Changes { since: Some(self.next) },
                Topic::Services => Command::Services { service: None },
                Topic::Statistics => Command::Statistics,
                Topic::Workers => Command::Workers,
                Topic::Ports => Command::Ports { port: None, extended: false },
            };
            let event = match executor.execute(command) {
                Ok(Reply::Changes(page)) => {
                    self.next = page.next;
                    if page.changes.is_empty() && page.lost == 0 {
                        continue;
                    }
                    Event::Changes(page)
                }
                Ok(Reply::Services(services)) => Event::Services(services),
                Ok(Reply::Statistics(statistics)) => Event::Statistics(statistics),
                Ok(Reply::Ports(ports)) => Event::Ports(ports),
                Ok(Reply::Workers(workers)) => {
                    let before = std::mem::replace(&mut self.workers, workers);
                    let none = WorkerView::default();
                    let then = |number| before.iter().find(|view| view.worker == number).unwrap_or(&none);
                    Event::Workers(self.workers.iter().map(|view| view.since(then(view.worker))).collect())
                }
                Ok(_) => continue,
                Err(error) => Event::Error(error),
            };
            lines += &line(&EventLine { id: self.id.clone(), seconds, event });
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Change, Timeouts};
    use serde_json::{Value, json};

    /// Counts frames, and has one change more each time.
    struct Busy(u64);

    impl Executor for Busy {
        fn execute(&mut self, command: Command) -> Result<Reply, Error> {
            self.0 += 1;
            let change = Command::SetTimeouts(Timeouts::default());
            match command {
                Command::Changes { since: None } => Ok(Reply::Changes(ChangePage { next: 5, ..ChangePage::default() })),
                Command::Changes { since: Some(5) } => {
                    Ok(Reply::Changes(ChangePage { changes: vec![Change { number: 5, change }], next: 6, lost: 0 }))
                }
                Command::Changes { since: Some(next) } => {
                    Ok(Reply::Changes(ChangePage { next, ..ChangePage::default() }))
                }
                Command::Workers => {
                    Ok(Reply::Workers(vec![WorkerView { received: self.0 * 10, ..WorkerView::default() }]))
                }
                _ => Err(Error::Stalled { worker: 0 }),
            }
        }
    }

    #[test]
    fn changes_are_told_once_and_workers_by_what_they_did_since() {
        let watch = Watch { what: vec![Topic::Changes, Topic::Workers, Topic::Ports], interval: 1 };
        let mut busy = Busy(0);
        let mut watching = Watching::start(Some(Id::Number(7)), watch, &mut busy).unwrap();
        let first = watching.lines(1.5, &mut busy);
        let first: Vec<Value> = first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&first[0]["id"], &first[0]["seconds"]), (&json!(7), &json!(1.5)));
        assert_eq!(first[0]["event"]["changes"]["changes"][0]["number"], 5);
        assert_eq!(first[1]["event"]["workers"][0]["received"], 20);
        assert_eq!(first[2]["event"]["error"]["error"], "stalled");
        let second = watching.lines(1.0, &mut busy);
        assert_eq!(second.lines().count(), 2, "there was no other change: {second}");
    }
}
