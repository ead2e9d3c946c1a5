//! What one incarnation of an end receives, held against the journal.

use super::ends::{self, Openings};
use super::journal::Journal;
use crate::kit::{Ledger, Outcome, Violation, ensure};
use crate::scenarios::tag::Tag;

pub(super) struct Reception<'m> {
    journal: Journal<'m>,
    receiver: Openings<'m>,
    sender: Openings<'m>,
    /// Number of the receiver's incarnation.
    number: u32,
    /// The first message that may come.
    from: u32,
    /// What those before this one may have released without a word.
    doubt: u32,
    /// What the end has discarded.
    discarded: u32,
}

impl<'m> Reception<'m> {
    /// Lets the next incarnation of `role` open its end with `open`. `keeps` says whether
    /// it receives what was sent before.
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

    /// Number of the receiver's incarnation.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether a later incarnation has opened the end: the journal is that one's.
    fn is_replaced(&self) -> bool {
        self.receiver.opened.get() != self.number
    }

    /// A call that may receive a message begins.
    pub(super) fn before(&self) {
        if !self.is_replaced() {
            let newest = self.sender.begun.get();
            self.journal.begin(self.doubt, newest, self.from);
        }
    }

    /// The call has returned `message`, or none; the end has `discarded` so many by now.
    /// Returns which message it is, if it counts.
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
            .ok_or_else(|| Violation::new(format!("no whole message: {message:02x?}")))?;
        self.journal.receive(tag, self.doubt)?;
        let from = self.from;
        ensure(tag.number >= from, || {
            format!("{tag:?} was acknowledged before its receiver came, whose first is {from}")
        })?;
        self.doubt = 0;
        Ok(Some(tag))
    }
}
