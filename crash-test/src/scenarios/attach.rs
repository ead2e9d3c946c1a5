//! A partition attaches, beats and leaves, and dies meanwhile.

use fastrand::Rng;
use shmem_registry::{Attachment, Partition, Process, Registry};
use shmem_sync::Liveness;

use super::alias::{ACCOUNT, Aliases};
use crate::kit::{
    Cast, Incarnation, LIMIT, Layout, OrViolation, Outcome, Party, Role, Scenario, Scene, Seat,
    Step, boxed, ensure,
};

/// The partition that attaches and leaves; the harness does not use it.
pub(super) const PARTITION: u8 = 4;

const MEMBER: usize = 0;
const WATCHER: usize = 1;

const BEAT: usize = 0;

pub(crate) const ATTACH: Scenario = Scenario {
    name: "attach",
    about: "a partition attaches and leaves, and dies; others watch it",
    roles: &[
        Role {
            claimed: &[BEAT],
            ..Role::exclusive("member", &["beat", "leave, attach"], |seat| {
                boxed(Member::join(seat))
            })
        },
        WATCHER_ROLE,
    ],
    casts: &[Cast::new(&[MEMBER, WATCHER], &[WATCHER])],
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

/// Checks that the partition's incarnations only increase.
pub(super) const WATCHER_ROLE: Role =
    Role::shared("watcher", &["read"], |seat| boxed(Watcher::join(seat)));

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

pub(super) fn read_partition(registry: &Registry<'_>, partition: u8) -> Outcome<Partition> {
    let found = registry.partition(partition);
    found.or_violation("reading a partition")
}

/// The process description that an incarnation stores; it identifies the incarnation.
pub(super) fn process(incarnation: Incarnation) -> Process {
    Process {
        namespace_id: 1,
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

    /// Whether others presumed it gone.
    fn is_gone(&mut self) -> bool {
        self.aliases.observer.is_gone(self.incarnation)
    }

    fn attach(&mut self) -> Outcome {
        let before = read_partition(&self.registry, PARTITION)?;
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
        let after = read_partition(&self.registry, PARTITION)?;
        let right = attachment.incarnation() == next
            && after.incarnation == Some(next)
            && after.attached
            && after.process == process(next)
            && after.heartbeat != before.heartbeat;
        // If two attach at once, no incarnation gets both numbers.
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
        let left = read_partition(&self.registry, PARTITION)?;
        // Another may have its place, if it was evicted.
        let is_other = |alias| self.aliases.get(alias) != Some(self.incarnation);
        let is_replaced = left.incarnation.is_some_and(is_other) && self.is_gone();
        ensure(is_replaced || !left.attached, || {
            format!("it left, and the slot is {left:?}")
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

struct Watcher<'m> {
    registry: Registry<'m>,
    last: u32,
}

impl<'m> Watcher<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        Ok(Self {
            registry: seat.memory.registry,
            last: 0,
        })
    }
}

impl Party for Watcher<'_> {
    fn perform(&mut self, _: usize, _: &mut Rng) -> Outcome<Step> {
        let found = read_partition(&self.registry, PARTITION)?;
        let incarnation = found.incarnation.map_or(0, Incarnation::number);
        ensure(incarnation >= self.last, || {
            format!("{found:?}, which was in incarnation {} before", self.last)
        })?;
        self.last = incarnation;
        if found.incarnation.is_none() {
            return Ok(Step::Done);
        }
        let again = read_partition(&self.registry, PARTITION)?;
        let number = found.process.number;
        // The next incarnation stores its process before its own number. Others may also have
        // attached and left between the two reads.
        let next = number == incarnation + 1
            || again.incarnation != found.incarnation && number > incarnation;
        ensure(number == incarnation || next, || {
            format!("{found:?} has the process of another incarnation")
        })?;
        Ok(Step::Done)
    }
}
