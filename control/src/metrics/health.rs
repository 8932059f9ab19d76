//! Whether the director works: every worker turns its loop. Time is an argument.

use crate::command::WorkerView;
use std::time::Duration;

/// A worker that has not turned for so long is stuck. Its turns take microseconds; a machine that is short of
/// processors may keep it waiting.
pub const STUCK: Duration = Duration::from_secs(5);

/// When each worker was last seen to move.
#[derive(Clone, Debug, Default)]
pub struct Heart {
    /// Turns, and the moment at which they were first seen; by worker.
    beats: Vec<(u64, Duration)>,
}

impl Heart {
    /// Takes note of the turns of all workers. `now` is the time since any fixed moment.
    pub fn observe(&mut self, workers: &[WorkerView], now: Duration) {
        self.beats.truncate(workers.len());
        for (index, worker) in workers.iter().enumerate() {
            match self.beats.get_mut(index) {
                Some((turns, _)) if *turns == worker.turns => {}
                Some(beat) => *beat = (worker.turns, now),
                None => self.beats.push((worker.turns, now)),
            }
        }
    }

    /// The workers that are stuck.
    pub fn stuck(&self, now: Duration) -> impl Iterator<Item = usize> {
        let is_stuck = move |(_, (_, since)): &(usize, &(u64, Duration))| now.saturating_sub(*since) >= STUCK;
        self.beats.iter().enumerate().filter(is_stuck).map(|(worker, _)| worker)
    }

    /// What to say to who asks: nothing if all is well.
    ///
    /// # Errors
    /// What is wrong, in a line.
    pub fn check(&self, now: Duration) -> Result<(), String> {
        let stuck: Vec<_> = self.stuck(now).map(|worker| worker.to_string()).collect();
        if stuck.is_empty() { Ok(()) } else { Err(format!("stuck: worker {}", stuck.join(", "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_turn_is_stuck_until_it_does() {
        let workers = |turns: [u64; 2]| turns.map(|turns| WorkerView { turns, ..WorkerView::default() });
        let (mut heart, second) = (Heart::default(), Duration::from_secs);
        assert_eq!(heart.check(second(100)), Ok(()));
        heart.observe(&workers([1, 1]), second(10));
        heart.observe(&workers([2, 1]), second(14));
        assert_eq!(heart.check(second(14)), Ok(()));
        assert_eq!(heart.check(second(15)), Err("stuck: worker 1".to_owned()));
        assert_eq!(heart.check(second(19)), Err("stuck: worker 0, 1".to_owned()));
        heart.observe(&workers([3, 2]), second(20));
        assert_eq!(heart.check(second(20)), Ok(()));
    }
}
