//! Who is connected, and what all of them together may hold. Whoever opens connections by the hundred and says nothing
//! makes room for who comes to say something.

use crate::socket::LONGEST;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of unfinished lines over all clients.
const UNFINISHED: usize = 4 * LONGEST;

/// How long somebody waits for a seat.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked for one.
const MOMENT: Duration = Duration::from_millis(5);

/// The seats.
pub(super) struct Seats {
    count: usize,
    taken: Mutex<Vec<Arc<Place>>>,
    unfinished: AtomicUsize,
    start: Instant,
}

struct Place {
    stream: UnixStream,
    /// When it was last heard of, in milliseconds.
    heard: AtomicU64,
}

impl Seats {
    pub fn new(count: usize) -> Self {
        Self { count, taken: Mutex::default(), unfinished: AtomicUsize::new(0), start: Instant::now() }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// A seat for a client. If all are taken, the client that has been silent longest is hung up on; those who were may
    /// need a moment to leave.
    ///
    /// # Errors
    /// There are as many clients on their way out as there are seats, or the system refuses.
    pub fn take_in_time(&self, stream: &UnixStream) -> io::Result<Seat<'_>> {
        let end = Instant::now() + PATIENCE;
        while self.taken().len() >= 2 * self.count && Instant::now() < end {
            std::thread::sleep(MOMENT);
        }
        self.take(stream)
    }

    fn take(&self, stream: &UnixStream) -> io::Result<Seat<'_>> {
        let place = Arc::new(Place { stream: stream.try_clone()?, heard: AtomicU64::new(self.now()) });
        let mut taken = self.taken();
        if taken.len() >= 2 * self.count {
            return Err(io::Error::other("too many control clients"));
        }
        if taken.len() >= self.count
            && let Some(silent) = taken.iter().min_by_key(|place| place.heard.load(Relaxed))
        {
            tracing::warn!(limit = self.count, "too many control clients; the most silent one has to go");
            // It leaves its seat when its thread notices; until then it is not chosen again.
            silent.heard.store(u64::MAX, Relaxed);
            let _ = silent.stream.shutdown(Shutdown::Both);
        }
        taken.push(place.clone());
        Ok(Seat { seats: self, place })
    }

    /// Hangs up on everybody.
    pub fn hang_up(&self) {
        for place in self.taken().iter() {
            let _ = place.stream.shutdown(Shutdown::Both);
        }
    }
}

/// A client's seat, until it is dropped.
pub(super) struct Seat<'a> {
    seats: &'a Seats,
    place: Arc<Place>,
}

impl<'a> Seat<'a> {
    /// The client has said something.
    pub fn heard(&self) {
        self.place.heard.store(self.seats.now(), Relaxed);
    }

    /// Its share of unfinished lines: nothing yet.
    pub fn unfinished(&self) -> Unfinished<'a> {
        Unfinished { all: &self.seats.unfinished, own: 0 }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.seats.taken().retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

/// What one client holds of the bytes that all may hold.
pub(super) struct Unfinished<'a> {
    all: &'a AtomicUsize,
    own: usize,
}

impl Unfinished<'_> {
    /// It holds so many now. Answers false if that is too much for all together.
    pub fn is(&mut self, bytes: usize) -> bool {
        self.all.fetch_add(bytes, Relaxed);
        let all = self.all.fetch_sub(self.own, Relaxed) - self.own;
        self.own = bytes;
        all <= UNFINISHED
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn the_most_silent_client_makes_room() {
        let wait = Some(std::time::Duration::from_secs(10));
        let seats = Seats::new(2);
        let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
        pairs.iter().for_each(|(_, client)| client.set_read_timeout(wait).unwrap());
        let one = seats.take(&pairs[0].0).unwrap();
        let two = seats.take(&pairs[1].0).unwrap();
        two.place.heard.store(1, Relaxed);
        one.place.heard.store(2, Relaxed);
        let three = seats.take(&pairs[2].0).unwrap();
        three.place.heard.store(3, Relaxed);
        assert_eq!((&pairs[1].1).read(&mut [0]).unwrap(), 0, "the second was hung up on");
        let four = seats.take(&pairs[3].0).unwrap();
        assert_eq!((&pairs[0].1).read(&mut [0]).unwrap(), 0, "then the first");
        assert!(seats.take(&pairs[4].0).is_err(), "nobody has left yet");
        drop((one, two));
        seats.take(&pairs[4].0).unwrap();
        drop((three, four));
        assert!(seats.taken().is_empty());
    }

    #[test]
    fn unfinished_lines_are_counted_over_all() {
        let seats = Seats::new(8);
        let mut shares: Vec<_> = (0..5).map(|_| Unfinished { all: &seats.unfinished, own: 0 }).collect();
        for share in &mut shares[..4] {
            assert!(share.is(1) && share.is(LONGEST));
        }
        assert!(!shares[4].is(1));
        drop(shares.remove(0));
        assert!(shares[3].is(LONGEST));
        drop(shares);
        assert_eq!(seats.unfinished.load(Relaxed), 0);
    }
}
