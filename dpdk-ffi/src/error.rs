//! What can go wrong, each in one line that says what is missing and what mends it.

/// An error of DPDK, or of its use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `Eal::init` was called before in this process.
    #[error("DPDK's EAL can be initialised only once in a process, and it was")]
    AlreadyInitialised,
    /// The EAL does not know an argument, or not its value.
    #[error("EAL argument '{0}' is not understood: `dpdk-testpmd --help` lists what is")]
    BadArgument(String),
    /// The EAL refuses its arguments for a reason of its own.
    #[error("the EAL refuses its arguments: {0}")]
    BadArguments(String),
    /// There is no free huge page.
    #[error("no free huge pages: reserve some with `sysctl -w vm.nr_hugepages=512`, or start with --no-huge -m 512")]
    NoHugePages,
    /// Huge pages are reserved, but there is no place for their files.
    #[error(
        "huge pages are reserved but no hugetlbfs is mounted: `mount -t hugetlbfs nodev /dev/hugepages`, or start with --in-memory"
    )]
    NotMounted,
    /// The memory asked for is not there.
    #[error("the EAL cannot reserve its memory ({0}): ask for less with -m, or reserve more huge pages")]
    NoMemory(String),
    /// Somebody else uses the same file prefix.
    #[error("another DPDK process runs with this file prefix: give this one its own with --file-prefix=NAME")]
    PrefixInUse,
    /// The process may not do what a device or the EAL needs.
    #[error("{0}: not permitted: run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK and CAP_SYS_ADMIN")]
    Privileges(String),
    /// No driver takes a device of this name.
    #[error(
        "no driver for device '{0}': virtual devices are net_af_packet0, net_tap0, net_pcap0 …, NICs have PCI \
         addresses (`dpdk-devbind.py --status`), drivers come with `apt-get install libdpdk-dev`"
    )]
    NoDriver(String),
    /// A device was asked for and could not be made.
    #[error("device '{device}' cannot be used: {reason}")]
    Device {
        /// Its name, without arguments.
        device: String,
        /// What its driver said.
        reason: String,
    },
    /// The EAL failed for another reason.
    #[error("the EAL cannot start: {0}")]
    Init(String),
    /// DPDK has no port at all.
    #[error(
        "no ports: bind a NIC with `dpdk-devbind.py -b vfio-pci 0000:01:00.0` and allow it with -a 0000:01:00.0, \
         or give a virtual one such as --vdev=net_af_packet0,iface=eth1"
    )]
    NoPorts,
    /// DPDK's telemetry does not take a command.
    #[error("DPDK's telemetry does not take the command {command}: {reason}")]
    Telemetry {
        /// Its name.
        command: String,
        /// Why not.
        reason: String,
    },
    /// There is no port of this number.
    #[error("there is no port {0}")]
    NoSuchPort(u16),
    /// The port was opened already and is not closed yet.
    #[error("port {0} is in use already")]
    PortTaken(u16),
    /// The port has fewer queues.
    #[error("port {port} has no {direction} queue {queue}")]
    NoSuchQueue {
        /// The port.
        port: u16,
        /// "rx" or "tx".
        direction: &'static str,
        /// The queue.
        queue: u16,
    },
    /// The queue was handed out and not yet dropped.
    #[error("{direction} queue {queue} of port {port} is in use already")]
    QueueTaken {
        /// The port.
        port: u16,
        /// "rx" or "tx".
        direction: &'static str,
        /// The queue.
        queue: u16,
    },
    /// Queues exist only while their port is started.
    #[error("port {0} is not started")]
    NotStarted(u16),
    /// The port must be stopped for this.
    #[error("port {0} is started: stop it first")]
    Started(u16),
    /// A port stops only when all its queues were given back.
    #[error("port {port}: {out} of its queues are still in use")]
    QueuesInUse {
        /// The port.
        port: u16,
        /// How many queues are out.
        out: usize,
    },
    /// A port's driver cannot set its link.
    #[error("port {port}: its driver, {driver}, cannot set its link")]
    NoLink {
        /// The port.
        port: u16,
        /// The driver's name.
        driver: String,
    },
    /// A call about a port failed.
    #[error("port {port}: cannot {what}: {reason}")]
    Port {
        /// The port.
        port: u16,
        /// What was tried, as a verb with its object.
        what: &'static str,
        /// DPDK's reason.
        reason: String,
    },
    /// A pool of frames could not be made.
    #[error("memory pool '{name}' of {count} frames: {reason}")]
    Mempool {
        /// Its name.
        name: String,
        /// How many frames it was to have.
        count: u32,
        /// Why not.
        reason: String,
    },
    /// An lcore could not be used.
    #[error("lcore {lcore}: {reason}")]
    Lcore {
        /// Its number.
        lcore: u32,
        /// Why not.
        reason: String,
    },
    /// A thread could not be registered with DPDK.
    #[error("the thread cannot be registered with DPDK: {0}")]
    Thread(String),
    /// Frames or parts of DPDK are still held, so it must stay as it is.
    #[error("DPDK is still in use: {0}")]
    InUse(String),
    /// Memory for a table could not be had.
    #[error("{bytes} bytes of table memory: {reason}")]
    TableMemory {
        /// How much was asked for.
        bytes: usize,
        /// Why not.
        reason: String,
    },
}

/// DPDK's text for an errno, whatever its sign.
pub(crate) fn text(errno: i32) -> String {
    // SAFETY: rte_strerror takes any number and answers a C string that lives at least until the thread's next call.
    // Needed because DPDK has errno values of its own that the C library does not know.
    let text = unsafe { std::ffi::CStr::from_ptr(dpdk_sys::rte_strerror(errno.abs())) };
    text.to_string_lossy().into_owned()
}

/// This thread's rte_errno.
pub(crate) fn errno() -> i32 {
    // SAFETY: reads a variable of this thread. Needed because it is thread-local in C.
    unsafe { dpdk_sys::shim_errno() }
}
