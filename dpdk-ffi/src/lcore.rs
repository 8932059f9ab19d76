//! Threads that DPDK knows: lcores that run workers, and threads of our own that register.

use crate::{EalHandle, Error, error};
use dpdk_sys as sys;
use std::any::Any;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, sync_channel};

/// A logical core of the EAL's `-l`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lcore {
    /// Its number.
    pub id: u32,
    /// The CPU it runs on, if on exactly one.
    pub cpu: Option<u32>,
    /// Its NUMA node.
    pub socket: u32,
    /// True for the one that `Eal::init` ran on; the others wait for work.
    pub main: bool,
}

impl EalHandle {
    /// The lcores, in ascending order, the main one included.
    #[must_use]
    pub fn lcores(&self) -> Vec<Lcore> {
        // SAFETY: reads of the EAL's configuration, which does not change while it runs; next_lcore answers numbers
        // below the maximum until it ends there. Needed because it is C's.
        unsafe {
            let main = sys::rte_get_main_lcore();
            let mut found = Vec::new();
            let mut id = sys::rte_get_next_lcore(u32::MAX, 0, 0);
            while id < sys::SHIM_MAX_LCORES {
                found.push(Lcore {
                    id,
                    cpu: u32::try_from(sys::rte_lcore_to_cpu_id(id as c_int)).ok(),
                    socket: sys::rte_lcore_to_socket_id(id),
                    main: id == main,
                });
                id = sys::rte_get_next_lcore(id, 0, 0);
            }
            found
        }
    }

    /// Runs `work` on a waiting lcore that is not the main one.
    ///
    /// # Errors
    /// [`Error::Lcore`] if there is no such lcore, or it is busy.
    pub fn launch<T, F>(&self, lcore: u32, work: F) -> Result<LcoreTask<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let fail = |reason: &str| Error::Lcore { lcore, reason: reason.to_owned() };
        if !self.lcores().iter().any(|known| known.id == lcore && !known.main) {
            return Err(fail("there is no such worker lcore: name it in the EAL's -l"));
        }
        let (sender, result) = sync_channel(1);
        let eal = self.clone();
        let job: Job = Box::new(move || {
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
            // The lcore's caches are quiet from here on: the EAL may be cleaned up.
            drop(eal);
        });
        let argument = Box::into_raw(Box::new(job));
        // SAFETY: `run` is called once with `argument`, which it owns then. Needed because DPDK is C.
        match unsafe { sys::rte_eal_remote_launch(Some(run), argument.cast(), lcore) } {
            0 => Ok(LcoreTask { lcore, result, _eal: self.clone() }),
            failed => {
                // SAFETY: the lcore did not take the job, so it is ours again. Needed because it was a raw pointer.
                drop(unsafe { Box::from_raw(argument) });
                Err(fail(&if failed == -libc::EBUSY { "it is busy".to_owned() } else { error::text(failed) }))
            }
        }
    }

    /// Makes the calling thread known to DPDK, so that it has caches of its own in the pools, until the answer is
    /// dropped. Lcores are known already.
    ///
    /// # Errors
    /// [`Error::Thread`] if DPDK has no number left, or runs with secondary processes.
    pub fn register_thread(&self) -> Result<Registered, Error> {
        // SAFETY: concerns the calling thread alone. Needed because it is C's.
        match unsafe { sys::rte_thread_register() } {
            0 => Ok(Registered { _eal: self.clone(), _not_send: PhantomData }),
            _ => Err(Error::Thread(error::text(error::errno()))),
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

unsafe extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: `launch` made the pointer from a box and gave it away. Needed because it travelled through C.
    let job = unsafe { Box::from_raw(argument.cast::<Job>()) };
    job();
    0
}

/// Work that runs on an lcore. Dropping this leaves it running.
#[derive(Debug)]
pub struct LcoreTask<T> {
    lcore: u32,
    result: Receiver<Result<T, Box<dyn Any + Send>>>,
    _eal: EalHandle,
}

impl<T> LcoreTask<T> {
    /// The lcore's number.
    #[must_use]
    pub fn lcore(&self) -> u32 {
        self.lcore
    }

    /// True once the work is done, and `join` will not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // SAFETY: the lcore exists, as it was launched. Needed because its state is C's.
        unsafe { sys::rte_eal_get_lcore_state(self.lcore) == sys::WAIT }
    }

    /// Waits for the work's end; afterwards the lcore can be launched again.
    ///
    /// # Panics
    /// As the work did.
    pub fn join(self) -> T {
        let result = self.result.recv().expect("the job always sends its result before it ends");
        // SAFETY: as in `is_finished`; it waits until the lcore is ready for new work. Needed as there.
        unsafe { sys::rte_eal_wait_lcore(self.lcore) };
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Proof that the current thread is known to DPDK.
#[derive(Debug)]
pub struct Registered {
    _eal: EalHandle,
    _not_send: PhantomData<*const ()>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: this value does not leave the thread that registered. Needed because it is C's.
        unsafe { sys::rte_thread_unregister() }
    }
}
