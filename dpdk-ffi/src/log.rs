//! What DPDK logs, line by line, to a function of ours instead of the terminal and syslog.
//!
//! The last lines are remembered, so that an error can give the reason that only the log knows.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// How grave a line is (RTE_LOG_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something fails (EMERG to ERR).
    Error,
    /// WARNING.
    Warning,
    /// NOTICE.
    Notice,
    /// INFO.
    Info,
    /// DEBUG.
    Debug,
}

/// One line of DPDK's log, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How grave it is.
    pub level: Level,
    /// The text, with the prefix that its author gave it (`EAL: `, a function's name).
    pub text: String,
}

/// Who gets the lines. It must not call DPDK, which holds its log stream meanwhile.
pub type Sink = Box<dyn Fn(Level, &str) + Send + Sync>;

/// How many lines are remembered: a failed start of several devices fits.
const REMEMBERED: usize = 256;

#[derive(Default)]
struct State {
    /// What came without a line end so far.
    partial: Vec<u8>,
    recent: VecDeque<Line>,
    /// How many lines there ever were.
    count: u64,
    /// While set, lines are only remembered: the terminal is not to be written to.
    held: bool,
}

static STATE: Mutex<State> = Mutex::new(State { partial: Vec::new(), recent: VecDeque::new(), count: 0, held: false });
static SINK: OnceLock<Sink> = OnceLock::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends DPDK's log to `sink` from now on; the first call holds.
pub(crate) fn route(sink: Sink) {
    if SINK.set(sink).is_ok() {
        // SAFETY: `write` may be called from any thread at any time. Needed because the log stream is a FILE of C.
        // A failure leaves DPDK's own log in place, which is no reason not to start.
        let _ = unsafe { dpdk_sys::shim_log_to(Some(write)) };
    }
}

/// A moment in the log, for [`since`].
pub(crate) fn mark() -> u64 {
    state().count
}

/// The remembered lines after a moment.
pub(crate) fn since(mark: u64) -> Vec<Line> {
    let state = state();
    let n = usize::try_from(state.count.saturating_sub(mark)).unwrap_or(usize::MAX).min(state.recent.len());
    state.recent.iter().skip(state.recent.len() - n).cloned().collect()
}

/// Holds lines back until [`release`].
pub(crate) fn hold() {
    state().held = true;
}

/// Gives the sink what was logged after `mark` and held back, and all later lines at once.
pub(crate) fn release(mark: u64) {
    let lines = since(mark);
    state().held = false;
    for line in lines {
        give(&line);
    }
}

fn give(line: &Line) {
    if let Some(sink) = SINK.get() {
        sink(line.level, &line.text);
    }
}

impl State {
    /// Takes a piece of text; answers the lines that it completed.
    fn take(&mut self, level: Level, piece: &[u8]) -> Vec<Line> {
        let mut complete = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
                self.partial.clear();
                if !text.is_empty() {
                    complete.push(Line { level, text });
                }
            }
        }
        for line in &complete {
            if self.recent.len() == REMEMBERED {
                self.recent.pop_front();
            }
            self.recent.push_back(line.clone());
            self.count += 1;
        }
        complete
    }
}

fn level(dpdk: i32) -> Level {
    match dpdk {
        ..=4 => Level::Error,
        5 => Level::Warning,
        6 => Level::Notice,
        7 => Level::Info,
        _ => Level::Debug,
    }
}

unsafe extern "C" fn write(text: *const std::ffi::c_char, len: usize) {
    if len == 0 {
        return;
    }
    // SAFETY: the stream passes `len` readable bytes at `text`. Needed because it is C that calls.
    let piece = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
    // SAFETY: reads a variable of this thread. Needed because the level does not travel in the text.
    let level = level(unsafe { dpdk_sys::rte_log_cur_msg_loglevel() });
    // A panic must not unwind into C; a sink that panics loses its line.
    let _ = std::panic::catch_unwind(|| {
        let (lines, held) = {
            let mut state = state();
            (state.take(level, piece), state.held)
        };
        if !held {
            lines.iter().for_each(give);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_the_pieces() {
        let mut state = State::default();
        assert!(state.take(Level::Info, b"EAL: a").is_empty());
        let lines = state.take(Level::Error, b"b\n\nEAL: c\nd");
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["EAL: ab", "EAL: c"]);
        assert_eq!(state.take(Level::Info, b"\n")[0].text, "d");
        assert_eq!(state.count, 3);
    }

    #[test]
    fn memory_of_lines_is_bounded() {
        let mut state = State::default();
        for _ in 0..2 * REMEMBERED {
            state.take(Level::Info, b"x\n");
        }
        assert_eq!((state.recent.len(), state.count), (REMEMBERED, 2 * REMEMBERED as u64));
    }
}
