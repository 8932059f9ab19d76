//! Lines of rules as they arrive: those that can be had without waiting come together.

use std::io::BufRead;

/// The longest line, bytes; a longer one is cut, and its pieces are refused as what they are.
const LONGEST: usize = 64 * 1024;

/// A reader of lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that end in what one read of the input gives, perhaps none; the last needs no end. None when the input is
    /// over, or cannot be read.
    pub fn next(&mut self, input: &mut dyn BufRead) -> Option<Vec<String>> {
        let read = input.fill_buf().unwrap_or_default();
        let length = read.len();
        let mut lines = Vec::new();
        for piece in read.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.rest.len() >= LONGEST {
                lines.push(self.take());
            }
        }
        input.consume(length);
        if length == 0 {
            if self.rest.is_empty() {
                return None;
            }
            lines.push(self.take());
        }
        Some(lines)
    }

    fn take(&mut self) -> String {
        let line = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn all(input: &mut dyn BufRead) -> Vec<Vec<String>> {
        let mut lines = Lines::default();
        std::iter::from_fn(|| lines.next(input)).collect()
    }

    #[test]
    fn lines_of_one_read_come_together() {
        assert_eq!(all(&mut "a\nb\n\nc".as_bytes()), [vec!["a\n", "b\n", "\n"], vec!["c"]]);
        assert_eq!(
            all(&mut BufReader::with_capacity(3, "ab\ncdefg\nh\n".as_bytes())).concat(),
            ["ab\n", "cdefg\n", "h\n"]
        );
        assert!(all(&mut "".as_bytes()).is_empty());
    }

    #[test]
    fn an_endless_line_is_cut() {
        let text = "x".repeat(3 * LONGEST);
        let lines = all(&mut BufReader::with_capacity(1000, text.as_bytes())).concat();
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() < LONGEST + 1000));
        assert_eq!(lines.concat(), text);
    }
}
