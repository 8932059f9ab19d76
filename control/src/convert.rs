//! Other programs' configurations as a file for rvsd: rules as `ipvsadm -S` writes them, and the virtual servers of a
//! keepalived.conf. What has no counterpart is said, with its line.

mod keepalived;

use crate::config::Config;
use crate::config::difference::Running;
use crate::config::reload::running_config;
use crate::config::services::Trial;
use crate::ipvsadm::Executor;
use crate::ipvsadm::names::Names;
use crate::ipvsadm::run::Session;
use crate::state::Limits;
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
    let mut draft = Trial::new(Limits::default());
    let notes = match format {
        Format::Rules => restore(&mut draft, text, names).map(|()| Vec::new())?,
        Format::Keepalived => build(&mut draft, text)?,
    };
    let ask = |draft: &mut Trial| Running::ask(draft).map_err(|error| error.to_string());
    let mut running = ask(&mut draft)?;
    if running.timeouts == ask(&mut Trial::new(Limits::default()))?.timeouts {
        running.timeouts = Config::default().timeouts;
    }
    Ok(Converted { file: running_config(&Config::default(), &running).text(), notes })
}

/// Has a director do rules of ipvsadm, all or none.
fn restore(director: &mut Trial, rules: &str, names: &dyn Names) -> Result<(), String> {
    let mut errors = Vec::new();
    let mut session = Session {
        program: "ipvsadm",
        executor: director,
        names,
        input: &mut rules.as_bytes(),
        output: &mut std::io::sink(),
        errors: &mut errors,
    };
    let end = session.run(&["--restore".to_owned(), "--atomic".to_owned()]);
    if end.status == 0 { Ok(()) } else { Err(String::from_utf8_lossy(&errors).trim_end().to_owned()) }
}

/// Has a director do what a keepalived.conf says.
fn build(director: &mut Trial, text: &str) -> Result<Vec<Note>, String> {
    let keepalived::Read { commands, notes, mut mistakes } = keepalived::read(text);
    for (line, command) in commands {
        if let Err(error) = director.execute(command) {
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

#[cfg(test)]
mod tests;
