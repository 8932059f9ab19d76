//! CRC32c (Castagnoli; RFC 9260 appendix A), which SCTP uses: by the processor's instruction for it where there is one, else
//! eight bytes a step by tables made at compile time.

use std::sync::LazyLock;

const POLYNOMIAL: u32 = 0x82f6_3b78; // reflected

const TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut step = 1;
    while step < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[step - 1][byte];
            tables[step][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        step += 1;
    }
    tables
};

/// Takes bytes into a CRC's state.
type Step = fn(u32, &[u8]) -> u32;

/// How, on this processor: chosen at the first use.
static STEP: LazyLock<Step> = LazyLock::new(|| if has_instruction() { by_instruction } else { by_tables });

/// True if the processor computes this CRC itself.
fn has_instruction() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("sse4.2")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("crc")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

fn by_instruction(state: u32, bytes: &[u8]) -> u32 {
    // It wants a CRC, which is a state's complement.
    !crc32c::crc32c_append(!state, bytes)
}

/// The same on any processor.
fn by_tables(mut crc: u32, bytes: &[u8]) -> u32 {
    let (steps, rest) = bytes.as_chunks::<8>();
    for step in steps {
        let [a, b, c, d] = (crc ^ u32::from_le_bytes([step[0], step[1], step[2], step[3]])).to_le_bytes();
        crc = TABLES[7][usize::from(a)]
            ^ TABLES[6][usize::from(b)]
            ^ TABLES[5][usize::from(c)]
            ^ TABLES[4][usize::from(d)]
            ^ TABLES[3][usize::from(step[4])]
            ^ TABLES[2][usize::from(step[5])]
            ^ TABLES[1][usize::from(step[6])]
            ^ TABLES[0][usize::from(step[7])];
    }
    for byte in rest {
        crc = crc >> 8 ^ TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)];
    }
    crc
}

/// A CRC32c over pieces of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self(!0)
    }
}

impl Crc32c {
    /// Takes in more bytes.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        Self(STEP(self.0, bytes))
    }

    /// The value, as SCTP sends it: its least significant byte first.
    #[must_use]
    pub fn finish(self) -> [u8; 4] {
        (!self.0).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_check_value() {
        assert_eq!(Crc32c::default().with(b"123456789").finish(), 0xe306_9283_u32.to_le_bytes());
    }

    proptest! {
        /// Whichever this processor would choose.
        #[test]
        fn every_way_agrees_with_bits(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0usize..2000) {
            let mut slow = !0u32;
            for byte in &bytes {
                slow ^= u32::from(*byte);
                for _ in 0..8 {
                    slow = if slow & 1 == 1 { slow >> 1 ^ POLYNOMIAL } else { slow >> 1 };
                }
            }
            let (front, back) = bytes.split_at(at.min(bytes.len()));
            for step in [by_tables as Step, by_instruction, *STEP] {
                prop_assert_eq!(step(step(!0, front), back), slow);
            }
            prop_assert_eq!(Crc32c::default().with(front).with(back).finish(), (!slow).to_le_bytes());
        }
    }
}
