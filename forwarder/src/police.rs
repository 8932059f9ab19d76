//! What the kernel gets is policed by class, so that a flood of one kind does not drown the others: a port scan must
//! not cost a BGP session its keepalives.

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::stats::Counter;

/// The kind of a frame for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// ARP and neighbour discovery's Ethernet kin.
    Arp,
    /// What keeps routes and virtual addresses alive: BGP, BFD, OSPF, VRRP.
    Routing,
    /// ICMP, ping above all.
    Icmp,
    /// Everything else: the director's own connections, and what the kernel forwards.
    Other,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Arp, Self::Routing, Self::Icmp, Self::Other];

    /// Its name in counters and settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Routing => "routing",
            Self::Icmp => "icmp",
            Self::Other => "other",
        }
    }

    /// The class of a frame. Looks at an untagged IPv4 frame's fixed places; anything shorter or stranger is `Other`.
    #[must_use]
    pub fn of(frame: &[u8]) -> Self {
        const BGP: u16 = 179;
        const BFD: [u16; 3] = [3784, 3785, 4784];
        let word = |at: usize| frame.get(at..at + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
        match (word(12), frame.get(23)) {
            (0x0806, _) => Self::Arp,
            (0x0800, Some(1)) => Self::Icmp,
            (0x0800, Some(89 | 112)) => Self::Routing,
            (0x0800, Some(6 | 17)) => {
                let l4 = 14 + usize::from(frame[14] & 15) * 4;
                let (source, destination) = (word(l4), word(l4 + 2));
                let routing =
                    if frame[23] == 6 { source == BGP || destination == BGP } else { BFD.contains(&destination) };
                if routing { Self::Routing } else { Self::Other }
            }
            _ => Self::Other,
        }
    }
}

/// Frames a second that the kernel gets of each class, from one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits(pub [u32; 4]);

impl Default for Limits {
    fn default() -> Self {
        Self([5_000, 50_000, 5_000, 200_000])
    }
}

/// One frame in hundredths: what a limit of one frame a second earns in a second.
const FRAME: u64 = TICKS_PER_SECOND as u64;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    limit: u32,
    /// The most tokens it holds.
    depth: u64,
    /// In hundredths of a frame, so that a tick earns a whole number.
    tokens: u64,
    filled: Tick,
}

/// A token bucket for each class. A bucket holds a tenth of a second's worth.
#[derive(Debug)]
pub struct Police {
    limits: Limits,
    buckets: [Bucket; 4],
}

/// What passed and what did not, by class.
#[derive(Debug, Default)]
pub struct ClassCounters {
    /// Frames that passed, by class.
    pub passed: [Counter; 4],
    /// Frames over the limit, by class.
    pub policed: [Counter; 4],
    /// Frames that found the queue to the kernel full, by class.
    pub refused: [Counter; 4],
}

impl Bucket {
    /// A full one, for `limit` frames a second, `burst` of them (at least one) at once.
    #[must_use]
    pub fn new(limit: u32, burst: u32, now: Tick) -> Self {
        let depth = u64::from(burst.max(1)) * FRAME;
        Self { limit, depth, tokens: depth, filled: now }
    }

    /// True if one more frame may pass now.
    pub fn admit(&mut self, now: Tick) -> bool {
        if now != self.filled {
            let earned = u64::from(self.limit) * u64::from(now.since(self.filled));
            self.filled = now;
            self.tokens = (self.tokens + earned).min(self.depth);
        }
        let admitted = self.tokens >= FRAME;
        if admitted {
            self.tokens -= FRAME;
        }
        admitted
    }
}

impl Police {
    /// Full buckets for these limits.
    #[must_use]
    pub fn new(limits: Limits, now: Tick) -> Self {
        Self { limits, buckets: limits.0.map(|limit| Bucket::new(limit, limit / 10, now)) }
    }

    /// Takes over these limits. A class whose limit changes starts with a full bucket.
    pub fn adopt(&mut self, limits: Limits, now: Tick) {
        for (bucket, (old, new)) in self.buckets.iter_mut().zip(self.limits.0.into_iter().zip(limits.0)) {
            if old != new {
                *bucket = Bucket::new(new, new / 10, now);
            }
        }
        self.limits = limits;
    }

    /// True if one more frame of this class may pass now; with a limit of 0, never.
    pub fn admit(&mut self, class: Class, now: Tick) -> bool {
        self.limits.0[class as usize] != 0 && self.buckets[class as usize].admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(protocol: u8, source: u16, destination: u16) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[23] = protocol;
        frame[34..36].copy_from_slice(&source.to_be_bytes());
        frame[36..38].copy_from_slice(&destination.to_be_bytes());
        frame
    }

    #[test]
    fn frames_fall_into_their_classes() {
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        let rows = [
            (arp, Class::Arp),
            (ipv4(1, 0, 0), Class::Icmp),
            (ipv4(6, 179, 40_000), Class::Routing),
            (ipv4(6, 40_000, 179), Class::Routing),
            (ipv4(17, 49_152, 3784), Class::Routing),
            (ipv4(112, 0, 0), Class::Routing),
            (ipv4(6, 40_000, 22), Class::Other),
            (ipv4(17, 179, 179), Class::Other),
            (vec![0; 10], Class::Other),
            (ipv4(6, 1, 1)[..30].to_vec(), Class::Other),
        ];
        for (frame, class) in rows {
            assert_eq!(Class::of(&frame), class, "{frame:02x?}");
        }
    }

    #[test]
    fn a_flood_of_one_class_leaves_the_others_their_share() {
        let mut police = Police::new(Limits([10, 20, 30, 1000]), Tick(0));
        let passed = (0..500).filter(|_| police.admit(Class::Other, Tick(0))).count();
        assert_eq!(passed, 100);
        assert!(police.admit(Class::Routing, Tick(0)) && police.admit(Class::Arp, Tick(0)));
        assert!(!police.admit(Class::Arp, Tick(0)), "a bucket of 10 a second holds one");
        assert!(police.admit(Class::Arp, Tick(10)));
        let later = (0..500).filter(|_| police.admit(Class::Other, Tick(15))).count();
        assert_eq!(later, 100);
    }

    #[test]
    fn a_changed_limit_counts_at_once_and_others_keep_what_they_have() {
        let mut police = Police::new(Limits([10, 20, 30, 1000]), Tick(0));
        let burst = |police: &mut Police, class| (0..500).filter(|_| police.admit(class, Tick(0))).count();
        assert_eq!((burst(&mut police, Class::Icmp), burst(&mut police, Class::Other)), (3, 100));
        police.adopt(Limits([0, 20, 30, 50]), Tick(0));
        let now = [Class::Arp, Class::Routing, Class::Icmp, Class::Other].map(|class| burst(&mut police, class));
        assert_eq!(now, [0, 2, 0, 5], "none, untouched, used up, and a tenth of the new limit");
        assert_eq!((0..1000).filter(|tick| police.admit(Class::Arp, Tick(*tick))).count(), 0);
    }

    #[test]
    fn slow_refills_are_not_lost() {
        let mut police = Police::new(Limits([10, 20, 30, 1000]), Tick(0));
        let mut passed = 0;
        for tick in 0..1_000 {
            passed += u32::from(police.admit(Class::Arp, Tick(tick)));
        }
        assert!((95..=101).contains(&passed), "{passed} in ten seconds at ten a second");
    }
}
