//! Better instructions, where the processor has them.

use packet_io::Work;

/// Runs `work`, compiled for x86-64-v3 (AVX2, BMI, MOVBE: since 2013) if this processor has that, else for any x86-64; so
/// no build flag is needed for the speed, and the program runs anywhere. What `work` calls is compiled so only as far
/// as it is inlined.
#[inline(always)]
pub fn with_best<W: Work>(work: W) -> W::Answer {
    #[cfg(target_arch = "x86_64")]
    if are_better_there() {
        // SAFETY: the processor has what the function is compiled for. Needed because only we know that.
        return unsafe { better(work) };
    }
    portable(work)
}

/// A look at what the standard library has found out when it was asked first.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn are_better_there() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("movbe")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,movbe")]
fn better<W: Work>(work: W) -> W::Answer {
    work.run()
}

#[inline(never)] // else the twin would be compiled into whoever calls
fn portable<W: Work>(work: W) -> W::Answer {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often it is done.
    struct Mix<'a>([u32; 4], &'a std::cell::Cell<u32>);

    impl Work for Mix<'_> {
        type Answer = [(u32, u32, u32); 4];
        #[inline(always)]
        fn run(self) -> Self::Answer {
            self.1.set(self.1.get() + 1);
            self.0.map(|word| (word.swap_bytes(), word.trailing_zeros(), word & word.wrapping_sub(1)))
        }
    }

    #[test]
    fn both_do_the_same_and_once() {
        let (words, times) = ([0x8000_0001, 0, 6, 0xffff_ffff], std::cell::Cell::new(0));
        assert_eq!(with_best(Mix(words, &times)), portable(Mix(words, &times)));
        assert_eq!(times.get(), 2);
    }
}
