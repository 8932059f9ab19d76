//! The long forms of ipvsadm's commands, said in its own options, so that both mean the same.

use super::commands::Verb;
use super::grammar::Matched;
use super::{Console, Outcome};
use crate::command::{Command, Error, FlushedView, Reply, ServerSpec, ServiceName, ServiceSpec, ServiceView, Timeouts};
use crate::ipvsadm::parse::{Form, Invocation, List, Source, parse};
use crate::ipvsadm::run::Session;
use std::io::BufRead;

impl Console<'_> {
    /// One call of ipvsadm.
    pub(super) fn ipvsadm(&mut self, arguments: &[&str]) -> Outcome {
        self.ipvsadm_with(arguments, &mut std::io::empty(), |_| {})
    }

    /// One call of ipvsadm with an input; a list has this form.
    pub(super) fn ipvsadm_with(
        &mut self,
        arguments: &[&str],
        input: &mut dyn BufRead,
        form_of_list: impl FnOnce(&mut Form),
    ) -> Outcome {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut parsed = parse("ipvsadm", &arguments, Source::Shell, self.names);
        if let Ok(Invocation::List(List { form, .. })) = &mut parsed {
            form.json |= self.json;
            form_of_list(form);
        }
        let mut session = Session {
            program: "ipvsadm",
            executor: self.executor,
            names: self.names,
            input,
            output: self.output,
            errors: self.errors,
        };
        let end = session.invoke_parsed(parsed);
        let _ = self.output.flush();
        match (end.lost, end.status) {
            (true, _) => Outcome::Unreachable,
            (false, 0) => Outcome::Done,
            (false, 2) => Outcome::Usage,
            (false, _) => Outcome::Refused,
        }
    }

    /// A long form: ipvsadm's command for it is done.
    pub(super) fn long_form(&mut self, verb: Verb, matched: &Matched) -> Outcome {
        let mut arguments = arguments(verb, matched);
        if verb == Verb::EditServer && matched.one_of(&["mode", "tun-type"]).is_none() {
            // Else ipvsadm takes DR, and so the service's port, for what was meant.
            arguments.push("-m".to_owned());
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if !matches!(verb, Verb::EditService | Verb::EditServer) && matched.argument("NAME").is_none() {
            return self.ipvsadm(&arguments);
        }
        // ipvsadm's edits start from its defaults; here what is not named stays.
        let words: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let edited = match parse("ipvsadm", &words, Source::Shell, self.names) {
            Ok(Invocation::Change(Command::AddService(said))) => {
                Ok(Command::AddService(ServiceSpec { name: matched.argument("NAME").map(str::to_owned), ..said }))
            }
            Ok(Invocation::Change(Command::EditService(said))) => {
                self.service(said.service).map(|view| Command::EditService(over_service(view.spec, said, matched)))
            }
            Ok(Invocation::Change(Command::EditServer { service, server: said })) => self
                .server(service, &said)
                .map(|old| Command::EditServer { service, server: over_server(old, said, matched) }),
            Ok(_) => return self.usage("Bad arguments"),
            Err(failure) => return self.usage(&failure.message),
        };
        match edited.and_then(|command| self.executor.execute(command)) {
            Ok(_) => Outcome::Done,
            Err(error) => self.refuse(&error),
        }
    }

    /// `server drain`: which server is said as for its deletion.
    pub(super) fn drain(&mut self, matched: &Matched) -> Outcome {
        match parse("ipvsadm", &arguments(Verb::DeleteServer, matched), Source::Shell, self.names) {
            Ok(Invocation::Change(Command::DeleteServer { service, server })) => {
                let deadline = matched.number("SECONDS");
                let command = Command::DrainServer { service, server, deadline, delete: matched.has("delete") };
                match self.executor.execute(command) {
                    Ok(_) => Outcome::Done,
                    Err(error) => self.refuse(&error),
                }
            }
            Ok(_) => self.usage("Bad arguments"),
            Err(failure) => self.usage(&failure.message),
        }
    }

    /// `flush conn`: service and server are said as for their deletion.
    pub(super) fn flush_connections(&mut self, matched: &Matched) -> Outcome {
        let verb = if matched.has("server") { Verb::DeleteServer } else { Verb::DeleteService };
        let (service, server) = if matched.one_of(&["tcp", "udp", "sctp", "fwmark"]).is_none() {
            (None, None)
        } else {
            match parse("ipvsadm", &arguments(verb, matched), Source::Shell, self.names) {
                Ok(Invocation::Change(Command::DeleteServer { service, server })) => (Some(service), Some(server)),
                Ok(Invocation::Change(Command::DeleteService { service })) => (Some(service), None),
                Ok(_) => return self.usage("Bad arguments"),
                Err(failure) => return self.usage(&failure.message),
            }
        };
        let client = match matched.argument("ADDRESS").map(str::parse).transpose() {
            Ok(client) => client,
            Err(_) => {
                let why = format!("'{}' is no address", matched.argument("ADDRESS").unwrap_or_default());
                return self.refuse(&Error::BadRequest { why });
            }
        };
        let done = self.show(Command::FlushConnections { service, server, client }, self.json, |reply| match reply {
            Reply::Flushed(FlushedView { connections, templates }) => {
                format!("Removed connections: {connections}, persistence templates: {templates}\n")
            }
            _ => String::new(),
        });
        match done {
            Ok(()) => Outcome::Done,
            Err(error) => self.refuse(&error),
        }
    }

    /// `set service … timeout`.
    pub(super) fn set_service_timeout(&mut self, matched: &Matched) -> Outcome {
        // `udp` may be the service's protocol, or the timeout's.
        let option = match matched.all_of(&["tcp", "udp", "sctp", "fwmark"]).next() {
            Some("tcp") => "-t",
            Some("udp") => "-u",
            Some("sctp") => "--sctp-service",
            _ => "-f",
        };
        let name = matched.argument("VIP:PORT").or(matched.argument("MARK")).unwrap_or_default();
        let ipv6 = matched.has("ipv6").then_some("-6");
        let words: Vec<_> = ["-D", option, name].into_iter().chain(ipv6).map(str::to_owned).collect();
        let service = match parse("ipvsadm", &words, Source::Shell, self.names) {
            Ok(Invocation::Change(Command::DeleteService { service })) => service,
            Ok(_) => return self.usage("Bad arguments"),
            Err(failure) => return self.usage(&failure.message),
        };
        let which = matched.all_of(&["established", "fin", "udp", "persistence"]).next_back().unwrap_or_default();
        let seconds = matched.number("SECONDS").unwrap_or(u32::MAX);
        let edited = self.service(service).map(|view| with_timeout(view.spec, which, seconds));
        match edited.and_then(|spec| self.executor.execute(Command::EditService(spec))) {
            Ok(_) => Outcome::Done,
            Err(error) => self.refuse(&error),
        }
    }

    fn service(&mut self, service: ServiceName) -> Result<ServiceView, Error> {
        match self.executor.execute(Command::Services { service: Some(service) })? {
            Reply::Services(services) => services.into_iter().next().ok_or(Error::NoSuchService),
            _ => Err(Error::NoSuchService),
        }
    }

    fn server(&mut self, service: ServiceName, said: &ServerSpec) -> Result<ServerSpec, Error> {
        let servers = self.service(service)?.servers;
        // With DR and TUN the port is the service's, whatever was said.
        let port = |old: &ServerSpec| old.port == said.port || service.port() == Some(old.port);
        let mut found = servers.iter().map(|view| view.spec).filter(|old| old.address == said.address);
        found.find(port).ok_or(Error::NoSuchDestination)
    }
}

/// 0 is what all services have; of persistence, none.
fn with_timeout(mut spec: ServiceSpec, which: &str, seconds: u32) -> ServiceSpec {
    if which == "persistence" {
        spec.persistence = (seconds > 0).then_some(seconds);
        return spec;
    }
    let none = Timeouts { tcp: 0, tcp_fin: 0, udp: 0 };
    let timeouts = spec.timeouts.get_or_insert(none);
    match which {
        "established" => timeouts.tcp = seconds,
        "fin" => timeouts.tcp_fin = seconds,
        _ => timeouts.udp = seconds,
    }
    spec.timeouts = spec.timeouts.filter(|timeouts| *timeouts != none);
    spec
}

fn over_service(old: ServiceSpec, said: ServiceSpec, matched: &Matched) -> ServiceSpec {
    ServiceSpec {
        service: old.service,
        name: matched.argument("NAME").map(str::to_owned).or(old.name),
        scheduler: if matched.has("scheduler") { said.scheduler } else { old.scheduler },
        flags: if matched.has("flags") { said.flags } else { old.flags },
        persistence: if matched.has("persistent") { said.persistence } else { old.persistence },
        netmask: if matched.has("netmask") { said.netmask } else { old.netmask },
        engine: if matched.has("pe") { said.engine } else { old.engine },
        one_packet: old.one_packet || matched.has("ops"),
        timeouts: if matched.has("timeout") { said.timeouts } else { old.timeouts },
    }
}

fn over_server(old: ServerSpec, said: ServerSpec, matched: &Matched) -> ServerSpec {
    ServerSpec {
        address: old.address,
        port: old.port,
        method: if matched.has("mode") || matched.has("tun-type") { said.method } else { old.method },
        weight: if matched.has("weight") { said.weight } else { old.weight },
        upper: if matched.has("upper") { said.upper } else { old.upper },
        lower: if matched.has("lower") { said.lower } else { old.lower },
    }
}

/// What ipvsadm would be called with.
fn arguments(verb: Verb, matched: &Matched) -> Vec<String> {
    let mut line = vec![
        match verb {
            Verb::AddService => "-A",
            Verb::EditService => "-E",
            Verb::DeleteService => "-D",
            Verb::Flush => "-C",
            Verb::Zero => "-Z",
            Verb::AddServer => "-a",
            Verb::EditServer => "-e",
            Verb::DeleteServer => "-d",
            Verb::SetTimeouts => "--set",
            Verb::StartDaemon => "--start-daemon",
            Verb::StopDaemon => "--stop-daemon",
            _ => "-L",
        }
        .to_owned(),
    ];
    let mut say = |option: &str, argument: Option<&str>| {
        line.push(option.to_owned());
        line.extend(argument.map(str::to_owned));
    };
    if verb == Verb::SetTimeouts {
        ["TCP", "TCPFIN", "UDP"].into_iter().for_each(|name| say(matched.argument(name).unwrap_or("0"), None));
        return line;
    }
    if let Some(role) = matched.one_of(&["master", "backup"]) {
        say(role, None);
        let options = [
            ("--mcast-interface", "INTERFACE"),
            ("--syncid", "ID"),
            ("--mcast-group", "GROUP"),
            ("--mcast-port", "PORT"),
            ("--mcast-ttl", "TTL"),
            ("--sync-maxlen", "MAXLEN"),
        ];
        options
            .into_iter()
            .filter(|(_, name)| matched.argument(name).is_some())
            .for_each(|(option, name)| say(option, matched.argument(name)));
        return line;
    }
    for (word, option) in [("tcp", "-t"), ("udp", "-u"), ("sctp", "--sctp-service")] {
        if matched.has(word) {
            say(option, matched.argument("VIP:PORT"));
        }
    }
    if matched.has("fwmark") {
        say("-f", matched.argument("MARK"));
        if matched.has("ipv6") {
            say("-6", None);
        }
    }
    if let Some(server) = matched.argument("RIP:PORT") {
        say("-r", Some(server));
    }
    if let Some(mode) = matched.one_of(&["nat", "tun", "dr"]) {
        say(
            match mode {
                "nat" => "-m",
                "tun" => "-i",
                _ => "-g",
            },
            None,
        );
    } else if matched.has("tun-type") {
        say("-i", None);
    }
    if matched.has("persistent") {
        say("-p", matched.argument("SECONDS"));
    }
    if matched.has("timeout") {
        let timeouts = ["TCP", "TCPFIN", "UDP"].map(|name| matched.argument(name).unwrap_or("0"));
        say("--conn-timeouts", Some(&timeouts.join("/")));
    }
    if let Some(kind) = matched.one_of(&["ipip", "gue", "gre"]) {
        say("--tun-type", Some(kind));
    }
    for (word, option) in
        [("ops", "-o"), ("tun-nocsum", "--tun-nocsum"), ("tun-csum", "--tun-csum"), ("tun-remcsum", "--tun-remcsum")]
    {
        if matched.has(word) {
            say(option, None);
        }
    }
    let options = [
        ("SCHEDULER", "-s"),
        ("MASK", "-M"),
        ("ENGINE", "--pe"),
        ("FLAGS", "-b"),
        ("WEIGHT", "-w"),
        ("UPPER", "-x"),
        ("LOWER", "-y"),
        ("PORT", "--tun-port"),
    ];
    for (name, option) in options {
        if let Some(value) = matched.argument(name) {
            say(option, Some(value));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_forms_are_ipvsadms_commands() {
        let rows = [
            ("service add tcp 10.0.0.1:80", "-A -t 10.0.0.1:80"),
            ("service add tcp 10.0.0.1:80 ops scheduler rr persistent", "-A -t 10.0.0.1:80 -p -o -s rr"),
            ("service add fwmark 7 ipv6 persistent 60 netmask 64", "-A -f 7 -6 -p 60 -M 64"),
            ("service edit sctp 10.0.0.1:80 flags sh-port pe sip", "-E --sctp-service 10.0.0.1:80 --pe sip -b sh-port"),
            ("service del udp [2001:db8::1]:53", "-D -u [2001:db8::1]:53"),
            ("service flush", "-C"),
            ("service zero all", "-Z"),
            ("service zero tcp 10.0.0.1:80", "-Z -t 10.0.0.1:80"),
            (
                "server add tcp 10.0.0.1:80 10.0.0.2:8080 mode nat weight 3",
                "-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 3",
            ),
            (
                "server add udp 10.0.0.1:53 10.0.0.2 mode tun tun-type gue tun-port 6080 tun-csum upper 9 lower 5",
                "-a -u 10.0.0.1:53 -r 10.0.0.2 -i --tun-type gue --tun-csum -x 9 -y 5 --tun-port 6080",
            ),
            ("server del fwmark 7 10.0.0.2", "-d -f 7 -r 10.0.0.2"),
            ("set timeout 0 0 60", "--set 0 0 60"),
            (
                "sync start master interface eth0 id 3 port 8848 ttl 2",
                "--start-daemon master --mcast-interface eth0 --syncid 3 --mcast-port 8848 --mcast-ttl 2",
            ),
            ("sync stop backup", "--stop-daemon backup"),
        ];
        for (line, expected) in rows {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (verb, matched) = super::super::commands::parse(&words).unwrap_or_else(|why| panic!("{line}: {why}"));
            assert_eq!(arguments(verb, &matched).join(" "), expected, "{line}");
        }
    }
}
