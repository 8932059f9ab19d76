//! The control socket from both ends, and the `rvsadm` binary on it.

use control::client::{Lost, Remote};
use control::command::{Command, ConnectionPage, ConnectionView, Counters, Error, Reply, ServiceName, ServiceSpec};
use control::ipvsadm::Executor;
use control::server::{BindError, Server, Serving};
use control::state::{Limits, Live, Observed, State};
use forwarder::clock::Tick;
use forwarder::service::DestId;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// A director with a table of connections and nothing else that lives.
struct Director(State);

const CONNECTIONS: u64 = 2500;
const PAGE: u64 = 1000;

struct Table2500;

impl Observed for Table2500 {
    fn now(&self) -> Tick {
        Tick(0)
    }
    fn counters(&self, _: DestId) -> Counters {
        Counters::default()
    }
    fn live(&self, _: DestId) -> Live {
        Live::default()
    }
    fn connections(&self, cursor: u64) -> Result<ConnectionPage, Error> {
        let end = (cursor + PAGE).min(CONNECTIONS);
        let view = |n: u64| ConnectionView {
            protocol: "TCP".into(),
            expires: 900,
            state: "ESTABLISHED".into(),
            client: "10.0.0.9".parse().unwrap(),
            client_port: n as u16,
            target: "10.0.0.1".parse().unwrap(),
            target_port: 80,
            server: "10.0.0.2".parse().unwrap(),
            server_port: 80,
            engine: None,
        };
        Ok(ConnectionPage { connections: (cursor..end).map(view).collect(), next: (end < CONNECTIONS).then_some(end) })
    }
    fn interface_mtu(&self, _: &str) -> Option<u32> {
        Some(1500)
    }
}

impl Executor for Director {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command, &Table2500)
    }
}

/// A served director in a directory of its own.
struct Served {
    directory: tempfile::TempDir,
    serving: Option<Serving>,
}

impl Served {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(Some(&directory.path().join("control.sock"))).unwrap();
        let serving = server.start(Director(State::new(Limits::default(), Tick(0)))).unwrap();
        Self { directory, serving: Some(serving) }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// The binary under a name of our choice.
    fn call(&self, name: &str, line: &str, input: &str) -> Output {
        call(self.directory.path(), &self.socket(), name, line, input)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.serving.take());
        assert!(!self.socket().exists(), "the socket's file goes with the daemon");
    }
}

fn call(directory: &Path, socket: &Path, name: &str, line: &str, input: &str) -> Output {
    let program = directory.join(name);
    if !program.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rvsadm"), &program).unwrap();
    }
    let mut child = Process::new(program)
        .args(line.split_whitespace())
        .env("RVS_SOCKET", socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn printed(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn ok(text: &str) -> (Option<i32>, String, String) {
    (Some(0), text.to_owned(), String::new())
}

#[test]
fn a_script_of_calls() {
    let served = Served::start();
    let rules = "-A -t 10.0.0.1:80 -s wrr -p 300\n-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 2\n";
    assert_eq!(printed(&served.call("ipvsadm", "-A -t 10.0.0.1:80 -s wrr -p 300", "")), ok(""));
    assert_eq!(printed(&served.call("rvsadm", "-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 2 -x 9", "")), ok(""));
    assert_eq!(printed(&served.call("ipvsadm-save", "-n", "")), ok(rules));
    let (status, _, errors) = printed(&served.call("ipvsadm", "-A -t 10.0.0.1:80", ""));
    assert_eq!((status, errors.as_str()), (Some(255), "Service already exists\n"));
    let (status, _, errors) = printed(&served.call("rvsadm", "-A -t 10.0.0.1:x", ""));
    assert_eq!((status, errors.as_str()), (Some(2), "illegal virtual server address[:port] specified\n"));
    let (status, _, errors) = printed(&served.call("ipvsadm", "-Ln -f 7", ""));
    assert_eq!((status, errors.as_str()), (Some(1), "No such service\n"));
    let full = printed(&served.call("rvsadm", "-S -n --full", "")).1;
    assert_eq!(full, rules.replace(" -w 2", " -w 2 -x 9") + "--set 900 120 300\n");
}

#[test]
fn a_restore_is_one_transaction() {
    let served = Served::start();
    let rules = "-A -f 5 -s rr\n-a -f 5 -r 10.0.0.2:0 -g -w 1\n";
    assert_eq!(printed(&served.call("ipvsadm-restore", "", rules)), ok(""));
    assert_eq!(printed(&served.call("ipvsadm", "-Sn", "")), ok(rules));
    let refused = printed(&served.call("ipvsadm-restore", "", "# rules\n-A -f 6\n\n-a -f 7 -r 10.0.0.2\n"));
    assert_eq!(refused, (Some(255), String::new(), "line 4: Service not defined; nothing was changed\n".to_owned()));
    let refused = printed(&served.call("ipvsadm-restore", "", "-A -f 6\n-A -f x\n"));
    let message = "line 2: invalid fwmark value `x' specified; nothing was changed\n";
    assert_eq!(refused, (Some(2), String::new(), message.to_owned()));
    assert_eq!(printed(&served.call("ipvsadm", "-Sn", "")), ok(rules));
}

#[test]
fn connections_come_in_pages_and_are_all_there() {
    let served = Served::start();
    let (status, list, _) = printed(&served.call("ipvsadm", "-Lnc", ""));
    assert_eq!((status, list.lines().count() as u64), (Some(0), 2 + CONNECTIONS));
    let row = "TCP 15:00  ESTABLISHED 10.0.0.9:2499      10.0.0.1:80        10.0.0.2:80";
    assert_eq!(list.lines().last(), Some(row));
    let (_, list, _) = printed(&served.call("rvsadm", "-L -c --json", ""));
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["connections"].as_array().unwrap().len() as u64, CONNECTIONS);
}

#[test]
fn lines_and_requests_on_the_socket() {
    let served = Served::start();
    let stream = UnixStream::connect(served.socket()).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut say = |line: &str| {
        if !line.is_empty() {
            (&stream).write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        lines.next().unwrap().unwrap()
    };
    // Answers to plain lines end with the prompt, those to requests with their line.
    assert_eq!(say("frobnicate"), "Command not found");
    assert_eq!(say("ipvsadm -A"), "rvs> You need to supply the 'service-address' option for the 'add-service' command");
    assert_eq!(say(r#"{"command":"clear"}"#), "rvs> ", "an answer to a request is a line of its own");
    assert_eq!(say(""), r#"{"reply":"done"}"#);
    assert_eq!(say(r#"{"command":"clear"}"#), r#"{"reply":"done"}"#);
    assert_eq!(
        say(r#"{"command":"delete_service","service":{"mark":{"mark":3}}}"#),
        r#"{"error":{"error":"no_such_service"},"message":"No such service"}"#
    );
    assert!(say(r#"{"command":"clear""#).contains("bad_request"));
    assert!(say(r#"{"command":"fly"}"#).contains("bad_request"));
    (&stream).write_all(b"quit\n").unwrap();
    assert!(lines.next().is_none());
}

#[test]
fn a_client_keeps_its_connection() {
    let served = Served::start();
    let mut remote = Remote::new(&served.socket());
    let service = ServiceName::Mark { mark: 1, ipv6: false };
    assert_eq!(remote.execute(Command::AddService(ServiceSpec::new(service))), Ok(Reply::Done));
    assert_eq!(remote.execute(Command::AddService(ServiceSpec::new(service))), Err(Error::ServiceExists));
    assert_eq!(remote.execute(Command::DeleteService { service }), Ok(Reply::Done));
    assert_eq!(remote.lost(), None);
}

#[test]
fn one_daemon_a_socket() {
    let served = Served::start();
    assert!(matches!(Server::bind(Some(&served.socket())), Err(BindError::InUse(_))));
    assert_eq!(std::fs::metadata(served.socket()).unwrap().permissions().mode() & 0o777, 0o660);
    let stale = served.directory.path().join("new/stale.sock");
    std::fs::create_dir(stale.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&stale).unwrap());
    drop(Server::bind(Some(&stale)).unwrap());
    assert!(!stale.exists());
    let file = served.directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(Server::bind(Some(&file)), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    drop(Server::bind(Some(&served.directory.path().join("made/for/it.sock"))).unwrap());
}

#[test]
fn a_daemon_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("no.sock");
    for (name, line, status) in
        [("rvsadm", "-Ln", 3), ("ipvsadm", "-Ln", 2), ("ipvsadm", "-C", 2), ("ipvsadm", "-R", 2)]
    {
        let (got, output, errors) = printed(&call(directory.path(), &socket, name, line, "-C\n-C\n"));
        assert_eq!((got, output.as_str(), errors.lines().count()), (Some(status), "", 1), "{name} {line}: {errors}");
        assert!(errors.contains("no such socket"), "{errors}");
    }
    drop(UnixListener::bind(&socket).unwrap());
    let (status, _, errors) = printed(&call(directory.path(), &socket, "rvsadm", "", ""));
    assert_eq!(status, Some(3));
    assert!(errors.contains("nobody answers"), "{errors}");
    let (status, help, _) = printed(&call(directory.path(), &socket, "rvsadm", "-h", ""));
    assert_eq!(status, Some(0), "help needs no daemon");
    assert!(help.contains("RVS"));
}

/// A daemon that answers with these bytes and hangs up.
fn answering(bytes: &'static [u8]) -> (tempfile::TempDir, PathBuf, JoinHandle<()>) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read(&mut [0; 16]);
    });
    (directory, socket, thread)
}

#[test]
fn a_list_that_breaks_off_does_not_look_whole() {
    let rows: [(&'static [u8], &str, &str, i32, &str); 6] = [
        (b"{\"reply\":{\"services\":[", "rvsadm", "-Ln", 3, "in the middle of an answer"),
        (b"{\"reply\":{\"services\":[]}}", "rvsadm", "-Ln", 3, "in the middle of an answer"),
        (b"", "ipvsadm", "-C", 255, "in the middle of an answer"),
        (b"{\"x\":1}\n", "rvsadm", "-Ln", 3, "of one version"),
        (b"{\"reply\":\"done\"}\n", "rvsadm", "-Ln", 3, "of another version"),
        (b"too many clients, try again\n", "rvsadm", "-Ln", 3, "too many clients"),
    ];
    for (bytes, name, line, expected, message) in rows {
        let (directory, socket, thread) = answering(bytes);
        let (status, output, errors) = printed(&call(directory.path(), &socket, name, line, ""));
        thread.join().unwrap();
        assert_eq!((status, output.as_str()), (Some(expected), ""), "{errors}");
        assert!(errors.contains(message) && errors.lines().count() == 1, "{errors}");
    }
}

#[test]
fn a_list_of_connections_that_breaks_off_says_so_in_itself_too() {
    let row = r#"{"protocol":"TCP","expires":900,"state":"ESTABLISHED","client":"10.0.0.9","client_port":7,"virtual":"10.0.0.1",
        "virtual_port":80,"server":"10.0.0.2","server_port":80}"#
        .replace('\n', "");
    let page = format!("{{\"reply\":{{\"connections\":{{\"connections\":[{row}],\"next\":7}}}}}}\n");
    let half = &page[..page.len() / 2];
    for (name, options, status) in [
        ("rvsadm", "-Lnc", 3),
        ("ipvsadm", "-Lnc", 255),
        ("rvsadm", "-L -c --json", 3),
        ("rvsadm", "show conn", 3),
        ("rvsadm", "show proc ip_vs_conn", 3),
    ] {
        for rest in ["", half] {
            let (directory, socket, thread) = answering(Vec::leak([&page, rest].concat().into_bytes()));
            let (got, output, errors) = printed(&call(directory.path(), &socket, name, options, ""));
            thread.join().unwrap();
            assert_eq!((got, errors.lines().count()), (Some(status), 1), "{name} {options}: {errors}");
            assert!(errors.contains("is not all"), "{errors}");
            assert!(output.contains("10.0.0.9") || output.contains("0A000009"), "{output}");
            assert!(output.ends_with("*** the list breaks off here\n"), "{output}");
        }
    }
}

/// Daemons that live and do not answer: one that takes no clients, one that says nothing, one that stops in a word.
#[test]
fn a_daemon_that_hangs_is_not_waited_for_long() {
    const PATIENCE: Duration = Duration::from_millis(200);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first_in_line = UnixStream::connect(&socket).unwrap();
    let mut remote = Remote::new(&socket).within(PATIENCE);
    let error = remote.execute(Command::Clear).unwrap_err();
    assert_eq!((remote.lost(), remote.late()), (Some(Lost::AtFirst), true));
    assert!(
        error.to_string().contains("cannot reach rvsd") && error.to_string().contains("does not answer"),
        "{error}"
    );

    for said in ["", "{\"reply\":"] {
        std::fs::remove_file(&socket).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(said.as_bytes()).unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
        });
        let mut remote = Remote::new(&socket).within(PATIENCE);
        let error = remote.execute(Command::Clear).unwrap_err();
        assert_eq!((remote.lost(), remote.late()), (Some(Lost::Midway), true));
        assert!(error.to_string().contains("does not answer, in 0.2 s"), "{error}");
        drop(remote);
        daemon.join().unwrap();
    }
}

/// Runs shell in which `ipvsadm` is the binary.
fn shell(served: &Served, script: &str) -> (Option<i32>, String, String) {
    served.call("ipvsadm", "-h", ""); // makes the link
    served.call("ipvsadm-restore", "-h", "");
    let path = format!("{}:{}", served.directory.path().display(), std::env::var("PATH").unwrap());
    let output =
        Process::new("bash").args(["-c", script]).env("PATH", path).env("RVS_SOCKET", served.socket()).output();
    printed(&output.unwrap())
}

/// A reader that has had enough ends the list, quietly; a full disk is told of.
#[test]
fn output_that_cannot_be_written_is_no_success() {
    let served = Served::start();
    let title = "IPVS connection entries\n";
    for options in ["-Lnc", "-L -c --json"] {
        let (_, output, errors) = shell(&served, &format!("(ipvsadm {options}; echo $? >&2) | head -c 24"));
        assert_eq!(errors, "141\n", "{options}");
        assert!(output == title || output.starts_with('{'), "{output}");
        let (status, _, errors) = shell(&served, &format!("ipvsadm {options} >/dev/full"));
        assert_eq!((status, errors.as_str()), (Some(1), "cannot print all of it: no storage space\n"), "{options}");
    }
    assert_eq!(shell(&served, "ipvsadm -Ln >/dev/full 2>/dev/full"), (Some(1), String::new(), String::new()));
    assert_eq!(shell(&served, "ipvsadm -D -t 10.0.0.1:80 >&- 2>&- <&-"), (Some(255), String::new(), String::new()));
    assert_eq!(shell(&served, "ipvsadm -C >/dev/full"), ok(""));
}

/// Half of the rules are another table, so they are not restored.
#[test]
fn input_that_cannot_be_read_changes_nothing() {
    let served = Served::start();
    assert_eq!(printed(&served.call("ipvsadm", "-A -f 5", "")), ok(""));
    let (status, output, errors) = shell(&served, "ipvsadm-restore </");
    assert_eq!((status, output.as_str()), (Some(255), ""));
    assert_eq!(errors, "cannot read the rules: Is a directory (os error 21); nothing was changed\n");
    let (status, _, errors) = shell(&served, "ipvsadm -R </");
    assert_eq!((status, errors.as_str()), (Some(255), "cannot read the rules: Is a directory (os error 21)\n"));
    let hidden = format!("# {}-A -f 6\n", "x".repeat(64 * 1024 - 2));
    let (status, _, errors) = printed(&served.call("ipvsadm-restore", "", &format!("-A -f 7\n{hidden}")));
    assert_eq!(
        (status, errors.as_str()),
        (Some(255), "cannot read the rules: a line has more than 65536 bytes; nothing was changed\n")
    );
    assert_eq!(printed(&served.call("ipvsadm", "-Sn", "")), ok("-A -f 5 -s wlc\n"));
}

/// Arguments and rules that are no text are answered like any that mean nothing.
#[test]
fn what_is_no_text_is_refused() {
    let served = Served::start();
    for (script, status) in [
        ("ipvsadm -A -t $'\\xff\\xfe':80", 2),
        ("ipvsadm -A -t 10.0.0.1:80 $'\\xff'", 2),
        ("ipvsadm --$'\\xff'", 255),
        ("ipvsadm -$'\\xff'", 255),
        ("ipvsadm -A -f 1 -s $'\\xff\\xff'", 255),
        ("printf -- '-A -f 1 -s \\xff\\n' | ipvsadm-restore", 255),
        ("printf '\\xff\\n' | ipvsadm -R", 255),
        ("ipvsadm -A -t \"$(head -c 100000 /dev/zero | tr '\\0' 1)\"", 2),
    ] {
        let (got, output, errors) = shell(&served, script);
        assert_eq!((got, output.as_str()), (Some(status), ""), "{script}: {errors}");
        assert!(!errors.is_empty() && !errors.contains("panicked"), "{script}: {errors}");
    }
    assert_eq!(printed(&served.call("ipvsadm", "-Sn", "")), ok(""));
}

/// More than a socket holds, for a client that takes none of it.
#[test]
fn a_client_that_does_not_read_keeps_no_daemon_from_ending() {
    let mut served = Served::start();
    let mut client = UnixStream::connect(served.socket()).unwrap();
    client.write_all(&b"-Lnc\n".repeat(50)).unwrap();
    let mut first = [0];
    client.read_exact(&mut first).unwrap();
    let serving = served.serving.take();
    let (ended, end) = std::sync::mpsc::channel();
    let stopping = std::thread::spawn(move || {
        drop(serving);
        ended.send(())
    });
    assert!(end.recv_timeout(std::time::Duration::from_secs(10)).is_ok(), "the client is waited for");
    stopping.join().unwrap().unwrap();
}
