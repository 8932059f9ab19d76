//! The JSON protocol over a socket: the example client in Python, and clients that mean harm.

use control::command::ConnectionView;
use control::director::still::Still;
use control::server::{Server, Serving};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Served {
    directory: tempfile::TempDir,
    _serving: Serving,
}

impl Served {
    fn start(connections: u32) -> Self {
        let view = |n: u32| ConnectionView {
            protocol: "TCP".into(),
            expires: 900,
            state: "ESTABLISHED".into(),
            client: std::net::Ipv4Addr::from(n).into(),
            client_port: 1,
            target: "10.0.0.1".parse().unwrap(),
            target_port: 80,
            server: "10.0.0.2".parse().unwrap(),
            server_port: 80,
            engine: None,
        };
        let still = Still { connections: (0..connections).map(view).collect(), ..Still::default() };
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(Some(&directory.path().join("control.sock"))).unwrap();
        Self { _serving: server.start(still.director(64)).unwrap(), directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).unwrap()
    }

    /// The answer to one line.
    fn say(&self, line: &str) -> String {
        let stream = self.connect();
        (&stream).write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    }
}

#[test]
fn the_example_client_does_what_it_says() {
    let served = Served::start(2500);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("python3")
        .arg(root.join("control/tests/python_client.py"))
        .arg(served.socket())
        .arg(root.join("docs/control-protocol.schema.json"))
        .env("PYTHONPATH", root.join("examples"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 is needed for this test");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with("checked "), "{text}");
}

/// Nobody else may feel what these do: a list of every connection is asked for meanwhile.
fn others_are_served(served: &Served) {
    assert_eq!(served.say("show conn count"), "2500\n");
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody() {
    let served = Served::start(2500);
    let lazy: Vec<_> = (0..8).map(|_| served.connect()).collect();
    for mut stream in &lazy {
        stream.write_all("show conn\n".repeat(200).as_bytes()).unwrap();
    }
    others_are_served(&served);
    drop(served); // and the daemon can stop
}

#[test]
fn megabytes_without_a_newline_end_with_a_refusal() {
    let served = Served::start(2500);
    let mut stream = served.connect();
    let chunk = vec![b'x'; 1 << 20];
    // What stands in the socket when it is closed may be lost with it.
    while stream.write_all(&chunk).is_ok() {
        others_are_served(&served);
    }
}

#[test]
fn hundreds_of_connections_leave_room_for_one_that_speaks() {
    let served = Served::start(2500);
    let silent: Vec<_> = (0..500).filter_map(|_| UnixStream::connect(served.socket()).ok()).collect();
    others_are_served(&served);
    let gone = silent.iter().filter(|stream| {
        stream.set_nonblocking(true).unwrap();
        (&mut &**stream).read(&mut [0; 64]).is_ok()
    });
    assert!(gone.count() >= 300, "they were hung up on");
    others_are_served(&served);
}

#[test]
fn rubbish_is_answered_line_by_line() {
    let served = Served::start(2500);
    let stream = served.connect();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    for rubbish in [&b"\xff\xfe\0\0"[..], b"{", b"{}", b"[]", b"{\"command\":1}", b"{\"command\":\"\\u0000 x\"}", b"'"]
    {
        (&stream).write_all(rubbish).unwrap();
        (&stream).write_all(b"\n").unwrap();
        let mut answer = Vec::new();
        lines.read_until(b'\n', &mut answer).unwrap();
        assert!(answer.len() > 2, "{rubbish:?}: {answer:?}");
    }
    others_are_served(&served);
}
