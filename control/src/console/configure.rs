//! `config …`: the daemon's configuration file, or one of the client's.

use super::grammar::Matched;
use super::run::json;
use super::{Console, Outcome, show};
use crate::command::{Command, ConfigReport, Error, Reply};
use crate::config::Config;
use crate::config::reload::take_over;
use std::path::Path;

impl Console<'_> {
    /// `config check FILE`.
    pub(super) fn check_config(&mut self, said: &Matched) -> Outcome {
        match self.file(said, "config check") {
            Ok(_) => {
                self.print("the file is right\n");
                Outcome::Done
            }
            Err(outcome) => outcome,
        }
    }

    /// `config diff` and `config reload`.
    pub(super) fn config(&mut self, said: &Matched, dry: bool) -> Outcome {
        let report = if said.argument("FILE").is_some() {
            match self.file(said, "config diff FILE, config reload FILE") {
                // What the director started by is not known here, nor what waits for its restart.
                Ok(file) => take_over(self.executor, &Config::default(), &file, dry)
                    .map(|report| ConfigReport { restart: Vec::new(), ..report }),
                Err(outcome) => return outcome,
            }
        } else {
            match self.executor.execute(Command::Reload { dry }) {
                Ok(Reply::Config(report)) => Ok(report),
                Ok(_) => return Outcome::Refused,
                Err(error) => Err(error),
            }
        };
        match report {
            Ok(report) => {
                let text =
                    if self.json || said.has("json") { json(&Reply::Config(report)) } else { show::report(&report) };
                self.print(&text);
                Outcome::Done
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// `config show`.
    pub(super) fn show_config(&mut self, said: &Matched) -> Outcome {
        if said.argument("FILE").is_some() {
            return match self.file(said, "config show FILE") {
                Ok(file) => {
                    let text = self.file_text(said, file.text());
                    self.print(&text);
                    Outcome::Done
                }
                Err(outcome) => outcome,
            };
        }
        let command = if said.has("file") { Command::FileConfig } else { Command::RunningConfig };
        match self.executor.execute(command) {
            Ok(Reply::Text(text)) => {
                let text = self.file_text(said, text);
                self.print(&text);
                Outcome::Done
            }
            Ok(_) => Outcome::Refused,
            Err(error) => self.refuse(&error),
        }
    }

    fn file_text(&self, said: &Matched, text: String) -> String {
        if self.json || said.has("json") { json(&Reply::Text(text)) } else { text }
    }

    /// The client's file.
    fn file(&mut self, said: &Matched, what: &str) -> Result<Config, Outcome> {
        self.own_files(what)?;
        let path = Path::new(said.argument("FILE").unwrap_or_default());
        Config::load(path).map_err(|error| self.refuse(&Error::BadConfig { why: error.to_string() }))
    }
}
