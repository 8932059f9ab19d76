//! The rings by which workers tell each other about persistence templates.
//!
//! They are bounded, and still nothing is lost. What may wait ([`Peers::may_tell`]) leaves room for what may not: the
//! answers to questions, of which each worker has so many open at a time, and giving back what was answered.

use super::persist::Reference;
use crate::conn::Leaving;
use crate::service::{DestId, ServiceId};
use crate::sync::{Consumer, Producer, RingBuffer};

/// Messages in a ring.
const RING: usize = if cfg!(loom) { 4 } else { 1024 };
/// Questions that one worker may have open.
pub(super) const OPEN: usize = if cfg!(loom) { 1 } else { 128 };
/// Room that is kept: for answers to all questions of the other, and for giving back what all of ours were answered.
const KEPT: usize = 2 * OPEN;

/// What a worker tells another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    /// Which server does this connection get by its template?
    Ask(Question),
    /// The answer to one's own question of this number.
    Answer(u32, Option<Answer>),
    /// A connection left a template of the other's.
    Left(Reference, Leaving),
    /// A connection proved real, and so did its template, which is the other's.
    Assured(Reference),
}

/// A connection that a template is to choose the server for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub number: u32,
    pub service: ServiceId,
    /// The service's.
    pub generation: u32,
    pub flow: Flow,
    /// A hash of the SIP Call-ID, or 0.
    pub call: u64,
}

/// Addresses, ports and protocol of a connection's first packet, as in `Parsed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub addresses: u64,
    pub ports: u32,
    pub protocol: u8,
}

/// The server of a connection. Its template, if there is one, counts the connection from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub destination: DestId,
    /// The destination's.
    pub generation: u16,
    pub template: Option<Reference>,
}

/// One worker's ends of the rings.
#[derive(Debug, Default)]
pub(crate) struct Peers(Vec<Option<Peer>>);

#[derive(Debug)]
#[repr(align(64))]
struct Peer {
    to: Producer<Message>,
    from: Consumer<Message>,
}

impl Peers {
    /// The ends of each of so many workers.
    pub fn mesh(workers: usize) -> Vec<Self> {
        let ring = |there| if there { RingBuffer::new(RING) } else { RingBuffer::new(0) };
        let mut to: Vec<Vec<_>> = Vec::new();
        let mut from: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for worker in 0..workers {
            let (producers, consumers): (Vec<_>, Vec<_>) = (0..workers).map(|other| ring(other != worker)).unzip();
            to.push(producers);
            from.iter_mut().zip(consumers).for_each(|(from, consumer)| from.push(consumer));
        }
        let ends = to.into_iter().zip(from).enumerate();
        ends.map(|(worker, (to, from))| {
            let peers = to.into_iter().zip(from).enumerate();
            Self(peers.map(|(other, (to, from))| (other != worker).then_some(Peer { to, from })).collect())
        })
        .collect()
    }

    /// True if there is room for so many messages that may wait.
    pub(super) fn may_tell(&self, worker: u32, messages: usize) -> bool {
        self.peer(worker).is_none_or(|peer| peer.to.slots() >= KEPT + messages)
    }

    /// True if there is room for so many messages that may wait, to every worker.
    pub(super) fn may_tell_all(&self, messages: usize) -> bool {
        (0..self.0.len() as u32).all(|worker| self.may_tell(worker, messages))
    }

    /// Tells another worker.
    pub(super) fn tell(&mut self, worker: u32, message: Message) {
        if let Some(Some(peer)) = self.0.get_mut(worker as usize) {
            let told = peer.to.push(message);
            debug_assert!(told.is_ok(), "room is kept for what cannot wait");
        }
    }

    /// What another worker told, and which, in its order.
    pub(super) fn hear(&mut self) -> Option<(u32, Message)> {
        let peers = (0u32..).zip(&mut self.0);
        peers.filter_map(|(worker, peer)| Some((worker, peer.as_mut()?.from.pop().ok()?))).next()
    }

    /// The cache lines that this worker writes.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn written(&mut self) -> Vec<usize> {
        let mut all: Vec<usize> = crate::lines::of(&self.0).collect();
        for peer in self.0.iter_mut().flatten() {
            all.extend(crate::worker::slots_written(&mut peer.to));
        }
        all
    }

    fn peer(&self, worker: u32) -> Option<&Peer> {
        self.0.get(worker as usize)?.as_ref()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::thread;

    /// Each of two workers asks the other and answers it, and gives back what it was answered: there is room for all
    /// that must not wait, and every question is answered once.
    #[test]
    fn questions_both_ways_are_answered_and_answers_given_back() {
        const QUESTIONS: u32 = 1;
        let question = |number| {
            let flow = Flow { addresses: 0, ports: 0, protocol: 17 };
            Message::Ask(Question { number, service: ServiceId(0), generation: 0, flow, call: 0 })
        };
        let talk = move |mut peers: Peers, other: u32| {
            let (mut asked, mut answered, mut given_back) = (0, 0, 0);
            while answered < QUESTIONS || given_back < QUESTIONS {
                if asked == answered && asked < QUESTIONS && peers.may_tell(other, 1) {
                    asked += 1;
                    peers.tell(other, question(asked));
                }
                match peers.hear() {
                    Some((from, Message::Ask(Question { number, .. }))) => {
                        let template = Some(Reference(number));
                        let answer = Answer { destination: DestId(0), generation: 0, template };
                        peers.tell(from, Message::Answer(number, Some(answer)));
                    }
                    Some((from, Message::Answer(number, Some(answer)))) => {
                        assert_eq!(number, asked);
                        answered += 1;
                        peers.tell(from, Message::Left(answer.template.unwrap(), Leaving::Ended));
                    }
                    Some((_, Message::Left(Reference(number), _))) => {
                        given_back += 1;
                        assert_eq!(number, given_back);
                    }
                    Some(other) => panic!("{other:?}"),
                    None => thread::yield_now(),
                }
            }
            peers
        };
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(move || {
            let [first, second] = <[_; 2]>::try_from(Peers::mesh(2)).unwrap();
            let thread = thread::spawn(move || talk(first, 1));
            let second = talk(second, 0);
            drop((thread.join().unwrap(), second));
        });
    }
}
