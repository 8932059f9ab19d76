//! The commands of the recordings, done by the director: ipvsadm, and what says the same to RVS as a shell's command said
//! to the kernel (settings, marking rules).

use crate::rig::Rig;
use control::command::mark::{MarkSpec, prefix};
use control::command::{Command, Reply};
use control::ipvsadm::names::Table;
use control::ipvsadm::proc;
use control::ipvsadm::run::Session;
use std::fmt;
use std::sync::LazyLock;

/// The names that the recorded machine knew.
const HOSTS: &str = "127.0.0.1 localhost\n\
     172.16.0.9 vip9.example.com vip9\n\
     192.168.1.9 rs9.example.com rs9\n\
     192.168.1.10 a-very-long-real-server-name.cluster.example.com\n";

/// Ports that have names in the recordings, for machines without `/etc/services`.
const SERVICES: &str = "\
ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\ntftp 69/udp\nhttp 80/tcp www\nkerberos 88/tcp\nkerberos 88/udp\nhttps 443/tcp\n\
https 443/udp\nsip 5060/tcp\nsip 5060/udp\nmdns 5353/udp\nhttp-alt 8080/tcp\n";

static NAMES: LazyLock<Table> = LazyLock::new(|| {
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default() + SERVICES;
    Table::parse(HOSTS, &services)
});

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
pub fn run(rig: &mut Rig, line: &str, input: &str) -> Option<Printed> {
    let words = words(line);
    let (program, arguments) = words.split_first()?;
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match (program.as_str(), text.as_slice()) {
        ("ipvsadm", _) => Some(ipvsadm(rig, arguments, input)),
        ("cat", [file]) if file.starts_with("/proc/net/") => dump(rig, file.strip_prefix("/proc/net/")?),
        ("cat", [file]) => setting(rig, file.strip_prefix("/proc/sys/net/ipv4/vs/")?),
        ("sysctl", ["-w", assignment]) => {
            let (name, value) = assignment.split_once('=')?;
            if let Some(name) = name.strip_prefix("net.ipv4.vs.") {
                set(rig, name, value)?;
            }
            Some(Printed { output: format!("{name} = {value}\n"), ..Printed::default() })
        }
        ("iptables", rule) => {
            rig.execute(Command::AddMark(mark(rule)?)).ok()?;
            Some(Printed::default())
        }
        // Routes that make marked packets the director's: RVS needs none.
        ("ip", ["rule", "add", "fwmark", ..] | ["route", "add", "local", "0.0.0.0/0", ..]) => Some(Printed::default()),
        _ => None,
    }
}

fn ipvsadm(rig: &mut Rig, arguments: &[String], input: &str) -> Printed {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut session = Session {
        program: "ipvsadm",
        executor: rig,
        names: &*NAMES,
        input: &mut input.as_bytes(),
        output: &mut output,
        errors: &mut errors,
    };
    let status = session.run(arguments).status;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Printed { status, output: text(output), errors: text(errors) }
}

/// A file of the kernel's `/proc/net`. None if RVS does not know it.
fn dump(rig: &mut Rig, file: &str) -> Option<Printed> {
    let mut text = Vec::new();
    proc::write(file, rig, &mut text).ok()?;
    Some(Printed { output: String::from_utf8_lossy(&text).into_owned(), ..Printed::default() })
}

fn setting(rig: &mut Rig, name: &str) -> Option<Printed> {
    let Ok(Reply::Settings(settings)) = rig.execute(Command::Settings) else { return None };
    let setting = settings.into_iter().find(|setting| setting.name == name)?;
    Some(Printed { output: setting.value + "\n", ..Printed::default() })
}

/// Changes a setting of `/proc/sys/net/ipv4/vs`. None if there is no such.
pub fn set(rig: &mut Rig, name: &str, value: &str) -> Option<()> {
    rig.execute(Command::Set { name: name.to_owned(), value: value.to_owned() }).ok().map(|_| ())
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

    #[test]
    fn words_of_a_shell_line() {
        assert_eq!(words(r#"ipvsadm -A -t "" -r 'a b':80"#), ["ipvsadm", "-A", "-t", "", "-r", "a b:80"]);
    }
}
