//! Frames that workers keep while somebody captures. While nobody does, nothing here is touched.

use control::command::{CapturePage, CaptureSpec, CapturedFrame, LONGEST_CAPTURE, LONGEST_SNAP};
use crossbeam_queue::ArrayQueue;
use forwarder::pipeline::DropReason;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Frames that wait to be asked for; more are counted only.
const KEPT: usize = 512;
/// Any port.
const ANY: u32 = u32::MAX;

#[derive(Debug)]
struct Kept {
    port: u16,
    point: Point,
    time: SystemTime,
    length: usize,
    bytes: [u8; LONGEST_SNAP as usize],
}

/// Where a frame was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// As it came.
    Received,
    /// As it left.
    Sent,
    /// It was dropped.
    Dropped(DropReason),
}

/// A capture, or none.
#[derive(Debug, Default)]
pub struct Capture {
    /// Made with the first capture: it is large.
    kept: OnceLock<ArrayQueue<Kept>>,
    missed: AtomicU64,
    /// Frames that are still wanted.
    wanted: AtomicU64,
    port: AtomicU32,
    /// 0.0.0.0 is any.
    host: AtomicU32,
    snaplen: AtomicU16,
    /// While there is one: when it ends by itself.
    ends: Mutex<Option<Instant>>,
}

impl Capture {
    /// There is one from now on.
    ///
    /// # Errors
    /// There is one already, or what is wanted makes no sense.
    pub fn begin(&self, spec: &CaptureSpec) -> Result<(), &'static str> {
        let CaptureSpec { port, host, snaplen, count, seconds, received, sent, dropped } = *spec;
        let in_range = (1..=LONGEST_SNAP).contains(&snaplen) && (1..=LONGEST_CAPTURE).contains(&seconds) && count > 0;
        if !in_range || !(received || sent || dropped) {
            return Err("a capture takes 1 to 1600 bytes of a frame and 1 to 3600 seconds, of at least one frame");
        }
        let mut ends = crate::lock(&self.ends);
        if ends.is_some() {
            return Err("there is a capture already; capture stop ends it");
        }
        *ends = Some(Instant::now() + Duration::from_secs(seconds.into()));
        let kept = self.kept.get_or_init(|| ArrayQueue::new(KEPT));
        while kept.pop().is_some() {}
        self.missed.store(0, Relaxed);
        self.port.store(port.map_or(ANY, u32::from), Relaxed);
        self.host.store(host.map_or(0, u32::from), Relaxed);
        self.snaplen.store(snaplen, Relaxed);
        self.wanted.store(count, Relaxed);
        Ok(())
    }

    /// There is none any more; what was kept stays to be asked for.
    pub fn end(&self) {
        *crate::lock(&self.ends) = None;
    }

    /// True for one that has all it wants, or had its time.
    pub fn is_over(&self) -> bool {
        let ends = *crate::lock(&self.ends);
        ends.is_some_and(|ends| self.wanted.load(Relaxed) == 0 || Instant::now() >= ends)
    }

    /// A worker's frame of this length, or the first bytes of it.
    pub fn keep(&self, port: u16, point: Point, bytes: &[u8], length: usize) {
        let of_port = self.port.load(Relaxed);
        let host = self.host.load(Relaxed);
        let Some(kept) = self.kept.get() else { return };
        if of_port != ANY && of_port != u32::from(port) || host != 0 && !concerns(bytes, host.into()) {
            return;
        }
        // Several workers may come to an end at once.
        if self.wanted.fetch_update(Relaxed, Relaxed, |wanted| wanted.checked_sub(1)).is_err() {
            return;
        }
        let mut frame = Kept { port, point, time: SystemTime::now(), length, bytes: [0; LONGEST_SNAP as usize] };
        let shown = bytes.len().min(self.snaplen.load(Relaxed).into());
        frame.bytes[..shown].copy_from_slice(&bytes[..shown]);
        if kept.push(frame).is_err() {
            self.missed.fetch_add(1, Relaxed);
            self.wanted.fetch_add(1, Relaxed);
        }
    }

    /// What was kept since.
    pub fn take(&self) -> CapturePage {
        // Before the frames: what comes meanwhile is asked for again.
        let running = crate::lock(&self.ends).is_some();
        let snaplen = usize::from(self.snaplen.load(Relaxed));
        let view = |kept: Kept| {
            let since = kept.time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let shown = &kept.bytes[..kept.length.min(snaplen).min(kept.bytes.len())];
            let bytes = shown.iter().fold(String::with_capacity(2 * shown.len()), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            let microseconds = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            let dropped = match kept.point {
                Point::Dropped(reason) => Some(reason.name().to_owned()),
                Point::Received | Point::Sent => None,
            };
            let sent = kept.point == Point::Sent;
            CapturedFrame { port: kept.port, sent, dropped, microseconds, length: kept.length as u32, bytes }
        };
        let kept = self.kept.get();
        let frames = (0..KEPT).map_while(|_| kept.and_then(ArrayQueue::pop)).map(view).collect();
        CapturePage { frames, missed: self.missed.swap(0, Relaxed), running }
    }
}

/// True for an IPv4 packet from or to this address, perhaps with a VLAN tag.
fn concerns(frame: &[u8], host: Ipv4Addr) -> bool {
    let kind = |at: usize| frame.get(at..at + 2);
    let at = match kind(12) {
        Some([0x08, 0x00]) => 14,
        Some([0x81, 0x00]) if kind(16) == Some(&[0x08, 0x00]) => 18,
        _ => return false,
    };
    let host = host.octets();
    [at + 12, at + 16].iter().any(|from| frame.get(*from..from + 4) == Some(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(from: u8, to: u8) -> Vec<u8> {
        let mut bytes = vec![0; 60];
        bytes[12..14].copy_from_slice(&[8, 0]);
        bytes[26..34].copy_from_slice(&[10, 0, 0, from, 10, 0, 0, to]);
        bytes
    }

    fn spec() -> CaptureSpec {
        CaptureSpec {
            port: None,
            host: None,
            received: true,
            sent: true,
            dropped: false,
            snaplen: 30,
            count: 2,
            seconds: 60,
        }
    }

    #[test]
    fn a_capture_keeps_what_is_wanted_and_ends() {
        let capture = Capture::default();
        let keep = |port, bytes: &[u8]| capture.keep(port, Point::Sent, bytes, bytes.len());
        keep(0, &frame(1, 2));
        assert_eq!(capture.take(), CapturePage::default(), "nobody wants anything");
        let host = Some(Ipv4Addr::new(10, 0, 0, 2));
        capture.begin(&CaptureSpec { host, port: Some(1), ..spec() }).unwrap();
        assert!(capture.begin(&spec()).unwrap_err().contains("already"));
        for (port, bytes) in [(0, frame(1, 2)), (1, frame(1, 3)), (1, frame(1, 2)), (1, vec![0; 13]), (1, frame(2, 9))]
        {
            assert!(!capture.is_over());
            keep(port, &bytes);
        }
        assert!(capture.is_over());
        keep(1, &frame(1, 2));
        let page = capture.take();
        assert_eq!((page.frames.len(), page.missed, page.running), (2, 0, true));
        let first = &page.frames[0];
        assert_eq!((first.port, first.sent, first.length, first.bytes.len()), (1, true, 60, 60));
        assert!(first.bytes.ends_with("0a000001"), "{first:?}");
        capture.end();
        assert!(!capture.take().running);
        assert!(capture.begin(&CaptureSpec { snaplen: 0, ..spec() }).is_err());
    }

    #[test]
    fn what_nobody_takes_in_time_is_counted() {
        let capture = Capture::default();
        capture.begin(&CaptureSpec { count: u64::MAX, ..spec() }).unwrap();
        let reason = DropReason::NoRoute;
        (0..KEPT + 7).for_each(|_| capture.keep(0, Point::Dropped(reason), &frame(1, 2), 2000));
        let page = capture.take();
        assert_eq!((page.frames.len(), page.missed), (KEPT, 7));
        let first = &page.frames[0];
        assert_eq!((first.dropped.as_deref(), first.sent, first.length), (Some("no_route"), false, 2000));
    }
}
