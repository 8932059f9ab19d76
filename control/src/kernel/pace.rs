//! When collected changes are published: soon after the last one of a burst, and never too often. Pure.

use super::resolver::Millis;

/// A burst has ended when nothing was heard for so long.
const QUIET: Millis = 3;

/// A change waits so long at most, however long the burst goes on.
const PATIENCE: Millis = 50;

/// Publications are at least so far apart: at most 50 a second.
const GAP: Millis = 20;

/// Paces publications.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The first and the last change that were not published yet.
    waiting: Option<(Millis, Millis)>,
    published: Option<Millis>,
}

impl Pace {
    /// Something changed.
    pub(super) fn changed(&mut self, now: Millis) {
        self.waiting = Some((self.waiting.map_or(now, |(first, _)| first), now));
    }

    /// When to publish; never if nothing waits.
    pub(super) fn next(&self) -> Option<Millis> {
        let (first, last) = self.waiting?;
        let wanted = (last + QUIET).min(first + PATIENCE);
        Some(self.published.map_or(wanted, |published| wanted.max(published + GAP)))
    }

    /// True if it is time to publish; the caller then does.
    pub(super) fn due(&mut self, now: Millis) -> bool {
        let due = self.next().is_some_and(|next| next <= now);
        if due {
            self.waiting = None;
        }
        due
    }

    /// A publication has ended.
    pub(super) fn published(&mut self, now: Millis) {
        self.published = Some(now);
    }
}
