//! Plain lines of the control socket: ipvsadm's command lines, and a few of our own. `socat - UNIX:SOCKET` is a session.

use crate::command::{Command, Error, Reply};
use crate::ipvsadm::Executor;
use crate::ipvsadm::names::Names;
use crate::ipvsadm::run::Session;
use std::fmt::Write as _;

/// What a line was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// This text, perhaps none.
    Text(String),
    /// The session is over.
    Goodbye,
}

const HELP: &str = "\
ipvsadm OPTIONS, or OPTIONS alone    as ipvsadm(8); see -h
show vs                              settings, with the kernel's names
set vs NAME VALUE                    change one
show version
quit
A line that starts with { is a request as JSON.
";

/// Answers a line.
pub fn line(line: &str, executor: &mut dyn Executor, names: &dyn Names) -> Said {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let first: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match first.as_slice() {
        [] => Ok(String::new()),
        ["quit" | "exit"] => return Said::Goodbye,
        ["help" | "?"] => Ok(HELP.to_owned()),
        ["ipvsadm" | "rvsadm", ..] => Ok(ipvsadm(&words[1..], executor, names)),
        [option, ..] if option.starts_with('-') => Ok(ipvsadm(&words, executor, names)),
        ["show", "vs"] => executor.execute(Command::Settings).map(|reply| settings(&reply)),
        ["show", "version"] => executor.execute(Command::Version).map(|reply| version(&reply)),
        ["set", "vs", name, value @ ..] if !value.is_empty() => {
            let command = Command::Set { name: (*name).to_owned(), value: value.join(" ") };
            executor.execute(command).map(|_| String::new())
        }
        ["show" | "set" | "quit" | "exit" | "help", ..] => Ok("Bad arguments\n".to_owned()),
        _ => Ok("Command not found\n".to_owned()),
    };
    Said::Text(result.unwrap_or_else(|error: Error| format!("{error}\n")))
}

fn ipvsadm(arguments: &[String], executor: &mut dyn Executor, names: &dyn Names) -> String {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut session = Session {
        program: "ipvsadm",
        executor,
        names,
        input: &mut std::io::empty(),
        output: &mut output,
        errors: &mut errors,
    };
    session.run(arguments);
    output.extend(errors);
    String::from_utf8_lossy(&output).into_owned()
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
            ("set vs nosuch 1", "there is no setting 'nosuch'\n".into()),
            ("set vs secure_tcp 9", "'9' is no value for secure_tcp (0 to 3)\n".into()),
            ("set vs", "Bad arguments\n".into()),
            ("frobnicate", "Command not found\n".into()),
        ];
        for (words, expected) in rows {
            assert_eq!(line(words, &mut director, &names), Said::Text(expected), "{words}");
        }
        assert!(
            matches!(line("show vs", &mut director, &names), Said::Text(text) if text.contains("expire_nodest_conn = 1\n"))
        );
        assert_eq!(line("quit", &mut director, &names), Said::Goodbye);
    }
}
