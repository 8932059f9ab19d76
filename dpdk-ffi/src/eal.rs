//! The Environment Abstraction Layer: DPDK's start and end in this process.

use crate::log::{self, Level};
use crate::{Error, diagnose, error};
use dpdk_sys as sys;
use std::ffi::{CString, c_char};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Set once DPDK was started or tried: it cannot be again.
static TRIED: AtomicBool = AtomicBool::new(false);

/// DPDK, running. Owned by the thread that started it, which became the main lcore; everybody else holds an
/// [`EalHandle`].
///
/// Dropping it cleans up (devices are closed, files removed) if nothing of DPDK is held any more: no handle, pool, port
/// or queue, and no frame. Else all stays as it is until the process ends, because whoever holds it may still use it.
#[derive(Debug)]
pub struct Eal {
    handle: EalHandle,
    // The main lcore's caches are used by this thread alone, and cleaning up must not race with that.
    _not_send: PhantomData<*const ()>,
}

/// A share in the running DPDK. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EalHandle(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    /// Device and port administration in DPDK is not made for several threads; this also guards `Books`.
    books: Mutex<Books>,
    /// The CPUs that the process could use before the EAL pinned its threads.
    affinity: libc::cpu_set_t,
}

/// Who has what.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Ports that were opened and not closed.
    pub(crate) ports: Vec<u16>,
    /// Every pool ever made: addresses of `rte_mempool`, which live until cleanup.
    pub(crate) pools: Vec<usize>,
}

impl Eal {
    /// Starts DPDK. `arguments` are the EAL's (`-l 0-1`, `--no-huge`, `--vdev=…`), without a program name; `log` gets what
    /// DPDK logs, from any thread, and must not call DPDK. What is logged during the start comes when the start is over.
    ///
    /// Pins the calling thread to the main lcore's CPU, and so all threads that it starts later: see
    /// [`EalHandle::unpin`]. Messages that DPDK prints past its log while it starts are swallowed.
    ///
    /// # Errors
    /// One line that says what is missing. Also if a device of the arguments cannot be made: DPDK alone would start
    /// without it. DPDK can be started once in a process, so no second try is possible.
    pub fn init<A: AsRef<str>>(
        arguments: &[A],
        log: impl Fn(Level, &str) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        if TRIED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyInitialised);
        }
        let words: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mut argv = c_arguments(&words)?;
        let affinity = affinity();
        log::route(Box::new(log));
        let mark = log::mark();
        log::hold();
        // Help is printed to the terminal, and ends the process.
        let help = words.iter().any(|word| matches!(*word, "-h" | "--help"));
        let silenced = (!help).then(SilencedTerminal::new);
        let parsed = start(&mut argv);
        drop(silenced);
        log::release(mark);
        let lines = log::since(mark);

        if parsed < 0 {
            let culprit = usize::try_from(USAGE_AT.load(Ordering::SeqCst)).ok();
            let culprit = culprit.and_then(|at| at.checked_sub(2)).and_then(|at| words.get(at)).copied();
            return Err(diagnose::init(&lines, culprit, error::text(error::errno())));
        }
        let books = Mutex::new(Books::default());
        let eal = Self { handle: EalHandle(Arc::new(Inner { books, affinity })), _not_send: PhantomData };
        // From here on, an error cleans up on its way out.
        if let Some(stray) = words.get(parsed as usize) {
            return Err(Error::BadArgument((*stray).to_owned()));
        }
        match diagnose::device(&lines) {
            Some(error) => Err(error),
            None => Ok(eal),
        }
    }

    /// Cleans up, as dropping does, and says if it could.
    ///
    /// # Errors
    /// [`Error::InUse`] when something of DPDK is still held; it then stays as it is until the process ends.
    pub fn cleanup(mut self) -> Result<(), Error> {
        let result = self.try_cleanup();
        std::mem::forget(self);
        result
    }

    fn try_cleanup(&mut self) -> Result<(), Error> {
        let Some(inner) = Arc::get_mut(&mut self.handle.0) else {
            return Err(Error::InUse("a handle, pool, port, queue or lcore is held".into()));
        };
        let books = inner.books.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Frames do not count themselves, their pools do. Nobody else can change the numbers any more: the caches that
        // could be half way through a change belong to lcores and registered threads, which hold a handle.
        for pool in &books.pools {
            // SAFETY: pools are never freed before the cleanup below. Needed because the count is C's.
            let out = unsafe { sys::rte_mempool_in_use_count(*pool as *const sys::rte_mempool) };
            if out != 0 {
                return Err(Error::InUse(format!("{out} frames were not released")));
            }
        }
        // SAFETY: nothing of DPDK is held by anybody but us (checked above), and `Eal` is gone after this: both callers
        // own it. Needed because only the EAL can close devices and remove its files.
        unsafe { sys::rte_eal_cleanup() };
        Ok(())
    }
}

impl Drop for Eal {
    fn drop(&mut self) {
        let _ = self.try_cleanup();
    }
}

impl Deref for Eal {
    type Target = EalHandle;
    fn deref(&self) -> &EalHandle {
        &self.handle
    }
}

impl EalHandle {
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the EAL's own memory is on huge pages (no `--no-huge`).
    #[must_use]
    pub fn has_huge_pages(&self) -> bool {
        // SAFETY: reads the EAL's configuration, which exists as the EAL is running. Needed because it is C's.
        unsafe { sys::rte_eal_has_hugepages() != 0 }
    }

    /// Lets the calling thread run on every CPU that the process had before the EAL pinned it, for threads that are no
    /// worker (control, log).
    pub fn unpin(&self) {
        // SAFETY: passes a CPU set of the right size; a refusal leaves the thread where it is. Needed because affinity
        // is a system call.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const self.0.affinity) };
    }
}

/// argv as C wants it: a program name in front, NULL behind. Never freed, as the EAL keeps pointers into it.
fn c_arguments(words: &[&str]) -> Result<Vec<*mut c_char>, Error> {
    let mut argv = Vec::with_capacity(words.len() + 2);
    for word in ["rvsd"].iter().chain(words) {
        let word = CString::new(*word).map_err(|_| Error::BadArgument(word.replace('\0', "\\0")))?;
        argv.push(word.into_raw());
    }
    argv.push(std::ptr::null_mut());
    Ok(argv)
}

/// getopt's position when the EAL printed its usage: the argument at fault is the one before. -1: it did not.
static USAGE_AT: AtomicI32 = AtomicI32::new(-1);

unsafe extern "C" fn note_usage(_program: *const c_char) {
    // SAFETY: reads an int of the C library while the one thread that changes it is here. Needed because the EAL does
    // not say which argument it did not understand.
    USAGE_AT.store(unsafe { sys::shim_getopt_position() }, Ordering::SeqCst);
}

/// How many arguments the EAL took, or a negative number.
fn start(argv: &mut [*mut c_char]) -> i32 {
    let count = argv.len() as i32 - 1;
    // SAFETY: argv holds `count` C strings that are never freed, and a NULL; the hook may be called at any time.
    // TRIED makes this the only call in the process. Needed because DPDK is C.
    unsafe {
        sys::rte_set_application_usage_hook(Some(note_usage));
        sys::rte_eal_init(count, argv.as_mut_ptr())
    }
}

fn affinity() -> libc::cpu_set_t {
    // SAFETY: a CPU set is plain bits, for which zero is valid, and the call fills no more than its size. Needed because
    // affinity is a system call. A failure leaves the set empty, and `unpin` without effect.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        set
    }
}

/// Standard output and error lead to /dev/null while this lives: a refused argument makes the EAL print its usage,
/// hundreds of lines, past its log.
struct SilencedTerminal {
    saved: [libc::c_int; 2],
}

impl SilencedTerminal {
    fn new() -> Self {
        // SAFETY: system calls on descriptors that are open or refused; nothing of Rust's is closed. Needed because what
        // C prints can only be caught at the descriptor.
        unsafe {
            let saved = [1, 2].map(|descriptor| libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3));
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if null >= 0 {
                libc::dup2(null, 1);
                libc::dup2(null, 2);
                libc::close(null);
            }
            Self { saved }
        }
    }
}

impl Drop for SilencedTerminal {
    fn drop(&mut self) {
        for (target, saved) in [1, 2].into_iter().zip(self.saved) {
            if saved >= 0 {
                // SAFETY: C's buffers are flushed to where they belong, then the descriptors saved by `new` go back to
                // their places. Needed as in `new`.
                unsafe {
                    libc::fflush(std::ptr::null_mut());
                    libc::dup2(saved, target);
                    libc::close(saved);
                }
            }
        }
    }
}
