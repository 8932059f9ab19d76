//! The daemon's end of the control socket: a thread for each client, everything bounded.
//!
//! It knows lines and clients; what a command means is the [`Executor`]'s, which all clients share in turn.

pub use crate::ipvsadm::Executor;

use crate::console::{Console, Outcome, PROMPT, Place};
use crate::ipvsadm::names::Names;
use crate::ipvsadm::system::SystemNames;
use crate::socket::{self, Answer, LONGEST, request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// At most this many clients at a time.
const CLIENTS: usize = 64;
/// A client that says nothing for so long is hung up on.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// A line must be whole so long after its first byte, and an answer must be taken within as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a stop may go unnoticed.
const NOTICE: Duration = Duration::from_millis(200);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon has it.
    #[error("another rvsd answers on {0}; stop it, or choose another socket with --socket")]
    InUse(PathBuf),
    /// Something else is in its place.
    #[error("{0} exists and is no socket; remove it, or choose another socket with --socket")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot make the control socket {path}: {error}; run as root, or choose another with --socket")]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The socket, while it lives. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our file: whoever has replaced it keeps theirs.
    file: (u64, u64),
}

impl Server {
    /// Makes the socket, mode 0660, where the operator said, or else where [`socket::path`] says. A file that a dead
    /// daemon left behind is replaced.
    ///
    /// # Errors
    /// [`BindError`], whose message says what to do.
    pub fn bind(said: Option<&Path>) -> Result<Self, BindError> {
        let path = &*socket::path(said.map(Path::to_owned));
        let system = |error| BindError::System { path: path.to_owned(), error };
        match fs::symlink_metadata(path) {
            Ok(file) if !file.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => return Err(BindError::InUse(path.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    tracing::info!(path = %path.display(), "replacing the socket of a daemon that is gone");
                    fs::remove_file(path).map_err(system)?;
                }
                Err(error) => return Err(system(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
                    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(system)?;
                }
            }
            Err(error) => return Err(system(error)),
        }
        let listener = UnixListener::bind(path).map_err(system)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(system)?;
        listener.set_nonblocking(true).map_err(system)?;
        let file = fs::symlink_metadata(path).map_err(system)?;
        Ok(Self { listener, path: path.to_owned(), file: (file.dev(), file.ino()) })
    }

    /// Serves clients on threads of its own.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(self, executor: impl Executor + 'static) -> io::Result<Serving> {
        let stop = Arc::new(AtomicBool::new(false));
        let path = self.path.clone();
        let thread = std::thread::Builder::new().name("rvs-control".to_owned()).spawn({
            let stop = stop.clone();
            move || self.run(&Mutex::new(executor), &SystemNames::new(), &stop)
        })?;
        Ok(Serving { path, stop, thread: Some(thread) })
    }

    /// Serves clients until `stop` is true, then hangs up on them and waits for their threads.
    fn run(&self, executor: &Mutex<dyn Executor>, names: &(dyn Names + Sync), stop: &AtomicBool) {
        let clients = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            while !stop.load(Ordering::Relaxed) {
                if !ready(&self.listener, PollFlags::IN) {
                    continue;
                }
                let stream = match self.listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        if error.kind() != io::ErrorKind::WouldBlock {
                            tracing::warn!(%error, "cannot accept a control client");
                            std::thread::sleep(NOTICE); // out of descriptors: they will not come back at once
                        }
                        continue;
                    }
                };
                if clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS {
                    clients.fetch_sub(1, Ordering::Relaxed);
                    tracing::warn!(limit = CLIENTS, "too many control clients, one was turned away");
                    let _ = (&stream).write_all(b"too many clients, try again\n");
                    continue;
                }
                let clients = &clients;
                threads.spawn(move || {
                    let mut client = Client { stream, executor, names, stop, rest: Vec::new() };
                    client.greet();
                    if let Err(error) = client.serve() {
                        tracing::debug!(%error, "control client ended");
                    }
                    clients.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket that is served. Dropping it stops the service.
#[derive(Debug)]
pub struct Serving {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hangs up on the clients, each after the command it is at, and removes the socket.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the control socket's thread has panicked");
        }
    }
}

/// Waits until there is something to read, or room to write, but not for long.
fn ready(stream: &impl std::os::fd::AsFd, what: PollFlags) -> bool {
    let timeout = Timespec { tv_sec: 0, tv_nsec: NOTICE.subsec_nanos().into() };
    let mut ready = [PollFd::new(stream, what)];
    poll(&mut ready, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// A client's stream. Once it has not taken bytes in time, it takes none any more, so that a long list for it ends soon.
/// A daemon that ends does not wait for it.
struct Patient<'a> {
    stream: &'a UnixStream,
    stop: &'a AtomicBool,
    lost: bool,
}

impl Patient<'_> {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if ready(self.stream, PollFlags::OUT) {
                match send(self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    sent => return Ok(sent?),
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "an answer was not taken in time"))
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lost {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.send(bytes).inspect_err(|_| self.lost = true)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Client<'a> {
    stream: UnixStream,
    executor: &'a Mutex<dyn Executor>,
    names: &'a (dyn Names + Sync),
    stop: &'a AtomicBool,
    /// Read and not yet used.
    rest: Vec<u8>,
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

    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let mut prompted = false;
        while let Some(line) = self.line()? {
            if line.trim_start().starts_with('{') {
                let result = request(&line).and_then(|command| self.executor().execute(command));
                let answer = Answer::from(result).line();
                // An answer is a line of its own, also after a prompt.
                let answer = if std::mem::take(&mut prompted) { format!("\n{answer}") } else { answer };
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
            prompted = true;
            output.flush()?;
        }
        Ok(())
    }

    fn patient(&self) -> Patient<'_> {
        Patient { stream: &self.stream, stop: self.stop, lost: false }
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
            if searched > 0 && now.duration_since(*first_byte.get_or_insert(now)) > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a line was not finished in time"));
            }
            if now.duration_since(silent_since) > IDLE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "idle"));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if !ready(&self.stream, PollFlags::IN) {
                continue;
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer)? {
                0 if self.rest.is_empty() => return Ok(None),
                // a last line without its end counts
                0 => self.rest.push(b'\n'),
                read => {
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
    fn execute(&mut self, command: crate::command::Command) -> Result<crate::command::Reply, crate::command::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).execute(command)
    }
}
