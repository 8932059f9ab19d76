//! rvsadm's end of the control socket: an [`Executor`] that asks the daemon.

use crate::command::{Command, Error, Reply};
use crate::ipvsadm::Executor;
use crate::protocol::Answer;
use crate::socket::LONGEST_ANSWER;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The daemon must take and answer a request within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection on which nothing was asked for so long may be gone.
const REST: Duration = Duration::from_secs(60);

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;

/// How the daemon was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It could not be reached at all.
    AtFirst,
    /// It went away, or spoke nonsense, after it had been reached.
    Midway,
}

/// A connection to the daemon, made by the first command.
#[derive(Debug)]
pub struct Remote {
    path: PathBuf,
    patience: Duration,
    connection: Option<BufReader<UnixStream>>,
    lost: Option<Lost>,
    late: bool,
    /// When something was last asked.
    used: Instant,
}

impl Remote {
    /// Of the daemon on this socket.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            patience: PATIENCE,
            connection: None,
            lost: None,
            late: false,
            used: Instant::now(),
        }
    }

    /// The same, of a daemon that must take and answer a request within this time (more than none) instead of a minute.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How the daemon was lost, if it was.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// True if it was lost because it did not answer in time.
    #[must_use]
    pub fn late(&self) -> bool {
        self.late
    }

    fn connect(&mut self) -> Result<&mut BufReader<UnixStream>, Error> {
        let rested = std::mem::replace(&mut self.used, Instant::now()).elapsed() > REST;
        // The daemon hangs up on who says nothing for long. Nothing is lost by that, but in the middle of a list it is.
        let connection = match self.connection.take().filter(|kept| !rested || is_quiet(kept.get_ref())) {
            Some(connection) => connection,
            None => self.open().map_err(|error| {
                self.lost = Some(Lost::AtFirst);
                self.late = is_late(&error);
                Error::Unreachable { why: self.explain(&error) }
            })?,
        };
        Ok(self.connection.insert(connection))
    }

    fn open(&self) -> io::Result<BufReader<UnixStream>> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // This one also holds for the connection, which waits as long as the daemon takes no clients.
        set_socket_timeout(&socket, Timeout::Send, Some(self.patience))?;
        connect(&socket, &SocketAddrUnix::new(&self.path)?)?;
        let stream = UnixStream::from(socket);
        stream.set_read_timeout(Some(self.patience))?;
        Ok(BufReader::with_capacity(BUFFER, stream))
    }

    fn explain(&self, error: &io::Error) -> String {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => {
                "no such socket: start rvsd, or say where its socket is with --socket or RVS_SOCKET".to_owned()
            }
            io::ErrorKind::ConnectionRefused => "nobody answers: rvsd is gone, start it again".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "Permission denied (you must be root), or be a member of the socket's group".to_owned()
            }
            _ => self.in_words(error),
        };
        format!("cannot reach rvsd on {}: {advice}", self.path.display())
    }

    fn in_words(&self, error: &io::Error) -> String {
        if is_late(error) {
            format!("it does not answer, in {} s", self.patience.as_secs_f32())
        } else {
            error.to_string()
        }
    }

    fn ask(&mut self, request: &str) -> Result<Reply, Error> {
        let connection = self.connect()?;
        // a daemon that turns us away says why and hangs up, perhaps before it has read anything
        let sent = connection.get_mut().write_all(request.as_bytes());
        let mut line = Vec::new();
        let read = connection.take(LONGEST_ANSWER).read_until(b'\n', &mut line);
        let broken = |detail: &str| Error::Unreachable {
            why: format!("rvsd was lost in the middle of an answer ({detail}); what was printed is not all"),
        };
        match (sent, read) {
            (_, Ok(_)) if line.last() == Some(&b'\n') => {
                let line = String::from_utf8_lossy(&line);
                match line.trim_start().starts_with('{') {
                    true => Answer::result(&line),
                    false => Err(Error::Unreachable { why: format!("rvsd says: {}", line.trim_end()) }),
                }
            }
            (Err(error), _) | (Ok(()), Err(error)) => {
                let why = broken(&self.in_words(&error));
                self.late = is_late(&error);
                Err(why)
            }
            (Ok(()), Ok(_)) => Err(broken("it hung up")),
        }
    }
}

/// True if the daemon had its time.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// True if the other end is there, and has said nothing that was not asked.
fn is_quiet(stream: &UnixStream) -> bool {
    let looked = rustix::net::recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(looked, Err(rustix::io::Errno::AGAIN))
}

impl Executor for Remote {
    fn begin(&mut self) {
        // The daemon may have hung up, or be another one by now.
        self.connection = self.connection.take().filter(|kept| is_quiet(kept.get_ref()));
    }

    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        let request = serde_json::to_string(&command).map_err(|error| Error::BadRequest { why: error.to_string() })?;
        let result = self.ask(&(request + "\n"));
        if matches!(result, Err(Error::Unreachable { .. })) {
            self.connection = None;
            self.lost.get_or_insert(Lost::Midway);
        }
        result
    }
}
