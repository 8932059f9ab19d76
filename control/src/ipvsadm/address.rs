//! Numbers and addresses as ipvsadm reads them, that is as the C library does.

use super::names::Names;
use forwarder::service::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A whole decimal number within bounds: blanks before it, a sign and leading zeros are fine, anything after it is not
/// (`strtol`).
#[must_use]
pub fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

/// The number that a text starts with, 0 if it starts with none (`atoi`).
#[must_use]
pub fn leading_number(text: &str) -> i64 {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    text[..sign + digits].parse().unwrap_or(0)
}

/// An IPv4 address with one to four parts, each decimal, octal or hexadecimal; the last fills what is left. What follows
/// a blank is ignored (`inet_aton`).
#[must_use]
pub fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.split([' ', '\t', '\n', '\x0b', '\x0c', '\r']).next()?;
    let parts: Option<Vec<u32>> = text.split('.').map(part).collect();
    let parts = parts?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 0xff) {
        return None;
    }
    let room = 32 - 8 * first.len() as u32;
    if u64::from(*last) >> room != 0 {
        return None;
    }
    let first = first.iter().fold(0u64, |bits, part| bits << 8 | u64::from(*part));
    Some(Ipv4Addr::from_bits((first << room) as u32 | last))
}

fn part(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // from_str_radix would take a sign
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok())?
}

/// `ADDRESS[:PORT]`, `[IPV6]:PORT` or a bare IPv6 address, with names for both; none if it is no such thing. An IPv4
/// address in brackets loses its port, as in ipvsadm. Without a protocol, ports have no names.
#[must_use]
pub fn endpoint(text: &str, protocol: Option<Protocol>, names: &dyn Names) -> Option<(IpAddr, Option<u16>)> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, Some(port.strip_prefix(':')?))
        }
        None => (text, None),
    };
    let (address, port) = match host.parse::<Ipv6Addr>() {
        Ok(v6) => (IpAddr::V6(v6), port),
        Err(_) => {
            let (host, port) = match host.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            };
            (IpAddr::V4(inet_aton(host).or_else(|| names.address(host))?), port)
        }
    };
    let Some(port) = port else { return Some((address, None)) };
    let number = number(port, 0, 65_535).map(|port| port as u16);
    Some((address, Some(number.or_else(|| names.port(port, protocol?))?)))
}

#[cfg(test)]
mod tests {
    use super::super::names::Table;
    use super::*;

    #[test]
    fn numbers() {
        for (text, expected) in [("0", 0), ("007", 7), ("+5", 5), (" \t5", 5), ("-0", 0), ("99", 99)] {
            assert_eq!(number(text, 0, 99), Some(expected), "{text:?}");
        }
        for text in ["", "+", "5 ", "0x5", "1.5", "5x", "-1", "100", "99999999999999999999999", "+-5"] {
            assert_eq!(number(text, 0, 99), None, "{text:?}");
        }
        assert_eq!(
            [leading_number("64x"), leading_number(" -3"), leading_number("x"), leading_number("")],
            [64, -3, 0, 0]
        );
    }

    #[test]
    fn ipv4_in_all_spellings_of_the_c_library() {
        let rows = [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3", "1.2.0.3"),
            ("1.2", "1.0.0.2"),
            ("1", "0.0.0.1"),
            ("0xc0a80102", "192.168.1.2"),
            ("3232235778", "192.168.1.2"),
            ("192.168.258", "192.168.1.2"),
            ("192.168.1.02", "192.168.1.2"),
            ("01.0x2.3.0X4", "1.2.3.4"),
            ("1.2.3.4 and more", "1.2.3.4"),
        ];
        for (text, expected) in rows {
            assert_eq!(inet_aton(text), Some(expected.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            " 1.2.3.4",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.256",
            "1.2.65536",
            "08",
            "0x",
            "1..2",
            "1.",
            "+1",
            "4294967296",
        ] {
            assert_eq!(inet_aton(text), None, "{text:?}");
        }
    }

    #[test]
    fn endpoints() {
        let names = Table::parse("127.0.0.1 localhost\n", "http 80/tcp\n");
        let rows = [
            ("1.2.3.4:80", Some(("1.2.3.4", Some(80)))),
            ("1.2.3.4:http", Some(("1.2.3.4", Some(80)))),
            ("1.2.3.4", Some(("1.2.3.4", None))),
            ("localhost:+080", Some(("127.0.0.1", Some(80)))),
            ("[1.2.3.4]:80", Some(("1.2.3.4", None))),
            ("[localhost]:", Some(("127.0.0.1", None))),
            ("[fd01::1]:80", Some(("fd01::1", Some(80)))),
            ("fd01::1:80", Some(("fd01::1:80", None))),
            ("::", Some(("::", None))),
            ("80", None),
            ("", None),
            (":80", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:80:90", None),
            ("1.2.3.4:65536", None),
            ("1.2.3.4:0x50", None),
            ("[fd01::1]", None),
            ("[fd01::1]:", None),
            ("[fd01::1]80", None),
            ("[::1:80", None),
            ("[]:80", None),
            ("fe80::1%lo", None),
            ("nosuch:80", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|(address, port): (&str, _)| (address.parse().unwrap(), port));
            assert_eq!(endpoint(text, Some(Protocol::Tcp), &names), expected, "{text}");
        }
        assert_eq!(endpoint("1.2.3.4:http", None, &names), None);
    }
}
