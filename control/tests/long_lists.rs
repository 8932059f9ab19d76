//! A list of very many connections needs no more memory than a short one.

use control::command::{Command, ConnectionPage, ConnectionView, Error, Reply};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::ipvsadm::proc;
use control::ipvsadm::run::Session;
use std::io::Write;

const PAGE: u64 = 2000;
/// Bytes that a list may need, whatever its length: some pages.
const ENOUGH: u64 = 2_000_000;

/// A director with so many connections, made as they are asked for.
struct Director(u64);

impl Executor for Director {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        let Command::Connections { cursor, .. } = command else { return Err(Error::Invalid) };
        let end = (cursor + PAGE).min(self.0);
        let view = |n: u64| ConnectionView {
            protocol: "TCP".into(),
            expires: 900,
            state: "ESTABLISHED".into(),
            client: std::net::Ipv4Addr::from_bits(0x0a00_0000 + n as u32).into(),
            client_port: 1024,
            target: [172, 16, 0, 1].into(),
            target_port: 80,
            server: [192, 168, 1, 2].into(),
            server_port: 80,
            engine: None,
        };
        let page =
            ConnectionPage { connections: (cursor..end).map(view).collect(), next: (end < self.0).then_some(end) };
        Ok(Reply::Connections(page))
    }
}

/// Counts lines, and keeps nothing.
#[derive(Default)]
struct Lines(u64);

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0 += text.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(text.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines printed, and the most bytes that were in use.
fn measured(list: impl FnOnce(&mut Lines)) -> (u64, u64) {
    let mut lines = Lines::default();
    let used = allocation_counter::measure(|| list(&mut lines));
    (lines.0, used.bytes_max)
}

#[test]
fn memory_stays_within_bounds() {
    const CONNECTIONS: u64 = 200_000;
    for (options, expected) in [(["-L", "-n", "-c"], CONNECTIONS + 2), (["-L", "-c", "--json"], 1)] {
        let (lines, used) = measured(|output| {
            let mut session = Session {
                program: "ipvsadm",
                executor: &mut Director(CONNECTIONS),
                names: &Table::default(),
                input: &mut std::io::empty(),
                output,
                errors: &mut std::io::sink(),
            };
            assert_eq!(session.run(&options.map(str::to_owned)).status, 0);
        });
        assert_eq!(lines, expected);
        assert!(used < ENOUGH, "{options:?}: {used} bytes");
    }
    let (lines, used) =
        measured(|output| proc::write("ip_vs_conn", &mut Director(CONNECTIONS), output).expect("a list"));
    assert_eq!(lines, CONNECTIONS + 1);
    assert!(used < ENOUGH, "{used} bytes");
}
