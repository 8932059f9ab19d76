//! The console: lines in the manner of DPDK's testpmd, and ipvsadm's command lines as they are.
//!
//! It runs with any [`Executor`]: in the daemon for plain lines of the control socket (`socat - UNIX:SOCKET` is a
//! session), in rvsadm for one command from the shell or a session with line editing.

mod capture;
mod commands;
pub mod complete;
mod configure;
mod grammar;
mod ipvs;
mod layout;
pub mod live;
mod pcapng;
mod ports;
mod process;
mod run;
mod show;
mod table;
pub mod trace;
mod words;

use crate::command::Error;
use crate::ipvsadm::Executor;
use crate::ipvsadm::names::Names;
use std::io::Write;

/// What a session shows when it is ready for a line.
pub const PROMPT: &str = "rvs> ";

/// How a line went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Refused; the text says why.
    Refused,
    /// Not understood.
    Usage,
    /// The director cannot be reached.
    Unreachable,
    /// A configuration file is bad; the text says what is wrong.
    BadConfig,
    /// A worker did not answer in time.
    Late,
    /// The session is over.
    Goodbye,
}

impl Outcome {
    /// The exit status of a program that did one line: 0 done, 1 refused, 2 not understood, 3 not reachable, 4 a bad
    /// configuration file, 5 too late.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Done | Self::Goodbye => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::BadConfig => 4,
            Self::Late => 5,
        }
    }
}

/// Where a line was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a client's own program: it may read and write files.
    Client,
    /// At the other end of a socket: files named there are not ours to touch.
    Socket,
}

/// A session's surroundings.
pub struct Console<'a> {
    /// Who does commands.
    pub executor: &'a mut dyn Executor,
    /// Where names are looked up.
    pub names: &'a dyn Names,
    /// Where lines are typed.
    pub place: Place,
    /// Answers.
    pub output: &'a mut dyn Write,
    /// Refusals.
    pub errors: &'a mut dyn Write,
    /// Shows and lists are JSON, whether the line says so or not.
    json: bool,
    /// Files that are being loaded, one from another.
    loading: usize,
}

impl<'a> Console<'a> {
    /// A session.
    pub fn new(
        executor: &'a mut dyn Executor,
        names: &'a dyn Names,
        place: Place,
        output: &'a mut dyn Write,
        errors: &'a mut dyn Write,
    ) -> Self {
        Self { executor, names, place, output, errors, json: false, loading: 0 }
    }

    /// The same session, in which shows and lists are JSON.
    #[must_use]
    pub fn in_json(self) -> Self {
        Self { json: true, ..self }
    }
}

impl Console<'_> {
    /// Answers a line.
    pub fn line(&mut self, line: &str) -> Outcome {
        self.executor.begin();
        match words::split(line) {
            Ok(words) => self.answer(&words),
            Err(why) => self.usage(why),
        }
    }

    /// Answers a line of these words.
    pub fn answer(&mut self, words: &[String]) -> Outcome {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_mut_slice() {
            [] => return Outcome::Done,
            ["ipvsadm" | "rvsadm", arguments @ ..] => return self.ipvsadm(arguments),
            [option, ..] if option.starts_with('-') => return self.ipvsadm(&words),
            [.., last] if *last == "--json" => *last = "json",
            _ => {}
        }
        match commands::parse(&words) {
            Ok((verb, matched)) => self.run(verb, &matched),
            Err(why) => self.usage(why),
        }
    }

    /// Writes out what was answered.
    pub fn flush(&mut self) {
        let _ = self.output.flush();
    }

    fn print(&mut self, text: &str) {
        // A client that is gone is noticed by whoever reads its lines.
        let _ = self.output.write_all(text.as_bytes());
    }

    fn complain(&mut self, text: &str) {
        let _ = self.output.flush();
        let _ = writeln!(self.errors, "{text}");
    }

    fn usage(&mut self, why: &str) -> Outcome {
        self.complain(why);
        Outcome::Usage
    }

    fn refuse(&mut self, error: &Error) -> Outcome {
        self.complain(&error.to_string());
        match error {
            Error::Unreachable { .. } => Outcome::Unreachable,
            Error::BadConfig { .. } => Outcome::BadConfig,
            Error::Stalled { .. } | Error::Silent { .. } => Outcome::Late,
            _ => Outcome::Refused,
        }
    }
}

/// True if a word starts a command of the console that is none of ipvsadm's.
#[must_use]
pub fn is_command(word: &str) -> bool {
    commands::is_command(word)
}

/// What `help all` shows.
#[must_use]
pub fn help_all() -> String {
    commands::help(Some("all"))
}

/// Every command: the title of its section, how it is written, and what it does.
pub fn described() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    commands::described()
}

#[cfg(test)]
mod tests;
