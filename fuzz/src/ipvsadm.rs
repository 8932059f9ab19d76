//! ipvsadm's command lines, as arguments and as lines of `-R`.

use control::command::{Command, Error, Reply};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::ipvsadm::run::Session;
use control::state::{Idle, Limits, State};

struct Director(State);

impl Executor for Director {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command, &Idle::default())
    }
}

impl Director {
    fn call(&mut self, arguments: &[String], mut input: &[u8]) -> (u8, Vec<u8>) {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let end = Session {
            program: "ipvsadm",
            executor: self,
            names: &Table::default(),
            input: &mut input,
            output: &mut output,
            errors: &mut errors,
        }
        .run(arguments);
        assert!(!end.lost, "nothing can be lost here");
        (end.status, output)
    }

    fn save(&mut self) -> Vec<u8> {
        self.call(&["-Sn".to_owned()], &[]).1
    }
}

/// The first line is a call, its words divided by blanks (a NUL stands for a blank within a word); the others are its
/// standard input. What is saved afterwards must restore to the same.
pub fn run(data: &[u8]) {
    let mut director = Director(State::new(Limits { services: 8, destinations: 16 }, forwarder::clock::Tick(0)));
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, input) = (String::from_utf8_lossy(&data[..end]), data.get(end + 1..).unwrap_or(&[]));
    let words: Vec<String> = line.split_whitespace().map(|word| word.replace('\0', " ")).collect();
    director.call(&words, input);
    let saved = director.save();
    let mut other = Director(State::new(Limits { services: 8, destinations: 16 }, forwarder::clock::Tick(0)));
    let (status, _) = other.call(&["-R".to_owned()], &saved);
    let again = other.save();
    assert!(
        status == 0 && saved == again,
        "saved:\n{}restored ({status}):\n{}",
        String::from_utf8_lossy(&saved),
        String::from_utf8_lossy(&again)
    );
}
