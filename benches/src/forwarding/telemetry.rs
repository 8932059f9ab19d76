//! A client of DPDK's telemetry socket, which every DPDK program has: so both sides are asked the same questions.

use anyhow::{Context, Result, ensure};
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use rustix::process::geteuid;
use std::path::{Path, PathBuf};

/// The longest answer.
const ANSWER: usize = 16_384;

/// The run directory of the program with this --file-prefix.
pub fn directory(prefix: &str) -> PathBuf {
    let parent = if geteuid().is_root() {
        "/var/run".to_owned()
    } else {
        std::env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| "/tmp".to_owned())
    };
    Path::new(&parent).join("dpdk").join(prefix)
}

/// A connection.
pub struct Telemetry {
    socket: OwnedFd,
    answer: Vec<u8>,
}

impl Telemetry {
    /// To the program with this --file-prefix.
    pub fn connect(prefix: &str) -> Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new(directory(prefix).join("dpdk_telemetry.v2"))?)?;
        let mut telemetry = Self { socket, answer: vec![0; ANSWER] };
        telemetry.receive().context("no greeting")?;
        Ok(telemetry)
    }

    /// The value that a command answers.
    pub fn ask(&mut self, command: &str) -> Result<serde_json::Value> {
        send(&self.socket, command.as_bytes(), SendFlags::empty())?;
        let mut answer = self.receive()?;
        let name = command.split(',').next().unwrap_or_default();
        let value = answer[name].take();
        ensure!(!value.is_null(), "telemetry does not know {command}");
        Ok(value)
    }

    fn receive(&mut self) -> Result<serde_json::Value> {
        let (length, _) = recv(&self.socket, &mut self.answer[..], RecvFlags::empty())?;
        Ok(serde_json::from_slice(&self.answer[..length])?)
    }
}
