//! The header of generic UDP encapsulation, variant 0 (draft-ietf-intarea-gue), in front of an IPv4 packet.

use super::ipv4::protocol;

/// Bytes of a header without options.
pub const HEADER: usize = 4;

/// A header without options: an IPv4 packet follows.
pub const IPV4: [u8; HEADER] = [0, protocol::IPIP, 0, 0];
