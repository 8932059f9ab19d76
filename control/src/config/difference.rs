//! From what runs to what a file says: the commands that make the one the other, and what an operator reads of them.
//!
//! What came from the file before and is in it no more goes: a service is deleted, a server drains and is then deleted.
//! What was made at run time stays, unless the file says otherwise about the same name.

use super::{Config, Service};
use crate::command::{
    Command, DaemonSpec, Error, MarkSpec, Origin, Reply, ServerSpec, ServerView, ServiceName, ServiceSpec, ServiceView,
    Setting, Timeouts,
};
use crate::ipvsadm::Executor;
use crate::state::Settings;
use forwarder::police::{self, Class};

/// What a director runs by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Services, in the order in which they are listed.
    pub services: Vec<ServiceView>,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Settings.
    pub settings: Vec<Setting>,
    /// Marking rules.
    pub marks: Vec<MarkSpec>,
    /// Synchronisation daemons.
    pub daemons: Vec<DaemonSpec>,
    /// What the kernel gets of each class, at most.
    pub exceptions: police::Limits,
}

impl Running {
    /// Asks a director.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(executor: &mut dyn Executor) -> Result<Self, Error> {
        let mut running = Self::default();
        let questions = [
            Command::Services { service: None },
            Command::Timeouts,
            Command::Settings,
            Command::Marks,
            Command::Daemons,
            Command::Exceptions,
        ];
        for question in questions {
            match executor.execute(question)? {
                Reply::Services(services) => running.services = services,
                Reply::Timeouts(timeouts) => running.timeouts = timeouts,
                Reply::Settings(settings) => running.settings = settings,
                Reply::Marks(marks) => running.marks = marks,
                Reply::Daemons(daemons) => running.daemons = daemons,
                Reply::Exceptions(views) => {
                    views.iter().for_each(|view| running.exceptions.0[view.class as usize] = view.limit);
                }
                _ => {}
            }
        }
        Ok(running)
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The commands, in their order; one transaction.
    pub commands: Vec<Command>,
    /// A line for each, like those of diff: `+`, `-`, `~`.
    pub lines: Vec<String>,
    /// What a running director cannot change.
    pub restart: Vec<&'static str>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    services: [u32; 3],
    servers: [u32; 3],
    others: u32,
}

const ADDED: usize = 0;
const CHANGED: usize = 1;
const LEFT: usize = 2;

impl Difference {
    /// What makes the running state that of `file`. `before` is what the file said when it was last read: what it says no
    /// more goes back to its default.
    #[must_use]
    pub fn new(running: &Running, before: &Config, file: &Config) -> Self {
        let mut difference = Self { restart: restart(before, file), ..Self::default() };
        difference.settings(running, before, file);
        difference.timeouts(running, before, file);
        difference.marks(running, before, file);
        difference.daemons(running, before, file);
        difference.exceptions(running, before, file);
        difference.names(running, file);
        for service in &file.services {
            difference.service(running, service);
        }
        for view in &running.services {
            let name = view.spec.service;
            let wanted = file.services.iter().any(|service| service.spec.service == name);
            if !wanted && view.origin != Origin::Runtime {
                difference.counts.services[LEFT] += 1;
                difference.push(format!("- service {name}"), Command::DeleteService { service: name });
            }
        }
        difference
    }

    fn push(&mut self, line: String, command: Command) {
        self.lines.push(line);
        self.commands.push(command);
    }

    fn settings(&mut self, running: &Running, before: &Config, file: &Config) {
        let defaults = Settings::default().list();
        for Setting { name, value } in &running.settings {
            let said =
                |config: &Config| config.settings.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
            let wanted = said(file).or_else(|| {
                said(before)?;
                defaults.iter().find(|default| default.name == *name).map(|default| default.value.clone())
            });
            // The same value may be written in another way.
            let normal = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            if let Some(wanted) = wanted.filter(|wanted| normal(wanted) != normal(value)) {
                self.counts.others += 1;
                let line = format!("~ {name}: {} -> {wanted}", normal(value).join(" "));
                self.push(line, Command::Set { name: name.clone(), value: wanted });
            }
        }
    }

    fn timeouts(&mut self, running: &Running, before: &Config, file: &Config) {
        let defaults = Timeouts::default();
        let wanted = |now: u32, file: u32, before: u32, default: u32| match (file, before) {
            (0, 0) => now,
            (0, _) => default,
            (file, _) => file,
        };
        let (now, new, old) = (running.timeouts, file.timeouts, before.timeouts);
        let wanted = Timeouts {
            tcp: wanted(now.tcp, new.tcp, old.tcp, defaults.tcp),
            tcp_fin: wanted(now.tcp_fin, new.tcp_fin, old.tcp_fin, defaults.tcp_fin),
            udp: wanted(now.udp, new.udp, old.udp, defaults.udp),
        };
        if wanted != now {
            self.counts.others += 1;
            let text = |timeouts: Timeouts| format!("{} {} {}", timeouts.tcp, timeouts.tcp_fin, timeouts.udp);
            let line = format!("~ timeouts (tcp tcpfin udp): {} -> {}", text(now), text(wanted));
            self.push(line, Command::SetTimeouts(wanted));
        }
    }

    /// The file's rules come first, in its order; behind them stay those that were made at run time.
    fn marks(&mut self, running: &Running, before: &Config, file: &Config) {
        let own = running.marks.iter().filter(|rule| !file.marks.contains(rule) && !before.marks.contains(rule));
        let wanted: Vec<MarkSpec> = file.marks.iter().chain(own).copied().collect();
        let same = running.marks.iter().zip(&wanted).take_while(|(now, wanted)| now == wanted).count();
        for rule in &running.marks[same..] {
            self.counts.others += 1;
            self.push(format!("- mark {rule}"), Command::DeleteMark(*rule));
        }
        for rule in &wanted[same..] {
            self.counts.others += 1;
            self.push(format!("+ mark {rule}"), Command::AddMark(*rule));
        }
    }

    fn daemons(&mut self, running: &Running, before: &Config, file: &Config) {
        for now in &running.daemons {
            let role = now.role;
            let wanted = file.daemons.iter().find(|daemon| daemon.role == role);
            let of_file = before.daemons.iter().any(|daemon| daemon.role == role);
            if wanted.map_or(of_file, |wanted| !serves(now, wanted)) {
                self.counts.others += 1;
                self.push(format!("- sync {}", name_of(now)), Command::StopDaemon { role });
            }
        }
        for wanted in &file.daemons {
            if !running.daemons.iter().any(|now| serves(now, wanted)) {
                self.counts.others += 1;
                self.push(format!("+ sync {}", name_of(wanted)), Command::StartDaemon(wanted.clone()));
            }
        }
    }

    fn exceptions(&mut self, running: &Running, before: &Config, file: &Config) {
        for (at, class) in Class::ALL.into_iter().enumerate() {
            let default = police::Limits::default().0[at];
            let wanted = file.exceptions[at].or(before.exceptions[at].map(|_| default));
            let now = running.exceptions.0[at];
            if let Some(limit) = wanted.filter(|limit| *limit != now) {
                self.counts.others += 1;
                let line = format!("~ exception limit {}: {now} -> {limit}", class.name());
                self.push(line, Command::SetExceptionLimit { class, limit });
            }
        }
    }

    /// Services of the file whose name is to be another's give it up first.
    fn names(&mut self, running: &Running, file: &Config) {
        for view in &running.services {
            let ServiceSpec { service, name: Some(name), .. } = &view.spec else { continue };
            let stays = view.origin == Origin::Runtime && !file.services.iter().any(|of| of.spec.service == *service);
            if stays {
                continue;
            }
            let wanted = |other: &&Service| other.spec.name.as_ref() == Some(name) && other.spec.service != *service;
            if file.services.iter().any(|other| wanted(&other)) {
                let spec = ServiceSpec { name: Some(String::new()), ..view.spec.clone() };
                self.push(format!("~ service {service} name: {name} -> none"), Command::EditService(spec));
            }
        }
    }

    fn service(&mut self, running: &Running, Service { spec, servers }: &Service) {
        let name = spec.service;
        let view = running.services.iter().find(|view| view.spec.service == name);
        match view {
            None => {
                self.counts.services[ADDED] += 1;
                self.push(format!("+ service {name} scheduler {}", spec.scheduler), Command::AddService(spec.clone()));
            }
            Some(view) if view.spec != *spec || view.origin != Origin::File => {
                self.counts.services[CHANGED] += 1;
                let changed = changed_service(&view.spec, spec);
                // The file says all, so a name that it does not give is none.
                let spec = ServiceSpec { name: Some(spec.name.clone().unwrap_or_default()), ..spec.clone() };
                self.push(format!("~ service {name}{changed}"), Command::EditService(spec));
            }
            Some(_) => {}
        }
        let present = view.map(|view| view.servers.as_slice()).unwrap_or_default();
        for server in servers {
            self.server(name, server, present.iter().find(|view| view.spec.name() == server.name()));
        }
        for view in present {
            let left = !servers.iter().any(|server| server.name() == view.spec.name());
            let going = view.drain.is_some_and(|drain| drain.delete);
            if left && !going && view.origin != Origin::Runtime {
                self.counts.servers[LEFT] += 1;
                let server = view.spec.name();
                let line = format!("- server {name} {server} (drains, then it is deleted)");
                self.push(line, Command::DrainServer { service: name, server, deadline: None, delete: true });
            }
        }
    }

    fn server(&mut self, service: ServiceName, server: &ServerSpec, view: Option<&ServerView>) {
        let name = server.name();
        match view {
            None => {
                self.counts.servers[ADDED] += 1;
                let line = format!("+ server {service} {name} weight {}", server.weight);
                self.push(line, Command::AddServer { service, server: *server });
            }
            Some(view) if view.spec != *server || view.origin != Origin::File || view.drain.is_some() => {
                self.counts.servers[CHANGED] += 1;
                let changed = changed_server(&view.spec, server);
                self.push(
                    format!("~ server {service} {name}{changed}"),
                    Command::EditServer { service, server: *server },
                );
            }
            Some(_) => {}
        }
    }

    /// One line: `1 service added, 2 servers changed`.
    #[must_use]
    pub fn summary(&self) -> String {
        let Counts { services, servers, others } = self.counts;
        let words = ["added", "changed", "removed"];
        let plural = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let each = |counts: [u32; 3], what: &'static str| {
            let said = counts.into_iter().zip(words).filter(|(count, _)| *count > 0);
            said.map(move |(count, word)| format!("{} {word}", plural(count, what))).collect::<Vec<_>>()
        };
        let mut parts = each(services, "service");
        parts.extend(each(servers, "server"));
        if others > 0 {
            parts
                .push(format!("{} of settings, timeouts, marking rules, limits and daemons", plural(others, "change")));
        }
        if parts.is_empty() { "nothing to change".to_owned() } else { parts.join(", ") }
    }
}

/// True if a running daemon, whose defaults are filled in, is what the file says.
fn serves(now: &DaemonSpec, wanted: &DaemonSpec) -> bool {
    fn same<T: PartialEq>(now: &Option<T>, wanted: &Option<T>) -> bool {
        wanted.is_none() || now == wanted
    }
    now.role == wanted.role
        && now.interface == wanted.interface
        && now.sync_id == wanted.sync_id
        && same(&now.max_len, &wanted.max_len)
        && same(&now.group, &wanted.group)
        && same(&now.port, &wanted.port)
        && same(&now.ttl, &wanted.ttl)
}

fn name_of(daemon: &DaemonSpec) -> String {
    format!("{:?} on {}", daemon.role, daemon.interface).to_lowercase()
}

/// What is different, field by field, from their JSON forms.
fn changed<T: serde::Serialize>(old: &T, new: &T) -> String {
    let fields = |value: &T| match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = serde_json::Value::Null;
    let mut text = String::new();
    for key in keys {
        let (was, is) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
        if was != is {
            let plain = |value: &serde_json::Value| match value.as_str() {
                Some(text) => text.to_owned(),
                None => value.to_string().replace("null", "none"),
            };
            text += &format!(" {key}: {} -> {}", plain(was), plain(is));
        }
    }
    text
}

fn changed_service(old: &ServiceSpec, new: &ServiceSpec) -> String {
    changed(old, new)
}

fn changed_server(old: &ServerSpec, new: &ServerSpec) -> String {
    changed(old, new)
}

/// The sections that differ and are only read when rvsd starts.
fn restart(before: &Config, file: &Config) -> Vec<&'static str> {
    let rows = [
        ("[eal]", before.eal != file.eal),
        ("[[port]]", before.ports != file.ports),
        ("[[neighbour]]", before.neighbours != file.neighbours),
        ("[[route]]", before.routes != file.routes),
        ("[control]", before.socket != file.socket),
        ("[log]", before.log != file.log),
        ("[metrics]", before.metrics != file.metrics),
        ("[connections]", before.capacity != file.capacity),
        ("[workers]", before.idle != file.idle),
    ];
    rows.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}
