//! How a frame's way through the pipeline ends, and a name for every way of being dropped.

use crate::parse::Malformed;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves by this port, rewritten.
    Transmit(u16),
    /// It leaves by this port, rewritten, in fragments no longer than `mtu`; its IP header is at `l3`.
    Split {
        /// The port.
        port: u16,
        /// Offset of the IP header.
        l3: u8,
        /// Bytes of IP packet.
        mtu: u16,
        /// What the fragments wait for, if the neighbour's MAC address is not known.
        waiting: Option<Waiting>,
    },
    /// It is a fragment of a packet that may be a service's: it waits for the others.
    Collect,
    /// It goes to the kernel interface of the port it came from, as it came.
    Kernel,
    /// It waits for this neighbour's MAC address.
    Hold(Waiting),
    /// It waits for what another worker answers to the question of this number.
    Ask(u32),
    /// Another worker decides, the one with this number; it gets the frame as it came.
    HandOver(u32),
    /// It is dropped.
    Drop(DropReason),
    /// It was turned into an answer of the director (an ICMP error, a reset) that leaves by this port; the frame that
    /// caused it counts as dropped.
    Answer(u16, DropReason),
}

/// What a held frame waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The port it will leave by.
    pub port: u16,
    /// The neighbour.
    pub neighbour: std::net::Ipv4Addr,
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a frame was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name in counters, lists and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// The frame ends in its Ethernet header or tags.
    ShortFrame = "short_frame",
    /// The frame ends in its IPv4 header.
    ShortHeader = "short_ip_header",
    /// The version of an IPv4 packet is not 4.
    BadVersion = "bad_ip_version",
    /// The IPv4 header length is impossible.
    BadHeaderLength = "bad_ip_header_length",
    /// The IPv4 total length is below the header length, or more than the frame has.
    BadTotalLength = "bad_ip_total_length",
    /// The IPv4 header checksum is wrong.
    BadHeaderChecksum = "bad_ip_checksum",
    /// An IP option has an impossible length.
    BadOptions = "bad_ip_options",
    /// An IP option asks for source routing (the kernel drops these too).
    SourceRouted = "source_routed",
    /// The packet ends in its transport header.
    ShortTransport = "short_transport_header",
    /// A fragment ends beyond the longest possible packet.
    FragmentTooLong = "fragment_too_long",
    /// Its source is an address that nobody can be answered at.
    MartianSource = "martian_source",
    /// A wrong ICMP checksum.
    BadIcmpChecksum = "bad_icmp_checksum",
    /// A fragment whose packet was not whole in time.
    FragmentTimeout = "fragment_timeout",
    /// A fragment that overlaps another, and all others of its packet.
    FragmentOverlap = "fragment_overlap",
    /// A fragment that was there already.
    FragmentDuplicate = "fragment_duplicate",
    /// A fragment too many: of its packet, or of all that wait.
    FragmentLimit = "fragment_limit",
    /// The time to live ran out; the sender was told.
    TtlExceeded = "ttl_exceeded",
    /// Too big for the way on, and not to be fragmented; the sender was told.
    TooBig = "too_big",
    /// The scheduler found no server; the client was told.
    NoDestination = "no_destination",
    /// The connection's server was deleted.
    DestinationGone = "destination_gone",
    /// A TCP segment of a service without a connection; it was answered with a reset.
    NoConnection = "no_connection",
    /// A real server spoke without a connection, and was told so (nat_icmp_send).
    NoReplyConnection = "no_reply_connection",
    /// The flow table has no room.
    TableFull = "table_full",
    /// There is no route.
    NoRoute = "no_route",
    /// The neighbour did not answer in time, or too many frames wait.
    Unresolved = "neighbour_unresolved",
    /// The frame has no room for an outer header.
    NoHeadroom = "no_headroom",
    /// The transmit queue was full.
    TransmitFull = "transmit_full",
    /// It was for the kernel, and its class was over its rate.
    KernelPoliced = "kernel_policed",
    /// The queue to the kernel was full.
    KernelFull = "kernel_full",
    /// There is no kernel interface on this port.
    NoKernelInterface = "no_kernel_interface",
    /// An error about a tunnel's outer packet that the client need not hear of.
    TunnelErrorIgnored = "tunnel_error_ignored",
    /// An error about a tunnel's outer packet; the client was told of its own packet instead.
    TunnelError = "tunnel_error",
    /// No memory for another frame.
    NoBuffer = "no_buffer",
    /// The ring to the worker that owns the connection was full.
    HandoverFull = "handover_full",
}

impl From<Malformed> for DropReason {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::ShortFrame => Self::ShortFrame,
            Malformed::ShortHeader => Self::ShortHeader,
            Malformed::BadVersion => Self::BadVersion,
            Malformed::BadHeaderLength => Self::BadHeaderLength,
            Malformed::BadTotalLength => Self::BadTotalLength,
            Malformed::BadHeaderChecksum => Self::BadHeaderChecksum,
            Malformed::BadOptions => Self::BadOptions,
            Malformed::SourceRouted => Self::SourceRouted,
            Malformed::ShortTransport => Self::ShortTransport,
            Malformed::FragmentTooLong => Self::FragmentTooLong,
        }
    }
}
