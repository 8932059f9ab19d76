//! No more of the same line than anybody reads: what happens with every packet, or in every turn, must not fill the disk.
//!
//! Each place in the source that logs has its own measure, so a flood of one line leaves the others alone. How many were
//! left out is said later ([`report`]).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one place at once.
const BURST: u32 = 50;
/// After those, one in so long.
const EACH: Duration = Duration::from_millis(500);

/// What one place may still write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bucket {
    /// When it would be as if it had never written.
    full: Duration,
    /// Lines left out and not told of yet.
    left_out: u64,
}

impl Bucket {
    /// Whether a line may be written at this moment.
    fn pass(&mut self, now: Duration) -> bool {
        let full = self.full.max(now) + EACH;
        let passes = full <= now + EACH * BURST;
        if passes {
            self.full = full;
        } else {
            self.left_out += 1;
        }
        passes
    }
}

/// The places, which are as many as the source has.
type Places = HashMap<Identifier, (&'static Metadata<'static>, Bucket)>;

static PLACES: LazyLock<(Instant, Mutex<Places>)> = LazyLock::new(|| (Instant::now(), Mutex::default()));

fn places() -> MutexGuard<'static, Places> {
    PLACES.1.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves out what is too much.
pub struct Limit;

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Whoever wants to see frames gets as many as there is room for.
        if metadata.target() == crate::queues::TARGET {
            return true;
        }
        let now = PLACES.0.elapsed();
        places().entry(metadata.callsite()).or_insert_with(|| (metadata, Bucket::default())).1.pass(now)
    }
}

/// Says how many lines were left out since it last did. To be called now and then, by nobody who is just logging.
pub fn report() {
    let take = |(metadata, bucket): &mut (&'static Metadata<'static>, Bucket)| {
        let lines = std::mem::take(&mut bucket.left_out);
        (lines > 0).then_some((*metadata, lines))
    };
    // Logging takes the lock again.
    let told: Vec<_> = places().values_mut().filter_map(take).collect();
    for (metadata, lines) in told {
        let (target, file, line) = (metadata.target(), metadata.file().unwrap_or_default(), metadata.line());
        tracing::warn!(lines, of = target, at = %format!("{file}:{}", line.unwrap_or_default()), "lines were left out");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_quiet_makes_room_again() {
        let (mut bucket, second) = (Bucket::default(), Duration::from_secs(1));
        let written = |bucket: &mut Bucket, at: Duration| (0..1000).filter(|_| bucket.pass(at)).count();
        assert_eq!(written(&mut bucket, second), BURST as usize);
        assert_eq!(bucket.left_out, 1000 - u64::from(BURST));
        assert_eq!(written(&mut bucket, 2 * second), 2, "one in half a second");
        assert_eq!(written(&mut bucket, 3600 * second), BURST as usize);
    }

    #[test]
    fn a_flood_of_one_line_leaves_the_others_alone() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let subscriber = tracing_subscriber::registry().with(Limit);
        // Answers whether the line passes the limit.
        tracing::subscriber::with_default(subscriber, || {
            let before = places().len();
            for _ in 0..1000 {
                tracing::warn!("a flood");
            }
            tracing::warn!("another line");
            let left_out: Vec<_> = places().values().map(|(_, bucket)| bucket.left_out).filter(|n| *n > 0).collect();
            assert!(left_out.len() == 1 && left_out[0] >= 900, "{left_out:?}");
            assert!(places().len() >= before + 2);
            report();
            assert!(places().values().all(|(_, bucket)| bucket.left_out == 0));
        });
    }
}
