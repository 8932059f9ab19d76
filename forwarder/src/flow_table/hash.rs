//! The keyed hash of a client endpoint. Who does not know the secret cannot choose endpoints that collide.

/// The key of [`hash`], drawn once at start.
#[derive(Clone, Copy)]
pub struct Secret {
    mask: u64,
    first: u64,
    second: u64,
}

impl Secret {
    /// A secret from 128 random bits.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        let mut state = seed[0];
        let mut draw = || {
            // SplitMix64 (Steele, Lea, Flood 2014): also a poor seed gives multipliers with bits all over.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = state ^ seed[1];
            bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ bits >> 31
        };
        Self { mask: draw(), first: draw() | 1, second: draw() | 1 }
    }
}

/// Never prints the secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Secret")
    }
}

/// The hash of an endpoint (`parse::endpoint`). Every bit of it depends on every bit of the key: two rounds of a
/// multiplication to 128 bits whose halves are folded together, as in wyhash. One round would be faster by a cycle, but
/// leaves the ports of one client an arithmetic progression, which a rare secret turns into clumps.
#[inline(always)]
#[must_use]
pub fn hash(key: u64, secret: &Secret) -> u64 {
    fold(fold(key ^ secret.mask, secret.first), secret.second)
}

/// Which of `workers` a hash belongs to. It uses the hash otherwise than the table does, so that one worker's entries
/// spread over all of its table.
#[inline]
#[must_use]
pub fn owner(hash: u64, workers: u32) -> u32 {
    let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((spread * u64::from(workers)) >> 32) as u32
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> impl Iterator<Item = Secret> {
        [[0, 0], [1, 0], [0, 1], [u64::MAX, u64::MAX], [0x0123_4567_89ab_cdef, 42]].into_iter().map(Secret::new)
    }

    /// Chi-square of `counts` against an even spread, per degree of freedom: near 1 for random numbers.
    fn unevenness(counts: &[u32]) -> f64 {
        let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum::<f64>() / (counts.len() - 1) as f64
    }

    #[test]
    fn every_key_bit_changes_every_hash_bit_half_the_time() {
        for secret in secrets() {
            let mut flips = [[0u32; 64]; 64];
            for sample in 0..1000u64 {
                let key = sample.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                for (bit, flips) in flips.iter_mut().enumerate() {
                    let changed = hash(key, &secret) ^ hash(key ^ 1 << bit, &secret);
                    flips.iter_mut().enumerate().for_each(|(out, n)| *n += (changed >> out & 1) as u32);
                }
            }
            for n in flips.iter().flatten() {
                assert!((390..=610).contains(n), "a hash bit flips {n} times in 1000");
            }
        }
    }

    #[test]
    fn the_ports_and_addresses_of_real_clients_spread_evenly_over_both_halves_and_over_workers() {
        type Key = fn(u64) -> u64;
        // One client's ports; one port of a network's clients; few ports of each of many clients (see parse::endpoint).
        let sets: [Key; 3] = [
            |n| 0x0a00_0001 << 32 | (n & 0xffff) << 16 | (6 + (n >> 16) * 11),
            |n| (0x0a00_0000 | n).swap_bytes() & 0xffff_ffff << 32 | 0x5000_0000 | 6,
            |n| (0xc0a8_0000 | n >> 4) << 32 | (40_000 + (n & 15)) << 16 | 17,
        ];
        for secret in secrets() {
            for set in sets {
                let (mut high, mut low, mut workers) = (vec![0; 4096], vec![0; 4096], vec![0; 7]);
                // Of one worker's keys, too, every part of the table must get its share.
                let mut high_of_one_worker = vec![0; 512];
                for n in 0..1 << 17 {
                    let hash = hash(set(n), &secret);
                    high[(hash >> 52) as usize] += 1;
                    low[(hash >> 20 & 0xfff) as usize] += 1;
                    workers[owner(hash, 7) as usize] += 1;
                    if owner(hash, 7) == 3 {
                        high_of_one_worker[(hash >> 55) as usize] += 1;
                    }
                }
                for counts in [high, low, workers, high_of_one_worker] {
                    let unevenness = unevenness(&counts);
                    assert!(unevenness < 3.0, "chi-square {unevenness} over {} bins", counts.len());
                }
            }
        }
    }

    #[test]
    fn another_secret_gives_another_hash() {
        let mut hashes: Vec<_> = secrets().map(|secret| hash(0x0a00_0001_1f90_0006, &secret)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), secrets().count());
    }
}
