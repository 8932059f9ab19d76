//! A frame in a DPDK buffer.

use crate::prefetch::prefetch;
use dpdk_sys as sys;
use packet_io::{Burst, Checksums, Frame};
use std::ptr::NonNull;

/// An owned frame of exactly one segment, to which nobody else refers. Dropping it returns its buffer to the pool.
///
/// It is a non-null pointer and nothing else, so `Option<Mbuf>` is what DPDK calls `struct rte_mbuf *`, and a burst's
/// slots are the arrays that DPDK reads and writes.
///
/// Always true: `refcnt` and `nb_segs` are 1, `data_off + data_len <= buf_len`, `pkt_len == data_len`.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::shim_mbuf>);

// SAFETY: an mbuf has one owner, and pools may be given buffers from any thread. Needed because frames wander between
// lcores, and a raw pointer is not Send.
unsafe impl Send for Mbuf {}
// SAFETY: a shared reference only reads fields that change only through an exclusive one. Needed as above.
unsafe impl Sync for Mbuf {}

/// The [shape](Mbuf::shape) of one segment with one owner.
pub(crate) const ONE: u32 = 1 << 16 | 1;

const _: () = assert!(size_of::<Option<Mbuf>>() == size_of::<*mut sys::rte_mbuf>());

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    /// `raw` is a buffer of a live pool, owned by nobody else, for which the invariants of [`Mbuf`] hold.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Self {
        Self(raw.cast())
    }

    /// The pointer, for a call that does not take ownership.
    #[inline]
    pub(crate) fn as_raw(&self) -> *mut sys::rte_mbuf {
        self.0.as_ptr().cast()
    }

    #[inline(always)]
    fn head(&self) -> &sys::shim_mbuf {
        // SAFETY: a live buffer begins with these fields (the shim asserts where they lie), and a shared reference to
        // the frame keeps them unchanged. Needed because the memory is C's.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn head_mut(&mut self) -> &mut sys::shim_mbuf {
        // SAFETY: as in `head`; the reference is exclusive because the frame's is. Needed as there.
        unsafe { self.0.as_mut() }
    }

    /// [`ONE`] for every `Mbuf`, with more bits for what a driver may hand out besides: several segments, or several
    /// owners. (Neither number is ever 0.)
    #[inline(always)]
    pub(crate) fn shape(&self) -> u32 {
        u32::from(self.head().refcnt) | u32::from(self.head().nb_segs) << 16
    }

    #[inline(always)]
    fn data(&self) -> *mut u8 {
        let head = self.head();
        head.buf_addr.cast::<u8>().wrapping_add(usize::from(head.data_off))
    }

    /// Asks the processor to load the frame's first cache line.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch(self.data());
    }

    /// The port that received the frame, or an unspecified number.
    #[inline]
    #[must_use]
    pub fn port(&self) -> u16 {
        self.head().port
    }

    /// Unused bytes in front of the frame.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.head().data_off)
    }

    /// Unused bytes behind the frame.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        let head = self.head();
        usize::from(head.buf_len) - usize::from(head.data_off) - usize::from(head.data_len)
    }

    #[inline(always)]
    fn set_len(&mut self, len: u16) {
        let head = self.head_mut();
        head.data_len = len;
        head.pkt_len = u32::from(len);
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the frame is owned, and is not used after this; a chain that a driver built is released whole. Needed
        // because the pool is C's.
        unsafe { sys::shim_free(self.as_raw()) }
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mbuf({} bytes)", self.head().data_len)
    }
}

// Lengths fit in 16 bits throughout: they are bounded by `buf_len`.
#[allow(clippy::cast_possible_truncation)]
impl Frame for Mbuf {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `data_len` bytes at `data_off` lie in the buffer (invariant), which a pool filled with zeros once, so
        // they are initialised; they change only through an exclusive reference. Needed because the memory is C's.
        unsafe { std::slice::from_raw_parts(self.data(), usize::from(self.head().data_len)) }
    }

    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the reference is exclusive. Needed as there.
        unsafe { std::slice::from_raw_parts_mut(self.data(), usize::from(self.head().data_len)) }
    }

    #[inline(always)]
    fn grow_front(&mut self, n: usize) -> bool {
        let fits = n <= self.headroom();
        if fits {
            self.head_mut().data_off -= n as u16;
            self.set_len(self.head().data_len + n as u16);
        }
        fits
    }

    #[inline]
    fn shrink_front(&mut self, n: usize) -> bool {
        let fits = n <= usize::from(self.head().data_len);
        if fits {
            self.head_mut().data_off += n as u16;
            self.set_len(self.head().data_len - n as u16);
        }
        fits
    }

    #[inline]
    fn grow_back(&mut self, n: usize) -> bool {
        let fits = n <= self.tailroom();
        if fits {
            self.set_len(self.head().data_len + n as u16);
        }
        fits
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) {
        if len < usize::from(self.head().data_len) {
            self.set_len(len as u16);
        }
    }

    #[inline(always)]
    fn checksums(&self) -> Checksums {
        if self.head().ol_flags & sys::SHIM_RX_IP_CKSUM_MASK == sys::SHIM_RX_IP_CKSUM_GOOD {
            Checksums::Ipv4Good
        } else {
            Checksums::Unknown
        }
    }
}

/// A burst's slots as the array of pointers that DPDK knows.
#[inline(always)]
pub(crate) fn raw_slots(slots: &mut [Option<Mbuf>]) -> *mut *mut sys::rte_mbuf {
    slots.as_mut_ptr().cast()
}

/// Releases all frames of a burst with one call, and empties it.
pub fn release(burst: &mut Burst<Mbuf>) {
    let slots = burst.slots_mut();
    // SAFETY: the array holds frames that are owned by the burst, and NULL; they are forgotten below. Needed because the
    // pool is C's.
    unsafe { sys::rte_pktmbuf_free_bulk(raw_slots(slots), slots.len() as u32) };
    let n = slots.len();
    slots.iter_mut().for_each(|slot| std::mem::forget(slot.take()));
    burst.consume(n);
}
