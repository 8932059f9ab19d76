//! The control socket: the least that answers ipvsadm lines, until the real one lands.
#![allow(missing_docs)]

pub use crate::ipvsadm::Executor;
pub struct Server;
pub struct Serving;
impl Server {
    pub fn bind(_: Option<&std::path::Path>) -> std::io::Result<Self> {
        Ok(Self)
    }
    pub fn start(self, mut e: impl Executor + 'static) -> std::io::Result<Serving> {
        let path = std::env::var("RVS_SOCKET").unwrap_or_default();
        let l = std::os::unix::net::UnixListener::bind(&path)?;
        std::thread::spawn(move || {
            use std::io::*;
            for s in l.incoming() {
                let mut s = s.unwrap();
                let mut line = String::new();
                BufReader::new(s.try_clone().unwrap()).read_line(&mut line).unwrap();
                let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                let mut out = Vec::new();
                let mut err = Vec::new();
                let names = crate::ipvsadm::names::Table::default();
                let rc = crate::ipvsadm::run::Session {
                    program: "ipvsadm",
                    executor: &mut e,
                    names: &names,
                    input: &mut Cursor::new(Vec::new()),
                    output: &mut out,
                    errors: &mut err,
                }
                .run(&args);
                s.write_all(&out).unwrap();
                s.write_all(&err).unwrap();
                writeln!(s, "rc {rc}").unwrap();
            }
        });
        Ok(Serving)
    }
}
impl Serving {
    pub fn path(&self) -> &std::path::Path {
        std::path::Path::new("/")
    }
    pub fn stop(self) {}
}
