//! `rvsd -i`: the console in the foreground, in the manner of `testpmd -i`. It is a client of the control socket like any
//! other, so it holds nothing of the director's, and the director ends without it.

use anyhow::Result;
use control::client::Remote;
use control::console::live::Live;
use control::console::{Console, Place};
use control::interactive;
use control::ipvsadm::system::SystemNames;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufWriter, IsTerminal as _, Write as _, stderr, stdin, stdout};
use std::path::Path;

/// The terminal as it was. Dropping this makes it so again, also when a signal ends the daemon in the middle of a line.
pub struct Prompt(Option<Termios>);

impl Prompt {
    /// Starts a session on standard input and output. When it is left, or its input has ended, `end` is called.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(socket: &Path, end: impl FnOnce() + Send + 'static) -> Result<Self> {
        let prompt = Self(tcgetattr(stdin()).ok());
        let socket = socket.to_owned();
        // Nobody waits for this thread: it may never see the end of its line.
        crate::spawn("rvs-prompt", move || {
            session(&socket);
            end();
        })?;
        Ok(prompt)
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if let Some(terminal) = &self.0 {
            let _ = tcsetattr(stdin(), OptionalActions::Now, terminal);
        }
    }
}

fn session(socket: &Path) {
    let (mut remote, names) = (Remote::new(socket), SystemNames::new());
    let (mut output, mut errors) = (BufWriter::new(stdout()), stderr());
    let mut console = Console::new(&mut remote, &names, Place::Client, &mut output, &mut errors);
    if stdin().is_terminal() {
        if let Err(error) = interactive::session(&mut console, Live(Remote::new(socket))) {
            tracing::error!("the terminal does not work: {error}");
        }
    } else {
        console.lines(stdin().lock(), false, false);
    }
    let _ = output.flush();
}
