//! Who may start a connection, and what becomes of a packet whose connection has lost its server: the rules of the
//! kernel's ip_vs_in, tcp_conn_schedule and sctp_conn_schedule.

use super::signal::{Signal, chunk};
use super::{Conn, State};
use crate::service::Settings;
use crate::wire::tcp::flags as tcp;

/// True if a packet to a service that has no connection may start one. Else it is none of the service's business and
/// goes to the kernel, which answers with a reset.
#[must_use]
pub fn may_start(signal: Signal, settings: &Settings) -> bool {
    match signal {
        Signal::Tcp(flags) => flags & tcp::RST == 0 && (flags & tcp::SYN != 0 || settings.sloppy_tcp),
        Signal::Udp => true,
        Signal::Sctp(chunk) => chunk != chunk::ABORT && (chunk == chunk::INIT || settings.sloppy_sctp),
    }
}

/// True if the packet is a client's attempt at a new connection, whatever is known about its endpoints:
/// [`is_replaced`] then says whether the old connection gives way.
#[inline]
#[must_use]
pub fn starts_anew(signal: Signal) -> bool {
    match signal {
        Signal::Tcp(flags) => flags & tcp::SYN != 0,
        Signal::Udp => false,
        Signal::Sctp(chunk) => chunk == chunk::INIT,
    }
}

/// True if a connection gives way to an attempt at a new one on the same endpoints, which is then scheduled; false if
/// the packet belongs to the connection. `weight` is its destination's.
///
/// While the kernel schedules, the old connection still counts; it goes right after. [`Settings::conn_reuse_mode`] and
/// [`Settings::expire_nodest_conn`] rule.
#[must_use]
pub fn is_replaced(conn: &Conn, weight: u32, settings: &Settings) -> bool {
    if settings.expire_nodest_conn && weight == 0 {
        return true;
    }
    if settings.conn_reuse_mode == 0 || conn.is_templated() {
        return false;
    }
    match conn.state {
        State::TimeWait | State::Close | State::Closed => true,
        State::FinWait => settings.conn_reuse_mode & 2 != 0 && conn.has_no_replies(),
        _ => false,
    }
}

/// What becomes of a client's packet whose connection's destination is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// It is dropped; the connection stays as it is, with its expiry, in case the destination is added back.
    Drop,
    /// The connection goes, and the packet is treated as one without a connection.
    Anew,
}

/// The rule for a packet of a client (replies are translated as ever) whose destination was removed.
#[must_use]
pub fn on_unavailable(settings: &Settings) -> Unavailable {
    if settings.expire_nodest_conn { Unavailable::Anew } else { Unavailable::Drop }
}

/// True if a template may choose the server of a new connection. If not it must be invalidated
/// ([`super::Template::invalidate`]), and the connection is scheduled and gets a new template.
#[must_use]
pub fn template_usable(available: bool, weight: u32, settings: &Settings) -> bool {
    available && !(weight == 0 && settings.expire_quiescent_template)
}
