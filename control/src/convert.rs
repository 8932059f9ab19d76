//! Other programs' configurations as a file for rvsd: rules as `ipvsadm -S` writes them, and the virtual servers of a
//! keepalived.conf. What has no counterpart is said, with its line.

mod keepalived;

use crate::command::{Command, Error, Reply};
use crate::config::Config;
use crate::config::difference::Running;
use crate::config::reload::running_config;
use crate::config::services::Nothing;
use crate::ipvsadm::Executor;
use crate::ipvsadm::names::Names;
use crate::ipvsadm::run::Session;
use crate::state::{Limits, State};
use forwarder::clock::Tick;
use std::fmt;

/// What is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Rules of ipvsadm.
    Rules,
    /// The configuration of keepalived.
    Keepalived,
}

impl Format {
    /// What a text looks like: rules begin with an option, and no line of keepalived.conf does.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let is_rule = |line: &&str| !line.is_empty() && !line.starts_with('#');
        match text.lines().map(str::trim_start).find(is_rule) {
            Some(line) if line.starts_with('-') => Self::Rules,
            _ => Self::Keepalived,
        }
    }
}

/// Something about a line of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line, from 1.
    pub line: usize,
    /// What is to be said.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "line {}: {}", self.line, self.message)
    }
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The file for rvsd.
    pub file: String,
    /// What was left out.
    pub notes: Vec<Note>,
}

/// Converts a text.
///
/// # Errors
/// What is wrong with it, in lines.
pub fn convert(text: &str, format: Format, names: &dyn Names) -> Result<Converted, String> {
    let mut draft = Draft::new();
    let notes = match format {
        Format::Rules => draft.restore(text, names).map(|()| Vec::new())?,
        Format::Keepalived => draft.build(text)?,
    };
    let ask = |draft: &mut Draft| Running::ask(draft).map_err(|error| error.to_string());
    let mut running = ask(&mut draft)?;
    if running.timeouts == ask(&mut Draft::new())?.timeouts {
        running.timeouts = Config::default().timeouts;
    }
    Ok(Converted { file: running_config(&Config::default(), &running).text(), notes })
}

/// A director without a data path.
struct Draft(State);

impl Executor for Draft {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command, &Nothing)
    }
}

impl Draft {
    fn new() -> Self {
        Self(State::new(Limits::default(), Tick(0)))
    }

    fn restore(&mut self, rules: &str, names: &dyn Names) -> Result<(), String> {
        let mut errors = Vec::new();
        let mut session = Session {
            program: "ipvsadm",
            executor: self,
            names,
            input: &mut rules.as_bytes(),
            output: &mut std::io::sink(),
            errors: &mut errors,
        };
        let end = session.run(&["--restore".to_owned(), "--atomic".to_owned()]);
        if end.status == 0 { Ok(()) } else { Err(String::from_utf8_lossy(&errors).trim_end().to_owned()) }
    }

    fn build(&mut self, text: &str) -> Result<Vec<Note>, String> {
        let keepalived::Read { commands, notes, mut mistakes } = keepalived::read(text);
        for (line, command) in commands {
            if let Err(error) = self.execute(command) {
                mistakes.push(Note { line, message: error.to_string() });
            }
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        if mistakes.is_empty() {
            Ok(notes)
        } else {
            Err(mistakes.iter().map(Note::to_string).collect::<Vec<_>>().join("\n"))
        }
    }
}

#[cfg(test)]
mod tests;
