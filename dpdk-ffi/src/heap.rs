//! What DPDK's heaps hold.

use crate::EalHandle;
use dpdk_sys as sys;

/// The heap of a NUMA node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap {
    /// The NUMA node.
    pub socket: u32,
    /// Bytes it has.
    pub total: u64,
    /// Bytes that nobody has.
    pub free: u64,
    /// Bytes of the largest piece of these.
    pub largest_free: u64,
}

impl EalHandle {
    /// The heaps that have memory, by NUMA node.
    #[must_use]
    pub fn heaps(&self) -> Vec<Heap> {
        let heap = |index| {
            // SAFETY: the index is below the number of nodes; the structure is plain numbers, for which zero is valid, and
            // the call fills it under the heap's own lock. Needed because it is C's.
            let (node, result, raw) = unsafe {
                let node = sys::rte_socket_id_by_idx(index);
                let mut raw: sys::rte_malloc_socket_stats = std::mem::zeroed();
                (node, sys::rte_malloc_get_socket_stats(node, &raw mut raw), raw)
            };
            let there = result == 0 && raw.heap_totalsz_bytes > 0;
            there.then_some(Heap {
                socket: u32::try_from(node).ok()?,
                total: raw.heap_totalsz_bytes as u64,
                free: raw.heap_freesz_bytes as u64,
                largest_free: raw.greatest_free_size as u64,
            })
        };
        // SAFETY: a read of the EAL's configuration, which does not change while it runs. Needed because it is C's.
        (0..unsafe { sys::rte_socket_count() }).filter_map(heap).collect()
    }
}
