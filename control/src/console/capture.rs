//! `capture`: frames into a file that tcpdump and Wireshark read. The director keeps a few frames for whoever asks; this end
//! writes them, so it is the client's file.

use super::grammar::Matched;
use super::pcapng::Writer;
use super::{Console, Outcome};
use crate::command::{CapturePage, CaptureSpec, Command, Error, LONGEST_SNAP, Reply};
use std::io;
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
        let point = said.one_of(&["rx", "tx", "drop"]);
        let spec = CaptureSpec {
            port: said.number("PORT"),
            host: host.transpose()?,
            received: point.is_none_or(|point| point == "rx"),
            sent: point.is_none_or(|point| point == "tx"),
            dropped: point == Some("drop"),
            snaplen: said.number("BYTES").unwrap_or(LONGEST_SNAP),
            count: said.number("N").unwrap_or(COUNT),
            seconds: said.number("SECONDS").unwrap_or(SECONDS),
        };
        let (most, snaplen) = (spec.count, spec.snaplen);
        self.executor.execute(Command::StartCapture(spec))?;
        // Only now: another capture may be writing a file of this name.
        let written = self.write_frames(file, snaplen, most);
        if written.is_err() {
            let _ = self.executor.execute(Command::StopCapture);
        }
        written
    }

    fn write_frames(&mut self, file: &str, snaplen: u16, most: u64) -> Result<(u64, u64), Error> {
        let failed = |error: io::Error| Error::File { why: format!("{file}: {error}") };
        let to = io::BufWriter::new(std::fs::File::create(file).map_err(failed)?);
        let mut to = Writer::new(to, snaplen).map_err(failed)?;
        let (mut frames, mut missed) = (0, 0);
        loop {
            let Reply::Captured(CapturePage { frames: page, missed: of_page, running }) =
                self.executor.execute(Command::Captured)?
            else {
                return Err(Error::Invalid);
            };
            missed += of_page;
            for frame in page.iter().take(most.saturating_sub(frames) as usize) {
                to.write(frame).map_err(failed)?;
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
