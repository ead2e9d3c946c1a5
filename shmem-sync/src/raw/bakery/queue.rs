//! The queue of a bakery: who comes first, by loads, stores and fences alone.
//!
//! The Black-White Bakery (Taubenfeld, *The Black-White Bakery Algorithm and related
//! bounded-space, adaptive, local-spinning and FIFO algorithms*, DISC 2004): a
//! customer draws a ticket of the shop's present colour, numbered one more than
//! the largest of that colour, and goes in before those with larger numbers.
//! Between the colours, that which the shop has no longer goes first. Whoever
//! leaves gives the shop the other colour than its ticket's.
//!
//! - **Q1** A partition's entry is stored by that partition alone; `colour` by
//!   whoever is inside.
//! - **Q2** A ticket shows as *being drawn* before its owner looks at the colour
//!   and the others' tickets, and has its number before its owner looks who is
//!   before it.
//! - **Q3** Whoever finds a ticket being drawn waits until it is not. Whoever finds
//!   one that goes before its own waits until it is gone. Of two tickets, one goes
//!   before the other; who still finds an old colour waits for longer.
//! - **Q4** A ticket whose incarnation is gone is passed over: nobody will go in with it.
//! - **Q5** A ticket is given back by storing 0: by who leaves, after it changed
//!   the colour, and by who gives up, without.
//! - **Q6** Before each store but that of a ticket while it waits, a partition looks
//!   whether its entry still has its incarnation.
//!
//! Q2 is two fences, and both are the one in [`Queue::publish_ticket`]:
//!
//! ```text
//!   one who draws                  one who has drawn
//!   ticket = being drawn           ticket = number
//!   fence(SeqCst)                  fence(SeqCst)
//!   the other's ticket?            the other's ticket?
//! ```
//!
//! The fences are ordered one before the other. If the left one comes first, the
//! right side finds a ticket being drawn and waits for its number; if the right
//! one does, the left side finds a number and draws a larger one. Without either
//! fence both may find nothing.
//!
//! | store                          | paired load            | hands over                        |
//! |--------------------------------|------------------------|-----------------------------------|
//! | `ticket` in `clear_ticket`, `publish_ticket` | `ticket` in `blocking_ticket` | what the lock protects            |
//! | `incarnation` in `attach`             | `incarnation` in `incarnation_of`    | whose the ticket is, by the fence |
//!
//! A ticket is read before its `incarnation`. Who still finds the earlier incarnation there, which
//! is over, passes over a ticket that was drawn behind its own (Q2).
//!
//! The next ticket hands over what was done with the last one, as 0 does: who waits
//! for a ticket may never see the 0 behind it.
//!
//! **Giving up** is safe (Q5): whoever passed the ticket over goes on as if it had
//! never been drawn, and the colour has not changed, so the order of the others
//! has not.
//!
//! **Numbers are bounded.** While the shop has one colour, nobody leaves with a
//! ticket of that colour, because that would change it; so each partition draws
//! one such ticket at the most, and none stands from before, because those went
//! first. A number is one more than one that stands: none exceeds the number of
//! partitions that take part. Whoever gives up and draws again can raise the
//! largest number by one while the colour stays, and so can one that dies and comes
//! back; the ticket of a dead one stands until its partition attaches again. Behind
//! [`LAST`] nobody draws: who would waits without a ticket until it is gone, or its
//! incarnation is over. `tests/bakery/states.rs` goes through every order of the steps of
//! three partitions, with giving up and with deaths.
//!
//! **A hostile partition** can starve the others and let them in together: the
//! bytes are its own to write, too. Its numbers are compared and nothing else, and
//! every look at them is counted against the deadline ([`crate::waiter`]).

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use shmem_core::{ControlWord, Corrupt, Incarnation, Window};

use super::ticket::{Colour, Ticket, LAST};
use crate::error::{AttachError, LockFailure};
use crate::layout::{BakeryControl, BakeryEntry};
use crate::owner::incarnation_without_flag;
use crate::waiter::{WaitStep, Waiter};

/// A partition's place in the queue.
pub(super) struct Queue<'m> {
    /// A [`BakeryControl`].
    control: Window<'m>,
    incarnation: Incarnation,
    /// Numbers 1 to this take part.
    partitions: u8,
    /// What our entry shows; it is never read back.
    ticket: Ticket,
}

impl<'m> Queue<'m> {
    /// The place of `incarnation`, one of so many partitions, without a ticket.
    pub(super) fn attach(
        control: Window<'m>,
        incarnation: Incarnation,
        partitions: u8,
    ) -> Result<Self, AttachError> {
        let queue = Self {
            control,
            incarnation,
            partitions,
            ticket: Ticket::NONE,
        };
        // relaxed: one that is not seen yet attaches at this moment, and is looked for again by
        // every call.
        let found = queue
            .incarnation_word(incarnation.partition())
            .load(Relaxed);
        if Incarnation::from_word(found).is_some_and(|found| found.follows(incarnation)) {
            return Err(AttachError::Evicted);
        }
        // The ticket first: an earlier incarnation may have left one, and it is not ours.
        queue.clear_ticket();
        // relaxed: seen by whoever sees a ticket of this incarnation, through the fence in `publish_ticket`. Seen
        // before the 0 above, it makes others wait a moment longer for the earlier ticket.
        queue
            .incarnation_word(incarnation.partition())
            .store(incarnation.word(), Relaxed);
        Ok(queue)
    }

    /// Whether an incarnation of `partition` may be inside.
    pub(super) fn takes_part(&self, partition: u8) -> bool {
        (1..=self.partitions).contains(&partition)
    }

    /// Whose place it is.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether we have a ticket: between the calls of the mutex, whether we are inside.
    pub(super) fn is_inside(&self) -> bool {
        self.ticket != Ticket::NONE
    }

    /// Draws a ticket and waits for its turn; or gives up, and the ticket back.
    pub(super) fn enter(&mut self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        self.check_place()?;
        while self.is_inside() {
            self.idle(waiter)?; // For ourselves, until the deadline.
        }
        let entered = self.draw(waiter).and_then(|()| self.wait(waiter));
        let entered = entered.and_then(|()| self.check_place());
        if entered.is_err() {
            self.withdraw();
        }
        entered
    }

    /// Gives the ticket back from inside, and changes the colour if nobody else is inside.
    pub(super) fn leave(&mut self, alone: bool) {
        if alone && self.check_place().is_ok() {
            let next = self.ticket.colour().other();
            // relaxed: the ticket that `clear_ticket` gives back hands it to whoever is inside
            // next (Q1); those that draw or wait may find the old one (Q3).
            self.colour().store(next.word(), Relaxed);
        }
        self.withdraw();
    }

    /// An error if the entry is not this incarnation's any more: a later one has attached.
    pub(super) fn check_place(&self) -> Result<(), LockFailure> {
        let us = self.incarnation.partition();
        match self.incarnation_of(us)? {
            Some(incarnation) if incarnation == self.incarnation => Ok(()),
            _ => Err(LockFailure::Evicted),
        }
    }

    /// Whether `incarnation`, of another partition, has a ticket.
    pub(super) fn is_waiting(&self, incarnation: Incarnation) -> Result<bool, LockFailure> {
        let partition = incarnation.partition();
        // Acquire: pairs with the Release in `publish_ticket`; a ticket that a later incarnation drew is not
        // taken for the earlier one's, whose incarnation would be loaded below.
        // loom: loom_bakery::a_restart_after_a_death_inside_evicts_nobody
        let has_ticket = self.ticket_word(partition).load(Acquire) != 0;
        let other = partition != self.incarnation.partition();
        Ok(other && has_ticket && self.incarnation_of(partition)? == Some(incarnation))
    }

    /// Gives the ticket back, if there is one, and it is ours still (Q6).
    pub(super) fn withdraw(&mut self) {
        if self.check_place().is_ok() {
            self.clear_ticket();
        }
        self.ticket = Ticket::NONE;
    }

    /// Takes the ticket in our entry away.
    fn clear_ticket(&self) {
        // Release: pairs with the Acquire in `blocking_ticket`; what this partition did
        // inside, now or at any time before, is seen by those that pass.
        // loom: loom_bakery::what_one_did_inside_is_seen_by_the_next
        self.ticket_word(self.incarnation.partition())
            .store(0, Release);
    }

    /// Draws a ticket behind all of the present colour.
    fn draw(&mut self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        loop {
            self.publish_ticket(Ticket::DRAWING);
            // Should it change just now, either will do (Q3).
            let colour = self.current_colour()?;
            let last = self.last(colour, waiter)?;
            if let Some(ticket) = Ticket::with_number_after(last, colour) {
                self.publish_ticket(ticket);
                return Ok(());
            }
            self.withdraw();
            self.idle(waiter)?;
        }
    }

    /// Shows `ticket` to the others before we look at theirs (Q2).
    fn publish_ticket(&mut self, ticket: Ticket) {
        self.ticket = ticket;
        let word = self.ticket_word(self.incarnation.partition());
        // Release: pairs with the Acquire in `blocking_ticket`; one that waited for our last
        // ticket, and finds this one in its place, sees what we did with the last.
        // loom: loom_bakery::the_colour_changes_whenever_somebody_leaves
        word.store(ticket.word(), Release);
        // Pairs with itself in another partition: each shows its ticket, then looks
        // at the other's, and one at least sees the other.
        // loom: loom_bakery::two_partitions_are_never_inside_together
        fence(SeqCst);
    }

    /// The largest number of the tickets of `colour`.
    fn last(&self, colour: Colour, waiter: &mut Waiter<'_>) -> Result<u32, LockFailure> {
        let mut last = 0;
        for partition in self.others() {
            // relaxed: after the fence in `publish_ticket`, and only the number counts.
            let ticket = parse_ticket(self.ticket_word(partition).load(Relaxed))?;
            let number = ticket.number();
            if ticket.colour() != colour || number <= last {
                continue;
            }
            // A dead one's is passed over only where it would keep all others out:
            // the question is dear, and a number too large costs nothing.
            let dead = match number {
                LAST => self
                    .incarnation_of(partition)?
                    .filter(|&incarnation| waiter.is_gone(incarnation)),
                _ => None,
            };
            if dead.is_none() {
                last = number;
            }
        }
        Ok(last)
    }

    /// Waits until nobody is before us.
    fn wait(&self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        for partition in self.others() {
            let mut drawn = false;
            while let Some(ticket) = self.blocking_ticket(partition, &mut drawn)? {
                let incarnation = self.incarnation_of(partition)?;
                if self.wait_step(waiter, incarnation, partition, ticket)? {
                    break; // Q4
                }
            }
        }
        Ok(())
    }

    /// The ticket of `partition`, if we have to wait for it (Q3). It is `drawn` once
    /// it was seen not being drawn: one that is drawn after that is behind ours.
    fn blocking_ticket(
        &self,
        partition: u8,
        drawn: &mut bool,
    ) -> Result<Option<Ticket>, LockFailure> {
        // Acquire: pairs with the Release in `clear_ticket`.
        // loom: loom_bakery::what_one_did_inside_is_seen_by_the_next
        let ticket = parse_ticket(self.ticket_word(partition).load(Acquire))?;
        if ticket.is_being_drawn() {
            return Ok((!*drawn).then_some(ticket));
        }
        *drawn = true;
        let in_the_way = ticket.number() != 0 && self.comes_after(ticket, partition)?;
        Ok(in_the_way.then_some(ticket))
    }

    /// Whether we are behind `ticket`, which is `partition`'s.
    fn comes_after(&self, ticket: Ticket, partition: u8) -> Result<bool, LockFailure> {
        let ours = self.ticket;
        if ticket.colour() == ours.colour() {
            return Ok(ticket.is_before(partition, ours, self.incarnation.partition()));
        }
        // An old value is our own colour, which it had when we drew, and we look again.
        Ok(self.current_colour()? == ours.colour())
    }

    /// The colour of the tickets that are drawn now.
    fn current_colour(&self) -> Result<Colour, LockFailure> {
        // relaxed: after the fence in `publish_ticket`; an old colour makes us wait for longer (Q3), and
        // changes at most once while our ticket stands.
        let word = self.colour().load(Relaxed);
        let corrupt = || bad(ControlWord::BakeryColour, word);
        Colour::from_word(word).ok_or_else(corrupt)
    }

    /// Spends a turn on waiting for nobody who could be dead.
    fn idle(&self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        let us = self.incarnation.partition();
        self.wait_step(waiter, None, us, self.ticket).map(|_| ())
    }

    /// Spends a turn on waiting for `incarnation` to change `ticket`, which is `partition`'s.
    /// Whether the incarnation is over.
    fn wait_step(
        &self,
        waiter: &mut Waiter<'_>,
        incarnation: Option<Incarnation>,
        partition: u8,
        ticket: Ticket,
    ) -> Result<bool, LockFailure> {
        match waiter.wait_step(incarnation) {
            WaitStep::Again => {}
            WaitStep::Gone => return Ok(true),
            WaitStep::Sleep => waiter.sleep(self.ticket_word(partition), ticket.word()),
            WaitStep::GiveUp(failure) => return Err(failure),
        }
        Ok(false)
    }

    /// Whose tickets are in the entry of `partition`; `None` while it looks as if it
    /// had never attached, although there is a ticket.
    fn incarnation_of(&self, partition: u8) -> Result<Option<Incarnation>, LockFailure> {
        // relaxed: as new as the ticket that was read before it, by the Acquire in `blocking_ticket` or
        // by the fence in `publish_ticket`; or its owner finds our ticket being drawn, and waits for us.
        let value = self.incarnation_word(partition).load(Relaxed);
        match incarnation_without_flag(value) {
            Some(incarnation) if incarnation.partition() == partition => Ok(Some(incarnation)),
            None if value == 0 => Ok(None),
            _ => Err(bad(ControlWord::BakeryIncarnation, value)),
        }
    }

    fn others(&self) -> impl Iterator<Item = u8> {
        let us = self.incarnation.partition();
        (1..=self.partitions).filter(move |&partition| partition != us)
    }

    #[inline]
    fn colour(&self) -> Word<'m> {
        self.control.word(offset_of!(BakeryControl, colour))
    }

    #[inline]
    fn ticket_word(&self, partition: u8) -> Word<'m> {
        self.control
            .word(entry(partition) + offset_of!(BakeryEntry, ticket))
    }

    #[inline]
    fn incarnation_word(&self, partition: u8) -> Word<'m> {
        self.control
            .word(entry(partition) + offset_of!(BakeryEntry, incarnation))
    }
}

/// The ticket in `word`, if it can be one.
fn parse_ticket(word: u32) -> Result<Ticket, LockFailure> {
    Ticket::from_word(word).ok_or_else(|| bad(ControlWord::BakeryTicket, word))
}

fn bad(word: ControlWord, value: u32) -> LockFailure {
    LockFailure::Corrupt(Corrupt { word, value })
}

/// Offset of the entry of `partition`.
fn entry(partition: u8) -> usize {
    let index = usize::from(partition) - 1;
    offset_of!(BakeryControl, entries) + index * core::mem::size_of::<BakeryEntry>()
}
