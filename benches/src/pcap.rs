//! Capture files as libpcap writes them (microseconds, Ethernet).

use std::io::{self, Read, Write};

const MAGIC: u32 = 0xa1b2_c3d4;
/// Longer frames are no sound file.
const LONGEST: u32 = 65_535;

/// Writes frames to a file.
///
/// # Errors
/// What the writer says.
pub fn write(mut to: impl Write, frames: impl IntoIterator<Item = impl AsRef<[u8]>>) -> io::Result<()> {
    for word in [MAGIC, 2 | 4 << 16, 0, 0, LONGEST, 1] {
        to.write_all(&word.to_ne_bytes())?;
    }
    for frame in frames {
        let frame = frame.as_ref();
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            to.write_all(&word.to_ne_bytes())?;
        }
        to.write_all(frame)?;
    }
    to.flush()
}

/// Reads frames one after the other, as they come.
#[derive(Debug)]
pub struct Reader<R>(R);

impl<R: Read> Reader<R> {
    /// Reads the file's header.
    ///
    /// # Errors
    /// It is no such file, or what the reader says.
    pub fn new(mut from: R) -> io::Result<Self> {
        let mut header = [0; 24];
        from.read_exact(&mut header)?;
        // Nanosecond files differ in the magic number alone, and nobody here looks at the time.
        if !matches!(word(&header, 0), MAGIC | 0xa1b2_3c4d) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no capture file of this machine"));
        }
        Ok(Self(from))
    }

    /// The next frame.
    ///
    /// # Errors
    /// The file ends, or what the reader says.
    pub fn next_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; 16];
        self.0.read_exact(&mut header)?;
        let length = word(&header, 8);
        if length > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of impossible length"));
        }
        let mut frame = vec![0; length as usize];
        self.0.read_exact(&mut frame)?;
        Ok(frame)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut file = Vec::new();
        write(&mut file, [&b"one"[..], b"", b"three"]).unwrap();
        let mut reader = Reader::new(&file[..]).unwrap();
        for frame in [&b"one"[..], b"", b"three"] {
            assert_eq!(reader.next_frame().unwrap(), frame);
        }
        assert!(reader.next_frame().is_err());
        assert!(Reader::new(&[0; 24][..]).is_err());
    }
}
