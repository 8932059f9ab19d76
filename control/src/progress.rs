//! How far a long input has been read, for the person at the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read, Write};

/// Shorter inputs are read before anybody could look.
const LONG: u64 = 64 * 1024;

/// An input that tells on a screen how much of it has been read.
pub struct Told<R, W: Write> {
    input: R,
    screen: Option<W>,
    all: u64,
    done: u64,
    /// What stands on the screen.
    percent: Option<u64>,
}

impl Told<BufReader<File>, io::Stderr> {
    /// A file, told on standard error, if that is a terminal.
    pub fn of_file(file: File) -> Self {
        let all = file.metadata().map_or(0, |about| about.len());
        Told::at_terminal(BufReader::new(file), all)
    }
}

impl<R: BufRead> Told<R, io::Stderr> {
    /// On standard error, if that is a terminal.
    pub fn at_terminal(input: R, all: u64) -> Self {
        let screen = io::stderr();
        Self::new(input, all, screen.is_terminal().then_some(screen))
    }
}

impl<R: BufRead, W: Write> Told<R, W> {
    /// An input of `all` bytes, told on a screen, if there is one, unless it is short.
    pub fn new(input: R, all: u64, screen: Option<W>) -> Self {
        Self { input, screen: screen.filter(|_| all >= LONG), all, done: 0, percent: None }
    }

    fn tell(&mut self) {
        let percent = (self.done.min(self.all) * 100).checked_div(self.all);
        if let Some(screen) = &mut self.screen
            && let Some(percent) = percent.filter(|_| percent != self.percent)
        {
            self.percent = Some(percent);
            // The next line of anybody's overwrites it.
            let _ = write!(screen, "\r\x1b[K{percent} %\r");
            let _ = screen.flush();
        }
    }
}

impl<R: BufRead, W: Write> Read for Told<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.done += read as u64;
        self.tell();
        Ok(read)
    }
}

impl<R: BufRead, W: Write> BufRead for Told<R, W> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.tell();
        self.input.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.done += bytes as u64;
        self.input.consume(bytes);
    }
}

impl<R, W: Write> Drop for Told<R, W> {
    fn drop(&mut self) {
        if let (Some(screen), Some(_)) = (&mut self.screen, self.percent) {
            let _ = write!(screen, "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: usize) -> String {
        let input = "12345678\n".repeat(bytes / 9);
        let mut screen = Vec::new();
        let reader = io::BufReader::with_capacity(bytes / 4, input.as_bytes());
        let lines = Told::new(reader, input.len() as u64, Some(&mut screen)).lines().count();
        assert_eq!(lines, bytes / 9);
        String::from_utf8(screen).unwrap()
    }

    #[test]
    fn a_long_input_is_told_and_a_short_one_is_not() {
        assert_eq!(told(900), "");
        let screen = told(900_000);
        let percents: Vec<&str> = screen.split("\r\x1b[K").collect();
        assert_eq!((percents[1], percents[51], percents[101], percents[102]), ("0 %\r", "50 %\r", "100 %\r", ""));
        assert_eq!(percents.len(), 103, "each once, and then nothing stands there");
    }
}
