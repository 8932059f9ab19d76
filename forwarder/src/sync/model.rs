//! Models of `arc_swap` and `rtrb` for loom: their documented behaviour, with no more order between threads than they
//! promise. What they hold lies in loom's cells, which find every access that nothing orders.

use loom::cell::Cell;
use loom::sync::Mutex;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

/// `arc_swap::ArcSwap`.
#[derive(Debug)]
pub struct ArcSwap<T> {
    generation: AtomicUsize,
    current: Mutex<Arc<T>>,
}

impl<T> ArcSwap<T> {
    pub fn from_pointee(value: T) -> Self {
        Self { generation: AtomicUsize::new(0), current: Mutex::new(Arc::new(value)) }
    }

    pub fn load_full(&self) -> Arc<T> {
        self.current.lock().unwrap().clone()
    }

    pub fn swap(&self, next: Arc<T>) -> Arc<T> {
        let mut current = self.current.lock().unwrap();
        self.generation.store(self.generation.load(Relaxed) + 1, Release);
        std::mem::replace(&mut current, next)
    }
}

/// `arc_swap::Cache`.
#[derive(Debug)]
pub struct Cache<S, P> {
    shared: S,
    generation: usize,
    cached: P,
}

impl<T> Cache<Arc<ArcSwap<T>>, Arc<T>> {
    pub fn new(shared: Arc<ArcSwap<T>>) -> Self {
        let cached = shared.load_full();
        let generation = shared.generation.load(Acquire);
        Self { shared, generation, cached }
    }

    pub fn load(&mut self) -> &Arc<T> {
        if self.shared.generation.load(Acquire) != self.generation {
            let current = self.shared.current.lock().unwrap();
            self.generation = self.shared.generation.load(Acquire);
            self.cached = current.clone();
        }
        &self.cached
    }
}

/// `rtrb::RingBuffer`. Places of messages count up and wrap in the array.
#[derive(Debug)]
pub struct RingBuffer<T> {
    taken: AtomicUsize,
    given: AtomicUsize,
    slots: Vec<Cell<Option<T>>>,
}

/// `rtrb::Producer`.
#[derive(Debug)]
pub struct Producer<T>(Arc<RingBuffer<T>>);

/// `rtrb::Consumer`.
#[derive(Debug)]
pub struct Consumer<T>(Arc<RingBuffer<T>>);

impl<T> RingBuffer<T> {
    pub fn new(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let slots = (0..capacity).map(|_| Cell::new(None)).collect();
        let ring = Arc::new(Self { taken: AtomicUsize::new(0), given: AtomicUsize::new(0), slots });
        (Producer(ring.clone()), Consumer(ring))
    }

    fn at(&self, place: usize) -> &Cell<Option<T>> {
        &self.slots[place % self.slots.len()]
    }
}

impl<T> Producer<T> {
    pub fn slots(&self) -> usize {
        self.0.slots.len() - (self.0.given.load(Relaxed) - self.0.taken.load(Acquire))
    }

    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.slots() == 0 {
            return Err(value);
        }
        self.fill(std::iter::once(value));
        Ok(())
    }

    pub fn write_chunk_uninit(&mut self, count: usize) -> Result<Chunk<'_, T>, ()> {
        if self.slots() < count { Err(()) } else { Ok(Chunk(self, count)) }
    }

    fn fill(&mut self, values: impl Iterator<Item = T>) -> usize {
        let place = self.0.given.load(Relaxed);
        let count = values.zip(place..).map(|(value, place)| self.0.at(place).set(Some(value))).count();
        self.0.given.store(place + count, Release);
        count
    }
}

/// `rtrb::chunks::WriteChunkUninit`.
pub struct Chunk<'a, T>(&'a mut Producer<T>, usize);

impl<T> Chunk<'_, T> {
    pub fn fill_from_iter(self, values: impl IntoIterator<Item = T>) -> usize {
        self.0.fill(values.into_iter().take(self.1))
    }
}

impl<T> Consumer<T> {
    pub fn slots(&self) -> usize {
        self.0.given.load(Acquire) - self.0.taken.load(Relaxed)
    }

    pub fn pop(&mut self) -> Result<T, ()> {
        self.read_chunk(1)?.into_iter().next().ok_or(())
    }

    pub fn read_chunk(&mut self, count: usize) -> Result<Vec<T>, ()> {
        if self.slots() < count {
            return Err(());
        }
        let place = self.0.taken.load(Relaxed);
        let values = (place..place + count).filter_map(|place| self.0.at(place).take()).collect();
        self.0.taken.store(place + count, Release);
        Ok(values)
    }
}
