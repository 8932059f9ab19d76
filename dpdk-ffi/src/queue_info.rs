//! What a port's driver tells of its queues. Of use to people alone; nothing here is for the data path.

use crate::{Error, Port};
use dpdk_sys as sys;
use std::ffi::{CStr, c_int};

/// How a queue is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueInfo {
    /// Its descriptors.
    pub descriptors: u16,
    /// What the driver has.
    pub driver: Option<DriverQueue>,
    /// Which of its routines the driver uses: `Vector SSE`.
    pub burst_mode: Option<String>,
    /// Descriptors with frames that nobody has taken yet. Never known of a transmit queue.
    pub used: Option<u32>,
}

/// What a driver tells of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverQueue {
    /// Prefetch, host and write-back thresholds, descriptors.
    pub thresholds: [u8; 3],
    /// Descriptors are given back in groups of so many.
    pub free_threshold: u16,
    /// Transmit: descriptors between two reports of the device. Receive: 0.
    pub report_threshold: u16,
    /// Offloads in use (RTE_ETH_RX_OFFLOAD_* or RTE_ETH_TX_OFFLOAD_*).
    pub offloads: u64,
    /// Receive: frames are dropped while no descriptor is free, instead of blocking other queues.
    pub drops: bool,
    /// It does not start with its port.
    pub deferred_start: bool,
    /// Receive: a frame may come in several segments.
    pub scattered: bool,
    /// Receive: bytes of a buffer; 0 if unknown.
    pub buffer: u16,
    /// It is started.
    pub started: bool,
}

impl Port {
    /// How a receive queue is set up.
    ///
    /// # Errors
    /// [`Error::NoSuchQueue`].
    pub fn rx_queue_info(&self, queue: u16) -> Result<QueueInfo, Error> {
        let port = self.shared.id;
        let (descriptors, started) = self.set_up("rx", queue)?;
        // SAFETY: the structure is plain numbers and pointers, for which zero is valid, and the call fills it. Needed
        // because it is C's.
        let (result, raw) = unsafe {
            let mut raw: sys::rte_eth_rxq_info = std::mem::zeroed();
            (sys::rte_eth_rx_queue_info_get(port, queue, &raw mut raw), raw)
        };
        let conf = raw.conf;
        let driver = (result == 0).then_some(DriverQueue {
            thresholds: [conf.rx_thresh.pthresh, conf.rx_thresh.hthresh, conf.rx_thresh.wthresh],
            free_threshold: conf.rx_free_thresh,
            report_threshold: 0,
            offloads: conf.offloads,
            drops: conf.rx_drop_en != 0,
            deferred_start: conf.rx_deferred_start != 0,
            scattered: raw.scattered_rx != 0,
            buffer: raw.rx_buf_size,
            started: u32::from(raw.queue_state) == sys::SHIM_QUEUE_STARTED,
        });
        // SAFETY: the queue is one of a started port, of which the driver reads two positions. Needed because DPDK is C.
        let used = if started { unsafe { sys::shim_rx_used(port, queue) } } else { -1 };
        Ok(QueueInfo {
            descriptors,
            driver,
            burst_mode: self.burst_mode(queue, sys::rte_eth_rx_burst_mode_get),
            used: u32::try_from(used).ok(),
        })
    }

    /// How a transmit queue is set up.
    ///
    /// # Errors
    /// [`Error::NoSuchQueue`].
    pub fn tx_queue_info(&self, queue: u16) -> Result<QueueInfo, Error> {
        let (descriptors, _) = self.set_up("tx", queue)?;
        // SAFETY: as in `rx_queue_info`. Needed as there.
        let (result, raw) = unsafe {
            let mut raw: sys::rte_eth_txq_info = std::mem::zeroed();
            (sys::rte_eth_tx_queue_info_get(self.shared.id, queue, &raw mut raw), raw)
        };
        let conf = raw.conf;
        let driver = (result == 0).then_some(DriverQueue {
            thresholds: [conf.tx_thresh.pthresh, conf.tx_thresh.hthresh, conf.tx_thresh.wthresh],
            free_threshold: conf.tx_free_thresh,
            report_threshold: conf.tx_rs_thresh,
            offloads: conf.offloads,
            deferred_start: conf.tx_deferred_start != 0,
            started: u32::from(raw.queue_state) == sys::SHIM_QUEUE_STARTED,
            ..DriverQueue::default()
        });
        let burst_mode = self.burst_mode(queue, sys::rte_eth_tx_burst_mode_get);
        Ok(QueueInfo { descriptors, driver, burst_mode, used: None })
    }

    /// The receive and transmit offloads in use (RTE_ETH_RX_OFFLOAD_*, RTE_ETH_TX_OFFLOAD_*).
    ///
    /// # Errors
    /// [`Error::Port`].
    pub fn offloads(&self) -> Result<(u64, u64), Error> {
        // SAFETY: the structure is plain numbers and pointers, for which zero is valid, and the call fills it. Needed
        // because it is C's.
        let (result, raw) = unsafe {
            let mut raw: sys::rte_eth_conf = std::mem::zeroed();
            (sys::rte_eth_dev_conf_get(self.shared.id, &raw mut raw), raw)
        };
        self.check("tell how it is configured", result)?;
        Ok((raw.rxmode.offloads, raw.txmode.offloads))
    }

    fn burst_mode(
        &self,
        queue: u16,
        get: unsafe extern "C" fn(u16, u16, *mut sys::rte_eth_burst_mode) -> c_int,
    ) -> Option<String> {
        // SAFETY: the structure is numbers and characters, for which zero is valid, and the call fills it; the array of
        // characters is read as bytes within its bounds. Needed because it is C's.
        unsafe {
            let mut raw: sys::rte_eth_burst_mode = std::mem::zeroed();
            let result = get(self.shared.id, queue, &raw mut raw);
            let bytes = std::slice::from_raw_parts(raw.info.as_ptr().cast::<u8>(), raw.info.len());
            let text = CStr::from_bytes_until_nul(bytes).ok()?.to_string_lossy();
            (result == 0 && !text.is_empty()).then(|| text.into_owned())
        }
    }
}
