//! The benches' world: one virtual service, 16 real servers, as many clients as there are flows; and what forwarding
//! makes of each frame.

use crate::frames::{self, L3, L4, LENGTH, Mac, Proto, flags};
use forwarder::clock::Tick;
use forwarder::scheduler::{Flags, Kind, Request};
use forwarder::service::{DestId, Family, Member, Protocol, Service, ServiceId, ServiceKey, Settings};
use forwarder::stats::{Loads, Touched, WorkerStats};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

/// Real servers.
pub const SERVERS: usize = 16;
/// The virtual service.
pub const VIRTUAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 1), 80);
/// The director's address on its port, the outer source of tunnels.
pub const DIRECTOR: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The way to the clients.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 254);
/// Its MAC address.
pub const GATEWAY_MAC: Mac = [2, 0, 0, 0, 1, 254];
/// What frames to the director are addressed to.
pub const DIRECTOR_MAC: Mac = [2, 0, 0, 0, 1, 1];
/// Frames in a file, at least: enough for two different bursts.
const FEWEST: usize = 64;

/// How packets are forwarded, and which of them there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Requests, masqueraded.
    Nat,
    /// Replies to them, translated back.
    NatReply,
    /// As many of the one as of the other.
    NatMixed,
    /// Requests, through IPIP tunnels.
    Tun,
    /// Requests, by direct routing.
    Dr,
}

impl Mode {
    /// ipvsadm's option for it.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::Nat | Self::NatReply | Self::NatMixed => "-m",
            Self::Tun => "-i",
            Self::Dr => "-g",
        }
    }
}

/// The address of a server, of which there can be 60,000.
#[must_use]
pub fn server(number: usize) -> SocketAddrV4 {
    let first = u32::from(Ipv4Addr::new(192, 168, if number < SERVERS { 1 } else { 2 }, 10));
    SocketAddrV4::new(Ipv4Addr::from(first + number as u32), 8080)
}

/// The MAC address of a server.
#[must_use]
pub fn server_mac(number: usize) -> Mac {
    let [high, low] = (number as u16).to_be_bytes();
    [2, 0, 0, 2, high, low]
}

/// The client of flow `number`: another one for each up to 2^24.
#[must_use]
pub fn client(number: u32) -> SocketAddrV4 {
    // Odd multipliers and shifts to the right can be undone, so different numbers stay different.
    let mut bits = number & 0xff_ffff;
    for multiplier in [0x9e_3779, 0x85_ebcb] {
        bits = bits.wrapping_mul(multiplier) & 0xff_ffff;
        bits ^= bits >> 13;
    }
    let port = 1024 + (bits.wrapping_mul(0x9e37_79b1) >> 16) % 60_000;
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 | bits), port as u16)
}

/// Clients of [`half`] at most.
const HALF: usize = 30_000;

/// A client of one half, 0 or 1, of all that two workers have between them: their key decides which half is whose, but it
/// is the same worker's for all of a half ([`forwarder::rss`]).
fn neighbour(half: u8, number: usize) -> SocketAddrV4 {
    let (address, port) = (number % 120 + 1, number / 120 + 4);
    SocketAddrV4::new(Ipv4Addr::new(address as u8, 64, 0, half), (port as u16) << 8)
}

/// Requests of so many such clients, in shuffled order.
///
/// # Panics
/// If there are not so many.
#[must_use]
pub fn half(half: u8, proto: Proto, flows: usize) -> Vec<[u8; LENGTH]> {
    assert!(flows <= HALF, "{flows} clients in half of them");
    let request = |number| request(proto, neighbour(half, number as usize), flags::ACK);
    shuffled(flows).into_iter().map(request).collect()
}

/// Frames in shuffled order.
#[must_use]
pub fn mixed(frames: &[[u8; LENGTH]]) -> Vec<[u8; LENGTH]> {
    shuffled(frames.len()).into_iter().map(|number| frames[number as usize]).collect()
}

/// Numbers in an order that looks random and is always the same.
#[must_use]
pub fn shuffled(count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    let mut state = 0x853c_49e6_748f_ea9b_u64;
    for last in (1..count).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(last, (((state >> 32) * (last as u64 + 1)) >> 32) as usize);
    }
    order
}

/// Which server each client's connection gets. The service is scheduled by source hash, so that replies can be written
/// before any request was sent.
pub struct Servers {
    service: Service,
    stats: WorkerStats,
    touched: Touched,
    scheduler: Box<dyn forwarder::scheduler::Scheduler>,
    settings: Settings,
}

impl Servers {
    /// The servers as [`rules`] add them.
    ///
    /// # Panics
    /// If there is no scheduler `sh`.
    #[must_use]
    pub fn new() -> Self {
        // The newest comes first, as in the kernel.
        let members: Vec<Member> = (0..SERVERS).rev().map(member).collect();
        let scheduler = Kind::by_name("sh").expect("sh is one of the kernel's schedulers");
        let service = Service {
            id: ServiceId(0),
            generation: 1,
            key: ServiceKey::Address(Protocol::Tcp, IpAddr::V4(*VIRTUAL.ip()), VIRTUAL.port()),
            scheduler,
            flags: Flags::default(),
            persistence: None,
            one_packet: false,
            timeouts: None,
            table: (scheduler.definition().prepare)(&members, Flags::default(), Family::V4),
            members,
            edits: 0,
        };
        let scheduler = (scheduler.definition().start)(&service, Tick(0), 0);
        Self {
            service,
            stats: WorkerStats::new(SERVERS),
            touched: Touched::new(SERVERS),
            scheduler,
            settings: Settings::default(),
        }
    }

    /// The server of this client.
    ///
    /// # Panics
    /// Never: there are servers.
    pub fn of(&mut self, client: SocketAddrV4) -> usize {
        let loads = Loads { own: &self.stats.destinations, others: &[], overloaded: &[], touched: &self.touched };
        let request = Request {
            client: IpAddr::V4(*client.ip()),
            client_port: client.port(),
            target: IpAddr::V4(*VIRTUAL.ip()),
            now: Tick(0),
            settings: &self.settings,
        };
        let member = self.scheduler.pick(&self.service, &loads, &request).expect("all servers are there");
        self.service.members[member].id.0 as usize
    }
}

impl Default for Servers {
    fn default() -> Self {
        Self::new()
    }
}

fn member(number: usize) -> Member {
    let address = server(number);
    Member {
        id: DestId(number as u32),
        address: IpAddr::V4(*address.ip()),
        port: address.port(),
        weight: 1,
        last_weight: 1,
        upper: 0,
        lower: 0,
    }
}

/// The frames of a file, in shuffled order.
#[must_use]
pub fn file(mode: Mode, proto: Proto, flows: usize) -> Vec<[u8; LENGTH]> {
    let mut servers = Servers::new();
    let kinds = if mode == Mode::NatMixed { 2 } else { 1 };
    let count = (flows * kinds).max(FEWEST);
    let order = shuffled(count);
    order
        .into_iter()
        .map(|number| {
            let number = number as usize % (flows * kinds);
            let client = client((number / kinds) as u32);
            if mode == Mode::NatReply || number % kinds == 1 {
                reply(proto, client, servers.of(client))
            } else {
                request(proto, client, flags::ACK)
            }
        })
        .collect()
}

/// A client's frame to the service.
#[must_use]
pub fn request(proto: Proto, client: SocketAddrV4, tcp_flags: u8) -> [u8; LENGTH] {
    frames::frame([DIRECTOR_MAC, GATEWAY_MAC], proto, client, VIRTUAL, tcp_flags)
}

/// A client's frame that starts a connection.
#[must_use]
pub fn first(proto: Proto, client: SocketAddrV4) -> [u8; LENGTH] {
    request(proto, client, flags::SYN)
}

/// A server's frame to a client.
#[must_use]
pub fn reply(proto: Proto, client: SocketAddrV4, number: usize) -> [u8; LENGTH] {
    frames::frame([DIRECTOR_MAC, server_mac(number)], proto, server(number), client, flags::ACK)
}

/// What the director makes of the file's frames: the frames it sends, by the client they are about and whether they are
/// replies. `port_mac` is its port's.
#[derive(Debug)]
pub struct Expected {
    frames: HashMap<(SocketAddrV4, bool), Vec<u8>>,
}

impl Expected {
    /// Of these frames.
    #[must_use]
    pub fn new<'a>(
        mode: Mode,
        proto: Proto,
        frames: impl IntoIterator<Item = &'a [u8; LENGTH]>,
        port_mac: Mac,
    ) -> Self {
        let mut servers = Servers::new();
        let frames = frames.into_iter().map(|frame| forwarded(mode, proto, frame, port_mac, &mut servers));
        Self { frames: frames.collect() }
    }

    /// The frames of which nothing was seen yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.frames.len()
    }

    /// The frame that is to be sent for this one, which was sent.
    #[must_use]
    pub fn of(&self, sent: &[u8]) -> Option<&Vec<u8>> {
        // A tunnelled packet's addresses are behind the outer header's 20 bytes.
        let l3 = if sent.get(L3 + 9) == Some(&4) { L3 + 20 } else { L3 };
        let ends = ends(sent.get(l3..)?)?;
        let is_reply = ends.0 == VIRTUAL;
        self.frames.get(&(if is_reply { ends.1 } else { ends.0 }, is_reply))
    }
}

fn forwarded(
    mode: Mode,
    proto: Proto,
    frame: &[u8; LENGTH],
    port_mac: Mac,
    servers: &mut Servers,
) -> ((SocketAddrV4, bool), Vec<u8>) {
    let mut frame = frame.to_vec();
    let (from, to) = ends(&frame[L3..]).expect("the frame is whole");
    let is_reply = to != VIRTUAL;
    let client = if is_reply { to } else { from };
    let number = servers.of(client);
    frame[L3 + 8] -= 1;
    if mode.option() == "-m" {
        let (address, port, end) = if is_reply { (L3 + 12, L4, VIRTUAL) } else { (L3 + 16, L4 + 2, server(number)) };
        frame[address..address + 4].copy_from_slice(&end.ip().octets());
        frame[port..port + 2].copy_from_slice(&end.port().to_be_bytes());
        frames::seal_transport(&mut frame[L3..], proto);
    }
    frames::seal_ip(&mut frame[L3..]);
    if mode == Mode::Tun {
        let mut outer = [0; 20];
        frames::ip_header(&mut outer, LENGTH - L3 + 20, frame[L3 + 8], 4, DIRECTOR, *server(number).ip());
        frame.splice(L3..L3, outer);
    }
    frame[..6].copy_from_slice(&if is_reply { GATEWAY_MAC } else { server_mac(number) });
    frame[6..12].copy_from_slice(&port_mac);
    ((client, is_reply), frame)
}

/// True if a frame that the director has sent is a reply to a client, without a tunnel.
#[must_use]
pub fn is_reply(sent: &[u8]) -> bool {
    sent.get(L3..).and_then(ends).is_some_and(|ends| ends.0 == VIRTUAL)
}

/// Source and destination of an IP packet without options.
fn ends(packet: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let port = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    Some((SocketAddrV4::new(address(12)?, port(20)?), SocketAddrV4::new(address(16)?, port(22)?)))
}

/// The rules that set up the service, as ipvsadm restores them.
pub fn rules(mode: Mode, proto: Proto) -> String {
    service(VIRTUAL, mode, proto, "sh", SERVERS)
}

/// The rules that set up one service with so many servers.
#[must_use]
pub fn service(address: SocketAddrV4, mode: Mode, proto: Proto, scheduler: &str, servers: usize) -> String {
    let kind = if proto == Proto::Tcp { "-t" } else { "-u" };
    let mut rules = format!("-A {kind} {address} -s {scheduler}\n");
    // ovf serves nobody beyond as many active connections as the weights say.
    let weight = if scheduler == "ovf" { 100_000_000 } else { 1 };
    for number in 0..servers {
        // Only masquerading may change the port.
        let port = if mode.option() == "-m" { server(number).port() } else { address.port() };
        let server = SocketAddrV4::new(*server(number).ip(), port);
        rules += &format!("-a {kind} {address} -r {server} {} -w {weight}\n", mode.option());
    }
    rules
}

/// The configuration file: ports without kernel interfaces, the first of which leads everywhere, and what the kernel
/// otherwise would know.
///
/// # Panics
/// Without a device.
#[must_use]
pub fn configuration(devices: &[&str]) -> String {
    let device = devices[0];
    let mut text = format!(
        "[[port]]\ndevice = \"{device}\"\nkernel = false\naddresses = [\"{DIRECTOR}/16\", \"{}/32\"]\n\n",
        VIRTUAL.ip()
    );
    for other in &devices[1..] {
        text += &format!("[[port]]\ndevice = \"{other}\"\nkernel = false\n\n");
    }
    text += &format!("[[route]]\nto = \"default\"\nvia = \"{GATEWAY}\"\n\n[settings]\nsloppy_tcp = 1\n\n");
    let neighbours = (0..SERVERS).map(|number| (*server(number).ip(), server_mac(number)));
    for (address, mac) in neighbours.chain([(GATEWAY, GATEWAY_MAC)]) {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        text += &format!("[[neighbour]]\nport = \"{device}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarder::parse;
    use forwarder::rss::Spread;
    use std::collections::HashSet;

    #[test]
    fn every_flow_has_its_own_client_and_all_servers_get_some() {
        let clients: HashSet<_> = (0..100_000).map(|number| *client(number).ip()).collect();
        assert_eq!(clients.len(), 100_000);
        let mut servers = Servers::new();
        let used: HashSet<_> = (0..1000).map(|number| servers.of(client(number))).collect();
        assert_eq!(used.len(), SERVERS);
    }

    #[test]
    fn each_half_of_the_clients_belongs_to_one_of_two_workers() {
        for seed in 0..100u64 {
            let spread = Spread::new(2, Spread::MANY, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let owner = |half, number| {
                let client = neighbour(half, number);
                spread.owner(parse::endpoint(u32::from_ne_bytes(client.ip().octets()), client.port().to_be(), 6))
            };
            let owners = [0, 1].map(|half| owner(half, 0));
            assert_ne!(owners[0], owners[1]);
            for number in (0..HALF).step_by(7).chain([HALF - 1]) {
                assert_eq!([owner(0, number), owner(1, number)], owners, "client {number}");
            }
        }
    }

    #[test]
    fn a_mixed_file_has_a_request_and_a_reply_of_every_flow() {
        let file = file(Mode::NatMixed, Proto::Udp, 100);
        assert_eq!(file.len(), 200);
        assert_eq!(Expected::new(Mode::NatMixed, Proto::Udp, &file, [2; 6]).left(), 200);
    }
}
