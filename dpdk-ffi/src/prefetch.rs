//! A hint to the processor's caches.

/// Asks the processor to load the cache line at `address` for reading. Only a hint: any address is harmless, and
/// nothing is read. On processors other than x86-64 and AArch64 it does nothing.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    // SAFETY: a prefetch neither faults nor reads, whatever the address. Needed because Rust has it only as an intrinsic.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    // SAFETY: as above; the instruction touches no register or flag. Needed because Rust has no stable intrinsic for it.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
