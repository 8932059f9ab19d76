//! Which worker a client's connections belong to, by a hash that NICs can compute too.
//!
//! Receive-side scaling picks a queue by some low bits of a Toeplitz hash, which is the XOR, over the set bits of source,
//! destination and ports, of windows of a key: bit *b* of the hash gets key bit *i* + 31 - *b* from input bit *i*. Two
//! directions of a NAT connection have only the client in common, so the hash must depend on the client alone: on the
//! source on ports where requests come in, on the destination where replies do. No flag of the NIC is needed for that, but
//! two keys: with zeros where the windows of the other side lie, and with the same bits where those of the client lie, once
//! at the source's place, once at the destination's. The places overlap, so some bits must be zero in both, and of address
//! and port the last bit does not count; what is left is random, but for the last bit of each stretch, which is set so
//! that neighbouring addresses, and neighbouring ports, are told apart by all bits of the hash.
//!
//! The software hash, for ports that cannot, is the same from tables.

use crate::parse;

/// Bits of an RSS key: 40 bytes is what NICs take, of which IPv4 needs 16.
const KEY: usize = 40;
/// Where the inputs of IPv4 lie, in bits.
const SOURCE: usize = 0;
const DESTINATION: usize = 32;
const SOURCE_PORT: usize = 64;
const DESTINATION_PORT: usize = 80;

/// On which side of the director a port is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// Requests come in here: clients are sources. Also where everything is.
    #[default]
    Outside,
    /// Replies come in here: clients are destinations.
    Inside,
}

/// How clients are spread over workers: the same for all workers and ports of a director.
#[derive(Clone, Debug)]
pub struct Spread {
    workers: u32,
    /// Bits of the hash that count.
    bits: u32,
    /// Key bits for an address, first to last, and for a port.
    address: u32,
    port: u32,
    /// The hash of each byte of address and port at its place.
    tables: Box<[[u16; 256]; 6]>,
}

impl Spread {
    /// Bits of the hash where every NIC concerned has a redirection table of 512 entries or more, or none has one.
    pub const MANY: u32 = 9;
    /// Bits of the hash where some NIC has fewer; it must have 128.
    pub const FEW: u32 = 7;

    /// A spread over so many workers, by `bits` bits of the hash ([`Self::FEW`] to [`Self::MANY`]). `seed` is random.
    ///
    /// # Panics
    /// With another number of bits.
    #[must_use]
    pub fn new(workers: u32, bits: u32, seed: u64) -> Self {
        assert!((Self::FEW..=Self::MANY).contains(&bits), "{bits} bits of the hash");
        // Stretches of the key, the last bit set.
        let stretch = |length: u32, seed: u64| (seed as u32 & ((1 << length) - 1)) | 1;
        let (address, port) = (stretch(33 - bits, seed), stretch(17 - bits, seed >> 32));
        let mut spread = Self { workers, bits, address, port, tables: Box::new([[0; 256]; 6]) };
        let key = spread.key(Side::Outside);
        for place in 0..6 {
            let input = if place < 4 { SOURCE + place * 8 } else { SOURCE_PORT + (place - 4) * 8 };
            for byte in 0..256 {
                let set = (0..8).filter(|bit| byte & 0x80 >> bit != 0);
                let hash = set.fold(0, |hash, bit| hash ^ window(&key, input + bit));
                spread.tables[place][byte] = (hash & ((1 << bits) - 1)) as u16;
            }
        }
        spread
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// The worker that connections of a client's endpoint ([`parse::endpoint`]) belong to.
    #[inline]
    #[must_use]
    pub fn owner(&self, endpoint: u64) -> u32 {
        let (address, port) = parse::address_and_port(endpoint);
        let bytes = address.into_iter().chain(port);
        let index = self.tables.iter().zip(bytes).fold(0, |hash, (table, byte)| hash ^ table[usize::from(byte)]);
        self.of_index(u32::from(index))
    }

    /// The key for ports on this side.
    #[must_use]
    pub fn key(&self, side: Side) -> [u8; KEY] {
        let (address_at, port_at) = match side {
            Side::Outside => (SOURCE, SOURCE_PORT),
            Side::Inside => (DESTINATION, DESTINATION_PORT),
        };
        let mut key = [0; KEY];
        // Bit 0 of the hash gets its window's last bit, 31 behind the input's first.
        let mut put = |at: usize, length: u32, bits: u32| {
            for n in (0..length).filter(|n| bits >> (length - 1 - n) & 1 != 0) {
                let at = at + 31 + n as usize;
                key[at / 8] |= 0x80 >> (at % 8);
            }
        };
        put(address_at, 33 - self.bits, self.address);
        put(port_at, 17 - self.bits, self.port);
        key
    }

    /// The worker for each entry of a redirection table of this size.
    pub fn table(&self, entries: u16) -> impl Iterator<Item = u32> {
        (0..u32::from(entries)).map(|entry| self.of_index(entry & ((1 << self.bits) - 1)))
    }

    #[inline]
    fn of_index(&self, index: u32) -> u32 {
        (index * self.workers) >> self.bits
    }
}

/// The 32 bits of a key from this bit on.
fn window(key: &[u8; KEY], from: usize) -> u32 {
    (from..from + 32).fold(0, |window, at| window << 1 | u32::from(key[at / 8] >> (7 - at % 8) & 1))
}

/// The Toeplitz hash of a packet's addresses and ports, as a NIC computes it.
#[must_use]
pub fn toeplitz(key: &[u8; KEY], source: [u8; 4], destination: [u8; 4], ports: [u16; 2]) -> u32 {
    let [from, to] = ports.map(u16::to_be_bytes);
    let input = [&source[..], &destination, &from, &to].concat();
    let set = (0..input.len() * 8).filter(|bit| input[bit / 8] & 0x80 >> (bit % 8) != 0);
    set.fold(0, |hash, bit| hash ^ window(key, bit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The key and the values of Microsoft's "Verifying the RSS Hash Calculation", IPv4 with TCP.
    #[test]
    fn the_toeplitz_hash_is_the_one_that_nics_compute() {
        let key = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
            0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
            0xbe, 0xac, 0x01, 0xfa,
        ];
        for (source, destination, ports, hash) in [
            ([66, 9, 149, 187], [161, 142, 100, 80], [2794, 1766], 0x51cc_c178),
            ([199, 92, 111, 2], [65, 69, 140, 83], [14230, 4739], 0xc626_b0ea),
            ([24, 19, 198, 95], [12, 22, 207, 184], [12898, 38024], 0x5c2b_394a),
            ([38, 27, 205, 30], [209, 142, 163, 6], [48228, 2217], 0xafc7_327f),
            ([153, 39, 163, 191], [202, 188, 127, 2], [44251, 1303], 0x10e8_28a2),
        ] {
            assert_eq!(toeplitz(&key, source, destination, ports), hash);
        }
    }

    fn endpoint(address: [u8; 4], port: u16) -> u64 {
        parse::endpoint(u32::from_ne_bytes(address), port.to_be(), 6)
    }

    proptest! {
        /// A NIC brings requests by the outside key and replies by the inside key to the owner, whatever the other
        /// addresses and ports are.
        #[test]
        fn nics_agree_with_the_software_in_both_directions(
            workers in 1u32..65, few in any::<bool>(), large in any::<bool>(), seed in any::<u64>(),
            client in any::<([u8; 4], u16)>(), other in any::<([u8; 4], u16)>(),
        ) {
            let bits = if few { Spread::FEW } else { Spread::MANY };
            let spread = Spread::new(workers, bits, seed);
            let owner = spread.owner(endpoint(client.0, client.1));
            prop_assert!(owner < workers);
            let size = if large { 2048 } else { 1 << bits };
            let table: Vec<_> = spread.table(size).collect();
            let request = toeplitz(&spread.key(Side::Outside), client.0, other.0, [client.1, other.1]);
            prop_assert_eq!(table[request as usize % table.len()], owner);
            let reply = toeplitz(&spread.key(Side::Inside), other.0, client.0, [other.1, client.1]);
            prop_assert_eq!(table[reply as usize % table.len()], owner);
        }

        /// Clients that are neighbours, and ports that are, fall to all workers alike.
        #[test]
        fn neighbours_spread_evenly(workers in 1u32..9, few in any::<bool>(), seed in any::<u64>(), first in any::<u32>()) {
            let spread = Spread::new(workers, if few { Spread::FEW } else { Spread::MANY }, seed);
            let start = first & !0xfff;
            let of_addresses = |n: u32| endpoint((start + n).to_be_bytes(), 40_000);
            let of_ports = |n: u32| endpoint(first.to_be_bytes(), (32_768 + n) as u16);
            let mut counts = [vec![0u32; workers as usize], vec![0u32; workers as usize]];
            for n in 0..4096 {
                counts[0][spread.owner(of_addresses(n)) as usize] += 1;
                counts[1][spread.owner(of_ports(n)) as usize] += 1;
            }
            for counts in counts {
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                // Parts of the hash's range differ by one entry of 128 at most.
                prop_assert!(most - least <= 4096 / 128, "{counts:?}");
            }
        }
    }
}
