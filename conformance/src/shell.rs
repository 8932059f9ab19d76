//! The commands of the recordings, done by the director: ipvsadm, and what says the same to RVS as a shell's command said
//! to the kernel (settings, marking rules).

use crate::subject::Subject;
use control::command::mark::{MarkSpec, prefix};
use std::fmt;
use std::net::Ipv4Addr;

/// What a call printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// Exit status.
    pub status: u8,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}", self.status)?;
        self.output.lines().try_for_each(|line| write!(f, "\n| {line}"))?;
        self.errors.lines().try_for_each(|line| write!(f, "\n! {line}"))
    }
}

/// Does a command line with this standard input. None for a command that is not known here.
pub fn run(subject: &mut impl Subject, line: &str, input: &str) -> Option<Printed> {
    let words = words(line);
    let (program, arguments) = words.split_first()?;
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match (program.as_str(), text.as_slice()) {
        ("ipvsadm", _) => Some(subject.ipvsadm(arguments, input)),
        ("cat", [file]) => Some(Printed { output: subject.read(file)?, ..Printed::default() }),
        ("echo", [value @ .., ">", file]) => {
            let set = subject.set(file.strip_prefix("/proc/sys/net/ipv4/vs/")?, &value.join(" "));
            set.then(Printed::default)
        }
        ("sysctl", ["-w", assignment]) => {
            let (name, value) = assignment.split_once('=')?;
            let good = name.strip_prefix("net.ipv4.vs.").is_none_or(|name| subject.set(name, value));
            good.then(|| Printed { output: format!("{name} = {value}\n"), ..Printed::default() })
        }
        ("iptables", rule) => subject.mark(mark(rule)?).then(Printed::default),
        // Routes that make marked packets the director's: RVS needs none.
        ("ip", ["rule", "add", "fwmark", ..] | ["route", "add", "local", "0.0.0.0/0", ..]) => Some(Printed::default()),
        _ => None,
    }
}

/// The address of the service that a line adds, if it does so.
#[must_use]
pub fn added_address(line: &str) -> Option<Ipv4Addr> {
    let mut words = line.strip_prefix("ipvsadm -A ")?.split(' ');
    words.find(|word| matches!(*word, "-t" | "-u" | "--sctp-service"))?;
    words.next()?.split(':').next()?.parse().ok()
}

/// `-t mangle -A PREROUTING … -j MARK --set-mark N` as a rule of RVS.
fn mark(rule: &[&str]) -> Option<MarkSpec> {
    let value = |option: &str| {
        let at = rule.iter().position(|word| *word == option)?;
        rule.get(at + 1).copied()
    };
    let mut mark = MarkSpec::new(value("--set-mark")?.parse().ok()?);
    if let Some(protocol) = value("-p") {
        mark.protocol = Some(control::command::protocol::by_name(protocol)?);
    }
    if let Some(network) = value("-s") {
        mark.source = prefix::parse(network).ok()?;
    }
    if let Some(network) = value("-d") {
        mark.destination = prefix::parse(network).ok()?;
    }
    if let Some(ports) = value("--dport") {
        let (first, last) = ports.split_once(':').unwrap_or((ports, ports));
        mark.ports = (first.parse().ok()?, last.parse().ok()?);
    }
    Some(mark)
}

/// Words of a shell line: blanks divide, quotes of both kinds hold together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::{Rig, Setup};

    #[test]
    fn settings_are_written_in_either_way() {
        let mut rig = Rig::new(&Setup::default());
        for (line, value) in [
            ("sysctl -w net.ipv4.vs.conn_reuse_mode=0", "0\n"),
            ("echo 2 > /proc/sys/net/ipv4/vs/conn_reuse_mode", "2\n"),
        ] {
            assert_eq!(run(&mut rig, line, "").map(|printed| printed.status), Some(0), "{line}");
            let read = run(&mut rig, "cat /proc/sys/net/ipv4/vs/conn_reuse_mode", "");
            assert_eq!(read.map(|printed| printed.output).as_deref(), Some(value), "{line}");
        }
        assert_eq!(run(&mut rig, "echo 1 > /proc/sys/net/ipv4/vs/no_such", ""), None);
    }

    #[test]
    fn iptables_marks_as_our_rules_do() {
        let rows = [
            ("-t mangle -A PREROUTING -i ext0 -p tcp --dport 80 -j MARK --set-mark 1", "tcp port 80 set 1"),
            (
                "-t mangle -A PREROUTING -s 10.0.0.0/8 -d 192.0.2.1 -j MARK --set-mark 7",
                "from 10.0.0.0/8 to 192.0.2.1 set 7",
            ),
            ("-t mangle -A PREROUTING -p udp --dport 5000:5999 -j MARK --set-mark 2", "udp port 5000-5999 set 2"),
        ];
        for (line, rule) in rows {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(mark(&words).map(|mark| mark.to_string()).as_deref(), Some(rule));
        }
    }

    #[test]
    fn words_of_a_shell_line() {
        assert_eq!(words(r#"ipvsadm -A -t "" -r 'a b':80"#), ["ipvsadm", "-A", "-t", "", "-r", "a b:80"]);
    }
}
