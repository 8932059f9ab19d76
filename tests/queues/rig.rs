//! rvsd with three ports, and the other ends of their cables: clients behind the first, real servers behind the second,
//! and one more behind the third.

use crate::lab::{self, Counters, Killed, PATIENCE, RVSD, eventually, rvsadm};
use crate::packets::{endpoints, udp};
use control::command::WorkerView;
use dpdk_ffi::mempool::MempoolConfig;
use dpdk_ffi::{EalHandle, Mbuf, Mempool, Port, PortConfig, RxQueue, TxQueue};
use packet_io::{Burst, Frame as _, FramePool as _, RxQueue as _, TxQueue as _};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const OUTSIDE: usize = 0;
pub const INSIDE: usize = 1;
pub const ASIDE: usize = 2;
const PORTS: [usize; 3] = [OUTSIDE, INSIDE, ASIDE];
/// The director's own addresses, by port.
const OWN: [Ipv4Addr; 3] = [VIP, Ipv4Addr::new(192, 168, 1, 1), Ipv4Addr::new(192, 168, 2, 1)];
pub const VIP: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
/// Real servers, from 192.168.1.2 on.
pub const SERVERS: u8 = 4;

/// What the ports are, and what is at the other ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// net_vhost, each queue with one of a net_virtio_user.
    Vhost,
    /// The other way round.
    VirtioUser,
    /// net_ring, whose queues give back what they are given: frames come from the kernel interfaces, and go there when
    /// they have gone round. At the other ends are net_af_packet on these interfaces, with one queue.
    Ring,
    /// net_af_packet on veth pairs, whose kernel spreads frames over a packet fanout; one queue at the other ends.
    Veth,
}

impl Cable {
    /// The device of a port, with its arguments, whose sockets are in a directory.
    fn device(self, port: usize, queues: usize, sockets: &Path) -> (String, String) {
        let socket = sockets.join(format!("{port}.sock"));
        match self {
            Self::Vhost => vhost(port, queues, &socket),
            Self::VirtioUser => virtio_user(port, queues, &socket),
            Self::Ring => (format!("net_ring{port}"), String::new()),
            Self::Veth => (format!("net_af_packet{port}"), format!(",iface=port{port},qpairs={queues}")),
        }
    }

    /// The same for the other end.
    fn far_device(self, port: usize, queues: usize, sockets: &Path) -> (String, String) {
        let socket = sockets.join(format!("{port}.sock"));
        match self {
            Self::Vhost => virtio_user(port, queues, &socket),
            Self::VirtioUser => vhost(port, queues, &socket),
            Self::Ring => (format!("net_af_packet{port}"), format!(",iface=lvs{port}")),
            Self::Veth => (format!("net_af_packet{port}"), format!(",iface=wire{port}")),
        }
    }

    /// Whether its ports have kernel interfaces.
    pub fn has_kernel(self) -> bool {
        self == Self::Ring
    }
}

fn vhost(port: usize, queues: usize, socket: &Path) -> (String, String) {
    (format!("net_vhost{port}"), format!(",iface={},queues={queues}", socket.display()))
}

fn virtio_user(port: usize, queues: usize, socket: &Path) -> (String, String) {
    (format!("net_virtio_user{port}"), format!(",path={},queues={queues},mac=02:00:00:00:00:0{port}", socket.display()))
}

/// Runs shell, which must succeed.
pub fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh can be run");
    assert!(output.status.success(), "{script}: {output:?}");
}

/// Frames for this end.
pub fn pool(eal: &EalHandle) -> Mempool {
    Mempool::new(eal, "far", &MempoolConfig { count: 8191, ..MempoolConfig::default() }).expect("there is memory")
}

/// Addresses, routes and neighbours of a director whose ports have no kernel interface.
fn configuration(cable: Cable, devices: &[(String, String); 3], socket: &Path) -> String {
    let mut text = format!("[control]\nsocket = {socket:?}\n");
    for (port, (device, _)) in devices.iter().enumerate() {
        let what = if cable.has_kernel() {
            format!("kernel = \"lvs{port}\"")
        } else {
            format!("kernel = false\naddresses = [\"{}/24\"]", OWN[port])
        };
        text += &format!("[[port]]\ndevice = \"{device}\"\n{what}\n");
    }
    if !cable.has_kernel() {
        let mut neighbour = |port: usize, address: &str, mac: &str| {
            let device = &devices[port].0;
            text += &format!("[[neighbour]]\nport = \"{device}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n");
        };
        neighbour(OUTSIDE, "172.16.0.254", "02:00:00:00:00:fe");
        (2..2 + SERVERS).for_each(|n| neighbour(INSIDE, &format!("192.168.1.{n}"), &format!("02:00:00:00:01:{n:02x}")));
        neighbour(ASIDE, "192.168.2.2", "02:00:00:00:02:02");
        text += "[[route]]\nto = \"default\"\nvia = \"172.16.0.254\"\n";
    }
    text
}

/// The same for a director's kernel.
fn addresses() -> String {
    let mut script: String = PORTS.map(|port| format!("ip address add {}/24 dev lvs{port}\n", OWN[port])).concat();
    script += "ip neighbour replace 172.16.0.254 lladdr 02:00:00:00:00:fe dev lvs0 nud permanent
        ip neighbour replace 192.168.2.2 lladdr 02:00:00:00:02:02 dev lvs2 nud permanent
        ip route add default via 172.16.0.254\n";
    for n in 2..2 + SERVERS {
        script += &format!("ip neighbour replace 192.168.1.{n} lladdr 02:00:00:00:01:{n:02x} dev lvs1 nud permanent\n");
    }
    script
}

/// One end of a cable.
struct End {
    port: Port,
    rx: Vec<RxQueue>,
    tx: Vec<TxQueue>,
    /// Received, not yet looked at: the queue and the IP packet.
    waiting: VecDeque<(usize, Vec<u8>)>,
}

impl End {
    fn plug(eal: &EalHandle, pool: &Mempool, device: &(String, String), queues: u16) -> Self {
        let ports = eal.plug(&format!("{}{}", device.0, device.1)).expect("the device can be made");
        let mut port = Port::open(eal, ports[0]).expect("it is there");
        let queues = queues.min(port.info().expect("it answers").max_rx_queues);
        let config = PortConfig { rx_queues: queues, tx_queues: queues, ..PortConfig::default() };
        port.configure(&config, pool).and_then(|()| port.start()).expect("it starts");
        let rx = (0..queues).map(|queue| port.rx_queue(queue).expect("it has it")).collect();
        let tx = (0..queues).map(|queue| port.tx_queue(queue).expect("it has it")).collect();
        Self { port, rx, tx, waiting: VecDeque::new() }
    }

    fn look(&mut self) {
        let mut burst = Burst::new();
        for (queue, rx) in self.rx.iter_mut().enumerate() {
            rx.receive(&mut burst);
            let frames = burst.drain().map(|frame: Mbuf| frame.bytes().to_vec());
            // Whatever else is on a cable is no test's.
            let packets = frames.filter(|bytes| bytes[12..14] == [8, 0]).map(|bytes| (queue, bytes[14..].to_vec()));
            self.waiting.extend(packets);
        }
    }

    fn unplug(self) {
        drop((self.rx, self.tx));
        self.port.unplug().map_err(|(_, error)| error).expect("no queue is out");
    }
}

/// The director, and the other ends.
pub struct Rig {
    pub cable: Cable,
    pub workers: usize,
    eal: EalHandle,
    pool: Mempool,
    /// By port; none while nothing is plugged.
    ends: Vec<Option<End>>,
    process: Killed,
    files: TempDir,
}

impl Rig {
    /// Starts a director, and waits until frames pass by all of its queues.
    pub fn start(eal: &EalHandle, pool: &Mempool, cable: Cable, workers: usize) -> Self {
        let files = tempfile::tempdir().expect("a place for files");
        let at = |name: &str| files.path().join(name);
        let devices = PORTS.map(|port| cable.device(port, workers, files.path()));
        let others = PORTS.map(|port| cable.far_device(port, workers, files.path()));
        let plug = || others.iter().map(|device| Some(End::plug(eal, pool, device, workers as u16))).collect();
        let mut ends = Vec::new();
        match cable {
            Cable::VirtioUser => ends = plug(),
            Cable::Veth => sh("for n in 0 1 2; do
                ip link add port$n type veth peer name wire$n; ip link set port$n up; ip link set wire$n up
            done"),
            _ => {}
        }
        std::fs::write(at("rvs.toml"), configuration(cable, &devices, &at("control.sock"))).expect("a new file");
        let log = File::create(at("log")).expect("a new file");
        let mut command = Command::new(RVSD);
        command
            .args(lab::lcores(&format!("rvs-queues-{}", std::process::id()), workers))
            .args(lab::NO_HUGE_PAGES)
            .args(devices.map(|(device, arguments)| format!("--vdev={device}{arguments}")))
            .args(["--", "--idle", "pause", "--connections", "10000", "--config"])
            .arg(at("rvs.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        let process = Killed(command.spawn().expect("it was built"));
        let mut rig = Self { cable, workers, eal: eal.clone(), pool: pool.clone(), ends, process, files };
        let log = at_log(&rig.files);
        eventually("a director", || {
            let ended = rig.process.0.try_wait().expect("it was started");
            let said = std::fs::read_to_string(&log).expect("it was made");
            assert!(ended.is_none(), "rvsd does not start:\n{said}");
            said.contains(" ready ")
        });
        if rig.ends.is_empty() {
            rig.ends = plug();
        }
        if cable.has_kernel() {
            sh(&addresses());
        }
        rig.warm_up();
        rig
    }

    /// How many queues the other end of a port has.
    pub fn queues(&self, port: usize) -> usize {
        self.ends[port].as_ref().map_or(0, |end| end.tx.len())
    }

    /// Sends an IP packet by a queue of a port's other end.
    pub fn send(&mut self, port: usize, queue: usize, packet: &[u8]) {
        let mut frame = self.pool.allocate().expect("there are enough");
        assert!(frame.grow_back(14 + packet.len()));
        frame.bytes_mut()[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb, 8, 0]);
        frame.bytes_mut()[14..].copy_from_slice(packet);
        let mut burst = Burst::new();
        assert!(burst.push(frame).is_ok());
        let end = Instant::now() + PATIENCE;
        while self.ends[port].as_mut().expect("it is plugged").tx[queue].transmit(&mut burst) == 0 {
            assert!(Instant::now() < end, "the other end of port {port} is full: {}", self.log());
            self.ends.iter_mut().flatten().for_each(End::look);
            std::thread::yield_now();
        }
    }

    /// What has come out of a port, if anything: the queue and the IP packet.
    pub fn receive(&mut self, port: usize) -> Option<(usize, Vec<u8>)> {
        let end = self.ends[port].as_mut()?;
        if end.waiting.is_empty() {
            end.look();
        }
        end.waiting.pop_front()
    }

    /// The next packet that comes out of a port.
    pub fn next(&mut self, port: usize) -> Vec<u8> {
        self.next_of(&[port]).1
    }

    /// The next packet that comes out of one of these ports.
    pub fn next_of(&mut self, ports: &[usize]) -> (usize, Vec<u8>) {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = ports.iter().find_map(|&port| self.receive(port).map(|(_, packet)| (port, packet)));
            if let Some(found) = found {
                return found;
            }
            assert!(Instant::now() < end, "nothing comes out of {ports:?}: {:?}\n{}", self.counters(), self.log());
            std::thread::yield_now();
        }
    }

    /// Runs a line of ipvsadm.
    pub fn ipvsadm(&self, line: &str) {
        let words = line.split_whitespace();
        let output = Command::new(rvsadm()).arg0("ipvsadm").args(words).env("RVS_SOCKET", self.socket()).output();
        let output = output.expect("rvsadm can be run");
        assert!(output.status.success(), "{line}: {output:?}");
    }

    /// Starts a command of the console.
    pub fn console(&self, line: &str) -> Killed {
        let mut command = Command::new(rvsadm());
        command.args(line.split_whitespace()).env("RVS_SOCKET", self.socket());
        Killed(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rvsadm can be run"))
    }

    /// Runs one, and answers what it said.
    pub fn say(&self, line: &str) -> String {
        said(self.console(line))
    }

    /// Takes the other end of a port away.
    pub fn unplug(&mut self, port: usize) {
        self.ends[port].take().expect("it is plugged").unplug();
    }

    /// Plugs the other end of a port in, whose sockets are in this directory.
    pub fn plug(&mut self, port: usize, sockets: &Path) {
        let device = self.cable.far_device(port, self.workers, sockets);
        self.ends[port] = Some(End::plug(&self.eal, &self.pool, &device, self.workers as u16));
    }

    /// The device of a port, whose sockets are in this directory, as the console takes it.
    pub fn device(&self, port: usize, sockets: &Path) -> String {
        let (name, arguments) = self.cable.device(port, self.workers, sockets);
        name + &arguments
    }

    /// The workers, as they stand.
    pub fn views(&self) -> Vec<WorkerView> {
        lab::workers(&self.socket())
    }

    /// Their counters, added up.
    pub fn counters(&self) -> Counters {
        Counters::of(&self.views())
    }

    fn socket(&self) -> std::path::PathBuf {
        self.files.path().join("control.sock")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(at_log(&self.files)).expect("it was made")
    }

    /// Devices in memory lose what is sent before both ends are ready, so this asks by every queue, in both directions,
    /// for every worker's connections, until a round has lost nothing.
    fn warm_up(&mut self) {
        const CLIENTS: u16 = 16;
        self.ipvsadm("-A -u 172.16.0.1:7 -s rr");
        self.ipvsadm("-a -u 172.16.0.1:7 -r 192.168.1.2:7 -m");
        let service = SocketAddrV4::new(VIP, 7);
        let client = |number| SocketAddrV4::new(Ipv4Addr::new(10, 7, 0, 1), number);
        let end = Instant::now() + PATIENCE;
        loop {
            let mut arrived = 0;
            for queue in 0..self.queues(OUTSIDE) {
                (0..CLIENTS).for_each(|number| self.send(OUTSIDE, queue, &udp(client(number), service, b"?")));
            }
            let round = Instant::now() + Duration::from_millis(100);
            let expected = 2 * usize::from(CLIENTS) * self.queues(OUTSIDE);
            let mut answers = 0;
            while Instant::now() < round && arrived < expected {
                if let Some((_, packet)) = self.receive(INSIDE) {
                    let (from, server) = endpoints(&packet, 0);
                    self.send(INSIDE, answers % self.queues(INSIDE), &udp(server, from, b"!"));
                    answers += 1;
                    arrived += 1;
                }
                arrived += usize::from(self.receive(OUTSIDE).is_some());
            }
            if arrived == expected {
                break;
            }
            assert!(Instant::now() < end, "frames do not pass: {:?}\n{}", self.counters(), self.log());
            // What is still under way is not of the next round.
            let quiet = Instant::now() + Duration::from_millis(50);
            while Instant::now() < quiet {
                (0..2).for_each(|port| drop(self.receive(port)));
            }
        }
        self.ipvsadm("-D -u 172.16.0.1:7");
    }

    /// Ends the director, which must find every frame back in its pool.
    pub fn stop(mut self) {
        self.ends.drain(..).flatten().for_each(End::unplug);
        let status = lab::terminate(&mut self.process.0);
        let log = self.log();
        assert!(status.success() && !log.contains("not released") && !log.contains("panicked"), "{status}\n{log}");
        if self.cable == Cable::Veth {
            sh("for n in 0 1 2; do ip link del port$n; done");
        }
    }
}

/// What a command of the console said, when it has ended.
pub fn said(mut command: Killed) -> String {
    let mut text = String::new();
    command.0.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    command.0.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
    text
}

fn at_log(files: &TempDir) -> std::path::PathBuf {
    files.path().join("log")
}
