//! The JSON protocol of the control socket: a request is one line that starts with `{`, an answer is one line.
//! `docs/control-protocol.md` is its description.
//!
//! A request is a [`Command`], or a line of the console or of ipvsadm, or asks to watch; it may have an id, which its
//! answer repeats.

mod schema;
mod watch;

pub use schema::schema;
pub use watch::{Event, Topic, Watch, Watching};

use crate::command::{Command, Error, Reply};
use crate::console::{Console, Outcome, Place, is_command};
use crate::ipvsadm::Executor;
use crate::ipvsadm::names::Names;
use crate::socket::LONGEST_ANSWER;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// The version of this protocol: it grows when something is taken away or changes its meaning.
pub const PROTOCOL: u32 = 1;

/// Bytes from which on a request is worth a look of its own.
const LONG: usize = 64 * 1024;

/// What tells requests of one client apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Id {
    /// A number.
    Number(i64),
    /// Or a text.
    Text(String),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Repeated in the answer.
    pub id: Option<Id>,
    /// What is asked.
    pub asked: Asked,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A command.
    Command(Command),
    /// A line of the console or of ipvsadm.
    Line(String),
    /// To be told what happens.
    Watch(Watch),
    /// To be told no more.
    Unwatch,
}

/// The answer: a reply, or an error with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct Answer<R = Reply> {
    /// The request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    /// If it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<R>,
    /// If it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
    /// The error in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl<R> From<Result<R, Error>> for Answer<R> {
    fn from(result: Result<R, Error>) -> Self {
        match result {
            Ok(reply) => Self { id: None, reply: Some(reply), error: None, message: None },
            Err(error) => Self { id: None, reply: None, message: Some(error.to_string()), error: Some(error) },
        }
    }
}

impl<R: Serialize> Answer<R> {
    /// The same as the answer to this request.
    #[must_use]
    pub fn to(self, id: Option<Id>) -> Self {
        Self { id, ..self }
    }

    /// The line, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        self::line(self)
    }
}

/// Plain data with string keys always has a JSON form.
fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| json!({ "message": error.to_string() }).to_string()) + "\n"
}

impl Answer {
    /// What an answer's line says.
    ///
    /// # Errors
    /// The refusal, or [`Error::Unreachable`] for a line that is no answer.
    pub fn result(line: &str) -> Result<Reply, Error> {
        let why = |detail: String| Error::Unreachable {
            why: format!("rvsd answered what rvsadm does not understand; are they of one version? ({detail})"),
        };
        let answer: Self = serde_json::from_str(line).map_err(|error| why(error.to_string()))?;
        match (answer.reply, answer.error) {
            (Some(reply), None) => Ok(reply),
            (None, Some(error)) => Err(error),
            _ => Err(why(answer.message.unwrap_or_else(|| "neither reply nor error".to_owned()))),
        }
    }
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong and where, with the id if one could be read.
    pub fn parse(line: &str) -> Result<Self, (Option<Id>, Error)> {
        // A long one is rather a command without an id than anything else.
        if line.len() > LONG
            && let Ok(command) = serde_json::from_str::<Command>(line)
        {
            return Ok(Self { id: None, asked: Asked::Command(command) });
        }
        let bad = |why: String| Error::BadRequest { why };
        let mut map: Map<String, Value> = serde_json::from_str(line).map_err(|error| (None, bad(error.to_string())))?;
        let id = match map.remove("id").map(serde_json::from_value::<Id>) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Err((None, bad("an id is a whole number or a text".to_owned()))),
        };
        match map.remove("protocol_version") {
            Some(version) if version != PROTOCOL => {
                Err((id, bad(format!("protocol {version} is not spoken here, only {PROTOCOL}"))))
            }
            _ => match Self::asked(map) {
                Ok(asked) => Ok(Self { id, asked }),
                Err(error) => Err((id, error)),
            },
        }
    }

    fn asked(mut map: Map<String, Value>) -> Result<Asked, Error> {
        let bad = |error: serde_json::Error| Error::BadRequest { why: error.to_string() };
        match map.get("command").and_then(Value::as_str) {
            Some("watch") => {
                map.remove("command");
                let watch: Watch = serde_json::from_value(map.into()).map_err(bad)?;
                watch.check().map(|()| Asked::Watch(watch))
            }
            Some("unwatch") if map.len() == 1 => Ok(Asked::Unwatch),
            line => {
                let alone = map.len() == 1;
                let line = line.filter(|line| alone && is_line(line)).map(str::to_owned);
                match (serde_json::from_value::<Command>(map.into()), line) {
                    (Ok(command), _) if alone || !takes_nothing(&command) => Ok(Asked::Command(command)),
                    (Ok(_), _) => Err(Error::BadRequest { why: "this command takes no fields".to_owned() }),
                    (Err(_), Some(line)) => Ok(Asked::Line(line)),
                    (Err(error), None) => Err(bad(error)),
                }
            }
        }
    }
}

/// serde does not look at what else is said to a command that takes nothing.
fn takes_nothing(command: &Command) -> bool {
    matches!(serde_json::to_value(command), Ok(Value::Object(known)) if known.len() == 1)
}

/// True if it is rather a line than a mistyped command's name.
fn is_line(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    text.trim().contains(char::is_whitespace) || text.starts_with('-') || first == "ipvsadm" || is_command(first)
}

/// Does a line of the console for a request. What it shows is JSON: as it is with `json` behind the line, or
/// `{"text": …}` where it has no such form, or `"done"` if nothing is said.
pub fn do_line(text: &str, executor: &mut dyn Executor, names: &dyn Names) -> Answer<Value> {
    let mut output = Bounded(Vec::new());
    let mut errors = Vec::new();
    let mut listening = Listening { executor, last: None };
    let outcome = Console::new(&mut listening, names, Place::Socket, &mut output, &mut errors).in_json().line(text);
    let said = String::from_utf8_lossy(&errors).trim_end().to_owned();
    if output.0.len() as u64 > LONGEST_ANSWER {
        return Err(Error::TooLong).into();
    }
    let text = String::from_utf8_lossy(&output.0);
    match outcome {
        Outcome::Done | Outcome::Goodbye => Ok(match text.trim_end() {
            "" => json!("done"),
            said => serde_json::from_str(said).unwrap_or_else(|_| json!({ "text": text })),
        })
        .into(),
        Outcome::Usage => Err(Error::BadRequest { why: said }).into(),
        Outcome::Refused | Outcome::Unreachable | Outcome::BadConfig | Outcome::Late => {
            let error = listening.last.unwrap_or(Error::Refused { why: said.clone() });
            Answer { id: None, reply: None, error: Some(error), message: Some(said) }
        }
    }
}

/// Remembers why the last command was refused.
struct Listening<'a> {
    executor: &'a mut dyn Executor,
    last: Option<Error>,
}

impl Executor for Listening<'_> {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.executor.execute(command).inspect_err(|error| self.last = Some(error.clone()))
    }
}

/// Takes no more than an answer may have, and one byte, which says so.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (LONGEST_ANSWER as usize + 1).saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
    fn requests_are_commands_lines_or_watches() {
        let asked = |line: &str| Request::parse(line).map(|request| request.asked);
        assert_eq!(asked(r#"{"command":"clear"}"#), Ok(Asked::Command(Command::Clear)));
        let request = Request::parse(r#"{"id":"a","protocol_version":1,"command":"connections","cursor":3}"#).unwrap();
        let expected = Asked::Command(Command::Connections { cursor: 3, service: None });
        assert_eq!(request, Request { id: Some(Id::Text("a".into())), asked: expected });
        for line in ["show version", "-Ln", "ipvsadm", "stop", "-A -t 10.0.0.1:80"] {
            assert_eq!(asked(&json!({ "command": line }).to_string()), Ok(Asked::Line(line.into())), "{line}");
        }
        let watch = Watch { what: vec![Topic::Changes], interval: 5 };
        assert_eq!(asked(r#"{"command":"watch","what":["changes"],"interval":5}"#), Ok(Asked::Watch(watch)));
        assert_eq!(asked(r#"{"command":"unwatch"}"#), Ok(Asked::Unwatch));
    }

    #[test]
    fn bad_requests_are_refused_with_their_id() {
        let rows = [
            (r#"{"command":"#, None, "EOF"),
            (r#"{"id":[1],"command":"clear"}"#, None, "an id is"),
            (r#"{"id":7,"command":"fly"}"#, Some(7), "unknown variant `fly`"),
            (r#"{"id":7,"command":"show version","port":1}"#, Some(7), "unknown variant"),
            (r#"{"id":7,"command":"add_service"}"#, Some(7), "missing field `service`"),
            (r#"{"id":7,"command":"clear","service":1}"#, Some(7), "takes no fields"),
            (r#"{"id":7}"#, Some(7), "missing field `command`"),
            (r#"{"id":7,"protocol_version":2,"command":"clear"}"#, Some(7), "protocol 2"),
            (r#"{"id":7,"command":"watch","interval":0}"#, Some(7), "interval"),
            (r#"{"id":7,"command":"watch","what":["birds"]}"#, Some(7), "birds"),
        ];
        for (line, id, why) in rows {
            let (got, error) = Request::parse(line).unwrap_err();
            assert_eq!(got, id.map(Id::Number), "{line}");
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn lines_are_answered_in_json() {
        let mut director = Director(State::new(Limits::default(), Default::default()));
        let mut say = |line: &str| {
            let answer = do_line(line, &mut director, &Table::default()).to(Some(Id::Number(1))).line();
            serde_json::from_str::<Value>(&answer).unwrap()
        };
        assert_eq!(say("-A -t 10.0.0.1:80"), json!({ "id": 1, "reply": "done" }));
        assert_eq!(
            say("-A -t 10.0.0.1:80"),
            json!({ "id": 1, "error": { "error": "service_exists" }, "message": "Service already exists" })
        );
        assert_eq!(say("show version")["reply"]["version"]["protocol"], 1);
        assert_eq!(say("ipvsadm -Ln")["reply"]["services"][0]["config"]["scheduler"], "wlc");
        assert_eq!(say("show service all"), say("-L"));
        assert_eq!(say("save"), json!({ "id": 1, "reply": { "text": "-A -t 10.0.0.1:80 -s wlc\n" } }));
        assert_eq!(say("frobnicate it")["error"]["error"], "bad_request");
        assert_eq!(say("frobnicate it")["message"], "bad request: Command not found");
        assert!(say("load f")["message"].as_str().unwrap().contains("rvsadm console"));
    }
}
