//! The journal of one direction: the messages that were sent, and how far they were received.
//!
//! - **N1** All incarnations of a sender number their messages in one sequence. A sender
//!   notes a message before it sends it, and notes the acknowledgement when the send has
//!   returned. The number of a refused message is given to the next message.
//! - **N2** A receiver notes the result of a call. While a call is under way, `doubt` is the
//!   number of messages that the call may release unreported, if the receiver dies in it.

use fastrand::Rng;

use crate::kit::{Cell, Ledger, Outcome, ensure};
use crate::scenarios::tag::Tag;

/// Words before the messages.
const FRONT: usize = 8;
/// Messages that the journal holds at a time: more than a ring can hold.
const MESSAGES: usize = 512;

/// In a message's word, below the number of its sender.
const ACKNOWLEDGED: u32 = 1;
const REFUSED: u32 = 2;
const SENDER: u32 = 2;

/// A doubt without a limit.
const ANYTHING: u32 = u32::MAX / 2;

#[derive(Clone, Copy)]
pub(super) struct Journal<'m> {
    ledger: Ledger<'m>,
    front: usize,
    /// The number of the next message.
    next: Cell<'m>,
    /// The number after the last message that was acknowledged.
    pub(super) acknowledged: Cell<'m>,
    /// The number after the last message that was received.
    pub(super) received: Cell<'m>,
    /// Messages that receivers have reported as discarded since then.
    discarded: Cell<'m>,
    doubt: Cell<'m>,
}

impl<'m> Journal<'m> {
    /// Words of a journal.
    pub(super) const LEN: usize = FRONT + MESSAGES;

    pub(super) fn new(ledger: Ledger<'m>, front: usize) -> Self {
        Self {
            ledger,
            front,
            next: ledger.account(front),
            acknowledged: ledger.account(front + 1),
            received: ledger.account(front + 2),
            discarded: ledger.account(front + 3),
            doubt: ledger.account(front + 4),
        }
    }

    fn message(self, number: u32) -> Cell<'m> {
        let at = number as usize % MESSAGES;
        self.ledger.account(self.front + FRONT + at)
    }

    /// Notes and returns the next message of the incarnation `sender`: at most `longest` bytes.
    pub(super) fn next(self, sender: u32, longest: usize, rng: &mut Rng) -> (Tag, Vec<u8>) {
        let number = self.next.get();
        self.message(number).set(sender << SENDER);
        self.next.set(number + 1);
        let tag = Tag {
            incarnation: sender,
            number,
            reader: 0,
        };
        (tag, tag.record_of_any_length(longest, rng))
    }

    /// Notes that the send of a message has returned.
    pub(super) fn acknowledge(self, number: u32) {
        let message = self.message(number);
        message.set(message.get() | ACKNOWLEDGED);
        let acknowledged = self.acknowledged.get().max(number + 1);
        self.acknowledged.set(acknowledged);
    }

    /// Notes that the send of a message has failed: the message was not sent.
    pub(super) fn refuse(self, number: u32) {
        let message = self.message(number);
        message.set(message.get() | REFUSED);
        if self.next.get() == number + 1 {
            self.next.set(number);
        }
    }

    /// Notes that a receiver begins a call. The call may skip messages before `from` and those of
    /// other incarnations than `sender`. `carried` is the doubt that earlier receivers left.
    pub(super) fn begin(self, carried: u32, sender: u32, from: u32) {
        let unread = self.received.get()..self.next.get();
        let is_passed =
            |&number: &u32| number < from || self.message(number).get() >> SENDER != sender;
        let passed = unread.filter(is_passed).count() as u32;
        self.doubt.set(carried.saturating_add(1 + passed));
    }

    /// Notes that a call has discarded messages.
    pub(super) fn count(self, discarded: u32) {
        self.discarded.add(discarded);
    }

    /// Notes that the call has returned without a message.
    pub(super) fn end(self, carried: u32) {
        self.doubt.set(carried);
    }

    /// Notes the message that the call has returned. `carried` is as in [`Journal::begin`].
    pub(super) fn receive(self, tag: Tag, carried: u32) -> Outcome {
        let message = self.message(tag.number).get();
        let is_sent = tag.number < self.next.get()
            && message >> SENDER == tag.incarnation
            && message & REFUSED == 0;
        ensure(is_sent, || format!("{tag:?} was never sent"))?;
        let received = self.received.get();
        ensure(tag.number >= received, || {
            format!("{tag:?} arrived again, or out of order: {received} is next")
        })?;
        self.ensure_none_lost(tag.number, carried)?;
        self.doubt.set(ANYTHING); // For a receiver that dies before the last of these stores.
        self.discarded.set(0);
        self.received.set(tag.number + 1);
        self.doubt.set(0);
        Ok(())
    }

    /// The doubt that dead receivers left.
    pub(super) fn doubt(self) -> u32 {
        self.doubt.get()
    }

    /// Checks that no message is left to receive.
    pub(super) fn ensure_none_left(self) -> Outcome {
        self.ensure_none_lost(self.next.get(), self.doubt())
    }

    /// Checks that all messages before `end` were received or discarded.
    fn ensure_none_lost(self, end: u32, doubt: u32) -> Outcome {
        let (received, discarded) = (self.received.get(), self.discarded.get());
        let missing = (received..end).map(|number| self.message(number).get());
        let missing: Vec<_> = missing.filter(|word| word & REFUSED == 0).collect();
        let acknowledged = missing
            .iter()
            .filter(|&word| word & ACKNOWLEDGED != 0)
            .count();
        let (least, most) = (acknowledged as u32, missing.len() as u32);
        ensure(
            least <= discarded.saturating_add(doubt) && discarded <= most,
            || {
                format!(
                    "of messages {received} to {end}, {least} to {most} were not received, \
                    {discarded} were counted, {doubt} are in doubt"
                )
            },
        )
    }
}
