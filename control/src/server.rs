//! The daemon's end of the control socket: a thread for each client, and not too many of them.
//!
//! It knows lines and clients; what a command means is the [`Executor`]'s, which all clients share in turn.

mod client;
mod seats;

pub use crate::ipvsadm::Executor;

use crate::ipvsadm::names::{Names, Table};
use crate::socket;
use client::Client;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use seats::Seats;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// At most this many clients at a time; for one more, the one that has been silent longest has to go.
const CLIENTS: usize = 64;
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
            move || self.run(&Mutex::new(executor), &names(), &stop)
        })?;
        Ok(Serving { path, stop, thread: Some(thread) })
    }

    /// Serves clients until `stop` is true, then hangs up on them and waits for their threads.
    fn run(&self, executor: &Mutex<dyn Executor>, names: &(dyn Names + Sync), stop: &AtomicBool) {
        let seats = Seats::new(CLIENTS);
        std::thread::scope(|threads| {
            while !stop.load(Ordering::Relaxed) {
                if !readable(&self.listener) {
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
                let seat = match seats.take_in_time(&stream) {
                    Ok(seat) => seat,
                    Err(error) => {
                        tracing::warn!(%error, "a control client was turned away");
                        // It may read slowly, or not at all.
                        let _ = stream.set_nonblocking(true);
                        let _ = (&stream).write_all(b"too many clients, try again\n");
                        continue;
                    }
                };
                let serve = move || {
                    if let Err(error) = Client::new(stream, seat, executor, names, stop).serve() {
                        tracing::debug!(%error, "control client ended");
                    }
                };
                if let Err(error) =
                    std::thread::Builder::new().name("rvs-client".to_owned()).spawn_scoped(threads, serve)
                {
                    tracing::warn!(%error, "no thread for a control client");
                }
            }
            seats.hang_up();
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

/// The names that lines of the socket may use. The daemon asks no resolver: it may be slow, or behind the director.
fn names() -> Table {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    Table::parse(&read("/etc/hosts"), &read("/etc/services"))
}

/// Waits until there is something to read, but not for long.
fn readable(stream: &impl std::os::fd::AsFd) -> bool {
    let timeout = Timespec { tv_sec: 0, tv_nsec: NOTICE.subsec_nanos().into() };
    let mut ready = [PollFd::new(stream, PollFlags::IN)];
    poll(&mut ready, Some(&timeout)).is_ok_and(|ready| ready > 0)
}
