//! `--pe sip`: connections that carry the same SIP Call-ID share a template, whoever the client is (ip_vs_pe_sip: the
//! header's value up to the end of the line, in UDP datagrams of one whole message).

use crate::flow_table::{Secret, hash};
use crate::parse::{Kind, Parsed};

/// A hash of the Call-ID in a packet, never 0; none if there is no complete one.
pub(super) fn call(packet: &[u8], parsed: &Parsed, secret: &Secret) -> Option<u64> {
    const UDP_HEADER: usize = 8;
    if parsed.kind != Kind::Udp {
        return None;
    }
    let message = packet.get(usize::from(parsed.l4) + UDP_HEADER..parsed.frame_length())?;
    let id = call_id(message)?;
    let mixed = id.chunks(8).fold(id.len() as u64, |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash(state ^ u64::from_le_bytes(word), secret)
    });
    Some(mixed.max(1))
}

/// The value of the Call-ID header of a SIP message, without blanks around it. A line that the datagram cuts off does
/// not count.
fn call_id(message: &[u8]) -> Option<&[u8]> {
    message
        .split_inclusive(|&byte| byte == b'\n')
        .take_while(|line| !line.trim_ascii().is_empty())
        .filter_map(|line| line.strip_suffix(b"\n"))
        .find_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            let known = name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i");
            (known && !value.is_empty()).then_some(value)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_id_is_found_in_either_form_and_only_in_the_headers() {
        let rows: [(&[u8], Option<&[u8]>); 6] = [
            (b"INVITE sip:x SIP/2.0\r\nVia: y\r\nCall-ID: a84b4c@pc33\r\nCSeq: 1\r\n\r\n", Some(b"a84b4c@pc33")),
            (b"BYE sip:x SIP/2.0\r\ni:short\r\n\r\n", Some(b"short")),
            (b"BYE sip:x SIP/2.0\ncall-id:  lower \n\n", Some(b"lower")),
            (b"INVITE sip:x SIP/2.0\r\n\r\nCall-ID: body\r\n", None),
            (b"INVITE sip:x SIP/2.0\r\nCall-ID: cut", None),
            (b"", None),
        ];
        for (message, expected) in rows {
            assert_eq!(call_id(message), expected, "{}", String::from_utf8_lossy(message));
        }
    }
}
