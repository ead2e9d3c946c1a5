//! A partition that attaches, beats and leaves, and dies meanwhile.

use fastrand::Rng;
use shmem_core::Life;
use shmem_registry::{Partition, Presence, Process, Registry};
use shmem_sync::Liveness;

use super::SMALL;
use super::alias::{ACCOUNT, AliasDeaths, Aliases};
use crate::deaths::{Deaths, LIMIT};
use crate::scenario::{
    Actor, Cast, Layout, Outcome, Role, Scenario, Step, Violation, ensure, unexpected,
};
use crate::stage::Stage;

/// The number that comes and goes: none that the harness uses.
const PARTITION: u8 = 4;

const COMER: usize = 0;

const ROLES: &[Role] = &[
    Role {
        name: "comer",
        ops: &["beat", "leave, attach"],
        proof: 0,
        exclusive: true,
    },
    Role {
        name: "onlooker",
        ops: &["look"],
        proof: 0,
        exclusive: false,
    },
];

const CASTS: &[Cast] = &[Cast {
    victims: &[COMER, 1],
    survivors: &[1],
}];

pub(super) struct AttachScenario;

struct Comer<'m> {
    registry: Registry<'m>,
    life: Life,
    liveness: AliasDeaths<'m>,
    presence: Option<Presence<'m>>,
}

impl Comer<'_> {
    fn look(&self) -> Outcome<Partition> {
        let found = self.registry.partition(PARTITION);
        found.map_err(unexpected("looking at a partition"))
    }

    fn attach(&mut self) -> Outcome {
        let before = self.look()?;
        let last = before.life.map_or(0, Life::incarnation);
        let next = Life::after(PARTITION, last);
        let next = next.ok_or_else(|| Violation::new(format!("no life follows {last}")))?;
        self.liveness.aliases.set(next, self.life);
        let mut wait = self.liveness.deaths.watch(LIMIT);
        let attached =
            self.registry
                .attach_when_over(PARTITION, process(next), &mut wait, &mut self.liveness);
        let presence = attached.map_err(unexpected("attaching"))?;
        let after = self.look()?;
        let right = presence.life() == next
            && after.life == Some(next)
            && after.attached
            && after.process == process(next)
            && after.heartbeat != before.heartbeat;
        // Two lives that come at once are one to a registry: nobody gives a number to both.
        let is_late = self.liveness.deaths.is_gone(self.life);
        ensure(right || is_late, || {
            format!("{before:?}, then {} attached: {after:?}", presence.life())
        })?;
        self.presence = Some(presence);
        Ok(())
    }
}

/// What a life says of its process: which life it is.
fn process(life: Life) -> Process {
    Process {
        space: 1,
        number: life.incarnation(),
        start: 7,
        image: 8,
    }
}

impl Actor for Comer<'_> {
    fn act(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        if op == 0 {
            let beaten = self.presence.as_ref().map_or(Ok(()), Presence::beat);
            return beaten.map(|()| Step::Done).map_err(unexpected("a beat"));
        }
        self.presence = None;
        let left = self.look()?;
        // Another may have its place, if it comes late.
        let is_other = |life: Life| self.liveness.aliases.get(life) != Some(self.life);
        let is_late = self.liveness.deaths.is_gone(self.life) && left.life.is_some_and(is_other);
        ensure(is_late || !left.attached, || {
            format!("it left, and there is {left:?}")
        })?;
        self.attach()?;
        Ok(Step::Done)
    }
}

struct Onlooker<'m> {
    registry: Registry<'m>,
    last: u32,
}

impl Actor for Onlooker<'_> {
    fn act(&mut self, _: usize, _: &mut Rng) -> Outcome<Step> {
        let found = self.registry.partition(PARTITION);
        let found = found.map_err(unexpected("looking at a partition"))?;
        let Some(life) = found.life else {
            return ensure(self.last == 0, || format!("{found:?} is behind us"))
                .map(|()| Step::Done);
        };
        let incarnation = life.incarnation();
        ensure(incarnation >= self.last, || {
            format!("{found:?}, which was in life {} before", self.last)
        })?;
        self.last = incarnation;
        let again = self.registry.partition(PARTITION);
        let again = again.map_err(unexpected("looking at a partition"))?;
        let number = found.process.number;
        // The next life stores its process before it stores itself; and others may
        // have come and gone while we looked.
        let next = number == incarnation + 1 || again.life != found.life && number > incarnation;
        ensure(number == incarnation || next, || {
            format!("{found:?} has the process of another life")
        })?;
        Ok(Step::Done)
    }
}

impl Scenario for AttachScenario {
    fn name(&self) -> &'static str {
        "attach"
    }

    fn about(&self) -> &'static str {
        "a partition attaches and leaves, and dies; others look on"
    }

    fn roles(&self) -> &'static [Role] {
        ROLES
    }

    fn casts(&self) -> &'static [Cast] {
        CASTS
    }

    fn shapes(&self) -> &'static [u32] {
        &[0]
    }

    fn layout(&self, _: u32) -> Layout {
        Layout {
            geometry: SMALL,
            space: 128,
            object: None,
            account: ACCOUNT,
        }
    }

    fn starts(&self, _: u32) -> u32 {
        4
    }

    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        for life in 1..=start {
            let life = Life::new(6, life).unwrap_or(Life::first(6));
            let comer = self.join(stage, COMER, life, deaths.share())?;
            if start == 3 {
                std::mem::forget(comer); // Killed.
                deaths.bury(life);
            }
        }
        Ok(())
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        role: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        let registry = stage.registry;
        if role != COMER {
            return Ok(Box::new(Onlooker { registry, last: 0 }));
        }
        let aliases = Aliases {
            ledger: stage.ledger,
            at: 0,
        };
        let mut comer = Comer {
            registry,
            life,
            liveness: AliasDeaths { aliases, deaths },
            presence: None,
        };
        comer.attach()?;
        Ok(Box::new(comer))
    }

    fn claims(&self, role: usize, op: usize) -> bool {
        (role, op) == (COMER, 0)
    }

    fn audit<'m>(
        &self,
        _: &Stage<'m>,
        _: &Deaths<'m>,
        actors: &mut [&mut (dyn Actor + 'm)],
        _: bool,
    ) -> Outcome {
        let mut rng = Rng::with_seed(0);
        for actor in actors {
            actor.act(0, &mut rng)?;
        }
        Ok(())
    }
}
