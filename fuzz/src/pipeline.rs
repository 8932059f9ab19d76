//! The whole data path under everything at once: frames good and bad from two ports and the kernel, commands, time,
//! neighbours and routes that come and go, full queues and tables, an empty pool, a worker that is late, somebody who
//! watches or not.
//!
//! After every step all of it must add up (`audit`): received is forwarded, to the kernel, dropped or held; counters
//! are what a walk over the tables finds; deleted destinations are kept as long as something refers to them. What leaves must have the right MAC addresses and
//! checksums.

mod audit;

use crate::check::{self, Leaving};
use crate::draw::Draw;
use crate::frames::{self, Packet};
use crate::notes::Notes;
use crate::world::{DESTINATIONS, GATEWAY, GUE, MACS, Sizes, World, lock};
use forwarder::clock::Tick;
use forwarder::route::Mac;

use forwarder::pipeline::DropReason;
use forwarder::stats::WorkerStats;

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Steps that one input makes at most.
const STEPS: usize = 400;
/// Frames seen lately, to be answered and quoted.
const REMEMBERED: usize = 16;

const VIPS: [[u8; 4]; 2] = [[10, 0, 0, 100], [172, 16, 0, 1]];
const CLIENTS: [[u8; 4]; 5] = [[172, 16, 0, 10], [172, 16, 0, 11], [203, 0, 113, 7], [192, 168, 1, 4], [127, 0, 0, 1]];
const SERVERS: [[u8; 4]; 6] =
    [[192, 168, 1, 2], [192, 168, 1, 3], [192, 168, 1, 4], [198, 51, 100, 9], [172, 16, 0, 1], [10, 0, 0, 100]];
/// Where a mark sends whoever goes there.
const MARKED: [u8; 4] = [10, 9, 9, 9];
/// What only the kernel's frames begin with: how they are told from the worker's.
const KERNELS: Mac = [2, 0xee, 0, 0, 0, 1];

/// Plays an input.
pub fn run(data: &[u8]) {
    let _ = play(data);
}

/// Plays an input and answers what the worker counted: the first bytes choose the sizes, each further step begins with a byte that says what happens.
pub fn play(data: &[u8]) -> Vec<Arc<WorkerStats>> {
    let mut draw = Draw::new(data);
    let (small, seed) = (draw.byte(), draw.byte());
    let sizes = Sizes {
        workers: 1 + usize::from(seed >> 7) * (1 + usize::from(seed >> 4 & 1)),
        slots: [32, 64, 256, 1024][usize::from(small & 3)],
        templates: [32, 64][usize::from(small >> 2 & 1)],
        frames: [256, 4, 40, 1000][usize::from(small >> 3 & 3)],
        mtu: [1500, [1500, 1400, 576, 68][usize::from(small >> 5 & 3)]],
        now: if small & 128 != 0 { Tick(u32::MAX - 3000) } else { Tick(0) },
        seed: seed.into(),
        together: seed & 64 != 0,
    };
    let mut play = Play::new(&sizes);
    // With bent frames, no transport checksum can be vouched for.
    draw.bent = draw.once_in(2);
    play.bent = draw.bent;
    let watches = seed & 32 != 0;
    let start: [&[&str]; 9] = [
        &["mark add to 10.9.9.0/24 set 1", "-A -f 1 -s lblc", "-a -f 1 -r 192.168.1.3 -g", "set vs cache_bypass 1"],
        &["-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 192.168.1.2:8080 -m"],
        &[
            "-A -t 10.0.0.100:80 -s wlc",
            "-a -t 10.0.0.100:80 -r 192.168.1.2 -g",
            "-a -t 10.0.0.100:80 -r 192.168.1.3 -g",
        ],
        &[
            "-A -t 10.0.0.100:80 -s lblcr",
            "-a -t 10.0.0.100:80 -r 192.168.1.2 -i",
            "-a -t 10.0.0.100:80 -r 192.168.1.4 -m",
        ],
        &[
            "-A -u 10.0.0.100:53 -s rr",
            "-a -u 10.0.0.100:53 -r 192.168.1.2 -m",
            "set vs nat_icmp_send 1",
            "-a -u 10.0.0.100:53 -r 172.16.0.1 -m",
        ],
        &[
            "-A -t 10.0.0.100:0 -s sh -p 60",
            "-a -t 10.0.0.100:0 -r 192.168.1.2 -m -x 2",
            "-a -t 10.0.0.100:0 -r 192.168.1.3 -m",
        ],
        &["-A -u 10.0.0.100:5060 -s rr -p 60 --pe sip", "-a -u 10.0.0.100:5060 -r 192.168.1.2 -m"],
        &["-A --sctp-service 10.0.0.100:80 -s mh", "-a --sctp-service 10.0.0.100:80 -r 192.168.1.2:81 -m"],
        &[
            "-A -u 10.0.0.100:53 -s nq",
            "-a -u 10.0.0.100:53 -r 198.51.100.9 -i --tun-type gue --tun-port 6080 --tun-csum",
        ],
    ];
    for _ in 0..3 {
        draw.of(&start).iter().for_each(|line| play.command(line));
    }
    for step in 0..STEPS {
        if draw.is_empty() {
            break;
        }
        if watches && step % 7 == 0 {
            play.watch(step % 2 == 0);
        }
        play.step(&mut draw);
        play.audit();
    }
    let stats = play.world.stats.clone();
    play.end();
    stats
}

struct Play {
    world: World,
    bent: bool,
    /// Frames seen lately, with their ports: what came in, and what left.
    came: VecDeque<(u16, Vec<u8>)>,
    left: VecDeque<(u16, Vec<u8>)>,
    leaving: Leaving,
    /// Sources of frames that came in, with their ports: answers may go straight back.
    senders: BTreeSet<(u16, Mac)>,
    /// A transmit queue was full: what leaves may be of an earlier turn, when MAC addresses were others.
    jammed: bool,
    /// Frames waited for their neighbour before this step: they leave to who was their next hop then.
    held: bool,
    /// Frames were in rings between workers before this step.
    on_their_way: bool,
    /// Who watches, and how many frames had been dropped before, by reason.
    watching: Option<(Arc<Notes>, Vec<u64>)>,
    /// A rule marks packets to anybody, so they may go to a server.
    marked: bool,
    /// By destination slot: whether it must be overloaded, where that is known.
    overloaded: Vec<Option<bool>>,
    limits: Vec<(u32, u32, u16)>,
}

impl Play {
    fn new(sizes: &Sizes) -> Self {
        let mut world = World::new(sizes);
        for (n, server) in SERVERS[..3].iter().enumerate() {
            world.neighbour(1, (*server).into(), Some(Some([2, 1, 0, 0, 0, n as u8])));
        }
        world.neighbour(0, GATEWAY, Some(Some([2, 1, 0, 0, 0, 0xfe])));
        world.neighbour(0, CLIENTS[0].into(), Some(Some([2, 1, 0, 0, 0, 10])));
        Self {
            world,
            bent: false,
            came: VecDeque::new(),
            left: VecDeque::new(),
            leaving: Leaving::default(),
            senders: BTreeSet::new(),
            jammed: false,
            held: false,
            on_their_way: false,
            watching: None,
            marked: false,
            overloaded: vec![Some(false); DESTINATIONS],
            limits: vec![(0, 0, 0); DESTINATIONS],
        }
    }

    fn step(&mut self, draw: &mut Draw<'_>) {
        match draw.below(32) {
            0..=17 => {
                for _ in 0..=draw.of(&[0, 0, 1, 5, 7, 40]) {
                    let (port, frame) = self.frame(draw);
                    self.receive(port, frame);
                }
                self.turn();
            }
            18 | 19 => self.some_command(draw),
            20 => self.flood(draw),
            21 | 22 => {
                self.world.pass(draw.of(&[1, 5, 64, 200, 1000, 6100, 12_100, 31_000, 91_000, 1 << 24]));
                self.turn();
            }
            23 => self.rest(),
            24 => self.some_neighbour(draw),
            25 if draw.once_in(3) => self.world.vip(!draw.once_in(4)),
            25 => self.world.default_route(!draw.once_in(3)),
            26 => self.world.port(draw.below(2) as u16, !draw.once_in(5)),
            27 => self.some_room(draw),
            28 => {
                let (port, frame) = self.kernel_frame(draw);
                let running = &mut *self.world.lcore.lock();
                let frame = lock(&self.world.pool).frame(&frame);
                let of_port = usize::from(port) % running.workers.len();
                running.workers[of_port].kernel_link().says[usize::from(port)].extend(frame);
                running.turn();
            }
            29 => {
                let stubborn = draw.once_in(2);
                self.world.lcore.lock().stubborn = stubborn;
            }
            30 if draw.once_in(2) => {
                self.world.list();
            }
            // `stop` and `start`: the queues are left alone for a turn.
            30 => {
                let running = &mut *self.world.lcore.lock();
                running.workers.iter_mut().for_each(|worker| worker.rest(running.now));
            }
            _ => {
                let stubborn = self.world.lcore.lock().stubborn;
                let ticked = self.world.director.tick();
                assert!(ticked.is_ok() || stubborn, "{ticked:?}");
                self.look();
            }
        }
        self.look();
    }

    /// Somebody watches from now on, or nobody.
    fn watch(&mut self, on: bool) {
        let notes = on.then(Arc::<Notes>::default);
        self.world.watch(notes.clone());
        let dropped = || DropReason::ALL.iter().map(|reason| self.world.dropped(*reason)).collect();
        self.watching = notes.map(|notes| (notes, dropped()));
    }

    /// Many clients at once, more than a small table can keep, some of which go on.
    fn flood(&mut self, draw: &mut Draw<'_>) {
        let (protocol, port) = draw.of(&[(6, 80), (17, 53), (17, 5060), (132, 80)]);
        let (first, count, goes_on) = (draw.byte(), 1 + draw.below(200), draw.once_in(2));
        for (n, round) in (0..count).flat_map(|n| [(n, 0), (n, 1)]) {
            if round == 1 && !goes_on {
                continue;
            }
            let source = [203, 0, first, n as u8];
            let packet = Packet { protocol, source, destination: VIPS[0], ..Packet::default() };
            // What a transport header's bytes are drawn from: no data, and SYN, then ACK; INIT, then COOKIE ECHO.
            let choices: [u8; 4] = if round == 0 { [0; 4] } else { [0, 3, 8, 0] };
            let payload = frames::transport(&mut Draw::new(&choices), protocol, [1000 + n as u16 % 3, port]);
            self.receive(0, packet.sealed(payload).frame(MACS[0], [2, 1, 0, 0, 1, 1]));
            if n % 32 == 31 {
                self.turn();
            }
        }
        self.turn();
    }

    /// A frame and the port it comes in by.
    fn frame(&mut self, draw: &mut Draw<'_>) -> (u16, Vec<u8>) {
        let sources: Vec<_> = [&CLIENTS[..], &SERVERS[..3], &VIPS[..1]].concat();
        let destinations: Vec<_> =
            [&[VIPS[0]; 6][..], &VIPS[..], &SERVERS[..2], &[[224, 0, 0, 1], MARKED, MARKED]].concat();
        let remembered = |frames: &VecDeque<(u16, Vec<u8>)>, draw: &mut Draw<'_>| {
            let index = draw.below(REMEMBERED);
            let frame = frames.get(index).or(frames.back())?;
            let l3 = check::l3(&frame.1)?;
            Some((frame.0, l3, frame.1.clone()))
        };
        let mut port = draw.below(2) as u16;
        let packet = match draw.below(8) {
            // What received something of ours answers it, ...
            0 | 1 => remembered(&self.left, draw).and_then(|(from, l3, frame)| {
                port = from;
                let packet = &frame[l3..];
                let inner = if packet.get(9) == Some(&4) { packet.get(20..)? } else { packet };
                frames::reply_to(draw, inner)
            }),
            // or complains about it, as may a router on its way.
            2 => remembered(&self.left, draw).and_then(|(from, l3, frame)| {
                port = from;
                let to: [u8; 4] = frame.get(l3 + 12..l3 + 16)?.try_into().ok()?;
                let source = draw.of(&[[192, 168, 1, 254], [192, 168, 1, 2], [172, 16, 0, 254], [0, 0, 0, 0]]);
                Some(frames::error_about(draw, &frame[l3..], source, to))
            }),
            // A client goes on with its connection.
            3 => {
                if let Some((from, _, frame)) = remembered(&self.came, draw) {
                    return (from, frame);
                }
                None
            }
            4 if draw.once_in(4) => {
                let mut fragments = self.fragmented(draw);
                let last = fragments.pop();
                for fragment in fragments {
                    if !draw.once_in(6) {
                        self.receive(port, fragment);
                    }
                }
                if let Some(last) = last {
                    return (port, last);
                }
                None
            }
            _ => None,
        };
        let packet = packet.unwrap_or_else(|| frames::packet(draw, &sources, &destinations));
        let source = [2, 1, 0, 0, 1, draw.byte()];
        let destination = if draw.once_in(16) { [0xff; 6] } else { MACS[usize::from(port)] };
        let mut frame = packet.frame(destination, source);
        if frame.len() < 60 && draw.once_in(2) {
            frame.resize(60, 0x5a);
        }
        if self.bent && draw.once_in(2) {
            frames::bend(draw, &mut frame);
        }
        (port, frame)
    }

    /// One packet in fragments, in some order.
    fn fragmented(&mut self, draw: &mut Draw<'_>) -> Vec<Vec<u8>> {
        let packet = Packet { tags: Vec::new(), fragment: 0, ..frames::packet(draw, &CLIENTS, &VIPS) };
        let step = draw.of(&[8, 64, 512, 1024]).max(packet.payload.len().div_ceil(300).next_multiple_of(8));
        let count = packet.payload.len().div_ceil(step);
        let mut pieces: Vec<_> = packet
            .payload
            .chunks(step)
            .enumerate()
            .map(|(n, piece)| {
                let more = if n + 1 < count { 0x2000 } else { 0 };
                let piece =
                    Packet { fragment: more | (n * step / 8) as u16, payload: piece.to_vec(), ..packet.clone() };
                piece.frame(MACS[0], [2, 1, 0, 0, 1, 1])
            })
            .collect();
        match draw.below(3) {
            0 => {}
            1 => pieces.reverse(),
            _ => pieces.rotate_left(count / 2),
        }
        pieces
    }

    fn receive(&mut self, port: u16, frame: Vec<u8>) {
        let Some(received) = lock(&self.world.pool).frame(&frame) else { return };
        if let Some(mac) = frame.get(6..12).and_then(|mac| mac.try_into().ok()) {
            self.senders.insert((port, mac));
        }
        // A NIC that knows nothing of connections: any worker may get it.
        let workers = &mut self.world.lcore.lock().workers;
        let by = self.came.len() + usize::from(frame.get(25).copied().unwrap_or(0));
        let by = by % workers.len();
        if let Some(queue) = workers[by].receive_queue(port) {
            queue.frames.push_back(received);
        }
        remember(&mut self.came, port, frame);
    }

    fn kernel_frame(&mut self, draw: &mut Draw<'_>) -> (u16, Vec<u8>) {
        let (port, mut frame) = self.frame(draw);
        if frame.len() >= 12 {
            frame[..6].copy_from_slice(&KERNELS);
        } else {
            frame.splice(.., KERNELS);
        }
        (port, frame)
    }

    /// Turns until everything that came in is done with.
    fn turn(&mut self) {
        for _ in 0..8 {
            self.world.turn();
        }
    }

    /// Time goes on as a worker sees it: in small steps, until half-open connections and fragments are gone.
    fn rest(&mut self) {
        for _ in 0..130 {
            self.world.pass(100);
            self.turn();
        }
    }

    fn command(&mut self, line: &str) {
        self.marked |= line.starts_with("mark add") && !line.contains("to 10.9.9.0/24");
        self.world.say(line);
        self.note_limits();
    }

    fn some_command(&mut self, draw: &mut Draw<'_>) {
        let service = draw.of(&[
            "-t 10.0.0.100:80",
            "-t 10.0.0.100:80",
            "-u 10.0.0.100:53",
            "-u 10.0.0.100:5060",
            "-t 10.0.0.100:0",
            "--sctp-service 10.0.0.100:80",
            "-t 172.16.0.1:81",
            "-f 1",
        ]);
        let scheduler =
            draw.of(&["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"]);
        let persistence = match draw.below(6) {
            0 => " -p 60",
            1 => " -p 1 -M 255.255.255.0",
            2 => " -p 300 --pe sip",
            3 => " -o",
            4 => " -b flag-1,flag-2",
            _ => "",
        };
        let server = Ipv4Addr::from(draw.of(&SERVERS));
        let port = draw.of(&["", ":80", ":8080", ":0"]);
        let method = draw.of(&[
            "-m",
            "-g",
            "-i",
            "-i --tun-type gue --tun-port 6080",
            "-i --tun-type gue --tun-port 6080 --tun-csum",
            "-i --tun-type gre",
            "-i --tun-type gre --tun-csum",
            "-m",
        ]);
        debug_assert_eq!(GUE, 6080);
        let (weight, upper) = (draw.of(&[1, 0, 3, 100, 2_147_483_647]), draw.of(&[0, 1, 2, 5, 0]));
        let lower = draw.of(&[0, 1, 2]).min(upper);
        let server_options = format!("{service} -r {server}{port} {method} -w {weight} -x {upper} -y {lower}");
        let line = match draw.below(12) {
            0 | 1 => format!("-A {service} -s {scheduler}{persistence}"),
            2 => format!("-E {service} -s {scheduler}{persistence}"),
            3 => format!("-D {service}"),
            4..=6 => format!("-a {server_options}"),
            7 => format!("-e {server_options}"),
            8 => format!("-d {service} -r {server}{port}"),
            9 if draw.once_in(4) => {
                let verb = draw.of(&["add", "del"]);
                let rule = draw.of(&["to 10.9.9.0/24", "tcp port 80-81", "udp from 172.16.0.0/24", "to 10.0.0.100"]);
                format!("mark {verb} {rule} set 1")
            }
            9 => {
                let setting = draw.of(&[
                    "expire_nodest_conn",
                    "expire_quiescent_template",
                    "conn_reuse_mode",
                    "sloppy_tcp",
                    "sloppy_sctp",
                    "secure_tcp",
                    "nat_icmp_send",
                    "pmtu_disc",
                    "lblc_expiration",
                    "cache_bypass",
                    "lblcr_expiration",
                ]);
                format!("set vs {setting} {}", draw.of(&[1, 0, 2, 3, 2_147_483_647]))
            }
            10 if draw.once_in(4) => {
                let flush = ["all", "client 172.16.0.10", "tcp 10.0.0.100:80", "tcp 10.0.0.100:80 server 192.168.1.2"];
                format!("flush conn {}", draw.of(&flush))
            }
            10 if draw.once_in(4) => format!("set exception limit icmp {}", draw.of(&[0, 10, 5_000])),
            10 => draw
                .of(&["--set 1 1 1", "--set 900 120 300", "--set 2678400 0 0", "-Z", "-Ln --stats", "-Sn"])
                .to_owned(),
            _ if draw.once_in(5) => "-C".to_owned(),
            _ => format!("-d {service} -r {server}{port}"),
        };
        self.command(&line);
    }

    fn some_neighbour(&mut self, draw: &mut Draw<'_>) {
        let (port, address) = match draw.below(9) {
            n @ 0..=2 => (1, SERVERS[n].into()),
            n @ 3..=4 => (0, CLIENTS[n - 3].into()),
            5 => (0, GATEWAY),
            n => ((n & 1) as u16, Ipv4Addr::new(192, 168, 1, 200 + n as u8)),
        };
        let state = match draw.below(4) {
            0 => None,
            1 => Some(None),
            _ => Some(Some([2, 1, 0, 0, 2, draw.byte()])),
        };
        self.world.neighbour(port, address, state);
    }

    fn some_room(&mut self, draw: &mut Draw<'_>) {
        let running = &mut *self.world.lcore.lock();
        let room = draw.of(&[usize::MAX, usize::MAX, 0, 1, 20]);
        match draw.below(3) {
            0 => running.workers.iter_mut().for_each(|worker| worker.kernel_link().room = room),
            1 => {
                let missing = draw.of(&[None, None, Some(0), Some(1)]);
                running.workers.iter_mut().for_each(|worker| worker.kernel_link().missing = missing);
            }
            _ => {
                let port = draw.below(2) as u16;
                for queue in running.transmit_queues(port) {
                    queue.room = room;
                    self.jammed |= room < usize::MAX;
                }
            }
        }
    }
}

fn remember(frames: &mut VecDeque<(u16, Vec<u8>)>, port: u16, frame: Vec<u8>) {
    frames.push_front((port, frame));
    frames.truncate(REMEMBERED);
}
