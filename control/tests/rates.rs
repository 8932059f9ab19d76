//! Counters and rates as recorded second by second: estimator, state and listings on simulated time.

use control::command::{Command, ConnectionPage, Counters, Error, Reply};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::ipvsadm::run::Session;
use control::state::{Limits, Live, Observed, State};
use forwarder::clock::{TICKS_PER_SECOND, Tick};
use forwarder::service::DestId;
use serde_json::Value;
use std::collections::HashSet;

/// A data path with one server, to which every packet goes.
#[derive(Default)]
struct Traffic {
    now: Tick,
    counters: Counters,
    clients: HashSet<String>,
}

impl Observed for Traffic {
    fn now(&self) -> Tick {
        self.now
    }
    fn counters(&self, _: DestId) -> Counters {
        self.counters
    }
    fn live(&self, _: DestId) -> Live {
        Live::default()
    }
    fn connections(&self, _: u64) -> Result<ConnectionPage, Error> {
        Ok(ConnectionPage::default())
    }
    fn interface_mtu(&self, _: &str) -> Option<u32> {
        None
    }
}

struct Director(State, Traffic);

impl Executor for Director {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command, &self.1)
    }
}

impl Director {
    fn until(&mut self, moment: Tick) {
        while self.1.now != moment {
            self.1.now = self.1.now.plus(1);
            self.0.advance(&self.1);
        }
    }

    fn call(&mut self, line: &str) -> String {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let words: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
        let _ = Session {
            program: "ipvsadm",
            executor: self,
            names: &Table::default(),
            input: &mut std::io::empty(),
            output: &mut output,
            errors: &mut errors,
        }
        .run(&words);
        String::from_utf8(output).unwrap()
    }
}

/// What differs from the record if the estimator first moves `phase` ticks after a round moment.
fn replay(log: &[Value], phase: u32) -> Vec<String> {
    let traffic = Traffic { now: Tick(phase), ..Traffic::default() };
    let mut director = Director(State::new(Limits::default(), traffic.now), traffic);
    let start = Tick(10 * TICKS_PER_SECOND);
    director.until(start);
    let mut differences = Vec::new();
    for event in log {
        let seconds = event[0].as_f64().unwrap();
        director.until(start.plus((seconds * f64::from(TICKS_PER_SECOND)).round() as u32));
        match event[1].as_str().unwrap() {
            "cmd" => {
                let (line, expected) = (event[2].as_str().unwrap(), event[4].as_str().unwrap());
                let got = director.call(line);
                if got != expected {
                    differences.push(format!("{seconds} s: {line}\n{expected}{got}"));
                }
            }
            "udp" => {
                let packet = event[5][0].as_str().unwrap();
                let length = packet.split("len=").nth(1).unwrap().split(' ').next().unwrap();
                let counters = &mut director.1.counters;
                counters.in_packets += 1;
                counters.in_bytes += length.parse::<u64>().unwrap();
                counters.connections += u64::from(director.1.clients.insert(event[3].as_str().unwrap().to_owned()));
            }
            other => panic!("unknown event {other}"),
        }
    }
    differences
}

#[test]
fn recorded_rates() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/states/rates.json");
    let recording: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let log = recording["log"].as_array().unwrap();
    // nobody noted when the kernel's timer ran
    let fits: Vec<u32> = (0..300).filter(|phase| replay(log, *phase).is_empty()).collect();
    println!("the estimator's phase, in ticks: {fits:?}");
    if fits.is_empty() {
        let least = (0..300).map(|phase| replay(log, phase)).min_by_key(Vec::len).unwrap();
        panic!("no phase fits the record; the best differs in\n{}", least.join("\n"));
    }
}
