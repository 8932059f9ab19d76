//! Sockets to the kernel's rtnetlink, and nothing about what the messages mean.

use super::Error;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// More than the kernel puts in one datagram (32 KiB for dumps).
const DATAGRAM: usize = 64 * 1024;

/// How long the kernel may take to answer. It answers at once; this only keeps a bug from hanging the thread.
const ANSWER: Duration = Duration::from_secs(5);

/// RTM_NEWNEXTHOP and RTM_DELNEXTHOP, which the message library does not know.
const NEXT_HOP_MESSAGES: std::ops::RangeInclusive<u16> = 104..=105;

/// One message of a datagram.
#[derive(Debug)]
pub(super) enum Message {
    /// About links, addresses, routes, neighbours; with the header's flags.
    Route(RouteNetlinkMessage, u16),
    /// A next hop object changed; routes that use it may have changed or gone without a word.
    NextHops,
    /// The end of a dump, or an error, or (0) an acknowledgement: errno.
    Done(i32),
    /// Not understood; its message type.
    Unknown(u16),
}

/// Calls back with each message of a datagram and its sequence number. What is cut short or malformed ends the walk.
pub(super) fn messages(mut datagram: &[u8], mut each: impl FnMut(Message, u32)) {
    while let Ok(header) = NetlinkBuffer::new_checked(datagram) {
        let length = header.length() as usize;
        let (kind, flags, sequence) = (header.message_type(), header.flags(), header.sequence_number());
        let message = if NEXT_HOP_MESSAGES.contains(&kind) {
            Message::NextHops
        } else {
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram[..length]).map(|whole| whole.payload) {
                Ok(NetlinkPayload::InnerMessage(inner)) => Message::Route(inner, flags),
                Ok(NetlinkPayload::Done(done)) => Message::Done(done.code.wrapping_neg()),
                Ok(NetlinkPayload::Error(error)) => {
                    Message::Done(error.code.map_or(0, |code| code.get().wrapping_neg()))
                }
                _ => Message::Unknown(kind),
            }
        };
        if !matches!(kind, NLMSG_NOOP | NLMSG_OVERRUN) {
            each(message, sequence);
        }
        let padded = length.next_multiple_of(4).max(4);
        let Some(rest) = datagram.get(padded..) else { return };
        datagram = rest;
    }
}

fn open(groups: u32) -> Result<OwnedFd, Error> {
    // No protocol number is NETLINK_ROUTE, which is 0.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(Error::Open)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups)).map_err(Error::Open)?;
    Ok(socket)
}

/// Receives one datagram of the kernel; anybody else's is answered as an empty one.
fn receive(socket: &OwnedFd, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
    let (length, _, sender) = rustix::net::recvfrom(socket, &mut *buffer, flags)?;
    let from_kernel =
        sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok()).is_some_and(|sender| sender.pid() == 0);
    Ok(if from_kernel { length } else { 0 })
}

/// A socket for requests, each answered before the next.
#[derive(Debug)]
pub(super) struct Requests {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    pub(super) fn open() -> Result<Self, Error> {
        let socket = open(0)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER)).map_err(Error::Open)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM] })
    }

    /// Has the kernel carry out a request. `flags` are added to NLM_F_REQUEST and NLM_F_ACK; `doing` names it in an
    /// error.
    pub(super) fn request(&mut self, doing: &str, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        self.exchange(message, flags | NLM_F_ACK, |_, _| {}).map_err(|errno| Error::refused(doing, errno))
    }

    /// Has the kernel list things. Answers false if they changed meanwhile, so that the list may have gaps.
    pub(super) fn dump(
        &mut self,
        doing: &str,
        message: RouteNetlinkMessage,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<bool, Error> {
        let mut consistent = true;
        let answer = self.exchange(message, NLM_F_DUMP, |message, flags| {
            consistent &= flags & NLM_F_DUMP_INTR == 0;
            each(message);
        });
        answer.map(|()| consistent).map_err(|errno| Error::refused(doing, errno))
    }

    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(RouteNetlinkMessage, u16),
    ) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (NLM_F_REQUEST | flags, self.sequence);
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        rustix::net::send(&self.socket, &bytes, SendFlags::empty())?;
        let mut end = None;
        while end.is_none() {
            let length = match receive(&self.socket, &mut self.buffer, RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let expected = self.sequence;
            messages(&self.buffer[..length], |message, sequence| match message {
                // Left over from a request that was given up.
                _ if sequence != expected => {}
                Message::Route(inner, flags) => each(inner, flags),
                Message::Done(errno) => end = Some(errno),
                Message::NextHops => {}
                Message::Unknown(kind) => tracing::debug!(kind, "message from the kernel not understood"),
            });
        }
        match end {
            Some(0) | None => Ok(()),
            Some(errno) => Err(Errno::from_raw_os_error(errno)),
        }
    }
}

/// What a [`Monitor`] has to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A datagram was read.
    Something,
    /// There is nothing to read now.
    Nothing,
    /// The kernel had more to say than the socket had room for: messages are lost.
    Overrun,
}

/// A socket that hears of every change of links, IPv4 addresses and routes, neighbours and next hop objects.
#[derive(Debug)]
pub(super) struct Monitor {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Monitor {
    /// `room` is the size of the socket's buffer, bytes (the kernel doubles it).
    pub(super) fn open(room: usize) -> Result<Self, Error> {
        // RTNLGRP_ numbers, group n being bit n - 1: LINK 1, NEIGH 3, IPV4_IFADDR 5, IPV4_ROUTE 7, NEXTHOP 32.
        let groups = [1, 3, 5, 7, 32].into_iter().fold(0, |mask, group| mask | 1u32 << (group - 1));
        let socket = open(groups)?;
        sockopt::set_socket_recv_buffer_size_force(&socket, room)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, room))
            .map_err(Error::Open)?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Reads a datagram if there is one.
    pub(super) fn receive(&mut self, mut each: impl FnMut(Message)) -> Result<Heard, Error> {
        match receive(&self.socket, &mut self.buffer, RecvFlags::DONTWAIT) {
            Ok(length) => {
                messages(&self.buffer[..length], |message, _| each(message));
                Ok(Heard::Something)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Heard::Nothing),
            Err(Errno::NOBUFS) => Ok(Heard::Overrun),
            Err(errno) => Err(Error::Receive(errno)),
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
