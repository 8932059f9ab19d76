//! Lines of rules as they arrive: those that can be had without waiting come together.

use std::io::{self, BufRead};

/// The longest line, bytes. Nobody writes one; and a piece of one may say something else than the whole.
const LONGEST: usize = 64 * 1024;

/// A reader of lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that end in what one read of the input gives, perhaps none; the last needs no end. None when the input is
    /// over.
    ///
    /// # Errors
    /// The input cannot be read, or has a line that is too long.
    pub fn next(&mut self, input: &mut dyn BufRead) -> io::Result<Option<Vec<String>>> {
        let read = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Some(Vec::new())),
            read => read?,
        };
        let length = read.len();
        let mut lines = Vec::new();
        for piece in read.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.len() > LONGEST {
                return Err(io::Error::other(format!("a line has more than {LONGEST} bytes")));
            }
            if piece.ends_with(b"\n") {
                lines.push(self.take());
            }
        }
        input.consume(length);
        if length == 0 {
            if self.rest.is_empty() {
                return Ok(None);
            }
            lines.push(self.take());
        }
        Ok(Some(lines))
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
        std::iter::from_fn(|| lines.next(input).unwrap()).collect()
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
    fn an_endless_line_is_refused() {
        let longest = "x".repeat(LONGEST);
        assert_eq!(all(&mut longest.as_bytes()).concat(), [longest.as_str()]);
        let mut endless = BufReader::with_capacity(1000, std::io::repeat(b'x'));
        let mut lines = Lines::default();
        let error = std::iter::from_fn(|| {
            lines.next(&mut endless).map(Option::unwrap).err().map_or(Some(None), |e| Some(Some(e)))
        });
        assert!(error.flatten().next().unwrap().to_string().contains("65536 bytes"));
        assert!(lines.rest.len() < LONGEST + 1001, "no more than that is kept");
    }
}
