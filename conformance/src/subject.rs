//! What recordings are replayed on: a director in memory ([`crate::rig`]), or a real one.

use crate::kernel::{EXT, INT, Mac, mac};
use crate::shell::Printed;
use control::command::mark::MarkSpec;
use std::net::Ipv4Addr;

/// A frame that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// By this port.
    pub port: u16,
    /// To this neighbour.
    pub mac: Mac,
    /// The frame behind its Ethernet header.
    pub packet: Vec<u8>,
}

impl Sent {
    /// The recordings' name of the port.
    #[must_use]
    pub fn side(&self) -> &'static str {
        if self.port == EXT { "ext" } else { "int" }
    }
}

/// The number of the port with this name in the recordings.
#[must_use]
pub fn port(side: &str) -> u16 {
    if side == "ext" { EXT } else { INT }
}

/// A director on the recorded network.
pub trait Subject {
    /// Calls ipvsadm with these arguments and this standard input.
    fn ipvsadm(&mut self, arguments: &[String], input: &str) -> Printed;

    /// Changes a setting of `/proc/sys/net/ipv4/vs`. Answers false if it is refused.
    fn set(&mut self, name: &str, value: &str) -> bool;

    /// What is in a file of the kernel's `/proc`. None if RVS does not know it.
    fn read(&mut self, file: &str) -> Option<String>;

    /// Adds a marking rule. Answers false if it is refused.
    fn mark(&mut self, rule: MarkSpec) -> bool;

    /// Sends a packet in at a port, from this neighbour. Answers what came out because of it, in order by port.
    fn send(&mut self, port: u16, from: Mac, packet: &[u8]) -> Vec<Sent>;

    /// Lets time pass.
    fn wait(&mut self, seconds: f64);

    /// Sends a packet in from the client side.
    fn client_sends(&mut self, packet: &[u8]) -> Vec<Sent> {
        self.send(EXT, mac::GATEWAY, packet)
    }

    /// Sends a packet in from a real server.
    fn server_sends(&mut self, server: Ipv4Addr, packet: &[u8]) -> Vec<Sent> {
        self.send(INT, mac::server(server.octets()[3]), packet)
    }
}
