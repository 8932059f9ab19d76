//! Frames that no honest host sends: each is dropped under its name or handed to the kernel, and nothing else happens.

mod lab;

use lab::{Counters, Director, Driver, Lab, Options, eventually};

const RULES: [&str; 2] = ["-A -t 172.16.0.1:80 -s rr", "-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m"];
/// With a driver that hands over every frame, fragments too.
const EVERYTHING: Options = Options { huge_pages: false, driver: Driver::Pcap, more_workers: 0 };
const CLIENT: [u8; 4] = [172, 16, 0, 10];
const VIP: [u8; 4] = [172, 16, 0, 1];

/// One Ethernet frame with one IPv4 packet, to be bent out of shape.
struct Frame {
    bytes: Vec<u8>,
}

/// Where the IPv4 header starts.
const IP: usize = 14;

impl Frame {
    /// A sound one to the VIP: 20 bytes of IPv4 header, options, and this payload of this protocol.
    fn new(director: [u8; 6], protocol: u8, options: &[u8], payload: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4));
        let mut bytes = director.to_vec();
        bytes.extend([2, 0, 0, 0, 0, 0xcc, 8, 0]);
        let header = 20 + options.len();
        let length = u16::try_from(header + payload.len()).expect("short").to_be_bytes();
        bytes.extend([0x40 | u8::try_from(header / 4).expect("short"), 0, length[0], length[1]]);
        bytes.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
        bytes.extend(CLIENT.iter().chain(&VIP).chain(options).chain(payload));
        Self { bytes }.sealed()
    }

    /// A SYN to the service.
    fn syn(director: [u8; 6], options: &[u8]) -> Self {
        let mut tcp = [0; 20];
        tcp[..4].copy_from_slice(&[0x12, 0x34, 0, 80]);
        tcp[12..16].copy_from_slice(&[0x50, 2, 0xff, 0xff]);
        Self::new(director, 6, options, &tcp)
    }

    /// With other bytes at this place of the IPv4 header.
    fn with(mut self, at: usize, value: &[u8]) -> Self {
        self.bytes[IP + at..IP + at + value.len()].copy_from_slice(value);
        self
    }

    /// With a right header checksum.
    fn sealed(mut self) -> Self {
        self.bytes[IP + 10..IP + 12].fill(0);
        let header = &self.bytes[IP..(IP + usize::from(self.bytes[IP] & 15) * 4).min(self.bytes.len())];
        let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        let checksum = !u16::try_from(folded & 0xffff).expect("masked");
        self.bytes[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
        self
    }

    /// Its first bytes only.
    fn cut(mut self, len: usize) -> Self {
        self.bytes.truncate(len);
        self
    }
}

/// Frames by the name of their drop.
fn hostile(to: [u8; 6]) -> Vec<(&'static str, Frame)> {
    let syn = || Frame::syn(to, &[]);
    vec![
        ("short_ip_header", syn().cut(IP + 10)),
        ("bad_ip_version", syn().with(0, &[0x65]).sealed()),
        ("bad_ip_header_length", syn().with(0, &[0x44]).sealed()),
        ("bad_ip_header_length", syn().with(0, &[0x4f])),
        ("bad_ip_total_length", syn().with(2, &[0, 19]).sealed()),
        ("bad_ip_total_length", syn().with(2, &[0xff, 0xff]).sealed()),
        ("bad_ip_checksum", syn().with(10, &[0xde, 0xad])),
        ("bad_ip_options", Frame::syn(to, &[7, 0, 4, 0])),
        ("bad_ip_options", Frame::syn(to, &[7, 40, 4, 0])),
        ("source_routed", Frame::syn(to, &[131, 7, 4, 192, 168, 1, 3, 0])),
        ("source_routed", Frame::syn(to, &[137, 7, 4, 192, 168, 1, 3, 0])),
        ("short_transport_header", Frame::new(to, 6, &[], &[0x12, 0x34, 0, 80, 0, 0])),
        ("short_transport_header", Frame::new(to, 17, &[], &[0x12, 0x34, 0, 53])),
        ("fragment_too_long", syn().with(6, &[0x1f, 0xff]).sealed()),
        ("martian_source", syn().with(12, &[255, 255, 255, 255]).sealed()),
        ("martian_source", syn().with(12, &[224, 0, 0, 9]).sealed()),
        ("martian_source", syn().with(12, &[127, 0, 0, 1]).sealed()),
    ]
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect();
    bytes.try_into().expect("six bytes")
}

/// What comes in must be accounted for: every frame is sent on, given to the kernel, dropped by name, or waiting. (The
/// counters of a running worker are read one after the other, so it may take more than one look.)
fn assert_identity(director: &Director<'_>) {
    eventually("received = forwarded + to the kernel + dropped + held", || {
        let counters = director.counters();
        let drops: u64 = counters.drops.values().sum();
        counters.received == counters.forwarded + counters.to_kernel + counters.held + drops
    });
}

#[test]
fn malformed_frames_are_dropped_by_name() {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start_with(&lab, EVERYTHING);
    director.configure(&RULES);
    for (name, frame) in hostile(mac(&lab.mac("director", "port0"))) {
        let before = director.counters();
        lab.send("client", "wan", std::slice::from_ref(&frame.bytes));
        let dropped = |counters: &Counters| counters.drops.get(name).copied().unwrap_or(0);
        eventually(&format!("one more {name} for {:02x?}", frame.bytes), || {
            dropped(&director.counters()) == dropped(&before) + 1
        });
        assert_identity(&director);
    }
    assert_eq!(lab.curl("client", "http://172.16.0.1/", 3), ["rs2"; 3]);
}

#[test]
fn what_is_strange_but_sound_goes_to_the_kernel() {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start_with(&lab, EVERYTHING);
    director.configure(&RULES);
    let to = mac(&lab.mac("director", "port0"));
    let frames = [
        Frame::new(to, 253, &[], b"experimental"), // RFC 3692
        Frame::new(to, 47, &[], &[0; 4]),          // GRE that nobody asked for
        Frame::syn(to, &[]).with(16, &[172, 16, 0, 77]).sealed(),
        Frame { bytes: [to.as_slice(), &[2, 0, 0, 0, 0, 0xcc, 0x88, 0xb5], &[0; 46]].concat() }, // experimental type
    ];
    for frame in frames {
        let before = director.counters().to_kernel;
        lab.send("client", "wan", std::slice::from_ref(&frame.bytes));
        eventually(&format!("the kernel to get {:02x?}", frame.bytes), || director.counters().to_kernel > before);
    }
    assert_identity(&director);
}

#[test]
fn many_damaged_frames_do_no_harm() {
    const BATCHES: u64 = 20;
    const BATCH: u64 = 250;
    let Some(lab) = Lab::new() else { return };
    let mut director = Director::start_with(&lab, EVERYTHING);
    director.configure(&RULES);
    let sound = Frame::syn(mac(&lab.mac("director", "port0")), &[7, 7, 4, 0, 0, 0, 0, 0]).bytes;
    // xorshift64, always from the same start.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("below a usize")
    };
    let mut damaged = || {
        let mut frame = sound.clone();
        for _ in 0..=random(4) {
            let at = IP + random(frame.len() - IP);
            frame[at] = u8::try_from(random(256)).expect("a byte");
        }
        frame.truncate(IP + 1 + random(frame.len() - IP));
        frame
    };
    let before = director.counters().received;
    for batch in 1..=BATCHES {
        let frames: Vec<Vec<u8>> = (0..BATCH).map(|_| damaged()).collect();
        lab.send("client", "wan", &frames);
        eventually("the batch to come", || director.counters().received >= before + batch * BATCH);
        assert_identity(&director);
    }
    assert!(director.runs(), "{}", director.log());
    assert_eq!(lab.curl("client", "http://172.16.0.1/", 3), ["rs2"; 3]);
}
