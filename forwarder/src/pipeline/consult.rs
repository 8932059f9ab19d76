//! Persistence over several workers. A template belongs to the worker that the hash of its key names, and the connections
//! that it schedules to the workers that theirs name. So a first packet waits with its owner, and those of its flow that
//! follow it behind it, while the template's worker is asked; that one chooses exactly as if the packet were its own. The
//! connection then keeps a reference to the template, and its end is told.

use super::peers::{Answer, Flow, Message, OPEN, Question};
use super::persist::{Advice, Choice, Reference};
use super::{ConnSlot, DropReason, Pipeline, Turn};
use crate::conn::Leaving;
use crate::parse::Parsed;
use crate::service::{Destination, Protocol, Service, ServiceId};
use packet_io::TableMemory;

/// A question that was asked, or answered and not used yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    number: u32,
    flow: Flow,
    service: ServiceId,
    generation: u32,
    /// Set when the answer is there.
    answer: Option<Option<Answer>>,
}

impl Flow {
    fn of(parsed: &Parsed) -> Self {
        Self { addresses: parsed.addresses, ports: parsed.ports, protocol: parsed.protocol }
    }

    fn parsed(self) -> Parsed {
        Parsed { addresses: self.addresses, ports: self.ports, protocol: self.protocol, ..Parsed::default() }
    }
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Asks the worker that keeps a connection's template, or takes its answer.
    #[cold]
    pub(super) fn consult(
        &mut self,
        turn: &Turn<'_>,
        keeper: u32,
        service: &Service,
        parsed: &Parsed,
        call: u64,
    ) -> Advice {
        let flow = Flow::of(parsed);
        if let Some(index) = self.open.iter().position(|open| open.flow == flow) {
            let open = self.open[index];
            let same_service = (open.service, open.generation) == (service.id, service.generation);
            match open.answer {
                None => return Advice::Asked(open.number),
                Some(answer) if same_service => {
                    self.open.swap_remove(index);
                    return self.take(turn, answer);
                }
                // The service is another one by now.
                Some(_) => self.forget(open.number),
            }
        }
        if self.open.len() == OPEN || !self.templates.peers.may_tell(keeper, 1) {
            return Advice::Drop(DropReason::HandoverFull);
        }
        self.questions = self.questions.wrapping_add(1);
        let (number, service, generation) = (self.questions, service.id, service.generation);
        self.open.push(Open { number, flow, service, generation, answer: None });
        self.templates.peers.tell(keeper, Message::Ask(Question { number, service, generation, flow, call }));
        Advice::Asked(number)
    }

    fn take(&mut self, turn: &Turn<'_>, answer: Option<Answer>) -> Advice {
        let Some(Answer { destination: id, generation, template }) = answer else { return Advice::Chosen(None) };
        // Removed while the answer was on its way, it must not be bound: its slot may be free already.
        let is_same = |destination: &Destination| destination.available && destination.generation == generation;
        if turn.snapshot.destination(id).is_some_and(is_same) {
            return Advice::Chosen(Some(Choice { destination: id, template }));
        }
        self.not_made(template);
        Advice::Drop(DropReason::DestinationGone)
    }

    /// What came of a question is no longer needed: its packets are gone.
    pub fn forget(&mut self, number: u32) {
        if let Some(index) = self.open.iter().position(|open| open.number == number)
            && let Some(answer) = self.open.swap_remove(index).answer
        {
            self.not_made(answer.and_then(|answer| answer.template));
        }
    }

    /// A template of another worker counted a connection that is not made.
    pub(super) fn not_made(&mut self, template: Option<Reference>) {
        if let Some(reference) = template
            && let Some(keeper) = self.templates.other_keeper(reference)
        {
            self.templates.peers.tell(keeper, Message::Left(reference, Leaving::Ended));
        }
    }

    /// Does what other workers told, up to the next answer to a question of this one: then its number is answered, and
    /// its packets should go on.
    pub fn hear(&mut self, turn: &Turn<'_>) -> Option<u32> {
        while let Some((worker, message)) = self.templates.peers.hear() {
            match message {
                Message::Ask(question) => {
                    let answer = self.answer(turn, &question);
                    self.templates.peers.tell(worker, Message::Answer(question.number, answer));
                }
                Message::Left(reference, why) => self.templates.left_here(reference, why, turn.now),
                Message::Assured(reference) => self.templates.assure_here(reference),
                Message::Answer(number, answer) => {
                    if let Some(open) = self.open.iter_mut().find(|open| open.number == number) {
                        open.answer = Some(answer);
                        return Some(number);
                    }
                }
            }
        }
        None
    }

    /// The server for a connection of another worker.
    fn answer(&mut self, turn: &Turn<'_>, question: &Question) -> Option<Answer> {
        let parsed = question.flow.parsed();
        let service = turn.snapshot.service(question.service)?;
        let persistence = service.persistence.as_ref()?;
        let protocol = Protocol::from_number(parsed.protocol)?;
        if service.generation != question.generation {
            return None;
        }
        let key = super::persist::key(service, persistence, protocol, &parsed, question.call);
        let choice = self.choose_here(turn, service, persistence, key, &parsed)?;
        let destination = turn.snapshot.destination(choice.destination)?;
        self.template_scheduled(turn.now, &choice);
        if !service.one_packet {
            self.ledger.promise(choice.destination, destination.upper, protocol != Protocol::Udp);
        }
        let (destination, generation) = (choice.destination, destination.generation);
        Some(Answer { destination, generation, template: choice.template })
    }
}
