//! What each command does: one arm.

use super::commands::{self, Verb};
use super::grammar::Matched;
use super::{Console, Outcome, Place, show};
use crate::command::{self, Command, ConnectionView, Error, MarkSpec, Reply, ServiceName, WorkerView};
use crate::doctor;
use crate::ipvsadm::parse::{Columns, Form};
use crate::ipvsadm::{format, proc};
use crate::progress::Told;
use forwarder::police::Class;
use forwarder::service::Protocol;
use serde_json::json;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr};

/// A file that loads itself would never end.
const DEPTH: usize = 8;

impl Console<'_> {
    pub(super) fn run(&mut self, verb: Verb, said: &Matched) -> Outcome {
        let json = self.json || said.has("json");
        let resolved;
        let said = match said.argument("SERVICE").map(|name| self.resolve(said, name)) {
            None => said,
            Some(Ok(meant)) => {
                resolved = meant;
                &resolved
            }
            Some(Err(error)) => return self.refuse(&error),
        };
        let result = match verb {
            Verb::Help => {
                self.print(&commands::help(said.argument("SECTION")));
                Ok(())
            }
            Verb::Quit => return Outcome::Goodbye,
            Verb::Start => self.executor.execute(Command::StartForwarding).map(|_| ()),
            Verb::Stop => self.stop(),
            Verb::Load => return self.load(said.argument("FILE").unwrap_or_default(), said.has("load_echo")),
            Verb::ShowVersion => self.show(Command::Version, json, |reply| match reply {
                Reply::Version(version) => format!("RVS {}\n", version.rvs),
                _ => String::new(),
            }),
            Verb::ShowService => return self.list(said),
            Verb::ShowConnections => self.connections(said),
            Verb::ShowTimeouts => return self.ipvsadm(&with_json(&["-L", "--timeout"], json)),
            Verb::ShowDaemons => return self.ipvsadm(&with_json(&["-L", "--daemon"], json)),
            Verb::ShowSettings => self.show(Command::Settings, json, |reply| show::settings(&reply)),
            Verb::ShowStatistics => self.show(Command::Statistics, json, |reply| show::statistics(&reply)),
            Verb::ShowProc if json => self.proc_json(said.argument("ENTRY").unwrap_or_default()),
            Verb::ShowProc => proc::write(said.argument("ENTRY").unwrap_or_default(), self.executor, self.output),
            Verb::ShowWorker => match said.number("WORKER") {
                None => self.show_all_workers(json),
                Some(number) => self.show_worker(number, json),
            },
            Verb::ShowDrop => self.show(Command::Drops, false, |reply| match reply {
                Reply::Drops(all) if json => show::drops_json(&all, said.argument("REASON")),
                Reply::Drops(all) => show::drops(&all, said.argument("REASON")),
                _ => String::new(),
            }),
            Verb::ClearDrop => self.executor.execute(Command::ClearDrops).map(|_| ()),
            Verb::ShowException => self.show(Command::Exceptions, json, |reply| match reply {
                Reply::Exceptions(classes) => show::exceptions(&classes),
                _ => String::new(),
            }),
            Verb::SetException => self.set_exception(said),
            Verb::ShowPort => self.show_port(said),
            Verb::ShutDown => return self.shut_down(said),
            Verb::StartCapture => return self.capture(said),
            Verb::AddTrace => self.add_trace(said),
            Verb::ShowTrace => self.show_trace(json),
            Verb::ClearTrace => self.executor.execute(Command::ClearTrace).map(|_| ()),
            Verb::StopCapture => self.executor.execute(Command::StopCapture).map(|_| ()),
            Verb::ShowNeighbours => self.show_neighbours(said),
            Verb::ShowRoutes => self.show_routes(said),
            Verb::ShowMemory => self.show_memory(said),
            Verb::Doctor => self.show(Command::Doctor, json, |reply| match reply {
                Reply::Findings(findings) => doctor::text(&findings),
                _ => String::new(),
            }),
            Verb::ShowLog => self.show(Command::Log, json, |reply| match reply {
                Reply::Log(view) => format!("{}\n", view.filter),
                _ => String::new(),
            }),
            Verb::SetLog => self.set_log(said),
            Verb::AddNeighbour | Verb::DeleteNeighbour => self.change_neighbour(verb, said),
            Verb::AddRoute | Verb::DeleteRoute => self.change_route(verb, said),
            Verb::SetServiceTimeout => return self.set_service_timeout(said),
            Verb::ShowDevice => self.show_device(said),
            Verb::ShowQueue => self.show_queue(said),
            Verb::ShowUsed => self.show_used(said),
            Verb::ShowLayout => self.show_layout(said),
            Verb::ClearPort => self.clear_port(said),
            Verb::ShowForwarding => self.show(Command::Forwarding, json, |reply| match reply {
                Reply::Forwarding(view) => show::forwarding(&view),
                _ => String::new(),
            }),
            Verb::ClearForwarding => self.executor.execute(Command::ClearForwarding).map(|_| ()),
            Verb::AddService
            | Verb::EditService
            | Verb::DeleteService
            | Verb::Flush
            | Verb::Zero
            | Verb::AddServer
            | Verb::EditServer
            | Verb::DeleteServer
            | Verb::SetTimeouts
            | Verb::StartDaemon
            | Verb::StopDaemon => return self.long_form(verb, said),
            Verb::SetSetting => {
                let value = [said.argument("VALUE"), said.argument("VALUE2")].into_iter().flatten().collect::<Vec<_>>();
                let name = said.argument("SETTING").unwrap_or_default().to_owned();
                self.executor.execute(Command::Set { name, value: value.join(" ") }).map(|_| ())
            }
            Verb::DrainServer => return self.drain(said),
            Verb::FlushConnections => return self.flush_connections(said),
            Verb::ShowDrain if json => {
                self.show(Command::Services { service: None }, false, |reply| self::json(&show::draining(reply)))
            }
            Verb::ShowDrain => self.show(Command::Services { service: None }, false, |reply| show::drains(&reply)),
            Verb::AddMark => self.mark(said, Command::AddMark),
            Verb::DeleteMark => self.mark(said, Command::DeleteMark),
            Verb::ShowMarks => self.show(Command::Marks, json, |reply| match reply {
                Reply::Marks(rules) => rules.iter().map(|rule| format!("{rule}\n")).collect(),
                _ => String::new(),
            }),
            Verb::SetPromiscuous => {
                let command = Command::SetPromiscuous { port: said.number("PORT"), on: said.has("on") };
                self.executor.execute(command).map(|_| ())
            }
            Verb::SetAllMulticast => {
                let command = Command::SetAllMulticast { port: said.number("PORT"), on: said.has("on") };
                self.executor.execute(command).map(|_| ())
            }
            Verb::SetLink => self.set_link(said),
            Verb::SetBurst => {
                let frames = said.number("N").unwrap_or(u16::MAX);
                let told = format!("Number of packets per burst set to {frames}\n");
                self.tell_done(Command::SetBurst { frames }, &told)
            }
            Verb::SetVerbose => {
                let level = said.number("LEVEL").unwrap_or(u8::MAX);
                self.tell_done(Command::SetVerbose { level }, &format!("Change verbose level to {level}\n"))
            }
            Verb::StartPort => self.start_port(said.number("PORT")),
            Verb::StopPort => self.stop_port(said.number("PORT")),
            Verb::ResetPort => {
                let port = said.number("PORT");
                self.stop_port(port).and_then(|()| self.start_port(port))
            }
            Verb::AttachPort => self.attach_port(said),
            Verb::DetachPort => self.detach_port(said),
            Verb::SetWorkers => {
                let workers = said.number("N").unwrap_or(u16::MAX);
                self.tell_done(
                    Command::SetWorkers { workers },
                    &format!("Number of forwarding cores set to {workers}\n"),
                )
            }
            Verb::CheckConfig => return self.check_config(said),
            Verb::DiffConfig => return self.config(said, true),
            Verb::ReloadConfig => return self.config(said, false),
            Verb::ShowConfig => return self.show_config(said),
            Verb::Top => return self.top(),
            Verb::ShowStatus => self.show(Command::Status, json, |reply| show::status(&reply)),
            Verb::Save => return self.save(said),
            Verb::Restore => return self.restore(said.argument("FILE").unwrap_or_default()),
        };
        match result {
            Ok(()) => Outcome::Done,
            Err(error) => self.refuse(&error),
        }
    }

    /// Says so when it is done.
    pub(super) fn tell_done(&mut self, command: Command, told: &str) -> Result<(), Error> {
        self.executor.execute(command)?;
        self.print(told);
        Ok(())
    }

    fn proc_json(&mut self, entry: &str) -> Result<(), Error> {
        let mut text = Vec::new();
        proc::write(entry, self.executor, &mut text)?;
        self.print(&self::json(&Reply::Text(String::from_utf8_lossy(&text).into_owned())));
        Ok(())
    }

    /// Asks, and prints the answer as JSON or in words.
    pub(super) fn show(
        &mut self,
        command: Command,
        json: bool,
        words: impl FnOnce(Reply) -> String,
    ) -> Result<(), Error> {
        let reply = self.executor.execute(command)?;
        let text = if json { self::json(&reply) } else { words(reply) };
        self.print(&text);
        Ok(())
    }

    fn show_workers(&mut self, json: bool, words: impl FnOnce(&[WorkerView]) -> String) -> Result<(), Error> {
        self.show(Command::Workers, json, |reply| match reply {
            Reply::Workers(workers) => words(&workers),
            _ => String::new(),
        })
    }

    fn show_all_workers(&mut self, json: bool) -> Result<(), Error> {
        let ports = match self.executor.execute(Command::Ports { port: None, extended: false })? {
            Reply::Ports(ports) => ports,
            _ => Vec::new(),
        };
        self.show_workers(json, |workers| {
            show::workers(workers) + &show::deliveries(&ports, workers) + &show::skew(workers) + &show::missed(&ports)
        })
    }

    fn show_worker(&mut self, number: u32, json: bool) -> Result<(), Error> {
        let Reply::Workers(workers) = self.executor.execute(Command::Workers)? else { return Ok(()) };
        let Some(worker) = workers.into_iter().find(|worker| worker.worker == number) else {
            return Err(Error::NoSuchWorker { worker: number });
        };
        let text = if json { self::json(&Reply::Workers(vec![worker])) } else { show::worker(&worker) };
        self.print(&text);
        Ok(())
    }

    fn set_exception(&mut self, said: &Matched) -> Result<(), Error> {
        let name = said.one_of(&Class::ALL.map(Class::name)).unwrap_or_default();
        let class = command::class::by_name(name).ok_or(Error::Invalid)?;
        let limit = said.argument("PPS").unwrap_or_default();
        let limit = limit.parse().map_err(|_| Error::BadSetting {
            name: format!("the limit of {name}"),
            value: limit.to_owned(),
            takes: format!("0 to {}", u32::MAX),
        })?;
        self.executor.execute(Command::SetExceptionLimit { class, limit }).map(|_| ())
    }

    fn mark(&mut self, said: &Matched, command: fn(MarkSpec) -> Command) -> Result<(), Error> {
        let mut text = said.one_of(&["tcp", "udp", "sctp"]).unwrap_or_default().to_owned();
        for (word, name) in [("from", "SOURCE"), ("to", "TARGET"), ("port", "PORTS"), ("set", "MARK")] {
            if let Some(value) = said.argument(name) {
                text += &format!(" {word} {value}");
            }
        }
        let rule: MarkSpec = text.parse()?;
        self.executor.execute(command(rule)).map(|_| ())
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.executor.execute(Command::StopForwarding)?;
        self.print("Telling cores to stop...\nWaiting for lcores to finish...\n");
        self.show(Command::Forwarding, false, |reply| match reply {
            Reply::Forwarding(view) => show::forwarding(&view),
            _ => String::new(),
        })?;
        self.print("\nDone.\n");
        Ok(())
    }

    /// A line that says a service by its name, as if it had said what is behind it.
    fn resolve(&mut self, said: &Matched, name: &str) -> Result<Matched, Error> {
        let Reply::Services(services) = self.executor.execute(Command::Services { service: None })? else {
            return Err(Error::Invalid);
        };
        let called = services.into_iter().find(|view| view.spec.name.as_deref() == Some(name));
        let view = called.ok_or_else(|| Error::NoSuchName { name: name.to_owned() })?;
        let (words, argument): (&[&'static str], _) = match view.spec.service {
            ServiceName::Address { protocol, address, port } => {
                let protocol = match protocol {
                    Protocol::Tcp => &["tcp"],
                    Protocol::Udp => &["udp"],
                    Protocol::Sctp => &["sctp"],
                };
                (protocol, ("VIP:PORT", SocketAddr::new(address, port).to_string()))
            }
            ServiceName::Mark { mark, ipv6 } => {
                (if ipv6 { &["fwmark", "ipv6"] } else { &["fwmark"] }, ("MARK", mark.to_string()))
            }
        };
        Ok(said.clone().with("name", words, "SERVICE", argument))
    }

    /// `ipvsadm -L` in other words, and with what it knows nothing of.
    fn list(&mut self, said: &Matched) -> Outcome {
        let mut arguments = vec!["-L"];
        for (word, option) in [("tcp", "-t"), ("udp", "-u"), ("sctp", "--sctp-service")] {
            if let (true, Some(address)) = (said.has(word), said.argument("VIP:PORT")) {
                arguments.extend([option, address]);
            }
        }
        if let Some(mark) = said.argument("MARK") {
            arguments.extend(["-f", mark]);
        }
        let options = [
            ("ipv6", "-6"),
            ("stats", "--stats"),
            ("rate", "--rate"),
            ("thresholds", "--thresholds"),
            ("persistent", "--persistent-conn"),
            ("tunnel", "--tun-info"),
            ("exact", "--exact"),
            ("numeric", "-n"),
            ("json", "--json"),
        ];
        arguments.extend(options.into_iter().filter(|(word, _)| said.has(word)).map(|(_, option)| option));
        self.ipvsadm_with(&arguments, &mut std::io::empty(), |form| form.ours = true)
    }

    /// Page by page, so that a million connections need no more memory than a thousand.
    fn connections(&mut self, said: &Matched) -> Result<(), Error> {
        let filter = Filter::new(said)?;
        let (json, counting) = (self.json || said.has("json"), said.has("count"));
        let form = Form { numeric: said.has("numeric"), columns: Columns::default(), ..Form::default() };
        let limit = said.number("N").unwrap_or(u64::MAX);
        // Those of a mark have no address in common.
        let mark = said.number("MARK").map(|mark| ServiceName::Mark { mark, ipv6: said.has("ipv6") });
        let (mut cursor, mut count) = (Some(0), 0);
        let titles = if json { "{\"connections\":[" } else { format::connection_titles(&form) };
        while let (Some(from), true) = (cursor, count < limit || cursor == Some(0)) {
            let mut text = String::from(if counting || from != 0 { "" } else { titles });
            let page = match self.executor.execute(Command::Connections { cursor: from, service: mark }) {
                Ok(Reply::Connections(page)) => page,
                Ok(_) => break,
                Err(error) => {
                    if !counting && from != 0 {
                        self.print(format::BROKEN_OFF);
                    }
                    return Err(error);
                }
            };
            for view in page.connections.iter().filter(|view| filter.passes(view)) {
                if count >= limit {
                    break;
                }
                match (counting, json) {
                    (true, _) => {}
                    (false, true) => {
                        text += if count > 0 { "," } else { "" };
                        text += self::json(view).trim_end();
                    }
                    (false, false) => text += &format::connection(view, &form, self.names),
                }
                count += 1;
            }
            self.print(&text);
            cursor = page.next;
        }
        match (counting, json) {
            (true, true) => self.print(&format!("{}\n", json!({ "count": count }))),
            (true, false) => self.print(&format!("{count}\n")),
            (false, true) => self.print("]}\n"),
            (false, false) => {}
        }
        Ok(())
    }

    /// Runs a file's lines; one that fails does not stop it.
    fn load(&mut self, file: &str, echo: bool) -> Outcome {
        if let Err(outcome) = self.own_files("load") {
            return outcome;
        }
        let reader = match std::fs::File::open(file) {
            Ok(reader) if self.loading < DEPTH => Told::of_file(reader),
            Ok(_) => return self.refuse(&Error::File { why: format!("{file}: files load each other without end") }),
            Err(error) => return self.refuse(&Error::File { why: format!("{file}: {error}") }),
        };
        self.loading += 1;
        let outcome = self.lines(reader, echo, false);
        self.loading -= 1;
        if !matches!(outcome, Outcome::Goodbye | Outcome::Unreachable) {
            self.print(&format!("Finished reading all CLI commands from {file}\n"));
        }
        outcome
    }

    /// Runs lines until they end, or the session does; with `stop_at_error`, until one fails. Answers how the last line
    /// went that was not just done.
    pub fn lines(&mut self, lines: impl BufRead, echo: bool, stop_at_error: bool) -> Outcome {
        let mut worst = Outcome::Done;
        for line in lines.lines() {
            let line = match line {
                Ok(line) => line,
                Err(error) => return self.refuse(&Error::File { why: format!("cannot read on: {error}") }),
            };
            if echo {
                self.print(&format!("{line}\n"));
            }
            let outcome = self.line(&line);
            // Who writes lines into a pipe may wait for the answer.
            self.flush();
            match outcome {
                Outcome::Done => {}
                outcome @ (Outcome::Goodbye | Outcome::Unreachable) => return outcome,
                outcome if stop_at_error => return outcome,
                outcome => worst = outcome,
            }
        }
        worst
    }

    fn save(&mut self, said: &Matched) -> Outcome {
        let mut arguments = vec!["-S", "-n"];
        if said.has("full") {
            arguments.push("--full");
        }
        let Some(file) = said.argument("FILE") else { return self.ipvsadm(&arguments) };
        if let Err(outcome) = self.own_files("save FILE") {
            return outcome;
        }
        let mut rules = Vec::new();
        let outcome = Console::new(self.executor, self.names, self.place, &mut rules, self.errors).ipvsadm(&arguments);
        match outcome {
            Outcome::Done => match std::fs::write(file, &rules) {
                Ok(()) => Outcome::Done,
                Err(error) => self.refuse(&Error::File { why: format!("{file}: {error}") }),
            },
            outcome => outcome,
        }
    }

    fn restore(&mut self, file: &str) -> Outcome {
        if let Err(outcome) = self.own_files("restore") {
            return outcome;
        }
        let mut input = match std::fs::File::open(file) {
            Ok(input) => Told::of_file(input),
            Err(error) => return self.refuse(&Error::File { why: format!("{file}: {error}") }),
        };
        self.ipvsadm_with(&["-R", "--atomic"], &mut input, |_| {})
    }

    /// Files named at the other end of a socket are the client's, and the daemon must not open its own by that name.
    pub(super) fn own_files(&mut self, what: &str) -> Result<(), Outcome> {
        match self.place {
            Place::Client => Ok(()),
            Place::Socket => {
                let why =
                    format!("{what}: files are read and written by rvsadm, not by the director; use rvsadm console");
                Err(self.refuse(&Error::File { why }))
            }
        }
    }
}

fn with_json<'a>(arguments: &[&'a str], json: bool) -> Vec<&'a str> {
    arguments.iter().copied().chain(json.then_some("--json")).collect()
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    // Plain data with string keys always has a JSON form.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// Which connections to show.
struct Filter<'a> {
    protocol: Option<&'static str>,
    target: Option<(IpAddr, Option<u16>)>,
    client: Option<IpAddr>,
    server: Option<IpAddr>,
    state: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn new(said: &'a Matched) -> Result<Self, Error> {
        let bad = |text: &str| Error::BadRequest { why: format!("'{text}' is no address") };
        let address = |name: &str| {
            let text = said.argument(name);
            text.map(|text| text.parse().map_err(|_| bad(text))).transpose()
        };
        let target = said.argument("VIP:PORT").map(|text| {
            let endpoint = crate::ipvsadm::address::endpoint(text, None, &crate::ipvsadm::names::Table::default());
            endpoint.ok_or_else(|| bad(text))
        });
        Ok(Self {
            protocol: said.one_of(&["tcp", "udp", "sctp"]).map(|word| match word {
                "tcp" => "TCP",
                "udp" => "UDP",
                _ => "SCTP",
            }),
            target: target.transpose()?,
            client: address("ADDRESS")?,
            server: address("RIP")?,
            state: said.argument("STATE"),
        })
    }

    fn passes(&self, view: &ConnectionView) -> bool {
        self.protocol.is_none_or(|protocol| protocol == view.protocol)
            && self.target.is_none_or(|(address, port)| {
                address == view.target && port.is_none_or(|port| port == 0 || port == view.target_port)
            })
            && self.client.is_none_or(|client| client == view.client)
            && self.server.is_none_or(|server| server == view.server)
            && self.state.is_none_or(|state| state.eq_ignore_ascii_case(&view.state))
    }
}
