//! A partition joins and leaves a session, and dies meanwhile.
//!
//! - **J1** A partition that joins is the next incarnation, after all that ever joined.
//! - **J2** A partition that has joined can beat and open an end of a ring, unless it was
//!   evicted. A partition that has left is not attached.

use std::time::Duration;

use fastrand::Rng;
use shmem_channel::{Error, Session};
use shmem_core::mem::Window;
use shmem_core::ring::OnRestart;
use shmem_registry::layout::{PARTITIONS, PartitionSlot};

use super::ends::{self, COMMANDS, Openings};
use super::host;
use crate::kit::{
    Cast, Incarnation, Observer, OrViolation, Outcome, Party, Role, Scenario, Seat, Step,
    TestMemory, Violation, boxed, ensure, unexpected,
};
use crate::scenarios::attach::{ATTACH, PARTITION, WATCHER_ROLE, read_partition};

const MEMBER: usize = 0;
const WATCHER: usize = 1;

const BEAT: usize = 0;
const OPEN: usize = 1;

/// Bytes of the ring.
const CAPACITY: u32 = 64;

pub(crate) const SESSION: Scenario = Scenario {
    name: "session",
    about: "a partition joins, opens an end and leaves, and dies; others watch it",
    roles: &[
        Role {
            claimed: &[BEAT, OPEN],
            recovery: &[BEAT, OPEN],
            ..Role::exclusive("member", &["beat", "open an end", "leave, join"], |seat| {
                boxed(Member::join(seat))
            })
        },
        WATCHER_ROLE,
    ],
    casts: &[Cast::new(&[MEMBER, WATCHER], &[WATCHER])],
    shapes: &[CAPACITY],
    layout: ends::layout,
    ..ATTACH
};

/// The memory of the partition's slot.
pub(crate) fn slot<'m>(memory: &TestMemory<'m>) -> Outcome<Window<'m>> {
    let len = size_of::<PartitionSlot>();
    let from = PARTITIONS + (usize::from(PARTITION) - 1) * len;
    memory.object.sub(from, len).or_violation("a slot")
}

struct Member<'m> {
    /// `None` while it joins.
    session: Option<Session<'m>>,
    memory: TestMemory<'m>,
    incarnation: Incarnation,
    observer: Observer<'m>,
}

impl<'m> Member<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        let mut member = Self {
            session: None,
            memory: seat.memory,
            incarnation: seat.incarnation,
            observer: seat.observer,
        };
        member.rejoin()?;
        Ok(member)
    }

    fn rejoin(&mut self) -> Outcome {
        let seat = Seat {
            memory: self.memory,
            role: MEMBER,
            incarnation: self.incarnation,
            observer: self.observer.share(),
        };
        let session = host::join(seat, PARTITION)?;
        // This scenario does not use the account of the ends otherwise.
        let highest = Openings::new(self.memory.ledger, MEMBER).begun;
        let (before, now) = (highest.get(), session.incarnation().number());
        // An incarnation that was stopped while it joined may store an earlier number.
        let is_late = self.memory.ledger.evicted().get() != 0;
        ensure(now > before || is_late, || {
            format!("incarnation {now} joined after {before}")
        })?; // J1
        highest.set(now.max(before));
        self.session = Some(session);
        Ok(())
    }

    fn leave(&mut self) -> Outcome {
        self.session = None;
        let left = read_partition(&self.memory.registry, PARTITION)?;
        // Another may have its place, if it was evicted.
        let is_evicted = self.observer.is_truly_gone(self.incarnation);
        ensure(!left.attached || is_evicted, || {
            format!("it left, and the slot is {left:?}")
        })
    }
}

impl Party for Member<'_> {
    fn perform(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        match (op, &self.session) {
            (BEAT, Some(session)) => session.beat().or_violation("a beat")?,
            (OPEN, Some(session)) => {
                let end = session.receiver(COMMANDS, CAPACITY as usize, OnRestart::Discard);
                let mut end = end.or_violation("opening an end")?;
                match end.recv(&mut [0; 8], Duration::ZERO) {
                    Err(Error::TimedOut) => {}
                    Err(error) => return Err(unexpected("receiving", error)),
                    Ok(found) => {
                        let what = format!("no partition sends, and {found:?} arrived");
                        return Err(Violation::new(what));
                    }
                }
            }
            _ => {
                self.leave()?;
                self.rejoin()?;
            }
        }
        Ok(Step::Done)
    }
}
