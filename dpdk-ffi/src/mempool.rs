//! Pools of frames.

use crate::{EalHandle, Error, Mbuf, error};
use dpdk_sys as sys;
use packet_io::FramePool;
use std::ffi::CString;
use std::ptr::NonNull;

/// Room in front of a fresh frame, bytes.
pub const HEADROOM: u16 = sys::SHIM_HEADROOM;

/// What a pool is to be.
#[derive(Clone, Debug)]
pub struct MempoolConfig {
    /// How many frames. A power of two minus one wastes no memory.
    pub count: u32,
    /// How many frames each lcore keeps aside for itself (0 to 512, at most count / 1.5).
    pub cache: u32,
    /// Bytes for a frame and what may be added at its end; the headroom of 128 bytes comes on top.
    pub data_room: u16,
    /// The NUMA node; any if none.
    pub socket: Option<u32>,
}

impl Default for MempoolConfig {
    /// 8191 frames of up to 2048 bytes, 256 of them aside for each lcore.
    fn default() -> Self {
        Self { count: 8191, cache: 256, data_room: 2048, socket: None }
    }
}

/// A pool of frames of one size. Clones share it; it lives until the EAL is cleaned up, as its frames may be anywhere.
///
/// Allocation and release are fast on lcores and registered threads ([`crate::lcore`]), and correct on any thread.
#[derive(Clone, Debug)]
pub struct Mempool {
    pool: NonNull<sys::rte_mempool>,
    _eal: EalHandle,
}

// SAFETY: rte_mempool is made for many producers and consumers at once. Needed because a raw pointer is not Send.
unsafe impl Send for Mempool {}
// SAFETY: as above; a shared reference reads counts only. Needed as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool. The name is unique, without NUL, of at most 25 bytes.
    ///
    /// # Errors
    /// [`Error::Mempool`], when the name is taken or the memory is not there.
    pub fn new(eal: &EalHandle, name: &str, config: &MempoolConfig) -> Result<Self, Error> {
        let fail = |reason: &str| Error::Mempool {
            name: name.escape_default().to_string(),
            count: config.count,
            reason: reason.to_owned(),
        };
        let c_name = CString::new(name).map_err(|_| fail("its name contains NUL"))?;
        let Some(room) = config.data_room.checked_add(HEADROOM) else {
            return Err(fail("frames are longer than 65407 bytes"));
        };
        let socket = config.socket.map_or(-1, |socket| socket as i32);
        let mut books = eal.books();
        // SAFETY: the name is a C string; all numbers are checked by the call. Needed because DPDK is C.
        let pool =
            unsafe { sys::rte_pktmbuf_pool_create(c_name.as_ptr(), config.count, config.cache, 0, room, socket) };
        let Some(pool) = NonNull::new(pool) else {
            return Err(fail(&match error::errno() {
                libc::ENOMEM => "not enough memory: give the EAL more with -m, or reserve more huge pages".to_owned(),
                libc::EEXIST => "the name is in use".to_owned(),
                libc::EINVAL => "its cache is larger than 512 or than two thirds of it".to_owned(),
                other => error::text(other),
            }));
        };
        books.pools.push(pool.as_ptr() as usize);
        drop(books);
        Ok(Self { pool, _eal: eal.clone() })
    }

    /// Frames that are out: owned by somebody, or waiting in a device. Walks all lcores' caches: not for the data path.
    /// Exact when nobody allocates or releases meanwhile.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool lives as long as the EAL. Needed because the count is C's.
        unsafe { sys::rte_mempool_in_use_count(self.pool.as_ptr()) }
    }

    /// Frames that can be allocated, those in lcores' caches included. As costly and exact as [`Mempool::in_use`].
    #[must_use]
    pub fn available(&self) -> u32 {
        // SAFETY: as in `in_use`. Needed as there.
        unsafe { sys::rte_mempool_avail_count(self.pool.as_ptr()) }
    }

    pub(crate) fn as_raw(&self) -> *mut sys::rte_mempool {
        self.pool.as_ptr()
    }
}

// What each lcore keeps aside for itself are elements of one array; no two write one cache line.
const _: () = assert!(align_of::<sys::rte_mempool_cache>() == 64);
const _: () = assert!(size_of::<sys::rte_mempool_cache>().is_multiple_of(64));

impl FramePool for Mempool {
    type Frame = Mbuf;

    #[inline]
    fn allocate(&mut self) -> Option<Mbuf> {
        // SAFETY: the pool lives; a fresh frame is owned by nobody, of one segment and length 0. Needed because DPDK is
        // C.
        unsafe { NonNull::new(sys::shim_alloc(self.pool.as_ptr())).map(|raw| Mbuf::from_raw(raw)) }
    }
}
