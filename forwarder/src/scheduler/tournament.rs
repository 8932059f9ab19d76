//! The cheapest server of a service, kept in a tournament instead of searched for.
//!
//! The members play in pairs, the winners in pairs again; the cheaper wins, and the one nearer to the head of the list
//! among equals. So the overall winner is the first of the cheapest, which is what the kernel's scan over the list
//! finds. When a load changes, only the games on the server's way up are played again: log2 of the number of servers.
//! Which loads changed since the last pick is read from [`Touched`](crate::stats::Touched).

use super::load::Price;
use super::{Request, Scheduler};
use crate::service::{Member, Service};
use crate::stats::Loads;
use std::hint::select_unpredictable;

/// A scheduler that always takes the cheapest member by some price.
pub(super) struct Tournament<P> {
    price: P,
    /// False after the members changed: all games are to be played.
    valid: bool,
    /// Leaves of the tree: the number of members, up to the next power of two.
    size: usize,
    /// By member, and beyond them [`Price::NEVER`] up to `size`.
    prices: Vec<Price>,
    /// The winner (an index into `prices`) of each node; the root is node 1, the leaves start at node `size`.
    winners: Vec<u32>,
    /// The words of [`Touched`](crate::stats::Touched) in which members have their bits.
    words: Vec<Word>,
}

struct Word {
    number: usize,
    mask: u64,
    /// The member of each bit.
    members: [u32; 64],
}

impl<P: Fn(&Member, &Loads<'_>) -> Price> Tournament<P> {
    /// A tournament of these members by this price, not played yet.
    pub(super) fn new(members: &[Member], price: P) -> Self {
        let (prices, winners, words) = (Vec::new(), Vec::new(), Vec::new());
        let mut tournament = Self { price, valid: false, size: 0, prices, winners, words };
        tournament.enter(members);
        tournament
    }

    /// The members changed: makes room for them, so that no pick has to.
    pub(super) fn enter(&mut self, members: &[Member]) {
        self.words.clear();
        for (index, member) in members.iter().enumerate() {
            let (number, bit) = (member.id.0 as usize / 64, member.id.0 as usize % 64);
            let known = self.words.iter().rposition(|word| word.number == number);
            let at = known.unwrap_or_else(|| {
                self.words.push(Word { number, mask: 0, members: [0; 64] });
                self.words.len() - 1
            });
            self.words[at].mask |= 1 << bit;
            self.words[at].members[bit] = index as u32;
        }
        self.size = members.len().next_power_of_two();
        self.prices.clear();
        self.prices.resize(self.size, Price::NEVER);
        self.winners.clear();
        self.winners.resize(self.size, 0);
        self.winners.extend(0..self.size as u32);
        self.valid = false;
    }

    /// The first of the cheapest members, if any can serve.
    pub(super) fn winner(&mut self, members: &[Member], loads: &Loads<'_>) -> Option<usize> {
        if self.valid {
            self.update(members, loads);
        } else {
            self.play_all(members, loads);
        }
        let winner = *self.winners.get(1)? as usize;
        (self.prices[winner].weight > 0).then_some(winner)
    }

    fn play_all(&mut self, members: &[Member], loads: &Loads<'_>) {
        for word in &self.words {
            _ = loads.touched.take(word.number, word.mask);
        }
        for (price, member) in self.prices.iter_mut().zip(members) {
            *price = (self.price)(member, loads);
        }
        for node in (1..self.size).rev() {
            self.winners[node] = self.play(node);
        }
        self.valid = true;
    }

    fn update(&mut self, members: &[Member], loads: &Loads<'_>) {
        for at in 0..self.words.len() {
            let word = &self.words[at];
            let mut touched = loads.touched.take(word.number, word.mask);
            while touched != 0 {
                let index = self.words[at].members[touched.trailing_zeros() as usize];
                touched &= touched - 1;
                self.prices[index as usize] = (self.price)(&members[index as usize], loads);
                self.replay(index);
            }
        }
    }

    /// Plays the games above a member again: all of them, because nobody can foresee which have the same outcome as before.
    #[inline]
    fn replay(&mut self, index: u32) {
        let mut node = (self.size + index as usize) / 2;
        while node > 0 {
            self.winners[node] = self.play(node);
            node /= 2;
        }
    }

    #[inline]
    fn play(&self, node: usize) -> u32 {
        let (left, right) = (self.winners[2 * node], self.winners[2 * node + 1]);
        let right_wins = self.prices[left as usize].above(self.prices[right as usize]);
        select_unpredictable(right_wins, right, left)
    }
}

impl<P: Fn(&Member, &Loads<'_>) -> Price + Send> Scheduler for Tournament<P> {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        self.winner(&service.members, loads)
    }

    fn changed(&mut self, _: &Service, new: &Service) {
        self.enter(&new.members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::DestId;
    use crate::stats::{DestCounters, Touched};

    #[test]
    fn the_winner_is_the_one_a_scan_finds() {
        const SLOTS: usize = 1024;
        for count in [0, 1, 2, 3, 64, 65, 200, 300] {
            let member = |n: usize| Member {
                id: DestId((n * 37 % SLOTS) as u32), // far apart, each slot once
                address: std::net::Ipv4Addr::from(n as u32).into(),
                port: 80,
                weight: (n % 7) as u32,
                last_weight: 0,
                upper: 0,
                lower: 0,
            };
            let members: Vec<Member> = (0..count).map(member).collect();
            let own: Vec<DestCounters> = (0..SLOTS).map(|_| DestCounters::default()).collect();
            let mut overloaded = vec![0; SLOTS / 64];
            let touched = Touched::new(SLOTS);
            let mut tournament = Tournament::new(&members, Price::of_overhead);
            let mut random = 1u64;
            for round in 0..2000 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let slot = (random >> 40) as usize % SLOTS;
                match random >> 62 {
                    0 => overloaded[slot / 64] ^= 1 << (slot % 64),
                    kind => own[slot].opened(kind == 1),
                }
                touched.mark(DestId(slot as u32));
                let loads = Loads { own: &own, others: &[], overloaded: &overloaded, touched: &touched };
                let scan = members.iter().map(|member| Price::of_overhead(member, &loads)).enumerate();
                let least = scan.reduce(|least, next| if least.1.above(next.1) { next } else { least });
                let least = least.filter(|(_, price)| price.weight > 0).map(|(index, _)| index);
                if round % 3 == 0 {
                    assert_eq!(tournament.winner(&members, &loads), least, "{count} members, round {round}");
                }
            }
        }
    }
}
