//! The kernel's `/proc/net/ip_vs*`, byte for byte (`ip_vs_ctl.c` and `ip_vs_conn.c` of Linux 6.1): what exporters and old
//! scripts read.

use super::{Executor, each_page, print};
use crate::command::{
    Command, ConnectionView, Counters, Error, Netmask, Reply, ServiceName, ServiceView, Statistics, WorkerView,
};
use crate::ipvsadm::format::{BROKEN_OFF, IPVS, forward};
use forwarder::service::Protocol;
use std::fmt::Write as _;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};

/// The files' names.
pub const FILES: [&str; 5] = ["ip_vs", "ip_vs_conn", "ip_vs_conn_sync", "ip_vs_stats", "ip_vs_stats_percpu"];

/// The kernel counts a persistent service's timeout in clock ticks; the recorded one had this many a second.
const HZ: u64 = 100;

/// Writes what the kernel would show in the file of this name. Connections are written as they come, page by page.
///
/// # Errors
/// What the director says, or [`Error::Unsupported`] for a name that is not in [`FILES`]. What of the text could not be
/// written is no error here: whoever flushes `out` hears of it.
pub fn write(file: &str, executor: &mut dyn Executor, out: &mut dyn Write) -> Result<(), Error> {
    let text = match file {
        "ip_vs" => match executor.execute(Command::Services { service: None })? {
            Reply::Services(list) => services(&list),
            other => return Err(super::unexpected(&other)),
        },
        "ip_vs_conn" | "ip_vs_conn_sync" => {
            let sync = file == "ip_vs_conn_sync";
            let mut titles = Some(if sync { SYNC_TITLES } else { CONN_TITLES });
            let done = each_page(executor, |page| {
                let mut text = titles.take().unwrap_or_default().to_owned();
                page.connections.iter().for_each(|view| text += &connection(view, sync));
                Ok(print(out, &text))
            });
            if done.is_err() && titles.is_none() {
                let _ = print(out, BROKEN_OFF);
            }
            return done;
        }
        "ip_vs_stats" => statistics(&total(executor)?),
        "ip_vs_stats_percpu" => {
            let workers = match executor.execute(Command::Workers)? {
                Reply::Workers(workers) => workers,
                other => return Err(super::unexpected(&other)),
            };
            per_cpu(&workers, &total(executor)?)
        }
        _ => return Err(Error::Unsupported { what: format!("/proc/net/{file}") }),
    };
    let _ = print(out, &text);
    Ok(())
}

const CONN_TITLES: &str = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";
const SYNC_TITLES: &str = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n";

fn total(executor: &mut dyn Executor) -> Result<Statistics, Error> {
    match executor.execute(Command::Statistics)? {
        Reply::Statistics(total) => Ok(total),
        other => Err(super::unexpected(&other)),
    }
}

/// `/proc/net/ip_vs`, in the order given, which should be the kernel's.
#[must_use]
pub fn services(services: &[ServiceView]) -> String {
    let mut text = format!(
        "{IPVS}Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
    );
    for view in services {
        service(&mut text, view);
        for server in &view.servers {
            let spec = &server.spec;
            let _ = writeln!(
                text,
                "  -> {}      {:<7} {:<6} {:<10} {:<10}",
                endpoint(spec.address, spec.port),
                forward(spec.method),
                spec.weight,
                server.active,
                server.inactive
            );
        }
    }
    text
}

fn service(text: &mut String, view: &ServiceView) {
    let spec = &view.spec;
    let (scheduler, ops) = (&spec.scheduler, if spec.one_packet { "ops " } else { "" });
    let _ = match spec.service {
        ServiceName::Address { protocol, address, port } => {
            let word = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            // the kernel forgets to say of an IPv6 service that it is for one packet
            let ops = if address.is_ipv4() { format!("{ops} ") } else { String::new() };
            write!(text, "{word}  {} {scheduler} {ops}", endpoint(address, port))
        }
        ServiceName::Mark { mark, .. } => write!(text, "FWM  {mark:08X} {scheduler} {ops}"),
    };
    if let Some(seconds) = spec.persistence {
        let mask = match spec.netmask {
            Some(Netmask::Mask(mask)) => mask.to_bits(),
            // the kernel keeps the length where IPv4 has a mask, and shows it as one
            Some(Netmask::Prefix(length)) => u32::from(length).swap_bytes(),
            None if spec.service.family() == forwarder::service::Family::V4 => u32::MAX,
            None => 128_u32.swap_bytes(),
        };
        let _ = write!(text, "persistent {} {mask:08X}", u64::from(seconds) * HZ);
    }
    text.push('\n');
}

fn endpoint(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(v4) => format!("{:08X}:{port:04X}", v4.to_bits()),
        IpAddr::V6(v6) => format!("[{}]:{port:04X}", groups(v6)),
    }
}

/// An address as a column.
fn bare(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("{:08X}", v4.to_bits()),
        IpAddr::V6(v6) => groups(v6),
    }
}

fn groups(address: Ipv6Addr) -> String {
    address.segments().map(|group| format!("{group:04x}")).join(":")
}

/// A row of `/proc/net/ip_vs_conn`, or of `/proc/net/ip_vs_conn_sync`.
#[must_use]
pub fn connection(view: &ConnectionView, sync: bool) -> String {
    let mut row = format!(
        "{:<3} {} {:04X} {} {:04X} {} {:04X} {:<11} ",
        view.protocol,
        bare(view.client),
        view.client_port,
        bare(view.target),
        view.target_port,
        bare(view.server),
        view.server_port,
        view.state,
    );
    let _ = write!(row, "{}{:>7}", if sync { "LOCAL  " } else { "" }, view.expires);
    if let Some((name, data)) = view.engine.as_ref().filter(|_| !sync) {
        let _ = write!(row, " {name} {data}");
    }
    row.push('\n');
    row
}

/// `/proc/net/ip_vs_stats`.
#[must_use]
pub fn statistics(total: &Statistics) -> String {
    format!(
        "   Total Incoming Outgoing         Incoming         Outgoing\n\
         \x20  Conns  Packets  Packets            Bytes            Bytes\n\
         {}\n\n \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n\
         {}\n",
        hexadecimal(total.counters),
        hexadecimal(rates(total)),
    )
}

/// `/proc/net/ip_vs_stats_percpu`: a worker is a CPU.
#[must_use]
pub fn per_cpu(workers: &[WorkerView], total: &Statistics) -> String {
    let rows = workers.iter().map(|view| format!("{:>3X} {}\n", view.worker, hexadecimal(view.balanced)));
    format!(
        "       Total Incoming Outgoing         Incoming         Outgoing\n\
         CPU    Conns  Packets  Packets            Bytes            Bytes\n\
         {}  ~ {}\n\n     \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n    \
         {}\n",
        rows.collect::<String>(),
        hexadecimal(total.counters),
        hexadecimal(rates(total)),
    )
}

fn rates(total: &Statistics) -> Counters {
    let crate::command::Rates { connections, in_packets, out_packets, in_bytes, out_bytes } = total.rates;
    Counters { connections, in_packets, out_packets, in_bytes, out_bytes }
}

fn hexadecimal(counters: Counters) -> String {
    let Counters { connections, in_packets, out_packets, in_bytes, out_bytes } = counters;
    format!("{connections:>8X} {in_packets:>8X} {out_packets:>8X} {in_bytes:>16X} {out_bytes:>16X}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{ServerSpec, ServerView, ServiceSpec};

    /// What `seq_printf` makes of these in `ip_vs_info_seq_show`.
    #[test]
    fn services_of_every_kind() {
        let v4 = |port| ServiceName::Address { protocol: Protocol::Udp, address: [10, 0, 0, 1].into(), port };
        let v6 = ServiceName::Address { protocol: Protocol::Sctp, address: "fd00::1".parse().unwrap(), port: 7 };
        let mark = ServiceName::Mark { mark: 0xabc, ipv6: false };
        let spec = |name| ServiceSpec { scheduler: "rr".into(), ..ServiceSpec::new(name) };
        let rows = [
            (spec(v4(80)), "UDP  0A000001:0050 rr  \n"),
            (ServiceSpec { one_packet: true, ..spec(v4(80)) }, "UDP  0A000001:0050 rr ops  \n"),
            (
                ServiceSpec {
                    persistence: Some(10),
                    netmask: Some(Netmask::Mask([255, 255, 0, 0].into())),
                    ..spec(v4(0))
                },
                "UDP  0A000001:0000 rr  persistent 1000 FFFF0000\n",
            ),
            (ServiceSpec { persistence: Some(1), ..spec(v4(0)) }, "UDP  0A000001:0000 rr  persistent 100 FFFFFFFF\n"),
            (spec(v6), "SCTP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0007 rr \n"),
            (
                ServiceSpec { persistence: Some(1), one_packet: true, ..spec(v6) },
                "SCTP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0007 rr persistent 100 80000000\n",
            ),
            (spec(mark), "FWM  00000ABC rr \n"),
            (ServiceSpec { one_packet: true, ..spec(mark) }, "FWM  00000ABC rr ops \n"),
        ];
        for (spec, expected) in rows {
            let mut text = String::new();
            service(
                &mut text,
                &ServiceView {
                    spec,
                    statistics: Statistics::default(),
                    servers: Vec::new(),
                    origin: Default::default(),
                },
            );
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn servers_and_connections() {
        let server = ServerView {
            spec: ServerSpec { weight: 5, ..ServerSpec::new([192, 168, 1, 2].into(), 8080) },
            active: 3,
            inactive: 12,
            persistent: 0,
            statistics: Statistics::default(),
            origin: Default::default(),
            drain: None,
        };
        let name = ServiceName::Mark { mark: 1, ipv6: false };
        let view = ServiceView {
            spec: ServiceSpec::new(name),
            statistics: Statistics::default(),
            servers: vec![server],
            origin: Default::default(),
        };
        let text = services(&[view]);
        assert_eq!(text.lines().last(), Some("  -> C0A80102:1F90      Route   5      3          12        "));
        let view = ConnectionView {
            protocol: "UDP".into(),
            expires: 297,
            state: "UDP".into(),
            client: [127, 0, 0, 1].into(),
            client_port: 0,
            target: [172, 16, 0, 1].into(),
            target_port: 5060,
            server: [192, 168, 1, 3].into(),
            server_port: 5060,
            engine: Some(("sip".into(), "1@x".into())),
        };
        let row = "UDP 7F000001 0000 AC100001 13C4 C0A80103 13C4 UDP             297 sip 1@x\n";
        assert_eq!(connection(&view, false), row);
        let row = "UDP 7F000001 0000 AC100001 13C4 C0A80103 13C4 UDP         LOCAL      297\n";
        assert_eq!(connection(&view, true), row);
    }
}
