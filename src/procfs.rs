//! Keeps files like the kernel's /proc/net/ip_vs current, for exporters that read those.

use control::ipvsadm::Executor;
use control::procfs::{remove, write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Between two writes there are so many looks at whether to stop: two seconds, for which all counters stand still anyway.
const LOOKS: u32 = 10;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Writes until `stop`, and leaves no files behind.
pub fn keep_writing(directory: &Path, executor: &mut dyn Executor, stop: &AtomicBool) {
    let mut works = true;
    while !stop.load(Relaxed) {
        let done = write(directory, executor);
        if let Err(error) = &done
            && works
        {
            tracing::warn!("{error}");
        }
        works = done.is_ok();
        for _ in 0..LOOKS {
            if !stop.load(Relaxed) {
                std::thread::sleep(LOOK);
            }
        }
    }
    remove(directory);
}
