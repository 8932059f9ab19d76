//! ipvsadm 1.31: its grammar, its messages, its listings, byte for byte.
//!
//! [`parse::parse`] turns a command line into an [`parse::Invocation`], and [`run::Session`] does it with any
//! [`Executor`]: the director itself, or a connection to it. What they print is collected or written by the caller.

pub mod address;
pub mod described;
pub mod format;
pub mod help;
mod lines;
pub mod names;
pub mod options;
pub mod parse;
pub mod popt;
pub mod proc;
pub mod run;
pub mod sort;
pub mod system;

use crate::command::{Command, ConnectionPage, Error, Reply};
use std::io::Write;
use std::ops::ControlFlow;

/// What does commands: the director in rvsd, a connection to it in rvsadm.
pub trait Executor: Send {
    /// Does one command; an error means that nothing was changed.
    fn execute(&mut self, command: Command) -> Result<Reply, Error>;

    /// What is asked from here on does not depend on what was asked before: a session's next line.
    fn begin(&mut self) {}
}

/// Asks for connections page by page, so that a million need no more memory than a thousand, until there are no more or
/// `each` has had enough.
fn each_page(
    executor: &mut dyn Executor,
    mut each: impl FnMut(&ConnectionPage) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let mut cursor = 0;
    loop {
        match executor.execute(Command::Connections { cursor, service: None })? {
            Reply::Connections(page) => match (each(&page)?, page.next) {
                (ControlFlow::Continue(()), Some(next)) => cursor = next,
                _ => return Ok(()),
            },
            other => return Err(unexpected(&other)),
        }
    }
}

/// Writes, and says whether more is worth writing. Whoever flushes `out` hears why it is not.
fn print(out: &mut dyn Write, text: &str) -> ControlFlow<()> {
    if out.write_all(text.as_bytes()).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn unexpected(_: &Reply) -> Error {
    Error::Unreachable { why: "the director answered another question; is it of another version?".to_owned() }
}
