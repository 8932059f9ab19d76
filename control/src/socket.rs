//! What both ends of the control socket agree on: where it is, and how a JSON request is answered.
//!
//! A request is a [`Command`] as one line of JSON, an answer is an [`Answer`] as one line. A line that does not start
//! with `{` is a line of the console, answered by text.

use crate::command::{Command, Error, Reply};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the socket is if nobody says.
pub const DEFAULT: &str = "/run/rvs/control.sock";

/// The environment variable that says it.
pub const VARIABLE: &str = "RVS_SOCKET";

/// The longest request, bytes: a transaction of a hundred thousand servers fits.
pub const LONGEST: usize = 32 << 20;

/// The longest answer, bytes: a list of half a million servers fits.
pub const LONGEST_ANSWER: u64 = 256 << 20;

/// The socket's path: what was said on the command line, else the environment, else the default.
#[must_use]
pub fn path(said: Option<PathBuf>) -> PathBuf {
    let from_environment = || std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    said.or_else(from_environment).unwrap_or_else(|| PathBuf::from(DEFAULT))
}

/// The answer to a JSON request: a reply, or an error with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// If it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<Reply>,
    /// If it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
    /// The error in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl From<Result<Reply, Error>> for Answer {
    fn from(result: Result<Reply, Error>) -> Self {
        match result {
            Ok(reply) => Self { reply: Some(reply), error: None, message: None },
            Err(error) => Self { reply: None, message: Some(error.to_string()), error: Some(error) },
        }
    }
}

impl Answer {
    /// The line, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        // plain data with string keys always has a JSON form
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"message\":\"{error}\"}}")) + "\n"
    }

    /// What it says.
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

/// Reads a request.
///
/// # Errors
/// [`Error::BadRequest`] with what is wrong and where.
pub fn request(line: &str) -> Result<Command, Error> {
    serde_json::from_str(line).map_err(|error| Error::BadRequest { why: error.to_string() })
}
