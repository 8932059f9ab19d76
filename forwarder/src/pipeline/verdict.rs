//! How a frame's way through the pipeline ends, and a name for every way of being dropped.

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves by this port, rewritten.
    Transmit(u16),
    /// It goes to the kernel interface of the port it came from, as it came.
    Kernel,
    /// It waits for this neighbour's MAC address.
    Hold(Waiting),
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
    /// Too short for its headers.
    Short = "short_frame",
    /// An IPv4 header with an impossible version or header length.
    BadHeader = "bad_ip_header",
    /// A total length shorter than its headers or longer than the frame.
    BadLength = "bad_ip_length",
    /// A wrong IPv4 header checksum.
    BadHeaderChecksum = "bad_ip_checksum",
    /// A TCP, UDP, SCTP or ICMP header that does not fit or makes no sense.
    BadTransport = "bad_transport_header",
    /// A wrong ICMP checksum.
    BadIcmpChecksum = "bad_icmp_checksum",
    /// IP options that ask for source routing (the kernel drops them too).
    SourceRouted = "source_routed",
    /// A fragment of a service's packet.
    Fragment = "fragment",
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
    /// The queue to the kernel was full, or its class was over its rate.
    KernelPoliced = "kernel_policed",
    /// There is no kernel interface on this port.
    NoKernelInterface = "no_kernel_interface",
    /// No memory for another frame.
    NoBuffer = "no_buffer",
}
