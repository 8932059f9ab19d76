//! What is wrong in a file, and where.

use super::sources::Sources;
use std::fmt;
use std::path::PathBuf;

/// Something wrong in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file; empty for a text that is no file.
    pub path: PathBuf,
    /// The line, counted from 1; 0 if the file as a whole is meant.
    pub line: usize,
    /// The column in characters, counted from 1; 0 if the file as a whole is meant.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.as_os_str().is_empty() {
            write!(to, "{}: ", self.path.display())?;
        }
        if self.line == 0 {
            return to.write_str(&self.message);
        }
        write!(to, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl Mistake {
    /// What the TOML library found in a file, in one line and with a guess at what was meant.
    pub(super) fn of_toml(sources: &Sources, file: usize, error: &toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        let message = match unknown_word(&message) {
            Some((unknown, known)) => match did_you_mean(unknown, known.iter().copied()) {
                Some(guess) => format!("{message} (did you mean '{guess}'?)"),
                None => message,
            },
            None => message,
        };
        sources.mistake(file, error.span(), message)
    }
}

/// Serde says: unknown field (or variant) `this`, expected (one of) `that`, `other`.
fn unknown_word(message: &str) -> Option<(&str, Vec<&str>)> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    // Between backticks is every second piece.
    let mut words = message.split('`').skip(1).step_by(2);
    Some((words.next()?, words.collect()))
}

/// The known word that is nearest to this one, if any is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) =
        known.map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate)).min_by_key(|near| near.0)?;
    (distance <= 1 + nearest.len() / 4 && distance < nearest.len()).then_some(nearest)
}
