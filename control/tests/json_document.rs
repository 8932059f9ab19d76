//! The examples of `docs/json.md` are what the program prints.

use control::command::{Command, ConnectionPage, ConnectionView, Counters, Error, Reply};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::ipvsadm::run::Session;
use control::state::{Limits, Live, Observed, State};
use forwarder::clock::Tick;
use forwarder::service::DestId;
use serde_json::Value;

struct Running;

impl Observed for Running {
    fn now(&self) -> Tick {
        Tick(0)
    }
    fn counters(&self, _: DestId) -> Counters {
        Counters::default()
    }
    fn live(&self, _: DestId) -> Live {
        Live { active: 2, inactive: 1, persistent: 1 }
    }
    fn connections(&self, cursor: u64) -> Result<ConnectionPage, Error> {
        let tcp = ConnectionView {
            protocol: "TCP".into(),
            expires: 897,
            state: "ESTABLISHED".into(),
            client: [198, 51, 100, 9].into(),
            client_port: 40_000,
            target: [192, 0, 2, 1].into(),
            target_port: 80,
            server: [10, 0, 0, 2].into(),
            server_port: 8080,
            engine: None,
        };
        let template = ConnectionView {
            protocol: "UDP".into(),
            expires: 297,
            state: "UDP".into(),
            client_port: 0,
            target_port: 5060,
            server_port: 5060,
            engine: Some(("sip".into(), "1@example.com".into())),
            ..tcp.clone()
        };
        let view = if cursor == 0 { tcp } else { template };
        Ok(ConnectionPage { connections: vec![view], next: (cursor == 0).then_some(1) })
    }
    fn interface_mtu(&self, _: &str) -> Option<u32> {
        Some(1500)
    }
}

struct Director(State);

impl Executor for Director {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command, &Running)
    }
}

impl Director {
    fn call(&mut self, line: &str) -> String {
        let words: Vec<String> = line.split(' ').skip(1).map(str::to_owned).collect();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let mut session = Session {
            program: "rvsadm",
            executor: self,
            names: &Table::default(),
            input: &mut std::io::empty(),
            output: &mut output,
            errors: &mut errors,
        };
        let status = session.run(&words).status;
        assert_eq!((status, String::from_utf8_lossy(&errors).as_ref()), (0, ""), "{line}");
        String::from_utf8(output).expect("text")
    }
}

/// The blocks of code in this language, each with the heading that it stands under.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<(&'a str, String)> {
    let (mut blocks, mut heading, mut inside) = (Vec::new(), "", None::<String>);
    for line in document.lines() {
        match (line, &mut inside) {
            ("```", Some(block)) => {
                blocks.push((heading, std::mem::take(block)));
                inside = None;
            }
            ("```", None) => {}
            (line, Some(block)) => *block += &format!("{line}\n"),
            (line, None) if line.strip_prefix("```") == Some(language) => inside = Some(String::new()),
            (line, None) if line.starts_with("## ") => heading = line,
            _ => {}
        }
    }
    blocks
}

#[test]
fn the_examples_are_what_is_printed() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let document = std::fs::read_to_string(path).expect("the document");
    let mut director = Director(State::new(Limits::default(), Tick(0)));
    let [(_, commands)] = &blocks(&document, "sh")[..] else { panic!("one block of commands") };
    for command in commands.lines() {
        assert_eq!(director.call(command), "");
    }
    let examples = blocks(&document, "json");
    assert_eq!(examples.len(), 4);
    for (heading, example) in examples {
        let command = heading.split('`').nth(1).expect("a heading names the command");
        let printed = director.call(command);
        assert_eq!(printed.lines().count(), 1);
        let printed: Value = serde_json::from_str(&printed).expect("JSON");
        let example: Value = serde_json::from_str(&example).unwrap_or_default();
        assert!(example == printed, "{command} prints\n{printed:#}");
    }
}
