//! A port's own counters.

use crate::{Error, Port};
use dpdk_sys as sys;
use std::ffi::CStr;

/// What a port counted since it was started or its counters were reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames transmitted.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes transmitted.
    pub tx_bytes: u64,
    /// Frames lost because nobody took them from a receive queue in time.
    pub rx_missed: u64,
    /// Frames that came in damaged.
    pub rx_errors: u64,
    /// Frames that could not be transmitted.
    pub tx_errors: u64,
    /// Times that the pool had no frame for a received one.
    pub no_mbuf: u64,
}

impl Port {
    /// Its counters.
    ///
    /// # Errors
    /// [`Error::Port`] if the driver counts nothing.
    pub fn stats(&self) -> Result<PortStats, Error> {
        // SAFETY: the structure is plain numbers, for which zero is valid, and the call fills it. Needed because it is C's.
        let (result, raw) = unsafe {
            let mut raw: sys::rte_eth_stats = std::mem::zeroed();
            (sys::rte_eth_stats_get(self.shared.id, &raw mut raw), raw)
        };
        self.check("tell its counters", result)?;
        Ok(PortStats {
            rx_packets: raw.ipackets,
            tx_packets: raw.opackets,
            rx_bytes: raw.ibytes,
            tx_bytes: raw.obytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            tx_errors: raw.oerrors,
            no_mbuf: raw.rx_nombuf,
        })
    }

    /// Starts its counters from zero.
    ///
    /// # Errors
    /// [`Error::Port`] if the driver cannot.
    pub fn reset_stats(&mut self) -> Result<(), Error> {
        // SAFETY: takes no pointer. Needed because it is C's.
        self.check("reset its counters", unsafe { sys::rte_eth_stats_reset(self.shared.id) })
    }

    /// Starts all that its driver counts from zero.
    ///
    /// # Errors
    /// [`Error::Port`] if the driver cannot.
    pub fn reset_extended_stats(&mut self) -> Result<(), Error> {
        // SAFETY: takes no pointer. Needed because it is C's.
        self.check("reset its extended counters", unsafe { sys::rte_eth_xstats_reset(self.shared.id) })
    }

    /// All that its driver counts, by the driver's names and in its order.
    ///
    /// # Errors
    /// [`Error::Port`].
    pub fn extended_stats(&self) -> Result<Vec<(String, u64)>, Error> {
        let id = self.shared.id;
        // SAFETY: without an array, the call answers how many there are. Needed because it is C's.
        let count = unsafe { sys::rte_eth_xstats_get(id, std::ptr::null_mut(), 0) };
        self.check("tell its extended counters", count)?;
        let room = count as usize;
        // SAFETY: both structures are plain numbers and characters, for which zero is valid. Needed because they are C's.
        let (mut values, mut names) = unsafe {
            (
                vec![std::mem::zeroed::<sys::rte_eth_xstat>(); room],
                vec![std::mem::zeroed::<sys::rte_eth_xstat_name>(); room],
            )
        };
        // SAFETY: both arrays have room for `room` entries, and no more are written. Needed because it is C's.
        let (got, named) = unsafe {
            (
                sys::rte_eth_xstats_get(id, values.as_mut_ptr(), room as u32),
                sys::rte_eth_xstats_get_names(id, names.as_mut_ptr(), room as u32),
            )
        };
        self.check("tell its extended counters", got)?;
        self.check("name its extended counters", named)?;
        values.truncate(got as usize);
        let name = |index: u64| {
            let raw = names.get(usize::try_from(index).ok()?)?;
            // SAFETY: the array of characters is read as bytes within its bounds. Needed because C's characters are
            // signed.
            let bytes = unsafe { std::slice::from_raw_parts(raw.name.as_ptr().cast::<u8>(), raw.name.len()) };
            Some(CStr::from_bytes_until_nul(bytes).ok()?.to_string_lossy().into_owned())
        };
        Ok(values.iter().filter_map(|value| Some((name(value.id)?, value.value))).collect())
    }
}
