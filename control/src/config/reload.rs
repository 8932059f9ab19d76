//! The file of a running director: read again when somebody says so, and taken over as a whole or not at all.

use super::difference::{Difference, Running};
use super::{Config, Service};
use crate::command::{Command, ConfigReport, Error, Reply, Setting, StatusView};
use crate::ipvsadm::Executor;
use crate::state::Settings;
use forwarder::police;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is known of the file.
#[derive(Debug)]
pub struct Reloader {
    path: Option<PathBuf>,
    /// What it said when it was last taken over.
    last: Config,
    status: StatusView,
}

impl Reloader {
    /// Of a director that started by `first`, read from the file at `path` if it has one.
    #[must_use]
    pub fn new(path: Option<PathBuf>, first: Config) -> Self {
        let status = StatusView { started: now(), last_reload: now(), ..StatusView::default() };
        Self { path, last: first, status }
    }

    /// Gives a director that runs by nothing yet what the file said.
    ///
    /// # Errors
    /// What was refused; nothing was changed.
    pub fn start(&mut self, executor: &mut dyn Executor) -> Result<ConfigReport, Error> {
        // It has been taken over for what only the start reads, and for nothing else.
        let before = Config {
            marks: Vec::new(),
            exceptions: Default::default(),
            settings: Vec::new(),
            timeouts: Config::default().timeouts,
            services: Vec::new(),
            daemons: Vec::new(),
            ..self.last.clone()
        };
        take_over(executor, &before, &self.last.clone(), false)
    }

    /// Reads the file again and takes it over; `dry`, only says what that would change.
    ///
    /// # Errors
    /// There is no file, it has mistakes, or something in it was refused; then nothing was changed.
    pub fn reload(&mut self, executor: &mut dyn Executor, dry: bool) -> Result<ConfigReport, Error> {
        let result = self.try_reload(executor, dry);
        match &result {
            _ if dry => {}
            Ok(report) => {
                self.status.reloads += 1;
                self.status.last_reload = now();
                tracing::info!("the configuration file was taken over: {}", report.summary);
                if !report.restart.is_empty() {
                    tracing::warn!("changes of {} wait for a restart", report.restart.join(", "));
                }
            }
            Err(error) => {
                self.status.failed_reloads += 1;
                tracing::error!("the configuration file was not taken over, nothing was changed: {error}");
            }
        }
        result
    }

    fn try_reload(&mut self, executor: &mut dyn Executor, dry: bool) -> Result<ConfigReport, Error> {
        let path = self.path.as_deref().ok_or(Error::NoConfig)?;
        let file = Config::load(path).map_err(|error| Error::BadConfig { why: error.to_string() })?;
        let report = take_over(executor, &self.last, &file, dry)?;
        if !dry {
            // Sections that wait for a restart stay what they are in force.
            self.last = Config {
                marks: file.marks,
                exceptions: file.exceptions,
                settings: file.settings,
                timeouts: file.timeouts,
                services: file.services,
                daemons: file.daemons,
                ..self.last.clone()
            };
        }
        Ok(report)
    }

    /// What the file said when it was last taken over.
    ///
    /// # Errors
    /// There is no file.
    pub fn text(&self) -> Result<String, Error> {
        if self.path.is_some() { Ok(self.last.text()) } else { Err(Error::NoConfig) }
    }

    /// The text of a file that describes what runs now.
    ///
    /// # Errors
    /// The director does not answer.
    pub fn running(&self, executor: &mut dyn Executor) -> Result<String, Error> {
        Ok(running_config(&self.last, &Running::ask(executor)?).text())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Makes a director run by a file; `before` is what it said before. `dry`, only says what that would change.
///
/// # Errors
/// Something was refused; nothing was changed.
pub fn take_over(
    executor: &mut dyn Executor,
    before: &Config,
    file: &Config,
    dry: bool,
) -> Result<ConfigReport, Error> {
    let difference = Difference::new(&Running::ask(executor)?, before, file);
    let summary = difference.summary();
    if !dry && !difference.commands.is_empty() {
        executor.execute(Command::Configure { commands: difference.commands }).map_err(|error| match error {
            Error::Transaction { index, error } => {
                let line = difference.lines.get(index).map(String::as_str).unwrap_or_default();
                Error::BadConfig { why: format!("{line}: {error}") }
            }
            other => other,
        })?;
    }
    let restart = difference.restart.into_iter().map(str::to_owned).collect();
    Ok(ConfigReport { applied: !dry, summary, changes: difference.lines, restart })
}

/// The configuration that describes what runs: services and the like as they are, the rest as it was at the start.
#[must_use]
pub fn running_config(start: &Config, running: &Running) -> Config {
    let defaults = Settings::default().list();
    let changed = running.settings.iter().filter(|setting| !defaults.contains(setting));
    let settings =
        changed.map(|Setting { name, value }| (name.clone(), value.split_whitespace().collect::<Vec<_>>().join(" ")));
    let usual = police::Limits::default().0;
    let exceptions = std::array::from_fn(|class| {
        let limit = running.exceptions.0[class];
        (limit != usual[class]).then_some(limit)
    });
    let services = running.services.iter().map(|view| Service {
        spec: view.spec.clone(),
        // The newest stands first in the list, and comes last.
        servers: view.servers.iter().rev().map(|server| server.spec).collect(),
    });
    Config {
        marks: running.marks.clone(),
        exceptions,
        settings: settings.collect(),
        timeouts: running.timeouts,
        services: services.collect(),
        daemons: running.daemons.clone(),
        ..start.clone()
    }
}

/// An executor that also knows the file of its director.
#[derive(Clone, Debug)]
pub struct Configured<E> {
    executor: E,
    file: Arc<Mutex<Reloader>>,
}

impl<E: Executor> Configured<E> {
    /// The director that `executor` asks, with its file.
    pub fn new(executor: E, file: Arc<Mutex<Reloader>>) -> Self {
        Self { executor, file }
    }
}

impl<E: Executor> Executor for Configured<E> {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        let Self { executor, file } = self;
        let file = || file.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            Command::Reload { dry } => file().reload(executor, dry).map(Reply::Config),
            Command::RunningConfig => file().running(executor).map(Reply::Text),
            Command::FileConfig => file().text().map(Reply::Text),
            Command::Status => Ok(Reply::Status(file().status.clone())),
            command => executor.execute(command),
        }
    }
}
