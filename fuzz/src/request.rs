//! Lines of the control socket: JSON requests and the console's.

use control::command::{Command, Error, Reply};
use control::console::{Console, Outcome, Place};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::protocol::{Answer, Asked, Request, do_line};
use control::state::{Idle, Limits, State};

struct Director(State);

impl Executor for Director {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command, &Idle::default())
    }
}

/// Sends each line to a director. Its answers must be readable, and a refused request must have changed nothing.
pub fn run(data: &[u8]) {
    let limits = Limits { services: 8, destinations: 16 };
    let mut director = Director(State::new(limits, forwarder::clock::Tick(0)));
    let names = Table::default();
    for line in String::from_utf8_lossy(data).lines().take(64) {
        if line.trim_start().starts_with('{') {
            let before = format!("{:?}", director.0.table());
            let answer = match Request::parse(line) {
                Ok(Request { asked: Asked::Line(line), id }) => do_line(&line, &mut director, &names).to(id).line(),
                Ok(Request { asked: Asked::Command(command), id }) => {
                    let result = director.execute(command);
                    if result.is_err() {
                        assert_eq!(
                            before,
                            format!("{:?}", director.0.table()),
                            "a refused request changed something: {line}"
                        );
                    }
                    let answer = Answer::from(result.clone()).to(id).line();
                    assert_eq!(Answer::result(&answer), result);
                    answer
                }
                Ok(_) => continue,
                Err((id, error)) => Answer::<Reply>::from(Err(error)).to(id).line(),
            };
            assert_eq!(answer.matches('\n').count(), 1, "{answer}");
        } else {
            let (mut output, mut errors) = (Vec::new(), Vec::new());
            let mut console = Console::new(&mut director, &names, Place::Socket, &mut output, &mut errors);
            if console.line(line) == Outcome::Goodbye {
                return;
            }
        }
    }
}
