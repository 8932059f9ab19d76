//! Frames as they pass, as data.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Bytes of a frame that can be kept, at most.
pub const LONGEST_SNAP: u16 = 1600;
/// How long a capture can last, seconds.
pub const LONGEST_CAPTURE: u32 = 3600;

/// Which frames are captured, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureSpec {
    /// Only those of this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Only IPv4 packets from or to this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Ipv4Addr>,
    /// Those that are received, as they come.
    pub received: bool,
    /// Those that are sent, as they leave.
    pub sent: bool,
    /// Those that are dropped, as far as possible as they came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// So many bytes of each, 1 to 1600.
    pub snaplen: u16,
    /// So many frames, more than none.
    pub count: u64,
    /// It ends by itself after so long, 1 to 3600.
    pub seconds: u32,
}

/// What was captured since this was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CapturePage {
    /// In the order in which each worker saw them.
    pub frames: Vec<CapturedFrame>,
    /// How many passed by too fast to be kept.
    pub missed: u64,
    /// Whether more may come.
    pub running: bool,
}

/// A frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CapturedFrame {
    /// Its port. Of a dropped frame the one that it came by; of one that was ready to leave the one that it would have left
    /// by.
    pub port: u16,
    /// It was sent; else it was received.
    pub sent: bool,
    /// It was dropped, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// When, in microseconds since 1970.
    pub microseconds: u64,
    /// Its bytes, without FCS.
    pub length: u32,
    /// The first of them, two hexadecimal digits each.
    pub bytes: String,
}
