//! Plain lines of the control socket: ipvsadm's command lines, and a few of our own. `socat - UNIX:SOCKET` is a session.

mod show;
mod table;

use crate::command::{Command, Error, MarkSpec, Reply};
use crate::ipvsadm::Executor;
use crate::ipvsadm::names::Names;
use crate::ipvsadm::run::Session;
use std::fmt::Write as _;

/// What a line was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Text, perhaps none, with its newlines.
    pub text: String,
    /// How it went.
    pub outcome: Outcome,
}

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
    /// The session is over.
    Goodbye,
}

const HELP: &str = "\
ipvsadm OPTIONS, or OPTIONS alone    as ipvsadm(8); see -h
show vs                              settings, with the kernel's names
set vs NAME VALUE                    change one
mark add|del [tcp|udp|sctp] [from NET] [to NET] [port N[-M]] set MARK
show mark                            marking rules, for services by firewall mark
show version
show worker [N|all] [json]           what each worker did
show drop [REASON] [json]            dropped frames by reason
show port (info|stats|xstats|summary) (N|all) [json]
show fwd stats all [json]
quit
A line that starts with { is a request as JSON.
";

/// Answers a line.
pub fn line(line: &str, executor: &mut dyn Executor, names: &dyn Names) -> Said {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    answer(&words, executor, names)
}

/// Answers a line of these words.
pub fn answer(words: &[String], executor: &mut dyn Executor, names: &dyn Names) -> Said {
    let first: Vec<&str> = words.iter().map(String::as_str).collect();
    let usage = |text: &str| Ok(Said { text: text.to_owned(), outcome: Outcome::Usage });
    let done = |text: String| Said { text, outcome: Outcome::Done };
    let result = match first.as_slice() {
        [] => Ok(done(String::new())),
        ["quit" | "exit"] => Ok(Said { text: String::new(), outcome: Outcome::Goodbye }),
        ["help" | "?"] => Ok(done(HELP.to_owned())),
        ["ipvsadm" | "rvsadm", ..] => Ok(ipvsadm(&words[1..], executor, names)),
        [option, ..] if option.starts_with('-') => Ok(ipvsadm(words, executor, names)),
        ["show", words @ .., "json"] => show(words, true, executor).and_then(|said| said.map_or(usage(BAD), Ok)),
        ["show", words @ ..] => show(words, false, executor).and_then(|said| said.map_or(usage(BAD), Ok)),
        ["set", "vs", name, value @ ..] if !value.is_empty() => {
            let command = Command::Set { name: (*name).to_owned(), value: value.join(" ") };
            executor.execute(command).map(|_| done(String::new()))
        }
        ["mark", verb @ ("add" | "del"), rule @ ..] => rule.join(" ").parse().and_then(|rule: MarkSpec| {
            let command = if *verb == "add" { Command::AddMark(rule) } else { Command::DeleteMark(rule) };
            executor.execute(command).map(|_| done(String::new()))
        }),
        ["set" | "mark" | "quit" | "exit" | "help", ..] => usage(BAD),
        _ => usage("Command not found\n"),
    };
    result.unwrap_or_else(|error: Error| Said {
        text: format!("{error}\n"),
        outcome: if matches!(error, Error::Unreachable { .. }) { Outcome::Unreachable } else { Outcome::Refused },
    })
}

const BAD: &str = "Bad arguments\n";

/// `show …`; none if these words make no sense.
fn show(words: &[&str], json: bool, executor: &mut dyn Executor) -> Result<Option<Said>, Error> {
    let number = |word: &str| if word == "all" { Some(None) } else { word.parse::<u16>().ok().map(Some) };
    let ports = |word: &str, extended| number(word).map(|port| Command::Ports { port, extended });
    let command = match words {
        ["vs"] => Some(Command::Settings),
        ["mark"] => Some(Command::Marks),
        ["version"] => Some(Command::Version),
        ["worker"] | ["drop"] | ["drop", _] => Some(Command::Workers),
        ["worker", which] => number(which).map(|_| Command::Workers),
        ["port", "info" | "stats" | "summary", which] => ports(which, false),
        ["port", "xstats", which] => ports(which, true),
        ["port", "summary"] | ["fwd", "stats", "all"] => Some(Command::Ports { port: None, extended: false }),
        _ => None,
    };
    let Some(command) = command else { return Ok(None) };
    let mut reply = executor.execute(command)?;
    if let (Reply::Workers(workers), ["worker", which]) = (&mut reply, words)
        && let Some(Some(number)) = number(which)
    {
        workers.retain(|worker| worker.worker == u32::from(number));
        if workers.is_empty() {
            return Ok(Some(Said { text: format!("Invalid worker {which}\n"), outcome: Outcome::Refused }));
        }
    }
    let text = match (&reply, words) {
        (Reply::Ports(ports), ["fwd", ..]) => {
            let Reply::Workers(workers) = executor.execute(Command::Workers)? else { return Ok(None) };
            match json {
                true => serde_json::json!({ "ports": ports, "workers": workers }).to_string() + "\n",
                false => show::forwarding(ports, &workers),
            }
        }
        (Reply::Workers(workers), ["drop", reason @ ..]) => match show::drops(workers, reason.first().copied(), json) {
            Some(text) => text,
            None => return Ok(None),
        },
        (reply, _) if json => serde_json::to_string(reply).unwrap_or_default() + "\n",
        (Reply::Workers(workers), ["worker", which]) if *which != "all" => workers.iter().map(show::worker).collect(),
        (Reply::Workers(workers), _) => show::workers(workers),
        (Reply::Ports(ports), ["port", "info", ..]) => ports.iter().map(show::port_info).collect(),
        (Reply::Ports(ports), ["port", "stats", ..]) => ports.iter().map(show::port_stats).collect(),
        (Reply::Ports(ports), ["port", "xstats", ..]) => ports.iter().map(show::port_xstats).collect(),
        (Reply::Ports(ports), _) => show::port_summary(ports),
        (Reply::Marks(rules), _) => rules.iter().map(|rule| format!("{rule}\n")).collect(),
        (reply, ["vs"]) => settings(reply),
        (reply, _) => version(reply),
    };
    Ok(Some(Said { text, outcome: Outcome::Done }))
}

fn ipvsadm(arguments: &[String], executor: &mut dyn Executor, names: &dyn Names) -> Said {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut session = Session {
        program: "ipvsadm",
        executor,
        names,
        input: &mut std::io::empty(),
        output: &mut output,
        errors: &mut errors,
    };
    let end = session.run(arguments);
    output.extend(errors);
    let outcome = match (end.lost, end.status) {
        (true, _) => Outcome::Unreachable,
        (false, 0) => Outcome::Done,
        (false, 2) => Outcome::Usage,
        (false, _) => Outcome::Refused,
    };
    Said { text: String::from_utf8_lossy(&output).into_owned(), outcome }
}

fn settings(reply: &Reply) -> String {
    let mut text = String::new();
    if let Reply::Settings(settings) = reply {
        for setting in settings {
            let _ = writeln!(text, "{} = {}", setting.name, setting.value);
        }
    }
    text
}

fn version(reply: &Reply) -> String {
    match reply {
        Reply::Version(version) => format!("RVS {version}\n"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvsadm::names::Table;
    use crate::state::{Idle, Limits, State};

    struct Director(State);

    impl Executor for Director {
        fn execute(&mut self, command: Command) -> Result<Reply, Error> {
            self.0.execute(command, &Idle::default())
        }
    }

    #[test]
    fn a_session() {
        let mut director = Director(State::new(Limits::default(), Default::default()));
        let names = Table::default();
        let list = "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
        let rows = [
            ("", String::new()),
            ("ipvsadm -A -t 10.0.0.1:80 -s rr", String::new()),
            ("-A -t 10.0.0.1:80", "Service already exists\n".into()),
            ("  rvsadm   -Ln -t 10.0.0.1:80 ", format!("{list}TCP  10.0.0.1:80 rr\n")),
            ("-A", "You need to supply the 'service-address' option for the 'add-service' command\n".into()),
            ("set vs expire_nodest_conn 1", String::new()),
            ("mark add tcp to 192.0.2.0/24 port 80 set 1", String::new()),
            ("mark add set 2", String::new()),
            ("mark add set 2", "Marking rule already exists\n".into()),
            ("mark add set 0", "bad marking rule: a mark is 1 to 4294967295\n".into()),
            ("show mark", "tcp to 192.0.2.0/24 port 80 set 1\nset 2\n".into()),
            ("mark del set 2", String::new()),
            ("mark del set 2", "No such marking rule\n".into()),
            ("mark", "Bad arguments\n".into()),
            ("set vs nosuch 1", "there is no setting 'nosuch'\n".into()),
            ("set vs secure_tcp 9", "'9' is no value for secure_tcp (0 to 3)\n".into()),
            ("set vs", "Bad arguments\n".into()),
            ("frobnicate", "Command not found\n".into()),
        ];
        for (words, expected) in rows {
            assert_eq!(line(words, &mut director, &names).text, expected, "{words}");
        }
        assert!(line("show vs", &mut director, &names).text.contains("expire_nodest_conn = 1\n"));
        assert_eq!(line("quit", &mut director, &names).outcome, Outcome::Goodbye);
    }
}
