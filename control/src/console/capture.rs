//! `capture`: frames into a file that tcpdump and Wireshark read (pcap, microseconds, Ethernet: the IETF draft
//! draft-ietf-opsawg-pcap). The director keeps a few frames for whoever asks; this end writes them, so it is the client's file.

use super::grammar::Matched;
use super::{Console, Outcome};
use crate::command::{CapturePage, CaptureSpec, CapturedFrame, Command, Error, LONGEST_SNAP, Reply};
use std::io::{self, Write};
use std::time::Duration;

/// How often the director is asked.
const EACH: Duration = Duration::from_millis(20);
/// Frames, and seconds, if nobody says.
const COUNT: u64 = 1000;
const SECONDS: u32 = 10;

impl Console<'_> {
    pub(super) fn capture(&mut self, said: &Matched) -> Outcome {
        if let Err(outcome) = self.own_files("capture start") {
            return outcome;
        }
        match self.captured(said) {
            Ok((frames, missed)) => {
                let missed = if missed > 0 { format!(", {missed} passed by too fast") } else { String::new() };
                self.print(&format!("{frames} frames captured{missed}\n"));
                Outcome::Done
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// Frames written, and missed.
    fn captured(&mut self, said: &Matched) -> Result<(u64, u64), Error> {
        let file = said.argument("FILE").unwrap_or_default();
        let host = said
            .argument("ADDRESS")
            .map(|text| text.parse().map_err(|_| Error::BadRequest { why: format!("'{text}' is no IPv4 address") }));
        let spec = CaptureSpec {
            port: said.number("PORT"),
            host: host.transpose()?,
            received: !said.has("tx"),
            sent: !said.has("rx"),
            snaplen: said.number("BYTES").unwrap_or(LONGEST_SNAP),
            count: said.number("N").unwrap_or(COUNT),
            seconds: said.number("SECONDS").unwrap_or(SECONDS),
        };
        let most = spec.count;
        let head = header(spec.snaplen);
        self.executor.execute(Command::StartCapture(spec))?;
        // Only now: another capture may be writing a file of this name.
        let written = self.write_frames(file, &head, most);
        if written.is_err() {
            let _ = self.executor.execute(Command::StopCapture);
        }
        written
    }

    fn write_frames(&mut self, file: &str, head: &[u8], most: u64) -> Result<(u64, u64), Error> {
        let failed = |error: io::Error| Error::File { why: format!("{file}: {error}") };
        let mut to = io::BufWriter::new(std::fs::File::create(file).map_err(failed)?);
        to.write_all(head).map_err(failed)?;
        let (mut frames, mut missed) = (0, 0);
        loop {
            let Reply::Captured(CapturePage { frames: page, missed: of_page, running }) =
                self.executor.execute(Command::Captured)?
            else {
                return Err(Error::Invalid);
            };
            missed += of_page;
            for frame in page.iter().take(most.saturating_sub(frames) as usize) {
                to.write_all(&record(frame)).map_err(failed)?;
                frames += 1;
            }
            if !running && page.is_empty() {
                break;
            }
            std::thread::sleep(EACH);
        }
        to.flush().map_err(failed)?;
        Ok((frames, missed))
    }
}

/// The head of a file.
fn header(snaplen: u16) -> [u8; 24] {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[4..6].copy_from_slice(&2u16.to_le_bytes());
    bytes[6..8].copy_from_slice(&4u16.to_le_bytes());
    bytes[16..20].copy_from_slice(&u32::from(snaplen).to_le_bytes());
    bytes[20..].copy_from_slice(&ETHERNET.to_le_bytes());
    bytes
}

fn record(frame: &CapturedFrame) -> Vec<u8> {
    let digits = frame.bytes.as_bytes().chunks_exact(2);
    let bytes = digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let bytes: Vec<u8> = bytes.collect();
    let (seconds, rest) = (frame.microseconds / 1_000_000, frame.microseconds % 1_000_000);
    let head = [seconds as u32, rest as u32, bytes.len() as u32, frame.length];
    head.iter().flat_map(|number| number.to_le_bytes()).chain(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_as_others_read_it() {
        let head = header(96);
        assert_eq!(head[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(head[16..], [96, 0, 0, 0, 1, 0, 0, 0]);
        let frame = CapturedFrame { microseconds: 3_000_007, length: 60, bytes: "02ff".into(), ..Default::default() };
        assert_eq!(record(&frame), [3, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 60, 0, 0, 0, 2, 255]);
    }
}
