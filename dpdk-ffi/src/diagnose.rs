//! From what DPDK logged to one error that says what is missing. Pure: lines in, error out.

use crate::Error;
use crate::log::{Level, Line};

/// Why the EAL did not start. `culprit` is the argument at which it stopped reading, if it did.
pub(crate) fn init(lines: &[Line], culprit: Option<&str>, reason: String) -> Error {
    let find = |text: &str| lines.iter().find(|line| line.text.contains(text));
    if let Some(line) = find("Unable to parse device '") {
        return Error::NoDriver(quoted(&line.text));
    }
    if find("Cannot get hugepage information").is_some() {
        return if find("no mounted hugetlbfs").is_some() { Error::NotMounted } else { Error::NoHugePages };
    }
    if find("Is another primary process running?").is_some() {
        return Error::PrefixInUse;
    }
    if find("Cannot init memory").is_some() || find("Cannot init memzone").is_some() {
        return Error::NoMemory(first_reason(lines).unwrap_or(reason));
    }
    if find("Invalid 'command line' arguments").is_some() {
        // The EAL gives its reason, except for an option that getopt does not know.
        return match (first_reason(lines), culprit) {
            (Some(reason), _) => Error::BadArguments(reason),
            (None, Some(argument)) => Error::BadArgument(argument.to_owned()),
            (None, None) => Error::BadArguments(reason),
        };
    }
    let reason = first_reason(lines).unwrap_or(reason);
    if is_permission(&reason) { Error::Privileges(reason) } else { Error::Init(reason) }
}

/// The first device that was asked for and could not be made, though the EAL started.
pub(crate) fn device(lines: &[Line]) -> Option<Error> {
    const FAILED: &str = "failed to initialize ";
    let at = lines.iter().position(|line| line.text.contains(FAILED))?;
    let (_, rest) = lines[at].text.split_once(FAILED)?;
    let name = rest.split_whitespace().next()?;
    Some(probe(&lines[..at], name, "its driver refuses the arguments".into()))
}

/// Why this one device could not be made.
pub(crate) fn probe(lines: &[Line], device: &str, otherwise: String) -> Error {
    if lines.iter().any(|line| line.text.contains("Unable to parse device") || line.text.contains("failed to parse")) {
        return Error::NoDriver(device.to_owned());
    }
    let reason = first_reason(lines).unwrap_or(otherwise);
    // The driver of AF_PACKET does not say why it got no socket, and there is one reason only.
    if is_permission(&reason) || reason.contains("Could not open AF_PACKET socket") {
        return Error::Privileges(format!("device '{device}': {reason}"));
    }
    Error::Device { device: device.to_owned(), reason }
}

/// The first grave line is the cause, those after it are its consequences.
fn first_reason(lines: &[Line]) -> Option<String> {
    const CONSEQUENCES: [&str; 5] =
        ["FATAL:", "Invalid 'command line'", "Bus (vdev) probe failed", "failed to initialize", "Cannot init"];
    let line = lines
        .iter()
        .filter(|line| line.level <= Level::Error)
        .find(|line| !CONSEQUENCES.iter().any(|consequence| line.text.contains(consequence)))?;
    Some(without_author(&line.text).to_owned())
}

/// Without `EAL: ` or `function(): ` in front.
fn without_author(text: &str) -> &str {
    match text.split_once(": ") {
        Some((author, rest)) if !author.contains(' ') => rest,
        _ => text,
    }
}

fn quoted(text: &str) -> String {
    text.split('\'').nth(1).unwrap_or(text).to_owned()
}

fn is_permission(reason: &str) -> bool {
    reason.contains("Operation not permitted") || reason.contains("Permission denied")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Line> {
        let level = |text: &str| if text.starts_with("EAL: Detected") { Level::Info } else { Level::Error };
        texts.iter().map(|text| Line { level: level(text), text: (*text).to_owned() }).collect()
    }

    // What DPDK 22.11 logs, and what the operator is told.
    #[test]
    fn a_failed_start_names_its_cause() {
        let cases: &[(&[&str], Option<&str>, &str)] = &[
            (
                &["EAL: Detected CPU lcores: 2", "EAL: FATAL: Cannot get hugepage information."],
                None,
                "no free huge pages",
            ),
            (
                &["EAL: failed to parse device \"net_nosuch0\"", "EAL: Unable to parse device 'net_nosuch0'"],
                None,
                "no driver for device 'net_nosuch0'",
            ),
            (
                &["EAL: FATAL: Invalid 'command line' arguments.", "EAL: Invalid 'command line' arguments."],
                Some("--bad-option"),
                "EAL argument '--bad-option' is not understood",
            ),
            (
                &["EAL: lcore 99 unavailable", "EAL: FATAL: Invalid 'command line' arguments."],
                Some("99"),
                "the EAL refuses its arguments: lcore 99 unavailable",
            ),
            (
                &[
                    "EAL: Cannot create lock on '/var/run/dpdk/rte/config'. Is another primary process running?",
                    "EAL: FATAL: Cannot init config",
                ],
                None,
                "another DPDK process runs",
            ),
            (
                &["EAL: Cannot allocate memseg list: Invalid argument", "EAL: FATAL: Cannot init memory"],
                None,
                "the EAL cannot reserve its memory (Cannot allocate memseg list: Invalid argument)",
            ),
            (
                &["EAL: /nosuch.so: cannot open shared object file", "EAL: FATAL: Cannot init plugins"],
                None,
                "the EAL cannot start: /nosuch.so: cannot open shared object file",
            ),
        ];
        for (log, culprit, expected) in cases {
            let error = init(&lines(log), *culprit, "errno".into()).to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn a_failed_device_names_its_cause() {
        let cases: &[(&[&str], &str)] = &[
            (
                &[
                    "open_single_rx_pcap(): Couldn't open /nosuch: /nosuch: No such file or directory",
                    "vdev_probe(): failed to initialize net_pcap0 device",
                    "EAL: Bus (vdev) probe failed.",
                ],
                "device 'net_pcap0' cannot be used: Couldn't open /nosuch",
            ),
            (
                &["vdev_probe(): failed to initialize net_null0 device"],
                "device 'net_null0' cannot be used: its driver refuses the arguments",
            ),
            (
                &[
                    "tun_alloc(): Unable to set TUNSETIFF for dtap%d: Operation not permitted",
                    "vdev_probe(): failed to initialize net_tap0 device",
                ],
                "device 'net_tap0': Unable to set TUNSETIFF for dtap%d: Operation not permitted: not permitted: run as",
            ),
            (
                &[
                    "open_packet_iface(): Could not open AF_PACKET socket",
                    "vdev_probe(): failed to initialize net_af_packet0 device",
                ],
                "device 'net_af_packet0': Could not open AF_PACKET socket: not permitted: run as root",
            ),
        ];
        for (log, expected) in cases {
            let error = device(&lines(log)).unwrap().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(device(&lines(&["EAL: Detected CPU lcores: 2"])).is_none());
    }
}
