//! One client of the control socket: its lines, their answers, what it watches. Everything is bounded: a line's length and
//! time, all unfinished lines together, the time an answer may take.

use super::seats::{Seat, Unfinished};
use super::{NOTICE, readable};
use crate::command::{Command, Error, Reply};
use crate::console::{Console, Outcome, PROMPT, Place};
use crate::ipvsadm::Executor;
use crate::ipvsadm::names::Names;
use crate::protocol::{Answer, Asked, Id, Request, Watching, do_line};
use crate::socket::LONGEST;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A client that says nothing for so long is hung up on.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// A line must be whole so long after its first byte, and an answer must be taken within as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// At most this many watches a client.
const WATCHES: usize = 4;

/// A client's stream, for one answer. Once it has taken nothing for some time it takes no more, so that a long list for a
/// client that does not read ends soon; and a daemon that ends does not wait for it.
struct Patient<'a> {
    stream: &'a UnixStream,
    stop: &'a AtomicBool,
    /// It last took something.
    since: Instant,
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while !self.stop.load(Ordering::Relaxed) && self.since.elapsed() < PATIENCE {
            match self.stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(written) => {
                    self.since = Instant::now();
                    return Ok(written);
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "an answer was not taken in time"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client, served by a thread of its own.
pub(super) struct Client<'a> {
    stream: UnixStream,
    executor: &'a Mutex<dyn Executor>,
    names: &'a (dyn Names + Sync),
    stop: &'a AtomicBool,
    seat: Seat<'a>,
    /// Read and not yet used.
    rest: Vec<u8>,
    /// Its share of what all clients have begun and not finished.
    unfinished: Unfinished<'a>,
    /// What it watches, and when it was last told of it.
    watches: Vec<(Watching, Instant)>,
}

impl<'a> Client<'a> {
    pub fn new(
        stream: UnixStream,
        seat: Seat<'a>,
        executor: &'a Mutex<dyn Executor>,
        names: &'a (dyn Names + Sync),
        stop: &'a AtomicBool,
    ) -> Self {
        let unfinished = seat.unfinished();
        Self { stream, executor, names, stop, seat, rest: Vec::new(), unfinished, watches: Vec::new() }
    }
}

impl Client<'_> {
    fn greet(&self) {
        match rustix::net::sockopt::socket_peercred(&self.stream) {
            Ok(peer) => tracing::info!(
                pid = peer.pid.as_raw_nonzero().get(),
                uid = peer.uid.as_raw(),
                gid = peer.gid.as_raw(),
                "control client"
            ),
            Err(error) => tracing::warn!(%error, "control client of unknown origin"),
        }
    }

    /// Answers until it leaves, or is told to.
    pub fn serve(&mut self) -> io::Result<()> {
        self.greet();
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        self.stream.set_write_timeout(Some(NOTICE))?;
        let mut prompted = false;
        while let Some(line) = self.line()? {
            if line.trim_start().starts_with('{') {
                // An answer is a line of its own, also after a prompt.
                let answer = if std::mem::take(&mut prompted) { "\n" } else { "" }.to_owned() + &self.answer(&line);
                self.patient().write_all(answer.as_bytes())?;
                continue;
            }
            let mut output = BufWriter::new(self.patient());
            let mut errors = Vec::new();
            let mut executor = Shared(self.executor);
            let outcome = Console::new(&mut executor, self.names, Place::Socket, &mut output, &mut errors).line(&line);
            if outcome == Outcome::Goodbye {
                return output.flush();
            }
            output.write_all(&errors)?;
            output.write_all(PROMPT.as_bytes())?;
            output.flush()?;
            prompted = true;
        }
        Ok(())
    }

    /// Answers a request.
    fn answer(&mut self, line: &str) -> String {
        let done = |id: Option<Id>, result| Answer::from(result).to(id).line();
        let Request { id, asked } = match Request::parse(line) {
            Ok(request) => request,
            Err((id, error)) => return done(id, Err(error)),
        };
        match asked {
            Asked::Command(command) => done(id, self.executor().execute(command)),
            Asked::Line(text) => do_line(&text, &mut Shared(self.executor), self.names).to(id).line(),
            Asked::Watch(_) if self.watches.len() >= WATCHES => {
                let why = format!("no more than {WATCHES} watches at a time; unwatch ends them all");
                done(id, Err(Error::Refused { why }))
            }
            Asked::Watch(watch) => match Watching::start(id.clone(), watch, &mut Shared(self.executor)) {
                Ok(watching) => {
                    self.watches.push((watching, Instant::now()));
                    done(id, Ok(Reply::Done))
                }
                Err(error) => done(id, Err(error)),
            },
            Asked::Unwatch => {
                self.watches.clear();
                done(id, Ok(Reply::Done))
            }
        }
    }

    fn patient(&self) -> Patient<'_> {
        Patient { stream: &self.stream, stop: self.stop, since: Instant::now() }
    }

    /// Tells what is due to be told.
    fn tell(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut told = String::new();
        for (watching, last) in &mut self.watches {
            let since = now.duration_since(*last);
            if since >= Duration::from_secs(watching.interval().into()) {
                *last = now;
                told += &watching.lines(since.as_secs_f64(), &mut Shared(self.executor));
            }
        }
        self.patient().write_all(told.as_bytes())
    }

    /// A thread that panicked in the middle of a command must not take the daemon's control along.
    fn executor(&self) -> MutexGuard<'_, dyn Executor + 'static> {
        self.executor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next line without its end; none when the client is gone, or the daemon ends.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut searched = 0;
        let mut first_byte = None;
        let mut silent_since = Instant::now();
        loop {
            if let Some(end) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
                let after = self.rest.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.rest, after);
                line.pop();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            searched = self.rest.len();
            let now = Instant::now();
            if searched > LONGEST {
                self.patient().write_all(b"line too long\n")?;
                return Err(io::Error::other("line too long"));
            }
            if !self.unfinished.is(searched) {
                self.patient().write_all(b"too many long lines at a time, try again\n")?;
                return Err(io::Error::other("too many long lines at a time"));
            }
            if searched > 0 && now.duration_since(*first_byte.get_or_insert(now)) > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a line was not finished in time"));
            }
            if self.watches.is_empty() && now.duration_since(silent_since) > IDLE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "idle"));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.tell()?;
            if !readable(&self.stream) {
                continue;
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer)? {
                0 if self.rest.is_empty() => return Ok(None),
                // a last line without its end counts
                0 => self.rest.push(b'\n'),
                read => {
                    self.seat.heard();
                    self.rest.extend_from_slice(&buffer[..read]);
                    silent_since = now;
                }
            }
        }
    }
}

/// The shared executor, locked for one command at a time: a long list does not keep others waiting.
struct Shared<'a>(&'a Mutex<dyn Executor>);

impl Executor for Shared<'_> {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).execute(command)
    }
}
