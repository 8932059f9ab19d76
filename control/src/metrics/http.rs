//! HTTP for who scrapes and who checks: `/metrics`, `/healthz`, `/readyz`. GET and HEAD, one request a connection, which
//! HTTP/1.1 allows and which needs no more than this. Clients that are slow, many or long-winded are hung up on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// At most this many clients at a time; for one more, the oldest has to go.
const CLIENTS: usize = 16;
/// Bytes of a request with its headers.
const LONGEST: usize = 8192;
/// How long a request may take to come, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status line's number and words.
    pub status: &'static str,
    /// Its type.
    pub content_type: &'static str,
    /// It.
    pub body: String,
}

impl Response {
    /// A line of text.
    #[must_use]
    pub fn line(status: &'static str, line: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{line}\n") }
    }
}

/// Answers paths.
pub trait Pages: Send + Sync + 'static {
    /// The page at this path; none if there is no such page.
    fn page(&self, path: &str) -> Option<Response>;
}

/// What a request is answered. `request` is everything up to its empty line.
fn answer(request: &[u8], pages: &dyn Pages) -> (Response, bool) {
    let first = request.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let mut words = std::str::from_utf8(first).unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next().unwrap_or_default(), words.next());
    let is_head = method == Some("HEAD");
    if !version.is_some_and(|version| version.starts_with("HTTP/1.")) || words.next().is_some() {
        return (Response::line("400 Bad Request", "this is HTTP/1.1"), false);
    }
    if !is_head && method != Some("GET") {
        return (Response::line("405 Method Not Allowed", "GET or HEAD"), false);
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let page = pages.page(path);
    (page.unwrap_or_else(|| Response::line("404 Not Found", "/metrics, /healthz or /readyz")), is_head)
}

/// The server, until it is dropped; then no client is left either.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on an address; port 0 chooses one.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(address: SocketAddr, pages: Arc<dyn Pages>) -> io::Result<Self> {
        let listener = Arc::new(TcpListener::bind(address)?);
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ours, stopped) = (listener.clone(), stop.clone());
        let serve = move || accept(&ours, &pages, &stopped);
        let thread = std::thread::Builder::new().name("rvs-http".to_owned()).spawn(serve)?;
        Ok(Self { address, listener, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // Wakes it up. A connection to ourselves would do that, too, but not where the loopback interface is down.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A client: its thread, and its connection to hang up on it.
struct Client(JoinHandle<()>, TcpStream);

fn accept(listener: &TcpListener, pages: &Arc<dyn Pages>, stop: &AtomicBool) {
    let mut clients: Vec<Client> = Vec::new();
    for stream in listener.incoming() {
        if stop.load(Relaxed) {
            break;
        }
        let Ok(stream) = stream else {
            // No file descriptors, most likely; there will be some again.
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        clients.retain(|client| !client.0.is_finished());
        // Hung up on, they leave by themselves, but not at once if they wait for the director.
        let too_many = clients.len().saturating_sub(CLIENTS - 1);
        for Client(_, oldest) in &clients[..too_many] {
            let _ = oldest.shutdown(Shutdown::Both);
        }
        if clients.len() >= 4 * CLIENTS {
            let _ = stream.shutdown(Shutdown::Both);
        } else if let Ok(ours) = stream.try_clone() {
            let pages = pages.clone();
            // Who hangs up has what he wanted.
            let serve = move || drop(serve(stream, &*pages));
            let thread = std::thread::Builder::new().name("rvs-http-client".to_owned()).spawn(serve);
            clients.extend(thread.map(|thread| Client(thread, ours)));
        }
    }
    for Client(thread, stream) in clients {
        let _ = stream.shutdown(Shutdown::Both);
        let _ = thread.join();
    }
}

fn serve(mut stream: TcpStream, pages: &dyn Pages) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let (response, is_head) = loop {
        if let Some(length) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break answer(&request[..length], pages);
        }
        if request.len() >= LONGEST {
            break (Response::line("431 Request Header Fields Too Large", "too long"), false);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break (Response::line("408 Request Timeout", "too slow"), false);
        }
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 1024];
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => request.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    };
    let Response { status, content_type, body } = response;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if is_head { "" } else { &body };
    let end = Instant::now() + PATIENCE;
    let text = [head.as_bytes(), body.as_bytes()].concat();
    let mut rest = &text[..];
    while !rest.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_write_timeout(Some(left))?;
        let count = stream.write(rest)?;
        rest = &rest[count..];
    }
    // What was not read would make the system reset the connection under the answer.
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let _ = stream.read(&mut [0; 1024]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Pages for Fixed {
        fn page(&self, path: &str) -> Option<Response> {
            (path == "/metrics").then(|| Response::line("200 OK", "m"))
        }
    }

    fn ask(server: &Server, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        stream.write_all(request).expect("it reads");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn requests_are_answered_by_the_rules() {
        let server = Server::start(([127, 0, 0, 1], 0).into(), Arc::new(Fixed)).expect("a port");
        for (request, status, body) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "m\n"),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200 OK", "m\n"),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK", ""),
            ("GET /nothing HTTP/1.1\r\n\r\n", "404 Not Found", "/metrics, /healthz or /readyz\n"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "GET or HEAD\n"),
            ("\r\n\r\n", "400 Bad Request", "this is HTTP/1.1\n"),
            ("GET /metrics SIP/2.0\r\n\r\n", "400 Bad Request", "this is HTTP/1.1\n"),
            ("GET /metrics HTTP/1.1 x\r\n\r\n", "400 Bad Request", "this is HTTP/1.1\n"),
        ] {
            let answer = ask(&server, request.as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{request:?}: {answer}");
        }
        let answer = ask(&server, &[b'a'; 2 * LONGEST]);
        assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");
    }

    #[test]
    fn silent_clients_keep_nobody_out_and_bytes_that_are_no_text_are_answered() {
        let server = Server::start(([127, 0, 0, 1], 0).into(), Arc::new(Fixed)).expect("a port");
        assert!(ask(&server, b"\xff\xfe /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
        let silent: Vec<_> =
            (0..2 * CLIENTS).map(|_| TcpStream::connect(server.address()).expect("it listens")).collect();
        // The oldest had to go.
        assert!(ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
        silent[0].set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert!(matches!((&silent[0]).read(&mut [0]), Ok(0)));
    }
}
