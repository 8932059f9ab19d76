//! Cache lines. Workers run on different processors, and two that write to one line make each other wait, whatever they
//! write. So memory of one worker is whole lines of its own: types that it writes are aligned to them ([`Own`], or
//! `#[repr(align(64))]`), and vectors end with a line that nobody writes ([`room`], [`filled`]), wherever the allocator
//! puts them.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// A value on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Own<T>(pub T);

impl<T> Deref for Own<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Own<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// An empty vector with room for so many elements, and a line.
#[must_use]
pub fn room<T>(capacity: usize) -> Vec<T> {
    Vec::with_capacity(capacity + LINE.div_ceil(size_of::<T>().max(1)))
}

/// A vector of so many elements, and a line.
#[must_use]
pub fn filled<T>(len: usize, value: impl FnMut() -> T) -> Vec<T> {
    let mut vector = room(len);
    vector.resize_with(len, value);
    vector
}

/// The lines of what lies here, by their addresses over [`LINE`]. For tests.
#[cfg(test)]
pub(crate) fn of<T>(place: &[T]) -> std::ops::Range<usize> {
    let range = place.as_ptr_range();
    range.start as usize / LINE..(range.end as usize).div_ceil(LINE)
}

/// Those that it fills.
#[cfg(test)]
pub(crate) fn inside<T>(place: &[T]) -> std::ops::Range<usize> {
    let range = place.as_ptr_range();
    let start = (range.start as usize).div_ceil(LINE);
    start..(range.end as usize / LINE).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_end_with_a_line_that_nobody_writes() {
        fn spare<T: Default>(len: usize) {
            let vector = filled(len, T::default);
            assert_eq!(vector.len(), len);
            assert!((vector.capacity() - len) * size_of::<T>() >= LINE);
            assert!(room::<T>(len).capacity() * size_of::<T>() >= len * size_of::<T>() + LINE);
        }
        for len in [0, 1, 7, 64, 1000] {
            spare::<u8>(len);
            spare::<[u64; 3]>(len);
            spare::<[u64; 20]>(len);
        }
    }

    #[test]
    fn inner_lines_are_nobody_elses() {
        let memory = [[0u8; 16]; 64];
        let (all, inner) = (of(&memory), inside(&memory));
        assert!(all.contains(&(memory.as_ptr() as usize / LINE)) && inner.len() >= 15 && inner.len() <= all.len());
        assert!(inner.start * LINE >= memory.as_ptr() as usize);
        assert!(inner.end * LINE <= memory.as_ptr_range().end as usize);
        assert!(inside(&memory[..1]).is_empty());
    }

    #[test]
    fn a_value_of_ones_own_is_whole_lines() {
        assert_eq!((align_of::<Own<u8>>(), size_of::<Own<u8>>(), size_of::<Own<[u8; 65]>>()), (LINE, LINE, 2 * LINE));
    }
}
