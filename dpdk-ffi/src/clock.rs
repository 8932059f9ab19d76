//! The cycle counter that all cores share.

use crate::EalHandle;

/// The time-stamp counter: constant rate ([`tsc_hz`]), the same on all cores of a machine that DPDK supports. Reads are
/// not ordered with what is around them.
#[inline(always)]
#[must_use]
pub fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction. Needed because Rust has it only as an intrinsic.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let ticks: u64;
        // SAFETY: reads a counter that user space may read. Needed because Rust has no stable intrinsic for it.
        unsafe { std::arch::asm!("mrs {0}, cntvct_el0", out(reg) ticks, options(nostack, nomem, preserves_flags)) };
        ticks
    }
}

/// Ticks of [`tsc`] in a second, as the EAL measured it when it started.
#[must_use]
pub fn tsc_hz(_eal: &EalHandle) -> u64 {
    // SAFETY: reads a number that the EAL, which is running, has set. Needed because it is C's.
    unsafe { dpdk_sys::rte_get_tsc_hz() }
}
