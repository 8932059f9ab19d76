//! How long a connection lives without a packet, by its state.

use super::State;
use crate::clock::TICKS_PER_SECOND;

/// A timeout for each state, ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts([u32; State::COUNT]);

impl Default for Timeouts {
    /// The kernel's.
    fn default() -> Self {
        Self(State::ALL.map(|state| seconds(state) * TICKS_PER_SECOND))
    }
}

/// The kernel's timeouts: tcp_timeouts, udp_timeouts and sctp_timeouts of its ip_vs_proto_*.c.
const fn seconds(state: State) -> u32 {
    use State::*;
    /// The largest retransmission timeout of RFC 9260, and a second.
    const SCTP_MAX_RTO: u32 = 61;
    match state {
        None => 2,
        Established | SctpEstablished => 900,
        SynSent | FinWait | TimeWait | Listen | SynAck => 120,
        SynRecv | CloseWait => 60,
        LastAck => 30,
        Close => 10,
        Udp => 300,
        Init1 | Rejected => 4,
        Init | CookieSent | CookieReplied | CookieWait | Cookie | CookieEchoed | ShutdownSent | ShutdownReceived
        | ShutdownAckSent | Closed => SCTP_MAX_RTO,
    }
}

impl Timeouts {
    /// The longest that ipvsadm takes, seconds.
    pub const MAX_SECONDS: u32 = 2_147_483;

    /// The timeout of a state, ticks.
    #[inline]
    #[must_use]
    pub fn of(&self, state: State) -> u32 {
        self.0[state as usize]
    }

    /// Sets the timeout of a state, seconds (more than [`MAX_SECONDS`](Self::MAX_SECONDS) counts as that).
    pub fn set_state(&mut self, state: State, seconds: u32) {
        self.0[state as usize] = seconds.min(Self::MAX_SECONDS) * TICKS_PER_SECOND;
    }

    /// `ipvsadm --set TCP TCPFIN UDP`, seconds: ESTABLISHED, FIN_WAIT and UDP; 0 leaves one as it is.
    pub fn set(&mut self, tcp: u32, tcp_fin: u32, udp: u32) {
        for (state, seconds) in [(State::Established, tcp), (State::FinWait, tcp_fin), (State::Udp, udp)] {
            if seconds != 0 {
                self.set_state(state, seconds);
            }
        }
    }

    /// `ipvsadm -L --timeout`: what [`set`](Self::set) sets, seconds.
    #[must_use]
    pub fn shown(&self) -> [u32; 3] {
        [State::Established, State::FinWait, State::Udp].map(|state| self.of(state) / TICKS_PER_SECOND)
    }
}
