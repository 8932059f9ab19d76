//! The synchronisation daemons as configured (`start_sync_thread` of the kernel's `ip_vs_sync.c`).

use crate::command::{DaemonRole, DaemonSpec, Error};
use std::net::{IpAddr, Ipv4Addr};

/// What the kernel fills in.
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const PORT: u16 = 8848;
const TTL: u8 = 1;

/// At most one of each role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Daemons {
    running: Vec<DaemonSpec>,
}

impl Daemons {
    /// Those that run, master before backup.
    #[must_use]
    pub fn running(&self) -> &[DaemonSpec] {
        &self.running
    }

    /// Starts one. `mtu` is that of its interface, or none if there is no such interface.
    pub fn start(&mut self, mut spec: DaemonSpec, mtu: Option<u32>) -> Result<(), Error> {
        let mtu = mtu.ok_or(Error::NoSuchDevice)?;
        if self.running.iter().any(|running| running.role == spec.role) {
            return Err(Error::DaemonRunning);
        }
        let group = *spec.group.get_or_insert(GROUP);
        if !group.is_multicast() {
            return Err(Error::Invalid);
        }
        spec.port = spec.port.filter(|port| *port != 0).or(Some(PORT));
        spec.ttl = spec.ttl.filter(|ttl| *ttl != 0).or(Some(TTL));
        let headers = if group.is_ipv4() { 20 + 8 } else { 40 + 8 };
        // A backup must take what a master with a larger MTU sends; a master must not be fragmented anywhere.
        let (least, usual) = match spec.role {
            DaemonRole::Master => (1, 1500),
            DaemonRole::Backup => (1024, mtu.clamp(1500, 65_535) as u16),
        };
        spec.max_len = Some(match spec.max_len {
            Some(len) if len != 0 => len.clamp(least, 65_535 - headers),
            _ => usual - headers,
        });
        self.running.push(spec);
        self.running.sort_by_key(|running| running.role);
        Ok(())
    }

    /// Stops one.
    pub fn stop(&mut self, role: DaemonRole) -> Result<(), Error> {
        let index = self.running.iter().position(|running| running.role == role).ok_or(Error::NoDaemon)?;
        self.running.remove(index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(role: DaemonRole) -> DaemonSpec {
        DaemonSpec { role, interface: "int0".into(), sync_id: 5, max_len: None, group: None, port: None, ttl: None }
    }

    #[test]
    fn defaults_are_the_kernels() {
        let mut daemons = Daemons::default();
        daemons.start(daemon(DaemonRole::Backup), Some(9000)).unwrap();
        daemons.start(daemon(DaemonRole::Master), Some(9000)).unwrap();
        let lengths: Vec<_> = daemons.running().iter().map(|d| (d.role, d.max_len, d.port, d.ttl, d.group)).collect();
        let rest = (Some(8848), Some(1), Some(GROUP));
        assert_eq!(
            lengths,
            [
                (DaemonRole::Master, Some(1472), rest.0, rest.1, rest.2),
                (DaemonRole::Backup, Some(8972), rest.0, rest.1, rest.2),
            ]
        );
    }

    #[test]
    fn one_of_each_on_an_interface_that_exists() {
        let mut daemons = Daemons::default();
        assert_eq!(daemons.start(daemon(DaemonRole::Master), None), Err(Error::NoSuchDevice));
        assert_eq!(daemons.stop(DaemonRole::Master), Err(Error::NoDaemon));
        daemons.start(daemon(DaemonRole::Master), Some(1500)).unwrap();
        assert_eq!(daemons.start(daemon(DaemonRole::Master), Some(1500)), Err(Error::DaemonRunning));
        daemons.stop(DaemonRole::Master).unwrap();
        assert!(daemons.running().is_empty());
    }
}
