//! The console at a terminal: history, editing as Emacs does it, TAB to complete, `?` to ask how a line can go on.

use crate::console::complete::{Candidate, Values, candidates, listing};
use crate::console::{Console, Outcome, PROMPT};
use rustyline::config::Builder;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, KeyEvent, RepeatCount};
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines of history that are kept.
const HISTORY: usize = 1000;

/// A session on this process's terminal, until it is left.
///
/// # Errors
/// The terminal does not work.
pub fn session(
    console: &mut Console<'_>,
    values: impl Values + Send + 'static,
) -> Result<Outcome, Box<dyn std::error::Error>> {
    let config = Builder::new().max_history_size(HISTORY)?.build();
    let mut editor = Editor::<(), FileHistory>::with_config(config)?;
    let history = history();
    if let Some(file) = &history {
        // There is none the first time.
        let _ = editor.load_history(file);
    }
    let asked = Arc::new(AtomicBool::new(false));
    let values: Arc<Mutex<dyn Values + Send>> = Arc::new(Mutex::new(values));
    for key in ['\t', '?'] {
        let keys = Keys { question: key == '?', asked: asked.clone(), values: values.clone() };
        editor.bind_sequence(KeyEvent::from(key), EventHandler::Conditional(Box::new(keys)));
    }
    let mut begun = String::new();
    let outcome = loop {
        match editor.readline_with_initial(PROMPT, (&begun, "")) {
            Ok(line) if asked.swap(false, Relaxed) => {
                let mut values = values.lock().unwrap_or_else(PoisonError::into_inner);
                print!("{}", listing(&candidates(&line, &mut *values)));
                begun = line;
            }
            Ok(line) => {
                begun.clear();
                editor.add_history_entry(&line)?;
                let outcome = console.line(&line);
                console.flush();
                if outcome == Outcome::Goodbye {
                    break outcome;
                }
            }
            Err(ReadlineError::Interrupted) => begun.clear(),
            Err(ReadlineError::Eof) => break Outcome::Goodbye,
            Err(error) => return Err(error.into()),
        }
        stdout().flush()?;
    };
    if let Some(file) = &history {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        editor.save_history(file)?;
    }
    Ok(outcome)
}

/// Where the history is kept.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("rvs/history"))
}

/// TAB and `?`.
struct Keys {
    question: bool,
    /// Set when the line comes back only to be asked about.
    asked: Arc<AtomicBool>,
    values: Arc<Mutex<dyn Values + Send>>,
}

impl ConditionalEventHandler for Keys {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        let line = &context.line()[..context.pos()];
        if !self.question {
            if context.pos() < context.line().len() {
                return Some(Cmd::Noop);
            }
            let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(rest) = rest(line, &candidates(line, &mut *values)) {
                return Some(Cmd::Insert(1, rest));
            }
        }
        self.asked.store(true, Relaxed);
        Some(Cmd::AcceptLine)
    }
}

/// What can be written at once: what all candidates have in common, with a blank if there is only one. None if nothing
/// is clear.
fn rest(line: &str, candidates: &[Candidate]) -> Option<String> {
    let begun = line.rsplit(char::is_whitespace).next().unwrap_or_default();
    let words: Vec<&str> = candidates.iter().map(|candidate| candidate.word.as_deref()).collect::<Option<_>>()?;
    let (first, others) = words.split_first()?;
    if others.is_empty() {
        return Some(format!("{} ", &first[begun.len()..]));
    }
    let common = others.iter().fold(first.len(), |length, word| {
        first.bytes().zip(word.bytes()).take(length).take_while(|(one, other)| one == other).count()
    });
    (common > begun.len()).then(|| first[begun.len()..common].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::complete::NoValues;

    #[test]
    fn a_tab_writes_what_is_clear() {
        let rows = [
            ("sho", Some("w ")),
            ("sh", None),
            ("show ", None),
            ("show port x", Some("stats ")),
            ("show port s", None),
            ("load", None),
            ("lo", Some("ad")),
            ("show version ", None),
            ("set timeout ", None),
            ("nothing ", None),
        ];
        for (line, expected) in rows {
            assert_eq!(rest(line, &candidates(line, &mut NoValues)).as_deref(), expected, "{line}");
        }
    }
}
