//! Ports: NICs and virtual devices, from discovery to close.

use crate::{EalHandle, Error, Mempool, RxQueue, TxQueue, error};
use dpdk_sys as sys;
use packet_io::BURST;
use std::ffi::{CStr, c_int};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries of a redirection table that DPDK passes in one piece.
const GROUP: usize = 64;

/// A port's number. Numbers of closed ports are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

/// The ports that nobody else owns. The caller holds the books' lock.
pub(crate) fn list() -> Vec<PortId> {
    // SAFETY: takes any number and answers the next port's, or the maximum. Needed because the list is C's.
    let next = |from: u16| unsafe { sys::rte_eth_find_next_owned_by(from, u64::from(sys::SHIM_NO_OWNER)) } as u16;
    std::iter::successors(Some(next(0)), |id| Some(next(id + 1)))
        .take_while(|id| *id < sys::SHIM_MAX_PORTS)
        .map(PortId)
        .collect()
}

/// What a port is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its device's name: `net_tap0`, `0000:01:00.0`.
    pub name: String,
    /// Its driver's name: `net_tap`, `net_ixgbe`.
    pub driver: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its MTU now, bytes of IP packet.
    pub mtu: u16,
    /// The largest MTU it can have.
    pub max_mtu: u16,
    /// Its NUMA node, if it has one.
    pub socket: Option<u32>,
    /// The number of the kernel interface it is bound to (net_af_packet, net_tap), if any.
    pub interface: Option<u32>,
    /// The most receive queues it can have.
    pub max_rx_queues: u16,
    /// The most transmit queues it can have.
    pub max_tx_queues: u16,
    /// Receive offloads it offers (RTE_ETH_RX_OFFLOAD_*).
    pub rx_offloads: u64,
    /// Transmit offloads it offers (RTE_ETH_TX_OFFLOAD_*).
    pub tx_offloads: u64,
    /// What it can hash for receive-side scaling (RTE_ETH_RSS_*); 0: it has none.
    pub rss_types: u64,
    /// Entries of its redirection table; 0: it has none.
    pub rss_table: u16,
    /// Bytes of its hash key; 0: unknown, then 40 is usual.
    pub rss_key: u8,
}

impl EalHandle {
    /// The ports that can be opened, in ascending order; those that belong to another device (a bond's members) are
    /// left out.
    #[must_use]
    pub fn ports(&self) -> Vec<PortId> {
        let _one_at_a_time = self.books();
        list()
    }

    /// What a port is and can do, without opening it.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`]; [`Error::Port`] if its device does not answer.
    pub fn port_info(&self, PortId(id): PortId) -> Result<PortInfo, Error> {
        let _one_at_a_time = self.books();
        if list().contains(&PortId(id)) { info(id) } else { Err(Error::NoSuchPort(id)) }
    }
}

fn check(port: u16, what: &'static str, result: c_int) -> Result<(), Error> {
    if result >= 0 { Ok(()) } else { Err(Error::Port { port, what, reason: error::text(result) }) }
}

fn raw_info(id: u16) -> Result<sys::rte_eth_dev_info, Error> {
    // SAFETY: the structure is plain numbers and pointers, for which zero is valid, and the call fills it. Needed because
    // it is C's.
    let (result, info) = unsafe {
        let mut info: sys::rte_eth_dev_info = std::mem::zeroed();
        (sys::rte_eth_dev_info_get(id, &raw mut info), info)
    };
    check(id, "tell what it is", result)?;
    Ok(info)
}

/// The name of a port's device. The caller holds the books' lock.
pub(crate) fn device_name(PortId(id): PortId) -> Option<String> {
    // SAFETY: a device's name is a C string that lives as long as the device, which nobody removes meanwhile. Needed
    // because it is C's.
    raw_info(id).ok().map(|info| unsafe { text(sys::rte_dev_name(info.device)) })
}

/// True if the port belongs to this device. The caller holds the books' lock.
pub(crate) fn is_of(PortId(id): PortId, device: *const sys::rte_device) -> bool {
    raw_info(id).is_ok_and(|info| std::ptr::eq(info.device, device))
}

fn info(id: u16) -> Result<PortInfo, Error> {
    let info = raw_info(id)?;
    let mut mac = sys::rte_ether_addr { addr_bytes: [0; 6] };
    let mut mtu = 0;
    // SAFETY: each call fills the variable it is given. Needed because they are C's.
    let (no_mac, no_mtu, socket) = unsafe {
        (
            sys::rte_eth_macaddr_get(id, &raw mut mac),
            sys::rte_eth_dev_get_mtu(id, &raw mut mtu),
            sys::rte_eth_dev_socket_id(id),
        )
    };
    check(id, "tell its MAC address", no_mac)?;
    check(id, "tell its MTU", no_mtu)?;
    Ok(PortInfo {
        // SAFETY: a device's name and its driver's are C strings that live as long as the device. Needed because they
        // are C's.
        name: unsafe { text(sys::rte_dev_name(info.device)) },
        // SAFETY: as above. Needed as above.
        driver: unsafe { text(info.driver_name) },
        mac: mac.addr_bytes,
        mtu,
        max_mtu: info.max_mtu,
        socket: u32::try_from(socket).ok(),
        interface: (info.if_index != 0).then_some(info.if_index),
        max_rx_queues: info.max_rx_queues,
        max_tx_queues: info.max_tx_queues,
        rx_offloads: info.rx_offload_capa,
        tx_offloads: info.tx_offload_capa,
        rss_types: info.flow_type_rss_offloads,
        rss_table: info.reta_size,
        rss_key: info.hash_key_size,
    })
}

/// How frames are spread over several receive queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The Toeplitz key, of [`PortInfo::rss_key`] bytes; empty: the driver's own.
    pub key: Vec<u8>,
    /// What is hashed (RTE_ETH_RSS_*); what the port cannot do is left out.
    pub types: u64,
}

impl Default for Rss {
    /// The driver's key, over addresses and ports of IP, TCP and UDP.
    fn default() -> Self {
        Self { key: Vec::new(), types: sys::SHIM_RSS_IP | sys::SHIM_RSS_TCP | sys::SHIM_RSS_UDP }
    }
}

/// How a port is to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors of each receive queue, adjusted to what the port can do.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue, adjusted to what the port can do.
    pub tx_descriptors: u16,
    /// MTU in bytes of IP packet; none leaves it as it is.
    pub mtu: Option<u16>,
    /// Receive frames for every MAC address.
    pub promiscuous: bool,
    /// Lets the port verify IPv4 header checksums, if it can.
    pub rx_checksum: bool,
    /// Used with several receive queues, if the port can.
    pub rss: Rss,
}

impl Default for PortConfig {
    /// One queue each way, 1024 descriptors each, promiscuous, checksums verified by the port if it can.
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: None,
            promiscuous: true,
            rx_checksum: true,
            rss: Rss::default(),
        }
    }
}

/// A port, owned. It is stopped and closed when it and all its queues were dropped.
#[derive(Debug)]
pub struct Port {
    pub(crate) shared: Arc<Shared>,
}

/// What a port's owner and its queues share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: u16,
    pub(crate) eal: EalHandle,
    /// Frames that receive queues released because they came in several segments.
    pub(crate) refused: AtomicU64,
    /// Frames that are received at once, at most.
    pub(crate) burst: AtomicU16,
    queues: Mutex<Queues>,
}

/// Which queues are out; a port that is not started has none.
#[derive(Debug, Default)]
struct Queues {
    started: bool,
    /// The device was removed: there is nothing to close.
    gone: bool,
    rx: Vec<bool>,
    tx: Vec<bool>,
    /// Descriptors of each receive queue, and of each transmit queue.
    descriptors: (u16, u16),
}

impl Queues {
    fn out(&self) -> usize {
        self.rx.iter().chain(&self.tx).filter(|taken| **taken).count()
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn give_back_rx(&self, queue: u16) {
        self.queues().rx[usize::from(queue)] = false;
    }

    pub(crate) fn give_back_tx(&self, queue: u16) {
        self.queues().tx[usize::from(queue)] = false;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let queues = self.queues.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut books = self.eal.books();
        if !queues.gone {
            // SAFETY: the port is open and nobody has a queue of it, as they hold this value. Needed because only DPDK
            // can close it. Failures leave the port as it is, which harms nobody.
            unsafe {
                sys::rte_eth_dev_stop(self.id);
                sys::rte_eth_dev_close(self.id);
            }
        }
        books.ports.retain(|id| *id != self.id);
    }
}

impl Port {
    /// Opens a port, once at a time.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`], [`Error::PortTaken`].
    pub fn open(eal: &EalHandle, PortId(id): PortId) -> Result<Self, Error> {
        let mut books = eal.books();
        if !list().contains(&PortId(id)) {
            return Err(Error::NoSuchPort(id));
        }
        if books.ports.contains(&id) {
            return Err(Error::PortTaken(id));
        }
        books.ports.push(id);
        drop(books);
        let shared = Shared {
            id,
            eal: eal.clone(),
            refused: AtomicU64::new(0),
            burst: AtomicU16::new(BURST as u16),
            queues: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> PortId {
        PortId(self.shared.id)
    }

    pub(crate) fn check(&self, what: &'static str, result: c_int) -> Result<(), Error> {
        check(self.shared.id, what, result)
    }

    pub(crate) fn raw_info(&self) -> Result<sys::rte_eth_dev_info, Error> {
        raw_info(self.shared.id)
    }

    /// What it is and can do.
    ///
    /// # Errors
    /// [`Error::Port`] if its device does not answer.
    pub fn info(&self) -> Result<PortInfo, Error> {
        info(self.shared.id)
    }

    /// Sets a stopped port up: queues, descriptors, MTU, checksums, RSS. Received frames come from `pool`.
    ///
    /// # Errors
    /// [`Error::Started`]; [`Error::NoSuchQueue`] for more queues than the port can have; [`Error::Port`].
    pub fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<(), Error> {
        let id = self.shared.id;
        let shared = Arc::clone(&self.shared);
        let mut queues = shared.queues();
        if queues.started {
            return Err(Error::Started(id));
        }
        let info = self.raw_info()?;
        let fits = |direction, asked: u16, most: u16| {
            if asked <= most { Ok(()) } else { Err(Error::NoSuchQueue { port: id, direction, queue: most }) }
        };
        fits("rx", config.rx_queues, info.max_rx_queues)?;
        fits("tx", config.tx_queues, info.max_tx_queues)?;

        let mut key = config.rss.key.clone();
        // SAFETY: the structure is plain numbers and pointers, for which zero is valid and DPDK's default. Needed
        // because it is C's.
        let mut raw: sys::rte_eth_conf = unsafe { std::mem::zeroed() };
        if config.rx_checksum {
            raw.rxmode.offloads |= info.rx_offload_capa & sys::SHIM_RX_OFFLOAD_IPV4_CKSUM;
        }
        raw.rxmode.mtu = config.mtu.map_or(0, u32::from);
        let types = config.rss.types & info.flow_type_rss_offloads;
        if config.rx_queues > 1 && types != 0 {
            raw.rxmode.mq_mode = sys::SHIM_MQ_RX_RSS;
            let rss = &mut raw.rx_adv_conf.rss_conf;
            rss.rss_hf = types;
            if !key.is_empty() {
                rss.rss_key = key.as_mut_ptr();
                rss.rss_key_len = key.len() as u8;
            }
        }
        // SAFETY: the configuration and the key it points to outlive the call, which copies them; no queue is out.
        // Needed because it is C's.
        let result = unsafe { sys::rte_eth_dev_configure(id, config.rx_queues, config.tx_queues, &raw const raw) };
        self.check("take this configuration", result)?;

        let (mut rx, mut tx) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: the call changes the two numbers. Needed because it is C's.
        let result = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &raw mut rx, &raw mut tx) };
        self.check("have so many descriptors", result)?;
        // SAFETY: takes no pointer. Needed because it is C's.
        let socket = unsafe { sys::rte_eth_dev_socket_id(id) } as u32;
        for queue in 0..config.rx_queues {
            let (no_conf, pool) = (std::ptr::null(), pool.as_raw());
            // SAFETY: the pool lives until the EAL is cleaned up; without a configuration, the port's default holds.
            // Needed because it is C's.
            let result = unsafe { sys::rte_eth_rx_queue_setup(id, queue, rx, socket, no_conf, pool) };
            self.check("set up a receive queue", result)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as above. Needed as above.
            let result = unsafe { sys::rte_eth_tx_queue_setup(id, queue, tx, socket, std::ptr::null()) };
            self.check("set up a transmit queue", result)?;
        }
        queues.rx = vec![false; usize::from(config.rx_queues)];
        queues.tx = vec![false; usize::from(config.tx_queues)];
        queues.descriptors = (rx, tx);
        drop(queues);
        if let Some(mtu) = config.mtu {
            self.set_mtu(mtu)?;
        }
        self.set_promiscuous(config.promiscuous)
    }

    /// Says which receive queue each entry of the redirection table names: the hash's low bits pick the entry.
    /// `queues` must be as long as [`PortInfo::rss_table`].
    ///
    /// # Errors
    /// [`Error::Port`] if it cannot, or a queue does not exist.
    pub fn set_rss_table(&mut self, queues: &[u16]) -> Result<(), Error> {
        let groups = queues.chunks(GROUP).map(|queues| {
            let mut entries = [0; GROUP];
            entries[..queues.len()].copy_from_slice(queues);
            sys::rte_eth_rss_reta_entry64 { mask: u64::MAX >> (GROUP - queues.len()), reta: entries }
        });
        let mut groups: Vec<_> = groups.collect();
        let size = u16::try_from(queues.len()).unwrap_or(u16::MAX);
        // SAFETY: the groups hold `size` entries, and the call copies them. Needed because it is C's.
        let result = unsafe { sys::rte_eth_dev_rss_reta_update(self.shared.id, groups.as_mut_ptr(), size) };
        self.check("take this redirection table", result)
    }

    /// Changes what a started port hashes, and by which key. (Some drivers take the key only so, others only when they
    /// are configured.)
    ///
    /// # Errors
    /// [`Error::Port`] if it cannot.
    pub fn set_rss(&mut self, rss: &Rss) -> Result<(), Error> {
        let mut key = rss.key.clone();
        let mut conf = sys::rte_eth_rss_conf {
            rss_key: if key.is_empty() { std::ptr::null_mut() } else { key.as_mut_ptr() },
            rss_key_len: key.len() as u8,
            rss_hf: rss.types & self.info()?.rss_types,
        };
        // SAFETY: the configuration and the key it points to outlive the call, which copies them. Needed because it is
        // C's.
        let result = unsafe { sys::rte_eth_dev_rss_hash_update(self.shared.id, &raw mut conf) };
        self.check("take this RSS key", result)
    }

    /// The Toeplitz key in use, of as many bytes as the driver gives, up to 64.
    ///
    /// # Errors
    /// [`Error::Port`] if its driver does not tell.
    pub fn rss_key(&self) -> Result<Vec<u8>, Error> {
        let length = match usize::from(self.info()?.rss_key) {
            0 => 40,
            length => length.min(64),
        };
        let mut key = vec![0; length];
        let mut conf = sys::rte_eth_rss_conf { rss_key: key.as_mut_ptr(), rss_key_len: length as u8, rss_hf: 0 };
        // SAFETY: the call writes at most the key's length into the key, which outlives it. Needed because it is C's.
        let result = unsafe { sys::rte_eth_dev_rss_hash_conf_get(self.shared.id, &raw mut conf) };
        self.check("tell its RSS key", result)?;
        Ok(key)
    }

    /// Whether the device takes flow rules (rte_flow): it is asked, without effect, for one that brings TCP over IPv4 to
    /// the first queue. The port must be configured.
    #[must_use]
    pub fn takes_flow_rules(&self) -> bool {
        // SAFETY: the port is open and configured, and the call changes nothing. Needed because the rule is made of C's
        // structures.
        unsafe { sys::shim_flow_rules(self.shared.id) == 0 }
    }

    /// Starts it; a started port stays so.
    ///
    /// # Errors
    /// [`Error::Port`].
    pub fn start(&mut self) -> Result<(), Error> {
        let mut queues = self.shared.queues();
        if !queues.started {
            // SAFETY: takes no pointer. Needed because it is C's.
            self.check("start", unsafe { sys::rte_eth_dev_start(self.shared.id) })?;
            queues.started = true;
        }
        Ok(())
    }

    /// Stops it; a stopped port stays so. Frames that wait in it are released.
    ///
    /// # Errors
    /// [`Error::QueuesInUse`] while a queue is out; [`Error::Port`].
    pub fn stop(&mut self) -> Result<(), Error> {
        let mut queues = self.shared.queues();
        if queues.out() > 0 {
            return Err(Error::QueuesInUse { port: self.shared.id, out: queues.out() });
        }
        if queues.started {
            // SAFETY: no queue is out, so nobody receives or transmits. Needed because it is C's.
            self.check("stop", unsafe { sys::rte_eth_dev_stop(self.shared.id) })?;
            queues.started = false;
        }
        Ok(())
    }

    /// The descriptors of a queue that is set up, and whether its port is started.
    pub(crate) fn set_up(&self, direction: &'static str, queue: u16) -> Result<(u16, bool), Error> {
        let queues = self.shared.queues();
        let (rx, tx) = queues.descriptors;
        let (all, descriptors) = if direction == "rx" { (&queues.rx, rx) } else { (&queues.tx, tx) };
        if usize::from(queue) < all.len() {
            Ok((descriptors, queues.started))
        } else {
            Err(Error::NoSuchQueue { port: self.shared.id, direction, queue })
        }
    }

    /// There is nothing to close any more: the device was removed.
    pub(crate) fn forget_device(&self) {
        self.shared.queues().gone = true;
    }

    /// Hands a receive queue of a started port out.
    ///
    /// # Errors
    /// [`Error::NotStarted`], [`Error::NoSuchQueue`], [`Error::QueueTaken`] while an earlier value lives.
    pub fn rx_queue(&mut self, queue: u16) -> Result<RxQueue, Error> {
        self.take_queue("rx", queue, |queues| &mut queues.rx)?;
        Ok(RxQueue::new(self.shared.id, queue, Arc::clone(&self.shared)))
    }

    /// Hands a transmit queue of a started port out.
    ///
    /// # Errors
    /// [`Error::NotStarted`], [`Error::NoSuchQueue`], [`Error::QueueTaken`] while an earlier value lives.
    pub fn tx_queue(&mut self, queue: u16) -> Result<TxQueue, Error> {
        self.take_queue("tx", queue, |queues| &mut queues.tx)?;
        Ok(TxQueue::new(self.shared.id, queue, Arc::clone(&self.shared)))
    }

    fn take_queue(
        &self,
        direction: &'static str,
        queue: u16,
        side: impl FnOnce(&mut Queues) -> &mut Vec<bool>,
    ) -> Result<(), Error> {
        let port = self.shared.id;
        let mut queues = self.shared.queues();
        if !queues.started {
            return Err(Error::NotStarted(port));
        }
        match side(&mut queues).get_mut(usize::from(queue)) {
            None => Err(Error::NoSuchQueue { port, direction, queue }),
            Some(true) => Err(Error::QueueTaken { port, direction, queue }),
            Some(taken) => {
                *taken = true;
                Ok(())
            }
        }
    }

    /// Receives at most so many frames at once from now on, 1 to [`BURST`]. Drivers that use vector instructions receive
    /// none of less than four (DPDK's guide to each of them).
    pub fn set_burst(&self, frames: u16) {
        self.shared.burst.store(frames.clamp(1, BURST as u16), Relaxed);
    }

    /// Frames that were received in several segments and released; see [`RxQueue`].
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Relaxed)
    }

    /// Sets its MAC address, and that of its kernel interface if it has one.
    ///
    /// # Errors
    /// [`Error::Port`] if it cannot, or the address is no unicast address.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), Error> {
        let mut raw = sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: the call reads the address. Needed because it is C's.
        let result = unsafe { sys::rte_eth_dev_default_mac_addr_set(self.shared.id, &raw mut raw) };
        self.check("take this MAC address", result)
    }

    /// Sets its MTU (bytes of IP packet), and that of its kernel interface if it has one. Drivers that know no MTU
    /// (net_pcap, net_ring) accept every one.
    ///
    /// # Errors
    /// [`Error::Port`] if it cannot: out of range, or the port must be stopped for it.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), Error> {
        // SAFETY: takes no pointer. Needed because it is C's.
        match unsafe { sys::rte_eth_dev_set_mtu(self.shared.id, mtu) } {
            result if result == -libc::ENOTSUP => Ok(()),
            result => self.check("take this MTU", result),
        }
    }

    /// Receives frames for every MAC address, or no more. Drivers without the choice (net_pcap, net_null) pass.
    ///
    /// # Errors
    /// [`Error::Port`].
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), Error> {
        let id = self.shared.id;
        // SAFETY: takes no pointer. Needed because it is C's.
        let result =
            unsafe { if on { sys::rte_eth_promiscuous_enable(id) } else { sys::rte_eth_promiscuous_disable(id) } };
        if result == -libc::ENOTSUP { Ok(()) } else { self.check("change its promiscuous mode", result) }
    }

    /// Receives frames for every multicast address, or no more.
    ///
    /// # Errors
    /// [`Error::Port`].
    pub fn set_all_multicast(&mut self, on: bool) -> Result<(), Error> {
        let id = self.shared.id;
        // SAFETY: takes no pointer. Needed because it is C's.
        let result =
            unsafe { if on { sys::rte_eth_allmulticast_enable(id) } else { sys::rte_eth_allmulticast_disable(id) } };
        if result == -libc::ENOTSUP { Ok(()) } else { self.check("change how it takes multicast", result) }
    }
}

/// A C string's text, or nothing for NULL.
///
/// # Safety
/// `string` is NULL or a C string.
pub(crate) unsafe fn text(string: *const std::ffi::c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller's word. Needed because it is C's.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}
