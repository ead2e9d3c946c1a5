//! The queue of a bakery: the order of the partitions, by loads, stores and fences alone.
//!
//! The Black-White Bakery (Taubenfeld, *The Black-White Bakery Algorithm and related bounded-space,
//! adaptive, local-spinning and FIFO algorithms*, DISC 2004). A partition draws a ticket of the
//! current colour, with a number one larger than the largest of that colour, and enters before
//! those with larger numbers. Tickets of the other colour go first. When a partition leaves, the
//! colour that its ticket does not have becomes the current one.
//!
//! - **Q1** Only the partition itself stores its entry; only the partition inside stores `colour`.
//! - **Q2** A ticket shows as *being drawn* before its owner reads the colour and the others'
//!   tickets. It has its number before its owner reads which tickets are before it.
//! - **Q3** A partition that finds a ticket being drawn waits until it is drawn. If it finds a
//!   ticket that goes before its own, it waits until that is released. Of two tickets, exactly one
//!   goes before the other. A partition that still reads an old colour only waits longer.
//! - **Q4** A ticket whose incarnation is gone is passed over: no partition will enter with it.
//! - **Q5** A ticket is released by storing 0: by a partition that leaves, after it changed the
//!   colour; or by one that gives up, without a change of the colour.
//! - **Q6** Before each store, except that of a ticket while it waits, a partition checks that its
//!   entry still has its incarnation.
//!
//! Q2 needs two fences; both are the one in [`Queue::publish_ticket`]:
//!
//! ```text
//!   draws                          has drawn
//!   ticket = being drawn           ticket = number
//!   fence(SeqCst)                  fence(SeqCst)
//!   the other's ticket?            the other's ticket?
//! ```
//!
//! The fences are ordered one before the other. If the left one comes first, the right side finds a
//! ticket being drawn and waits for its number. If the right one comes first, the left side finds a
//! number and draws a larger one. Without either fence both may find nothing.
//!
//! | store | paired load | hands over |
//! |-------|-------------|------------|
//! | `ticket` in `clear_ticket`, `publish_ticket` | `ticket` in `blocking_ticket` | the bytes  |
//! | `incarnation` in `attach` | `incarnation` in `incarnation_of` (fence) | the ticket's owner |
//!
//! A ticket is read before its `incarnation`. A partition may still find the earlier incarnation
//! there, which is gone, and pass over the new ticket. That is correct: the new ticket was drawn
//! after its own (Q2).
//!
//! A partition that waits for a ticket may see the next ticket of the same partition and never the
//! 0 between them. So storing the next ticket hands over the work, too.
//!
//! **Giving up** is safe (Q5): a partition that passed the ticket over continues as if it had never
//! been drawn. The colour has not changed, so the order of the others has not changed either.
//!
//! **Numbers are bounded.** While a colour is current, no partition leaves with a ticket of that
//! colour, because that would change the colour. So each partition draws at most one such ticket,
//! and no earlier one exists, because those went first. A number is one larger than an existing
//! one: none exceeds the number of partitions that take part. A partition that gives up and draws
//! again can raise the largest number by one while the colour stays. So can one that dies and
//! restarts, because its ticket stays until it attaches again. After number [`LAST`] no partition
//! draws: it waits without a ticket until that ticket is released, or its incarnation is gone.
//! `tests/bakery/states.rs` explores every order of the steps of three partitions, with giving up
//! and with deaths.
//!
//! **A hostile partition** can starve the others and let them in together; it may write the bytes
//! anyway. Its numbers are only compared, and every check of them counts against the deadline
//! ([`crate::waiter`]).

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
    /// Partitions 1 to this number take part.
    partitions: u8,
    /// The ticket in our entry, which is never read back.
    ticket: Ticket,
}

impl<'m> Queue<'m> {
    /// Returns the place of `incarnation` among this number of partitions, without a ticket.
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
        // relaxed: an incarnation that is not seen yet attaches at this moment; every later call
        // checks again.
        let found = queue
            .incarnation_word(incarnation.partition())
            .load(Relaxed);
        if Incarnation::from_word(found).is_some_and(|found| found.follows(incarnation)) {
            return Err(AttachError::Evicted);
        }
        // The ticket first: an earlier incarnation may have left one, which is not ours.
        queue.clear_ticket();
        // relaxed: a partition that sees a ticket of this incarnation also sees this, through the
        // fence in `publish_ticket`. If it is seen before the 0 above, others wait a moment longer
        // for the earlier ticket.
        queue
            .incarnation_word(incarnation.partition())
            .store(incarnation.word(), Relaxed);
        Ok(queue)
    }

    /// Returns true if an incarnation of `partition` may be inside.
    pub(super) fn takes_part(&self, partition: u8) -> bool {
        (1..=self.partitions).contains(&partition)
    }

    /// Returns the incarnation whose place it is.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns true if we have a ticket, which between the calls of the mutex means that we are
    /// inside.
    pub(super) fn is_inside(&self) -> bool {
        self.ticket != Ticket::NONE
    }

    /// Draws a ticket and waits for its turn; withdraws the ticket on an error.
    pub(super) fn enter(&mut self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        self.check_place()?;
        while self.is_inside() {
            self.idle(waiter)?; // Waits for ourselves, until the deadline.
        }
        let entered = self.draw(waiter).and_then(|()| self.wait(waiter));
        let entered = entered.and_then(|()| self.check_place());
        if entered.is_err() {
            self.withdraw();
        }
        entered
    }

    /// Releases the ticket from inside, and changes the colour if no other partition is inside.
    pub(super) fn leave(&mut self, alone: bool) {
        if alone && self.check_place().is_ok() {
            let next = self.ticket.colour().other();
            // relaxed: the release of the ticket in `clear_ticket` hands it to the next partition
            // inside (Q1). Partitions that draw or wait may find the old one (Q3).
            self.colour().store(next.word(), Relaxed);
        }
        self.withdraw();
    }

    /// Returns an error if the entry no longer belongs to this incarnation: a later one has
    /// attached.
    pub(super) fn check_place(&self) -> Result<(), LockFailure> {
        let us = self.incarnation.partition();
        match self.incarnation_of(us)? {
            Some(incarnation) if incarnation == self.incarnation => Ok(()),
            _ => Err(LockFailure::Evicted),
        }
    }

    /// Returns true if `incarnation`, of another partition, has a ticket.
    pub(super) fn is_waiting(&self, incarnation: Incarnation) -> Result<bool, LockFailure> {
        let partition = incarnation.partition();
        // Acquire: pairs with the Release in `publish_ticket`; if a later incarnation drew the
        // ticket, the load of the incarnation below does not return the earlier one.
        // loom: loom_bakery::a_restart_after_a_death_inside_evicts_no_partition
        let has_ticket = self.ticket_word(partition).load(Acquire) != 0;
        let other = partition != self.incarnation.partition();
        Ok(other && has_ticket && self.incarnation_of(partition)? == Some(incarnation))
    }

    /// Releases the ticket, if there is one and it is still ours (Q6).
    pub(super) fn withdraw(&mut self) {
        if self.check_place().is_ok() {
            self.clear_ticket();
        }
        self.ticket = Ticket::NONE;
    }

    /// Clears the ticket in our entry.
    fn clear_ticket(&self) {
        // Release: pairs with the Acquire in `blocking_ticket`; the work of this partition inside,
        // now or earlier, is seen by those that pass.
        // loom: loom_bakery::the_next_owner_sees_the_work_of_the_last_owner
        self.ticket_word(self.incarnation.partition())
            .store(0, Release);
    }

    /// Draws a ticket after all of the current colour.
    fn draw(&mut self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        loop {
            self.publish_ticket(Ticket::DRAWING);
            // If it changes at this moment, either colour is correct (Q3).
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

    /// Publishes `ticket` before we read those of the others (Q2).
    fn publish_ticket(&mut self, ticket: Ticket) {
        self.ticket = ticket;
        let word = self.ticket_word(self.incarnation.partition());
        // Release: pairs with the Acquire in `blocking_ticket`; a partition that waited for our
        // last ticket, and finds this one in its place, sees our work with the last.
        // loom: loom_bakery::the_colour_changes_each_time_a_partition_leaves
        word.store(ticket.word(), Release);
        // Pairs with itself in another partition: each publishes its ticket, then reads the
        // other's, and at least one sees the other.
        // loom: loom_bakery::two_partitions_are_never_inside_together
        fence(SeqCst);
    }

    /// Returns the largest number of the tickets of `colour`.
    fn last(&self, colour: Colour, waiter: &mut Waiter<'_>) -> Result<u32, LockFailure> {
        let mut last = 0;
        for partition in self.others() {
            // relaxed: after the fence in `publish_ticket`, and only the number counts.
            let ticket = parse_ticket(self.ticket_word(partition).load(Relaxed))?;
            let number = ticket.number();
            if ticket.colour() != colour || number <= last {
                continue;
            }
            // The ticket of a dead partition is passed over only where it would keep all others
            // out. To ask is expensive, and a number that is too large does no harm.
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

    /// Waits until no partition is ahead of us in the queue.
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

    /// Returns the ticket of `partition`, if we have to wait for it (Q3). `drawn` is set once the
    /// ticket was seen not being drawn: a ticket that is drawn after that is after ours.
    fn blocking_ticket(
        &self,
        partition: u8,
        drawn: &mut bool,
    ) -> Result<Option<Ticket>, LockFailure> {
        // Acquire: pairs with the Release in `clear_ticket`.
        // loom: loom_bakery::the_next_owner_sees_the_work_of_the_last_owner
        let ticket = parse_ticket(self.ticket_word(partition).load(Acquire))?;
        if ticket.is_being_drawn() {
            return Ok((!*drawn).then_some(ticket));
        }
        *drawn = true;
        let is_before_us = ticket.number() != 0 && self.comes_after(ticket, partition)?;
        Ok(is_before_us.then_some(ticket))
    }

    /// Returns true if we come after `ticket`, which is `partition`'s.
    fn comes_after(&self, ticket: Ticket, partition: u8) -> Result<bool, LockFailure> {
        let ours = self.ticket;
        if ticket.colour() == ours.colour() {
            return Ok(ticket.is_before(partition, ours, self.incarnation.partition()));
        }
        // An old value is our own colour, which was current when we drew; then we check again.
        Ok(self.current_colour()? == ours.colour())
    }

    /// Returns the colour of the tickets that are drawn now.
    fn current_colour(&self) -> Result<Colour, LockFailure> {
        // relaxed: after the fence in `publish_ticket`; an old colour makes us wait longer (Q3),
        // and the colour changes at most once while our ticket exists.
        let word = self.colour().load(Relaxed);
        let corrupt = || bad(ControlWord::BakeryColour, word);
        Colour::from_word(word).ok_or_else(corrupt)
    }

    /// Waits one step, without waiting for a particular partition.
    fn idle(&self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        let us = self.incarnation.partition();
        self.wait_step(waiter, None, us, self.ticket).map(|_| ())
    }

    /// Waits one step for `incarnation` to change `ticket`, which is `partition`'s. Returns true if
    /// the incarnation is gone.
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

    /// Returns the incarnation whose tickets are in the entry of `partition`; `None` while it
    /// appears never to have attached, although there is a ticket.
    fn incarnation_of(&self, partition: u8) -> Result<Option<Incarnation>, LockFailure> {
        // relaxed: as new as the ticket that was read before it, by the Acquire in
        // `blocking_ticket` or by the fence in `publish_ticket`. Otherwise the ticket's owner finds
        // ours being drawn, and waits for us.
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

/// Returns the ticket in `word`; an error if no honest partition stores it.
fn parse_ticket(word: u32) -> Result<Ticket, LockFailure> {
    Ticket::from_word(word).ok_or_else(|| bad(ControlWord::BakeryTicket, word))
}

fn bad(word: ControlWord, value: u32) -> LockFailure {
    LockFailure::Corrupt(Corrupt { word, value })
}

/// Returns the offset of the entry of `partition`.
fn entry(partition: u8) -> usize {
    let index = usize::from(partition) - 1;
    offset_of!(BakeryControl, entries) + index * core::mem::size_of::<BakeryEntry>()
}
