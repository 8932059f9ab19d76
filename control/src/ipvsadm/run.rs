//! Does what a command line asks for, with any [`Executor`], and prints what ipvsadm prints.

use super::lines::Lines;
use super::names::Names;
use super::parse::{Failure, Form, Invocation, List, Source, What, parse};
use super::{Executor, each_page, format, help, print, sort, unexpected};
use crate::command::{Command, Error, Reply, ServiceView};
use std::io::{self, BufRead, Write};

/// What surrounds a call.
pub struct Session<'a> {
    /// The name it was called by, for messages.
    pub program: &'a str,
    /// Who does commands.
    pub executor: &'a mut dyn Executor,
    /// Where names are looked up.
    pub names: &'a dyn Names,
    /// Standard input, for `-R`.
    pub input: &'a mut dyn BufRead,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Standard error.
    pub errors: &'a mut dyn Write,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Exit status.
    pub status: u8,
    /// True if the director could not be asked or did not answer as it should.
    pub lost: bool,
    /// True if it also ends a `-R` that it is a line of.
    ends_restore: bool,
}

impl End {
    fn new(status: u8, ends_restore: bool) -> Self {
        Self { status, lost: false, ends_restore }
    }
}

impl Session<'_> {
    /// Does one call; `arguments` are without the program's name.
    pub fn run(&mut self, arguments: &[String]) -> End {
        self.call(arguments, Source::Shell)
    }

    fn call(&mut self, arguments: &[String], source: Source) -> End {
        self.invoke_parsed(parse(self.program, arguments, source, self.names))
    }

    /// Does a call that was understood, or was not.
    pub(crate) fn invoke_parsed(&mut self, parsed: Result<Invocation, Failure>) -> End {
        match parsed {
            Err(Failure { message, status, ends_restore }) => {
                self.complain(&message);
                End::new(status, ends_restore)
            }
            Ok(invocation) => self.invoke(invocation),
        }
    }

    fn invoke(&mut self, invocation: Invocation) -> End {
        let (result, failed, ends_restore) = match invocation {
            Invocation::Change(command) => (self.executor.execute(command).map(|_| ()), 255, false),
            Invocation::List(list) => (self.list(list), 1, true),
            Invocation::Save { numeric, full } => (self.save(numeric, full), 1, true),
            Invocation::Restore { atomic: false } => return self.restore(),
            Invocation::Restore { atomic: true } => return self.restore_all(),
            Invocation::Help => {
                self.print(&help::usage(self.program));
                return End::new(0, true);
            }
            Invocation::Version => {
                self.print(&help::version(self.program));
                return End::new(0, true);
            }
        };
        match result {
            Ok(()) => End::new(0, false),
            Err(error) => {
                let lost = matches!(error, Error::Unreachable { .. });
                self.complain(&error.to_string());
                End { status: if lost { 255 } else { failed }, lost, ends_restore: ends_restore || lost }
            }
        }
    }

    fn list(&mut self, List { what, form }: List) -> Result<(), Error> {
        if what == What::Connections {
            return self.list_connections(&form);
        }
        let command = match what {
            What::Services(service) => Command::Services { service },
            What::Timeouts => Command::Timeouts,
            _ => Command::Daemons,
        };
        let mut reply = self.executor.execute(command)?;
        if let (Reply::Services(services), false) = (&mut reply, form.nosort) {
            sort::sort(services);
        }
        let text = match reply {
            reply if form.json => json(&reply)? + "\n",
            Reply::Services(services) => format::services(&services, &form, what == What::Services(None), self.names),
            Reply::Timeouts(timeouts) => format::timeouts(&timeouts),
            Reply::Daemons(daemons) => format::daemons(&daemons),
            other => return Err(unexpected(&other)),
        };
        self.print(&text);
        Ok(())
    }

    /// Page by page, so that a million connections need no more memory than a thousand.
    fn list_connections(&mut self, form: &Form) -> Result<(), Error> {
        let Self { executor, output, names, .. } = self;
        // the titles come with the first page: a director that cannot be asked has no list, not an empty one
        let mut titles = Some(if form.json { "{\"connections\":[" } else { format::connection_titles(form) });
        let mut between = "";
        each_page(*executor, |page| {
            let mut text = titles.take().unwrap_or_default().to_owned();
            for view in &page.connections {
                if form.json {
                    text += between;
                    text += &json(view)?;
                    between = ",";
                } else {
                    text += &format::connection(view, form, *names);
                }
            }
            Ok(print(*output, &text))
        })
        .inspect_err(|_| {
            if titles.is_none() {
                let _ = print(*output, format::BROKEN_OFF);
            }
        })?;
        if form.json {
            self.print("]}\n");
        }
        Ok(())
    }

    fn save(&mut self, numeric: bool, full: bool) -> Result<(), Error> {
        let mut services: Vec<ServiceView> = match self.executor.execute(Command::Services { service: None })? {
            Reply::Services(services) => services,
            other => return Err(unexpected(&other)),
        };
        sort::sort(&mut services);
        let mut text = format::rules(&services, numeric, full, self.names);
        if full {
            if let Reply::Timeouts(timeouts) = self.executor.execute(Command::Timeouts)? {
                text += &format::timeouts_rule(&timeouts);
            }
            if let Reply::Daemons(daemons) = self.executor.execute(Command::Daemons)? {
                daemons.iter().for_each(|daemon| text += &format::daemon_rule(daemon));
            }
        }
        self.print(&text);
        Ok(())
    }

    /// As ipvsadm: line by line; what the kernel refuses is passed over, what makes no sense ends it. Lines that add, and
    /// that could be read together, are done together: a table of a hundred thousand lines is not as many turns.
    fn restore(&mut self) -> End {
        let mut end = End::new(0, false);
        let mut lines = Lines::default();
        let mut additions = Vec::new();
        loop {
            let lines = match lines.next(self.input) {
                Ok(Some(lines)) => lines,
                Ok(None) => return end,
                Err(error) => return self.unreadable(&error, ""),
            };
            for line in lines {
                let words = words(&line);
                if words.is_empty() {
                    continue;
                }
                let parsed = parse(self.program, &words, Source::Restore, self.names);
                if let Ok(Invocation::Change(addition @ (Command::AddService(_) | Command::AddServer { .. }))) = parsed
                {
                    additions.push(addition);
                    continue;
                }
                end = self.add(&mut additions, end);
                if end.lost {
                    return end;
                }
                end = self.invoke_parsed(parsed);
                if end.ends_restore {
                    return end;
                }
            }
            end = self.add(&mut additions, end);
            if end.lost {
                return end;
            }
        }
    }

    /// Does additions of a restore. Answers how the last ended, or `before` if there are none.
    fn add(&mut self, additions: &mut Vec<Command>, before: End) -> End {
        if additions.is_empty() {
            return before;
        }
        match self.executor.execute(Command::Each { commands: std::mem::take(additions) }) {
            Ok(Reply::Each(refusals)) => {
                refusals.iter().flatten().for_each(|refusal| self.complain(&refusal.to_string()));
                End::new(if matches!(refusals.last(), Some(Some(_))) { 255 } else { 0 }, false)
            }
            Ok(other) => self.fail(unexpected(&other)),
            Err(error) => self.fail(error),
        }
    }

    /// All lines or none, in place of what is there.
    fn restore_all(&mut self) -> End {
        let mut commands = vec![Command::Clear];
        let mut numbers = vec![0];
        let mut number = 0;
        let mut lines = Lines::default();
        loop {
            let lines = match lines.next(self.input) {
                Ok(Some(lines)) => lines,
                Ok(None) => break,
                // What was read may be a part of a table, and half a table is another one.
                Err(error) => return self.unreadable(&error, "; nothing was changed"),
            };
            for line in lines {
                number += 1;
                let words = words(&line);
                if words.first().is_none_or(|word| word.starts_with('#')) {
                    continue;
                }
                match parse(self.program, &words, Source::Restore, self.names) {
                    Ok(Invocation::Change(command)) => {
                        commands.push(command);
                        numbers.push(number);
                    }
                    Ok(_) => return self.refuse(number, "only changes can be restored", 2),
                    Err(failure) => return self.refuse(number, &failure.message, failure.status),
                }
            }
        }
        match self.stopped_daemons(&commands) {
            Ok(stops) => {
                numbers.splice(1..1, stops.iter().map(|_| 0));
                commands.splice(1..1, stops);
            }
            Err(error) => return self.fail(error),
        }
        match self.executor.execute(Command::Transaction { commands }) {
            Ok(_) => End::new(0, true),
            Err(Error::Transaction { index, error }) => {
                self.refuse(numbers.get(index).copied().unwrap_or(0), &error.to_string(), 255)
            }
            Err(error) => self.fail(error),
        }
    }

    /// The whole restore failed, perhaps without an answer; then nobody knows whether it took place.
    fn fail(&mut self, error: Error) -> End {
        let lost = matches!(error, Error::Unreachable { .. });
        self.complain(&error.to_string());
        End { status: 255, lost, ends_restore: true }
    }

    /// Daemons that a restore starts are stopped before, if they run.
    fn stopped_daemons(&mut self, commands: &[Command]) -> Result<Vec<Command>, Error> {
        let starts = |role| commands.iter().any(|c| matches!(c, Command::StartDaemon(spec) if spec.role == role));
        if !commands.iter().any(|command| matches!(command, Command::StartDaemon(_))) {
            return Ok(Vec::new());
        }
        match self.executor.execute(Command::Daemons)? {
            Reply::Daemons(running) => Ok(running
                .iter()
                .filter(|daemon| starts(daemon.role))
                .map(|daemon| Command::StopDaemon { role: daemon.role })
                .collect()),
            other => Err(unexpected(&other)),
        }
    }

    fn unreadable(&mut self, error: &io::Error, then: &str) -> End {
        self.complain(&format!("cannot read the rules: {error}{then}"));
        End::new(255, true)
    }

    fn refuse(&mut self, line: usize, why: &str, status: u8) -> End {
        match line {
            0 => self.complain(&format!("{why}; nothing was changed")),
            line => self.complain(&format!("line {line}: {why}; nothing was changed")),
        }
        End::new(status, true)
    }

    fn print(&mut self, text: &str) {
        let _ = print(self.output, text);
    }

    fn complain(&mut self, message: &str) {
        let _ = self.output.flush();
        let _ = writeln!(self.errors, "{message}");
    }
}

/// The words of a line of rules; "ipvsadm" is none, wherever it stands.
fn words(line: &str) -> Vec<String> {
    let blank = [' ', '\t', '\r', '\n', '\0'];
    line.split(blank).filter(|word| !word.is_empty() && *word != "ipvsadm").map(str::to_owned).collect()
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::BadRequest { why: error.to_string() })
}
