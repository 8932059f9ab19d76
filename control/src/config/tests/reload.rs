//! A running director and its file.

use super::services::services;
use crate::command::{Command, Error, Origin, Reply, ServiceView};
use crate::config::Config;
use crate::config::difference::{Difference, Running};
use crate::config::reload::{Configured, Reloader, running_config, take_over};
use crate::director::Director;
use crate::director::still::Still;
use crate::ipvsadm::Executor;
use proptest::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn director() -> Director<Still> {
    Still::default().director(256)
}

/// A director with its file in a directory of its own.
struct Daemon {
    directory: tempfile::TempDir,
    executor: Configured<Director<Still>>,
}

impl Daemon {
    fn start(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rvs.toml");
        std::fs::write(&path, text).unwrap();
        let mut reloader = Reloader::new(Some(path.clone()), Config::load(&path).unwrap());
        let mut director = director();
        reloader.start(&mut director).unwrap();
        Self { directory, executor: Configured::new(director, Arc::new(Mutex::new(reloader))) }
    }

    fn write(&self, text: &str) {
        std::fs::write(self.directory.path().join("rvs.toml"), text).unwrap();
    }

    fn reload(&mut self) -> Result<(String, Vec<String>), Error> {
        let dry = self.executor.execute(Command::Reload { dry: true });
        match (self.executor.execute(Command::Reload { dry: false })?, dry) {
            (Reply::Config(report), Ok(Reply::Config(dry))) => {
                assert!(report.applied && !dry.applied && report.changes == dry.changes);
                Ok((report.summary, report.changes))
            }
            other => panic!("{other:?}"),
        }
    }

    fn services(&mut self) -> Vec<ServiceView> {
        Running::ask(&mut self.executor).unwrap().services
    }

    /// Lines of the console, done at run time; what they print.
    fn say(&mut self, line: &str) -> String {
        let names = crate::ipvsadm::names::Table::default();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let place = crate::console::Place::Socket;
        let mut console = crate::console::Console::new(&mut self.executor, &names, place, &mut output, &mut errors);
        assert_eq!(console.line(line), crate::console::Outcome::Done, "{line}");
        String::from_utf8(output).unwrap()
    }
}

const FILE: &str = r#"
[timeouts]
udp = 60

[settings]
expire_nodest_conn = 1

[marks]
rules = ["port 80 set 1", "set 2"]

[exceptions]
icmp = 100

[[service]]
tcp = "192.0.2.1:80"
scheduler = "rr"

[[service.server]]
address = "10.0.0.2"

[[service.server]]
address = "10.0.0.3"
weight = 2

[[service]]
udp = "192.0.2.1:53"
"#;

#[test]
fn a_director_starts_by_its_file() {
    let mut daemon = Daemon::start(FILE);
    let running = Running::ask(&mut daemon.executor).unwrap();
    assert_eq!((running.timeouts.tcp, running.timeouts.udp, running.marks.len()), (900, 60, 2));
    let services = &running.services;
    assert_eq!(services.len(), 2);
    assert!(services.iter().all(|view| view.origin == Origin::File));
    let servers = services.iter().flat_map(|view| &view.servers);
    assert!(servers.clone().count() == 2 && servers.into_iter().all(|view| view.origin == Origin::File));
    assert_eq!(daemon.reload().unwrap(), ("nothing to change".to_owned(), Vec::new()));
}

#[test]
fn a_reload_changes_what_the_file_changes_and_leaves_the_rest() {
    let mut daemon = Daemon::start(FILE);
    daemon.say("-A -t 192.0.2.9:80");
    daemon.say("mark add set 9");
    daemon.say("set exception limit arp 7");
    daemon.say("-e -t 192.0.2.1:80 -r 10.0.0.3 -w 7");
    let text = FILE
        .replace("icmp = 100", "other = 1")
        .replace("udp = 60", "")
        .replace("expire_nodest_conn = 1", "sync_threshold = [4, 60]");
    let text = text.replace("\"port 80 set 1\", ", "").replace("udp = \"192.0.2.1:53\"", "tcp = \"192.0.2.1:443\"");
    daemon.write(&text.replace("address = \"10.0.0.2\"", "address = \"10.0.0.4\""));
    let (summary, changes) = daemon.reload().unwrap();
    assert_eq!(
        summary,
        "1 service added, 1 service removed, 1 server added, 1 server changed, 1 server removed, 10 changes of settings, \
         timeouts, marking rules, limits and daemons"
    );
    let expected = [
        "~ expire_nodest_conn: 1 -> 0",
        "~ sync_threshold: 3 50 -> 4 60",
        "~ timeouts (tcp tcpfin udp): 900 120 60 -> 900 120 300",
        "- mark port 80 set 1",
        "- mark set 2",
        "- mark set 9",
        "+ mark set 2",
        "+ mark set 9",
        "~ exception limit icmp: 100 -> 5000",
        "~ exception limit other: 200000 -> 1",
        "+ server tcp 192.0.2.1:80 10.0.0.4:80 weight 1",
        "~ server tcp 192.0.2.1:80 10.0.0.3:80 weight: 7 -> 2",
        "- server tcp 192.0.2.1:80 10.0.0.2:80 (drains, then it is deleted)",
        "+ service tcp 192.0.2.1:443 scheduler wlc",
        "- service udp 192.0.2.1:53",
    ];
    assert_eq!(changes, expected);
    let names: Vec<String> = daemon.services().iter().map(|view| view.spec.service.to_string()).collect();
    assert!(names.contains(&"tcp 192.0.2.9:80".to_owned()), "made at run time: it stays: {names:?}");
    assert_eq!(daemon.reload().unwrap().0, "nothing to change");
}

#[test]
fn a_bad_file_changes_nothing() {
    let mut daemon = Daemon::start(FILE);
    let before = Running::ask(&mut daemon.executor).unwrap();
    daemon.write(&FILE.replace("scheduler", "sheduler"));
    let error = daemon.reload().unwrap_err().to_string();
    assert!(error.contains("rvs.toml: line 16, column 1: unknown field `sheduler`"), "{error}");
    assert!(error.contains("did you mean 'scheduler'?"), "{error}");
    // What only shows when it is done: more servers than the director has room for.
    let servers: String =
        (0..300).map(|n| format!("[[service.server]]\naddress = \"10.1.{}.{}\"\n", n / 200, n % 200 + 1)).collect();
    daemon.write(&format!("{FILE}{servers}"));
    let error = daemon.reload().unwrap_err().to_string();
    assert!(
        error.contains("+ server udp 192.0.2.1:53 10.1.") && error.contains("Memory allocation problem"),
        "{error}"
    );
    assert_eq!(Running::ask(&mut daemon.executor).unwrap(), before);
    let Ok(Reply::Status(status)) = daemon.executor.execute(Command::Status) else { panic!() };
    assert_eq!((status.reloads, status.failed_reloads), (0, 2));
    assert!(matches!(
        Configured::new(director(), Arc::new(Mutex::new(Reloader::new(None, Config::default()))))
            .execute(Command::Reload { dry: true }),
        Err(Error::NoConfig)
    ));
    assert_eq!(Reloader::new(None, Config::default()).text(), Err(Error::NoConfig));
}

#[test]
fn what_waits_for_a_restart_is_said() {
    let mut daemon = Daemon::start(FILE);
    daemon.write(&format!("{FILE}[connections]\ncapacity = 5\n[log]\nlevel = \"debug\"\n"));
    for _ in 0..2 {
        match daemon.executor.execute(Command::Reload { dry: false }).unwrap() {
            Reply::Config(report) => assert_eq!(report.restart, ["[log]", "[connections]"]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_runs_is_a_file() {
    let mut daemon = Daemon::start(FILE);
    daemon.say("-A -t 192.0.2.9:80 -s wlc");
    daemon.say("set exception limit arp 7");
    let Ok(Reply::Text(text)) = daemon.executor.execute(Command::RunningConfig) else { panic!() };
    let again = Config::parse(&text).unwrap();
    let Ok(Reply::Text(file)) = daemon.executor.execute(Command::FileConfig) else { panic!() };
    assert_eq!(Config::parse(&file).unwrap(), Config::parse(FILE).unwrap(), "what was made since is not in the file");
    assert_eq!((again.services.len(), again.exceptions), (3, [Some(7), None, Some(100), None]));
    daemon.write(&text);
    let (summary, _) = daemon.reload().unwrap();
    assert_eq!(summary, "1 service changed", "the file takes over what was made at run time");
    assert_eq!(daemon.reload().unwrap().0, "nothing to change");
    assert!(daemon.services().iter().all(|view| view.origin == Origin::File));
}

#[test]
fn a_list_says_what_came_from_the_file() {
    let mut daemon = Daemon::start(FILE);
    daemon.say("-A -t 192.0.2.9:80");
    daemon.say("server add tcp 192.0.2.1:80 10.0.0.4");
    daemon.say("server edit tcp 192.0.2.1:80 10.0.0.2 weight 5");
    daemon.say("server drain tcp 192.0.2.1:80 10.0.0.3");
    let list = daemon.say("show service numeric");
    let ends =
        |begin: &str| list.lines().find(|line| line.starts_with(begin)).unwrap().split("  ").last().unwrap().trim();
    assert!(
        ends("TCP  192.0.2.1:80").ends_with("rr from file") && ends("TCP  192.0.2.9:80").ends_with("wlc"),
        "{list}"
    );
    let servers = ["2", "3", "4"].map(|last| ends(&format!("  -> 10.0.0.{last}:80")));
    assert_eq!(servers, ["from file, edited", "from file, edited draining", ""], "{list}");
    assert!(!daemon.say("-Ln").contains("file"));
}

#[test]
fn a_name_that_the_file_does_not_give_is_none() {
    let mut daemon = Daemon::start(&FILE.replace("scheduler = \"rr\"", "name = \"web\""));
    daemon.say("service edit udp 192.0.2.1:53 name dns");
    daemon.write(FILE);
    let (_, changes) = daemon.reload().unwrap();
    let expected = [
        "~ service tcp 192.0.2.1:80 name: web -> none scheduler: wlc -> rr",
        "~ service udp 192.0.2.1:53 name: dns -> none",
    ];
    assert_eq!(changes, expected);
    assert!(daemon.services().iter().all(|view| view.spec.name.is_none()));
    // Names may change places.
    let two = |first, second| {
        format!(
            "[[service]]\ntcp = \"192.0.2.1:80\"\nname = \"{first}\"\n[[service]]\nudp = \"192.0.2.1:53\"\nname = \"{second}\"\n"
        )
    };
    daemon.write(&two("a", "b"));
    daemon.reload().unwrap();
    daemon.write(&two("b", "a"));
    daemon.reload().unwrap();
    assert_eq!(daemon.reload().unwrap().0, "nothing to change");
    // Also with one that was made at run time, if the file has it by now.
    daemon.say("service add tcp 192.0.2.9:80 name c");
    daemon.write(&(two("c", "null-a") + "[[service]]\ntcp = \"192.0.2.9:80\"\nname = \"b\"\n"));
    let (_, changes) = daemon.reload().unwrap();
    assert!(changes.iter().any(|line| line.contains("name: a -> null-a")), "{changes:?}");
    assert_eq!(daemon.reload().unwrap().0, "nothing to change");
}

#[test]
fn a_server_that_drains_can_come_back() {
    let mut daemon = Daemon::start(FILE);
    daemon.write(&FILE.replace("[[service.server]]\naddress = \"10.0.0.2\"\n", ""));
    daemon.reload().unwrap();
    daemon.write(FILE);
    let (_, changes) = daemon.reload().unwrap();
    assert_eq!(changes, ["~ server tcp 192.0.2.1:80 10.0.0.2:80 weight: 0 -> 1"]);
    assert!(daemon.services().iter().flat_map(|view| &view.servers).all(|view| view.drain.is_none()));
}

#[test]
fn the_documented_file_can_be_taken_over() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rvs.toml");
    let file = Config::load(&path).unwrap();
    let report = take_over(&mut director(), &Config::default(), &file, false).unwrap();
    assert!(report.applied);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From any table to any other: the director then runs by the second, and its own account of it is a file that
    /// changes nothing.
    #[test]
    fn any_file_leads_to_any_other(
        first in (services(), any::<[Option<u32>; 4]>()),
        second in (services(), any::<[Option<u32>; 4]>()),
    ) {
        let file = |(services, exceptions)| Config { services, exceptions, ..Config::default() };
        let (first, second) = (file(first), file(second));
        let mut director = director();
        take_over(&mut director, &Config::default(), &first, false).unwrap();
        take_over(&mut director, &first, &second, false).unwrap();
        let running = Running::ask(&mut director).unwrap();
        let text = running_config(&Config::default(), &running).text();
        let account = Config::parse(&text).map_err(|mistakes| format!("{mistakes:?}\n{text}"));
        // Timeouts that nobody set are in the account too.
        let account = Config { timeouts: second.timeouts, ..account.unwrap() };
        let sorted = |config: &Config| {
            let mut services = config.services.clone();
            services.sort_by_key(|service| service.spec.service.to_string());
            for service in &mut services {
                service.servers.sort_by_key(|server| server.name().to_string());
            }
            services
        };
        let usual = forwarder::police::Limits::default().0;
        let limits = |config: &Config| std::array::from_fn::<_, 4, _>(|n| config.exceptions[n].unwrap_or(usual[n]));
        prop_assert_eq!(limits(&account), limits(&second));
        // Servers that left have no connections here, but wait for the clock.
        let mut without_drains = account.clone();
        let draining: Vec<_> = running.services.iter().flat_map(|view| {
            let drains = view.servers.iter().filter(|server| server.drain.is_some());
            drains.map(|server| (view.spec.service, server.spec.name())).collect::<Vec<_>>()
        }).collect();
        for service in &mut without_drains.services {
            let name = service.spec.service;
            service.servers.retain(|server| !draining.contains(&(name, server.name())));
        }
        prop_assert_eq!(sorted(&without_drains), sorted(&second));
        prop_assert_eq!(Difference::new(&running, &second, &second).lines, Vec::<String>::new());
    }
}
