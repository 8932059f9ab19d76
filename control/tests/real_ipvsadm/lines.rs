//! Random command lines: many that nearly make sense, and some that do.

/// A small generator of numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const VERBS: &[&str] = &[
    "-A",
    "-E",
    "-D",
    "-C",
    "-L",
    "-l",
    "-a",
    "-e",
    "-d",
    "-Z",
    "-S",
    "-R",
    "-Ln",
    "-Lnc",
    "--add-service",
    "--edit-service",
    "--delete-service",
    "--clear",
    "--list",
    "--add-server",
    "--edit-server",
    "--delete-server",
    "--zero",
    "--save",
    "--restore",
    "--set",
    "--start-daemon",
    "--stop-daemon",
    "-h",
    "-v",
];

const ADDRESSES: &[&str] = &[
    "1.2.3.4:80",
    "10.0.0.1:0",
    "192.168.1.2",
    "1.2.3:80",
    "0x0a000001:80",
    "010.1.1.1:80",
    "1.2.3.4:http",
    "1.2.3.4:domain",
    "1.2.3.4:+80",
    "1.2.3.4:080",
    "1.2.3.4:0x50",
    "1.2.3.4:65535",
    "1.2.3.4:65536",
    "1.2.3.4:-1",
    "1.2.3.4:",
    ":80",
    "80",
    "[fd00::1]:80",
    "[fd00::1]",
    "fd00::1",
    "[fd00::1]:http",
    "[::]:80",
    "[fd00::zz]:80",
    "[fd00::1",
    "fd00::1]:80",
    "224.0.0.1:80",
    "0.0.0.0:80",
    "255.255.255.255:80",
    "127.0.0.1:80",
    "1.2.3.4.5:80",
    "256.1.1.1:80",
    "localhost:80",
    "localhost",
    "",
    ":",
    "1.2.3.4:80:90",
    "1.2.3.4:80x",
    " 1.2.3.4:80",
    "[::ffff:1.2.3.4]:80",
    "fe80::1",
    "[ff02::1]:5",
];

const MARKS: &[&str] = &["1", "7", "0", "-1", "4294967295", "4294967296", "0x7", "7x", "+7", "", " 7", "2147483648"];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "7",
    "100",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "-1",
    "1.5",
    "5x",
    "x",
    "",
    "+5",
    "0x10",
    "010",
    " 5",
    "255",
    "256",
    "2678400",
    "2678401",
];

/// An option, by its names, and what can stand behind it; none takes nothing.
const OPTIONS: &[(&[&str], Option<&[&str]>)] = &[
    (&["-t", "--tcp-service"], Some(ADDRESSES)),
    (&["-u", "--udp-service"], Some(ADDRESSES)),
    (&["--sctp-service"], Some(ADDRESSES)),
    (&["-f", "--fwmark-service"], Some(MARKS)),
    (&["-6", "--ipv6"], None),
    (&["-s", "--scheduler"], Some(&["rr", "wlc", "sh", "mh", "bogus", "", "a-name-that-is-too-long", "RR"])),
    (&["-p", "--persistent"], None),
    (&["--persistent=300", "-p300", "-p0", "--persistent=2678401", "-px", "--persistent="], None),
    (&["-p", "--persistent"], Some(NUMBERS)),
    (
        &["-M", "--netmask"],
        Some(&[
            "255.255.255.0",
            "24",
            "64",
            "128",
            "129",
            "0",
            "x",
            "255.0.255.0",
            "0xffffff00",
            "255.255.255.256",
            "-1",
            "",
        ]),
    ),
    (&["--pe"], Some(&["sip", "bogus", "", "a-name-that-is-too-long"])),
    (
        &["-b", "--sched-flags"],
        Some(&[
            "sh-port",
            "sh-fallback",
            "sh-port,sh-fallback",
            "mh-port",
            "mh-fallback",
            "flag-1",
            "flag-2,flag-3",
            "bogus",
            "sh-port,mh-port",
            ",flag-1",
            "flag-1,",
            "",
        ]),
    ),
    (&["-o", "--ops"], None),
    (&["-r", "--real-server"], Some(ADDRESSES)),
    (&["-g", "--gatewaying"], None),
    (&["-i", "--ipip"], None),
    (&["-m", "--masquerading"], None),
    (&["-w", "--weight"], Some(NUMBERS)),
    (&["-x", "--u-threshold"], Some(NUMBERS)),
    (&["-y", "--l-threshold"], Some(NUMBERS)),
    (&["--tun-type"], Some(&["ipip", "gue", "gre", "GRE", "x", ""])),
    (&["--tun-port"], Some(NUMBERS)),
    (&["--tun-nocsum"], None),
    (&["--tun-csum"], None),
    (&["--tun-remcsum"], None),
    (&["-n", "--numeric"], None),
    (&["-c", "--connection"], None),
    (&["--timeout"], None),
    (&["--daemon"], None),
    (&["--stats"], None),
    (&["--rate"], None),
    (&["--thresholds"], None),
    (&["--persistent-conn"], None),
    (&["--tun-info"], None),
    (&["-X", "--exact"], None),
    (&["--nosort"], None),
    (&["--sort"], None),
    (&["--mcast-interface"], Some(&["eth0", "", "a-name-that-is-too-long"])),
    (&["--syncid"], Some(NUMBERS)),
    (&["--sync-maxlen"], Some(NUMBERS)),
    (&["--mcast-group"], Some(&["224.0.0.81", "ff02::51", "10.0.0.1", "x", "", "[ff02::51]"])),
    (&["--mcast-port"], Some(NUMBERS)),
    (&["--mcast-ttl"], Some(NUMBERS)),
    (&["-A", "-D", "-L", "--bogus", "-q", "--", "-", "--weigh", "-nX", "extra", "5"], None),
];

/// What makes a command whole, by its verb.
fn proper(random: &mut Random, verb: &str) -> Vec<String> {
    const GOOD: &[&str] = &["1.2.3.4:80", "10.0.0.1:53", "[fd00::1]:80", "1.2.3.4:http", "9.9.9.9:443"];
    let mut words = Vec::new();
    let service = random.of(&["-t", "-u", "--sctp-service", "-f"]);
    let of = if service == "-f" { random.of(&["1", "7", "4294967295"]) } else { random.of(GOOD) };
    let says = |words: &mut Vec<String>, more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
    let has_service = [
        "-A",
        "-E",
        "-D",
        "-a",
        "-e",
        "-d",
        "--add-service",
        "--edit-service",
        "--delete-service",
        "--add-server",
        "--edit-server",
        "--delete-server",
    ]
    .contains(&verb)
        || (verb == "-Z" && random.once_in(2));
    if has_service {
        says(&mut words, &[service, of]);
        if service == "-f" && random.once_in(3) {
            says(&mut words, &["-6"]);
        }
    }
    if ["-a", "-e", "-d", "--add-server", "--edit-server", "--delete-server"].contains(&verb) {
        says(&mut words, &["-r", random.of(&["5.6.7.8", "5.6.7.8:8080", "fd01::2", "[fd01::2]:8080"])]);
    }
    match verb {
        "--set" => (0..3).for_each(|_| says(&mut words, &[random.of(&["0", "5", "900"])])),
        "--start-daemon" | "--stop-daemon" => says(&mut words, &[random.of(&["master", "backup"])]),
        _ => {}
    }
    words
}

/// A line, the same for the same seed.
pub fn line(seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let verb = random.of(VERBS);
    let mut words = if random.once_in(4) { Vec::new() } else { proper(&mut random, verb) };
    for _ in 0..random.of(&[0, 0, 0, 1, 1, 1, 2, 4]) {
        let (names, values) = random.of(OPTIONS);
        let name = random.of(names);
        match values.map(|values| random.of(values)) {
            None => words.push(name.to_owned()),
            Some(value) if random.once_in(8) => words.push(format!("{name}={value}")),
            Some(value) if !name.starts_with("--") && random.once_in(8) => words.push(format!("{name}{value}")),
            Some(_) if random.once_in(30) => words.push(name.to_owned()),
            Some(value) => words.extend([name.to_owned(), value.to_owned()]),
        }
    }
    if !random.once_in(40) {
        words.insert(0, verb.to_owned());
    }
    words
}
