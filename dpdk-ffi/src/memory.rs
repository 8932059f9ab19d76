//! Memory for tables, on huge pages where there are any.

use crate::Error;
use crate::instructions::with_best;
use crate::prefetch::prefetch;
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};

/// What a table's memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Reserved pages of 1 GiB.
    Huge1G,
    /// Reserved pages of 2 MiB.
    Huge2M,
    /// Ordinary memory, for which the kernel was asked to use huge pages and is set to.
    Transparent,
    /// Ordinary memory in small pages.
    Ordinary,
}

impl std::fmt::Display for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Huge1G => "1 GiB pages",
            Self::Huge2M => "2 MiB pages",
            Self::Transparent => "transparent huge pages",
            Self::Ordinary => "small pages",
        })
    }
}

/// A table of a fixed number of elements, in memory of its own.
#[derive(Debug)]
pub struct TableMemory<T: Copy> {
    map: Map,
    elements: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its elements as a vector does. Needed because a raw pointer is not Send.
unsafe impl<T: Copy + Send> Send for TableMemory<T> {}
// SAFETY: a shared reference gives shared elements only. Needed as above.
unsafe impl<T: Copy + Sync> Sync for TableMemory<T> {}

impl<T: Copy> TableMemory<T> {
    /// `len` copies of `value`, on the NUMA node `socket` if there is room on it. Takes 1 GiB pages if they are reserved
    /// and the table fills at least half of what it takes of them, else 2 MiB pages, else ordinary memory with the
    /// advice to use huge pages.
    ///
    /// # Errors
    /// [`Error::TableMemory`] if even ordinary memory cannot be had.
    pub fn new(len: usize, value: T, socket: Option<u32>) -> Result<Self, Error> {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= SMALL, "an element that a page can hold") };
        let bytes = len.checked_mul(size_of::<T>()).filter(|bytes| *bytes <= isize::MAX as usize / 2);
        let Some(bytes) = bytes else {
            return Err(Error::TableMemory { bytes: usize::MAX, reason: "more than there can be".to_owned() });
        };
        let map = Map::best(bytes.max(1))?;
        map.prefer(socket);
        let elements = map.start.cast::<T>();
        for index in 0..len {
            // SAFETY: element `index` lies within the mapping, which nobody else knows. Needed because it is not
            // initialised as a T yet.
            unsafe { elements.add(index).write(value) };
        }
        Ok(Self { map, elements, len })
    }

    /// What it is made of.
    #[must_use]
    pub fn kind(&self) -> Pages {
        self.map.pages
    }
}

impl<T: Copy> Deref for TableMemory<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements were written by `new` and belong to this value. Needed because the memory is not Rust's.
        unsafe { std::slice::from_raw_parts(self.elements.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for TableMemory<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and the reference is exclusive. Needed as there.
        unsafe { std::slice::from_raw_parts_mut(self.elements.as_ptr(), self.len) }
    }
}

impl<T: Copy> packet_io::TableMemory<T> for TableMemory<T> {
    #[inline(always)]
    fn prefetch(&self, index: usize) {
        prefetch(self.elements.as_ptr().wrapping_add(index));
    }

    #[inline(always)]
    fn run<W: packet_io::Work>(work: W) -> W::Answer {
        with_best(work)
    }
}

const SMALL: usize = 4096;
const MEGA: usize = 2 << 20;
const GIGA: usize = 1 << 30;

/// An anonymous mapping, private to this process.
#[derive(Debug)]
struct Map {
    start: NonNull<u8>,
    bytes: usize,
    pages: Pages,
}

impl Map {
    fn best(bytes: usize) -> Result<Self, Error> {
        let giga = bytes.next_multiple_of(GIGA);
        if bytes >= giga / 2
            && let Some(start) = map(giga, libc::MAP_HUGETLB | libc::MAP_HUGE_1GB)
        {
            return Ok(Self { start, bytes: giga, pages: Pages::Huge1G });
        }
        let mega = bytes.next_multiple_of(MEGA);
        if let Some(start) = map(mega, libc::MAP_HUGETLB | libc::MAP_HUGE_2MB) {
            return Ok(Self { start, bytes: mega, pages: Pages::Huge2M });
        }
        Self::ordinary(bytes)
    }

    /// Ordinary memory that begins at a multiple of 2 MiB, so that every huge page of it can be one.
    fn ordinary(bytes: usize) -> Result<Self, Error> {
        let mega = bytes.next_multiple_of(MEGA);
        let Some(start) = map(mega + MEGA, 0) else {
            let reason = std::io::Error::last_os_error().to_string();
            return Err(Error::TableMemory { bytes, reason });
        };
        let before = start.as_ptr().align_offset(MEGA);
        // SAFETY: `before` is less than MEGA, so both ends lie within the mapping; what is cut off was never used.
        // Needed because mmap aligns to small pages only.
        let start = unsafe {
            let aligned = start.add(before);
            if before > 0 {
                libc::munmap(start.as_ptr().cast(), before);
            }
            libc::munmap(aligned.as_ptr().add(mega).cast(), MEGA - before);
            aligned
        };
        // SAFETY: advice about our own mapping changes no content. Needed because it is a system call.
        let advised = unsafe { libc::madvise(start.as_ptr().cast(), mega, libc::MADV_HUGEPAGE) } == 0;
        let pages = if advised && transparent_pages() { Pages::Transparent } else { Pages::Ordinary };
        Ok(Self { start, bytes: mega, pages })
    }

    /// Asks for the memory of this node, before any of it is touched. A wish: where the node has no page left, another
    /// node's is taken, since a strict binding of reserved pages would end the process instead.
    fn prefer(&self, socket: Option<u32>) {
        const MPOL_PREFERRED: libc::c_int = 1;
        let Some(node) = socket.filter(|node| *node < 64) else { return };
        let nodes = 1_u64 << node;
        // SAFETY: a policy for our own mapping changes no content; the mask has 64 bits. Needed because it is a system
        // call. A refusal leaves the default, which is the node of the thread that fills the table.
        unsafe {
            let (start, mask) = (self.start.as_ptr().cast::<c_void>(), &raw const nodes);
            libc::syscall(libc::SYS_mbind, start, self.bytes, MPOL_PREFERRED, mask, 65_usize, 0);
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody uses it any more. Needed because it is a system call.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

fn map(bytes: usize, flags: libc::c_int) -> Option<NonNull<u8>> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags);
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches nothing of ours. Needed because it
    // is a system call.
    let start = unsafe { libc::mmap(null_mut(), bytes, access, flags, -1, 0) };
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
}

/// True unless the kernel is set to never use transparent huge pages.
fn transparent_pages() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|setting| !setting.contains("[never]"))
}
