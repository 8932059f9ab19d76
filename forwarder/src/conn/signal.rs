//! What in a packet matters for the state of its connection.

/// What in a packet matters for the state of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The flags of a TCP segment ([`crate::wire::tcp::flags`]).
    Tcp(u8),
    /// A datagram.
    Udp,
    /// The type of an SCTP packet's first chunk; but ABORT if the first is COOKIE ECHO or COOKIE ACK and the second
    /// is ABORT.
    Sctp(u8),
}

/// SCTP chunk types (RFC 9260); all others count as [`DATA`](chunk::DATA).
#[allow(missing_docs)]
pub mod chunk {
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const ERROR: u8 = 9;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}
