//! A partition that attaches, beats and leaves, and dies meanwhile.

use fastrand::Rng;
use shmem_registry::{Attachment, Partition, Process, Registry};
use shmem_sync::Liveness;

use super::alias::{ACCOUNT, Aliases};
use crate::kit::{
    Cast, Incarnation, LIMIT, Layout, OrViolation, Outcome, Party, Role, Scenario, Scene, Seat,
    Step, boxed, ensure,
};

/// The number that attaches and leaves: none that the harness uses.
pub(super) const PARTITION: u8 = 4;

const MEMBER: usize = 0;
const ONLOOKER: usize = 1;

const BEAT: usize = 0;

pub(crate) const ATTACH: Scenario = Scenario {
    name: "attach",
    about: "a partition attaches and leaves, and dies; others look on",
    roles: &[
        Role {
            claimed: &[BEAT],
            ..Role::exclusive("member", &["beat", "leave, attach"], |seat| {
                boxed(Member::join(seat))
            })
        },
        ONLOOKING,
    ],
    casts: &[Cast::new(&[MEMBER, ONLOOKER], &[ONLOOKER])],
    layout: |_| Layout {
        geometry: Layout::SMALL,
        space: 128,
        object: None,
        account: ACCOUNT,
    },
    starts: |_| 4,
    prepare,
    ..Scenario::BASE
};

/// One that looks whether the partition goes from one incarnation to the next.
pub(super) const ONLOOKING: Role =
    Role::shared("onlooker", &["look"], |seat| boxed(Onlooker::join(seat)));

fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    for number in 1..=start {
        let incarnation = Incarnation::new(6, number).unwrap_or(Incarnation::first(6));
        let member = scene.join(MEMBER, incarnation)?;
        if start == 3 {
            std::mem::forget(member); // Killed.
            scene.declare_gone(incarnation);
        }
    }
    Ok(())
}

pub(super) fn look(registry: &Registry<'_>, partition: u8) -> Outcome<Partition> {
    let found = registry.partition(partition);
    found.or_violation("looking at a partition")
}

/// What an incarnation says of its process: which it is.
pub(super) fn process(incarnation: Incarnation) -> Process {
    Process {
        space: 1,
        number: incarnation.number(),
        start: 7,
        image: 8,
    }
}

struct Member<'m> {
    registry: Registry<'m>,
    incarnation: Incarnation,
    aliases: Aliases<'m>,
    attachment: Option<Attachment<'m>>,
}

impl<'m> Member<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        let mut member = Self {
            registry: seat.memory.registry,
            incarnation: seat.incarnation,
            aliases: Aliases {
                ledger: seat.memory.ledger,
                observer: seat.observer,
            },
            attachment: None,
        };
        member.attach()?;
        Ok(member)
    }

    /// Whether others took it for gone.
    fn is_gone(&mut self) -> bool {
        self.aliases.observer.is_gone(self.incarnation)
    }

    fn attach(&mut self) -> Outcome {
        let before = look(&self.registry, PARTITION)?;
        let last = before.incarnation.map_or(0, Incarnation::number);
        let next = self.aliases.add(PARTITION, last, self.incarnation)?;
        let mut wait = self.aliases.observer.poll(LIMIT);
        let attached = self.registry.attach_or_take_over(
            PARTITION,
            process(next),
            &mut wait,
            &mut self.aliases,
        );
        let attachment = attached.or_violation("attaching")?;
        let after = look(&self.registry, PARTITION)?;
        let right = attachment.incarnation() == next
            && after.incarnation == Some(next)
            && after.attached
            && after.process == process(next)
            && after.heartbeat != before.heartbeat;
        // Two that attach at once are one to a registry: nobody gives a number to both.
        ensure(self.is_gone() || right, || {
            format!(
                "{before:?}, then {} attached: {after:?}",
                attachment.incarnation()
            )
        })?;
        self.attachment = Some(attachment);
        Ok(())
    }

    fn leave(&mut self) -> Outcome {
        self.attachment = None;
        let left = look(&self.registry, PARTITION)?;
        // Another may have its place, if it was evicted.
        let is_other = |alias| self.aliases.get(alias) != Some(self.incarnation);
        let is_replaced = left.incarnation.is_some_and(is_other) && self.is_gone();
        ensure(is_replaced || !left.attached, || {
            format!("it left, and there is {left:?}")
        })
    }
}

impl Party for Member<'_> {
    fn perform(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        if op == BEAT {
            let beaten = self.attachment.as_ref().map_or(Ok(()), Attachment::beat);
            beaten.or_violation("a beat")?;
        } else {
            self.leave()?;
            self.attach()?;
        }
        Ok(Step::Done)
    }
}

struct Onlooker<'m> {
    registry: Registry<'m>,
    last: u32,
}

impl<'m> Onlooker<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        Ok(Self {
            registry: seat.memory.registry,
            last: 0,
        })
    }
}

impl Party for Onlooker<'_> {
    fn perform(&mut self, _: usize, _: &mut Rng) -> Outcome<Step> {
        let found = look(&self.registry, PARTITION)?;
        let incarnation = found.incarnation.map_or(0, Incarnation::number);
        ensure(incarnation >= self.last, || {
            format!("{found:?}, which was in incarnation {} before", self.last)
        })?;
        self.last = incarnation;
        if found.incarnation.is_none() {
            return Ok(Step::Done);
        }
        let again = look(&self.registry, PARTITION)?;
        let number = found.process.number;
        // The next incarnation stores its process before it stores itself; and others may
        // have attached and left while we looked.
        let next = number == incarnation + 1
            || again.incarnation != found.incarnation && number > incarnation;
        ensure(number == incarnation || next, || {
            format!("{found:?} has the process of another incarnation")
        })?;
        Ok(Step::Done)
    }
}
