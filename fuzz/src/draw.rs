//! Choices made by bytes: the same bytes make the same choices, and a shorter input makes fewer.

/// Bytes yet to be used. When they are used up, every choice is the first one.
#[derive(Debug)]
pub(crate) struct Draw<'a> {
    left: &'a [u8],
    /// Frames may be such as no honest host sends.
    pub bent: bool,
    serial: u16,
}

impl<'a> Draw<'a> {
    pub fn new(left: &'a [u8]) -> Self {
        Self { left, bent: false, serial: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.left.split_first().unwrap_or((&0, &[]));
        self.left = rest;
        *first
    }

    /// A number that was not given out lately.
    pub fn serial(&mut self) -> u16 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `n`, which is 256 at most.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.left.split_at(n.min(self.left.len()));
        self.left = rest;
        taken
    }
}
