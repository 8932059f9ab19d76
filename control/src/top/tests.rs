use super::*;
use crate::command::{Rates, RecentLoad, ServerSpec, ServiceName, ServiceSpec, Statistics, WorkerView};
use forwarder::service::{Method, Protocol};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn server(last: u8, method: Method, active: u32, connections: u64) -> ServerView {
    let rates = Rates { connections, in_packets: connections * 10, in_bytes: connections * 1000, ..Rates::default() };
    ServerView {
        spec: ServerSpec { method, ..ServerSpec::new([10, 0, 0, last].into(), 80) },
        active,
        inactive: 0,
        persistent: 0,
        statistics: Statistics { rates, ..Statistics::default() },
        origin: crate::command::Origin::Runtime,
        drain: None,
    }
}

fn service(last: u8, servers: Vec<ServerView>) -> ServiceView {
    let address = [192, 0, 2, last].into();
    let spec = ServiceSpec::new(ServiceName::Address { protocol: Protocol::Tcp, address, port: 80 });
    let mut statistics = Statistics::default();
    for server in &servers {
        statistics.rates.connections += server.statistics.rates.connections;
        statistics.rates.in_packets += server.statistics.rates.in_packets;
        statistics.rates.in_bytes += server.statistics.rates.in_bytes;
    }
    ServiceView { spec, statistics, servers, origin: crate::command::Origin::Runtime }
}

fn sample(at: u64, frames: u64) -> Sample {
    let recent = RecentLoad { busy_cycles: 25, idle_cycles: 75, frames: 1, ..RecentLoad::default() };
    let drops = [("no_route".to_owned(), frames / 100)].into();
    let worker = WorkerView { received: frames, forwarded: frames, recent, drops, ..WorkerView::default() };
    Sample {
        at: Duration::from_secs(at),
        clock: 1000 + at,
        version: "0.1.0".to_owned(),
        status: crate::command::StatusView { started: 1000, ..Default::default() },
        services: vec![
            service(1, vec![server(2, Method::Nat, 3, 30), server(3, Method::Dr, 7, 90)]),
            service(2, vec![server(4, Method::Dr, 0, 2_000)]),
        ],
        workers: vec![worker],
        ports: Vec::new(),
        forwarding: true,
    }
}

fn top() -> Top {
    let mut top = Top::new(sample(10, 1_000_000), Duration::from_secs(2));
    top.take(sample(12, 3_000_000));
    top
}

fn picture(top: &Top, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it is memory");
    terminal.draw(|frame| top.draw(frame)).expect("it is memory");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned() + "\n";
    (0..height).map(line).collect()
}

#[test]
fn the_picture_has_everything() {
    let picture = picture(&top(), 118, 16);
    let expected = "\
rvsd 0.1.0  up 0:00:12  forwarding  2 services, 3 servers  0 connections
2.12k conn/s   in 21.2k pkt/s 17.0M bit/s   out 0 pkt/s 0 bit/s

SERVICE / SERVER             HOW     WEIGHT  ACTIVE   INACT  CONN/S  IN PKT/S OUT PKT/S  IN BIT/S OUT BIT/S  SHARE
tcp 192.0.2.1:80             wlc          2      10       0     120     1.20k         0      960k         0
  10.0.0.2:80                nat          1       3       0      30       300         0      240k         0    25%
  10.0.0.3:80                dr           1       7       0      90       900         0      720k         0    75%
tcp 192.0.2.2:80             wlc          1       0       0   2.00k     20.0k         0     16.0M         0
  10.0.0.4:80                dr           1       0       0   2.00k     20.0k         0     16.0M         0   100%


WORKER                          BUSY  RX PKT/S  TX PKT/S    DROP/S  HANDED/S   ENTRIES
0                                25%     1.00M     1.00M         0         0         0
DROPPED BECAUSE                  PKT/S      EVER
no_route                         10.0k     30.0k
q quit  s sort: list  / filter  p pause  +/- every 2 s  up/down scroll
";
    assert_eq!(picture, expected, "{picture}");
}

#[test]
fn keys_sort_filter_scroll_and_end() {
    let mut top = top();
    let firsts = |top: &Top| -> Vec<String> {
        let text = picture(top, 118, 20);
        let list = text.lines().skip(4).take_while(|line| !line.is_empty());
        list.map(|line| line.split("  ").find(|word| !word.is_empty()).unwrap_or_default().to_owned()).collect()
    };
    let all = ["tcp 192.0.2.1:80", "10.0.0.2:80", "10.0.0.3:80", "tcp 192.0.2.2:80", "10.0.0.4:80"];
    assert_eq!(firsts(&top), all);
    assert!(top.key(Key::Char('s')));
    let by_rate = ["tcp 192.0.2.2:80", "10.0.0.4:80", "tcp 192.0.2.1:80", "10.0.0.3:80", "10.0.0.2:80"];
    assert_eq!(firsts(&top), by_rate);
    for key in ['/', '0', '.', '3', ':'].map(Key::Char) {
        assert!(top.key(key));
    }
    assert_eq!(firsts(&top), ["tcp 192.0.2.1:80", "10.0.0.3:80"]);
    assert!(picture(&top, 118, 20).ends_with("filter: 0.3:_\n"));
    // While it is typed, q is a letter.
    assert!(top.key(Key::Char('q')) && firsts(&top).is_empty());
    assert!(top.key(Key::Backspace) && top.key(Key::Enter));
    assert!(picture(&top, 118, 20).contains("/ filter \"0.3:\""));
    assert!(top.key(Key::Escape) && top.key(Key::Down) && top.key(Key::Down));
    assert_eq!(firsts(&top), by_rate[2..]);
    assert!(top.key(Key::PageDown));
    assert_eq!(firsts(&top), by_rate[4..]);
    assert!(top.key(Key::PageUp) && top.key(Key::Char('p')) && top.is_paused());
    (0..9).for_each(|_| assert!(top.key(Key::Char('-'))));
    assert_eq!(top.interval(), INTERVALS[1]);
    assert!(!top.key(Key::Char('q')) && !top.key(Key::Interrupt));
}

#[test]
fn any_screen_will_do() {
    let top = top();
    for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 100)] {
        picture(&top, width, height);
    }
}
