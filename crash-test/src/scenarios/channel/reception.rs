//! Checks what one incarnation of an end receives against the journal.

use super::ends::{self, Openings};
use super::journal::Journal;
use crate::kit::{Ledger, Outcome, Violation, ensure};
use crate::scenarios::tag::Tag;

pub(super) struct Reception<'m> {
    journal: Journal<'m>,
    receiver: Openings<'m>,
    sender: Openings<'m>,
    /// The number of the receiver's incarnation.
    number: u32,
    /// The first message that may arrive.
    from: u32,
    /// Messages that earlier receivers may have released unreported.
    doubt: u32,
    /// Messages that the end has discarded.
    discarded: u32,
}

impl<'m> Reception<'m> {
    /// Lets the next incarnation of `role` open its end with `open`. `keeps` is true if it
    /// receives messages from before.
    pub(super) fn begin<T>(
        ledger: Ledger<'m>,
        role: usize,
        keeps: bool,
        open: impl FnOnce() -> Result<(T, u32), shmem_channel::Error>,
    ) -> Outcome<(Self, T)> {
        let journal = ends::journal(ledger, 1 - role);
        let receiver = Openings::new(ledger, role);
        let from = match keeps || receiver.opened.get() == 0 {
            true => 0,
            false => journal.acknowledged.get(),
        };
        let (number, (end, discarded)) = receiver.open(open)?;
        let reception = Self {
            journal,
            receiver,
            sender: Openings::new(ledger, 1 - role),
            number,
            from,
            doubt: journal.doubt(),
            discarded,
        };
        Ok((reception, end))
    }

    /// The number of the receiver's incarnation.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether a later incarnation has opened the end, and uses the journal.
    fn is_replaced(&self) -> bool {
        self.receiver.opened.get() != self.number
    }

    /// Notes that a call that may receive a message begins.
    pub(super) fn before(&self) {
        if !self.is_replaced() {
            let newest = self.sender.begun.get();
            self.journal.begin(self.doubt, newest, self.from);
        }
    }

    /// Checks the `message` that the call has returned, if any; the end has `discarded` this many
    /// by now. Returns the message's identity if it counts.
    pub(super) fn after(&mut self, message: Option<&[u8]>, discarded: u32) -> Outcome<Option<Tag>> {
        let before = std::mem::replace(&mut self.discarded, discarded);
        if self.is_replaced() {
            return Ok(None);
        }
        self.journal.count(discarded.wrapping_sub(before));
        let Some(message) = message else {
            self.journal.end(self.doubt);
            return Ok(None);
        };
        let tag = Tag::read(message)
            .ok_or_else(|| Violation::new(format!("incomplete message: {message:02x?}")))?;
        self.journal.receive(tag, self.doubt)?;
        let from = self.from;
        ensure(tag.number >= from, || {
            format!("{tag:?} was acknowledged before its receiver opened, whose first is {from}")
        })?;
        self.doubt = 0;
        Ok(Some(tag))
    }
}
