//! The states of a connection, and how packets change them: the tables of the kernel's ip_vs_proto_tcp.c,
//! ip_vs_proto_udp.c and ip_vs_proto_sctp.c (6.1), which the recordings in tests/corpus/states confirm for TCP.

use super::signal::{Signal, chunk};
use crate::wire::tcp::flags::{ACK, FIN, RST, SYN};

/// A state of a connection. One type for all protocols; [`State::None`] is the first of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the field's
pub enum State {
    #[default]
    None,
    Established,
    SynSent,
    SynRecv,
    FinWait,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    SynAck,
    Udp,
    Init1,
    Init,
    CookieSent,
    CookieReplied,
    CookieWait,
    Cookie,
    CookieEchoed,
    SctpEstablished,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    Rejected,
    Closed,
}

impl State {
    /// How many there are.
    pub const COUNT: usize = 25;

    /// All of them, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = {
        use State::*;
        [
            None,
            Established,
            SynSent,
            SynRecv,
            FinWait,
            TimeWait,
            Close,
            CloseWait,
            LastAck,
            Listen,
            SynAck,
            Udp,
            Init1,
            Init,
            CookieSent,
            CookieReplied,
            CookieWait,
            Cookie,
            CookieEchoed,
            SctpEstablished,
            ShutdownSent,
            ShutdownReceived,
            ShutdownAckSent,
            Rejected,
            Closed,
        ]
    };

    /// The name that `ipvsadm -Lnc` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Established | Self::SctpEstablished => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::SynAck => "SYNACK",
            Self::Udp => "UDP",
            Self::Init1 => "INIT1",
            Self::Init => "INIT",
            Self::CookieSent => "C-SENT",
            Self::CookieReplied => "C-REPLIED",
            Self::CookieWait => "C-WAIT",
            Self::Cookie => "COOKIE",
            Self::CookieEchoed => "C-ECHOED",
            Self::ShutdownSent => "S-SENT",
            Self::ShutdownReceived => "S-RECEIVED",
            Self::ShutdownAckSent => "S-ACK-SENT",
            Self::Rejected => "REJECTED",
            Self::Closed => "CLOSED",
        }
    }

    /// True if a connection in this state counts in ActiveConn, false if in InActConn.
    #[must_use]
    pub const fn is_active(self) -> bool {
        use State::*;
        matches!(self, SynSent | SynRecv | SynAck | Established | SctpEstablished)
    }

    /// True if the two sides have not yet agreed to talk, as far as the director has seen.
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        use State::*;
        matches!(self, None | SynSent | SynRecv | SynAck | Init1 | Init | CookieSent | CookieWait | Cookie)
    }

    /// True if both sides are done, or one of them has broken off.
    #[must_use]
    pub const fn is_over(self) -> bool {
        use State::*;
        matches!(self, TimeWait | Close | LastAck | Rejected | Closed)
    }
}

/// What the director sees of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A packet from the client, where both directions are seen.
    Request,
    /// A packet from the server.
    Reply,
    /// A packet from the client, where only these are seen.
    RequestOnly,
}

/// The state after a packet.
#[inline]
#[must_use]
pub fn transition(state: State, view: View, signal: Signal, secure: bool) -> State {
    match signal {
        Signal::Tcp(flags) => tcp(state, view, flags, secure),
        Signal::Udp => State::Udp,
        Signal::Sctp(chunk) => sctp(state, view, chunk),
    }
}

#[inline]
fn tcp(state: State, view: View, flags: u8, secure: bool) -> State {
    let row = match flags {
        _ if flags & RST != 0 => 3,
        _ if flags & SYN != 0 => 0,
        _ if flags & FIN != 0 => 1,
        _ if flags & ACK != 0 => 2,
        _ => return State::Close,
    };
    let tables = if secure { &tcp_table::SECURE } else { &tcp_table::NORMAL };
    // A state of another protocol cannot be here; if it were, the packet would leave it alone.
    tables[view as usize][row].get(state as usize).copied().unwrap_or(state)
}

/// TCP: by view, by flag (SYN, FIN, ACK, RST), by state (the first eleven of [`State`]).
#[rustfmt::skip]
mod tcp_table {
    use super::State::{
        self, Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI, SynAck as SA,
        SynRecv as SR, SynSent as SS, TimeWait as TW,
    };
    type Table = [[[State; 11]; 4]; 3];

    pub const NORMAL: Table = [
        // NONE ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
        [
            [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
            [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
            [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
            [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
        ],
        [
            [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
            [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
            [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
            [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
        ],
        [
            [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
            [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
            [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
            [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
        ],
    ];

    /// secure_tcp: a client's word alone does not establish a connection whose server can be heard.
    pub const SECURE: Table = [
        [
            [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
            [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
            [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
            [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
        ],
        [
            [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
            [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
            [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
            [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
        ],
        [
            [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
            [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
            [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
            [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
        ],
    ];
}

fn sctp(state: State, view: View, chunk: u8) -> State {
    let row = match chunk {
        chunk::INIT => 1,
        chunk::INIT_ACK => 2,
        chunk::COOKIE_ECHO => 3,
        chunk::COOKIE_ACK => 4,
        chunk::SHUTDOWN => 5,
        chunk::SHUTDOWN_ACK => 6,
        chunk::SHUTDOWN_COMPLETE => 7,
        chunk::ERROR => 8,
        chunk::ABORT => 9,
        _ => 0, // DATA, SACK, HEARTBEAT and all others
    };
    let column = match state {
        State::None => 0,
        _ if state >= State::Init1 => state as usize - State::Init1 as usize + 1,
        _ => return state, // a state of another protocol cannot be here
    };
    sctp_table::TABLE[view as usize][row][column]
}

/// SCTP: by view, by chunk, by state (NONE, then those from INIT1 on).
#[rustfmt::skip]
mod sctp_table {
    use super::State::{
        self, Closed as CL, Cookie as CO, CookieEchoed as CE, CookieReplied as CR, CookieSent as CS, CookieWait as CW,
        Init as IN, Init1 as I1, Rejected as RJ, SctpEstablished as ES, ShutdownAckSent as SA, ShutdownReceived as SR,
        ShutdownSent as SS,
    };

    pub const TABLE: [[[State; 14]; 10]; 3] = [
        // NONE I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
        [
            [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
            [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
            [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
            [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
            [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
            [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
            [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
        ],
        [
            [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
            [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
            [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
            [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
            [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
            [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        ],
        [
            [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
            [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN],
            [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL],
            [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
            [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL],
            [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
            [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
            [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
            [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
        ],
    ];
}
