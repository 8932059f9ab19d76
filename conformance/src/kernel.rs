//! A stand-in for the kernel of the recorded director: what its stack does with frames that the data path leaves to it.
//! It answers at its own addresses (resets, ICMP) and forwards the rest. Nothing here knows services.
//!
//! It does as much of a kernel's work as recordings show, and no more.

use crate::packet::{Packet, checksum, flags, ip, long, mend, protocol, put, tcp, word};
use forwarder::worker::KernelLink;
use packet_io::memory::MemFrame;
use packet_io::{Burst, Frame};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The client side's port.
pub const EXT: u16 = 0;
/// The real servers' port.
pub const INT: u16 = 1;

/// MAC addresses of the recorded set-up.
#[allow(missing_docs)]
pub mod mac {
    use super::Mac;
    pub const EXT: Mac = [2, 0, 0, 0, 0, 0xfe];
    pub const INT: Mac = [2, 0, 0, 0, 1, 0xfe];
    pub const GATEWAY: Mac = [2, 0, 0, 0, 0, 1];

    /// Of real server 192.168.1.K.
    #[must_use]
    pub const fn server(k: u8) -> Mac {
        [2, 0, 0, 0, 1, k]
    }
}

/// One interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its MAC address.
    pub mac: Mac,
    /// Its MTU.
    pub mtu: u16,
    /// Its first address.
    pub address: Ipv4Addr,
}

/// Bytes of a packet that an ICMP error quotes, at most: the error is no longer than 576 bytes.
const QUOTE: usize = 548;

/// The stand-in.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// By port.
    pub interfaces: [Interface; 2],
    /// Its own addresses.
    pub own: Vec<Ipv4Addr>,
    /// Frames that it wants sent, with the port.
    out: VecDeque<(u16, Vec<u8>)>,
    id: u16,
}

impl Kernel {
    /// A kernel with these interfaces and addresses.
    #[must_use]
    pub fn new(interfaces: [Interface; 2], own: Vec<Ipv4Addr>) -> Self {
        Self { interfaces, own, out: VecDeque::new(), id: 7 }
    }

    fn is_own(&self, address: Ipv4Addr) -> bool {
        address.is_loopback() || self.own.contains(&address)
    }

    fn input(&mut self, frame: &[u8]) {
        let Some(bytes) = frame.get(14..).filter(|_| word(frame, 12) == 0x0800) else { return };
        let length = Packet(bytes).total_length();
        let Some(bytes) = bytes.get(..length) else { return };
        if !Packet(bytes).header_good() {
            return;
        }
        if self.is_own(Packet(bytes).destination()) { self.local(bytes) } else { self.forward(bytes) }
    }

    /// A packet for its own stack, where nobody listens.
    fn local(&mut self, bytes: &[u8]) {
        let packet = Packet(bytes);
        if packet.fragment_offset() > 0 || packet.more_fragments() || !packet.transport_good() {
            return;
        }
        match packet.protocol() {
            protocol::TCP => self.reset(packet),
            protocol::ICMP => self.echo(packet),
            // GRE has a handler, which knows no such tunnel.
            protocol::UDP | protocol::IPIP | protocol::GRE => self.tell(bytes, 3, 3, 0, packet.destination()),
            _ => self.tell(bytes, 3, 2, 0, packet.destination()),
        }
    }

    /// RFC 9293, 3.10.7.1: a segment that no connection wants.
    fn reset(&mut self, packet: Packet<'_>) {
        let segment = packet.payload();
        let Some(&bits) = segment.get(13) else { return };
        if bits & flags("R") != 0 {
            return;
        }
        let data = segment.len() - usize::from(segment[12] >> 4) * 4;
        let syn_or_fin = (bits & flags("S")).count_ones() + (bits & flags("F")).count_ones();
        let (reply, seq, ack) = if bits & flags("A") != 0 {
            ("R", long(segment, 8), 0)
        } else {
            ("RA", 0, long(segment, 4).wrapping_add(syn_or_fin + data as u32))
        };
        let from = SocketAddrV4::new(packet.destination(), packet.destination_port());
        let to = SocketAddrV4::new(packet.source(), packet.source_port());
        let mut answer = tcp(from, to, flags(reply), seq, ack, &[]);
        answer[1] = packet.tos() & !3;
        mend(&mut answer);
        self.send(answer);
    }

    fn echo(&mut self, packet: Packet<'_>) {
        let mut message = packet.payload().to_vec();
        match message.first() {
            Some(8) => message[0] = 0,
            Some(13) if message.len() >= 20 => message[0] = 14,
            _ => return,
        }
        put(&mut message, 2, 0);
        let sum = checksum(&message);
        put(&mut message, 2, sum);
        self.id += 1;
        let answer = ip(packet.destination(), packet.source(), protocol::ICMP, packet.tos(), self.id, false, &message);
        self.send(answer);
    }

    /// An ICMP error about a packet.
    fn tell(&mut self, about: &[u8], kind: u8, code: u8, rest: u32, source: Ipv4Addr) {
        let packet = Packet(about);
        let about_error =
            packet.protocol() == protocol::ICMP && packet.payload().first().is_none_or(|kind| is_error(*kind));
        if packet.fragment_offset() > 0 || about_error {
            return;
        }
        let mut message = vec![kind, code, 0, 0];
        message.extend(rest.to_be_bytes());
        message.extend(&about[..about.len().min(QUOTE)]);
        let sum = checksum(&message);
        put(&mut message, 2, sum);
        self.id += 1;
        let tos = 0xc0 | Packet(about).tos() & 0x1e;
        let answer = ip(source, Packet(about).source(), protocol::ICMP, tos, self.id, false, &message);
        self.send(answer);
    }

    fn forward(&mut self, bytes: &[u8]) {
        let packet = Packet(bytes);
        let (back, _) = self.route(packet.source());
        let own = self.interfaces[usize::from(back)].address;
        if packet.ttl() <= 1 {
            return self.tell(bytes, 11, 0, 0, own);
        }
        let (port, _) = self.route(packet.destination());
        let mtu = self.interfaces[usize::from(port)].mtu;
        if bytes.len() > usize::from(mtu) && packet.dont_fragment() {
            return self.tell(bytes, 3, 4, u32::from(mtu), own);
        }
        let mut bytes = bytes.to_vec();
        bytes[8] -= 1;
        mend(&mut bytes);
        self.send(bytes);
    }

    /// Where a packet to this address leaves, and to which neighbour.
    fn route(&self, address: Ipv4Addr) -> (u16, Mac) {
        match address.octets() {
            [192, 168, 1, k] => (INT, mac::server(k)),
            _ => (EXT, mac::GATEWAY),
        }
    }

    fn send(&mut self, packet: Vec<u8>) {
        let (port, neighbour) = self.route(Packet(&packet).destination());
        let mut frame = Vec::from(neighbour);
        frame.extend(self.interfaces[usize::from(port)].mac);
        frame.extend([8, 0]);
        frame.extend(packet);
        self.out.push_back((port, frame));
    }
}

impl KernelLink for Kernel {
    type Frame = MemFrame;

    fn exists(&self, _: u16) -> bool {
        true
    }

    fn send(&mut self, _: u16, frame: MemFrame) -> Result<(), MemFrame> {
        self.input(frame.bytes());
        Ok(())
    }

    fn receive(&mut self, port: u16, burst: &mut Burst<MemFrame>) -> usize {
        let before = burst.len();
        while !burst.is_full()
            && let Some(at) = self.out.iter().position(|(to, _)| *to == port)
            && let Some((_, frame)) = self.out.remove(at)
        {
            let _ = burst.push(MemFrame::new(&frame));
        }
        burst.len() - before
    }
}

/// ICMP types about which nobody complains.
const fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}
