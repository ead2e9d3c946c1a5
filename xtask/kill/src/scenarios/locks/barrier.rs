//! A barrier whose parties die.

use std::time::{Duration, Instant};

use fastrand::Rng;
use shmem_core::Life;
use shmem_registry::Kind;
use shmem_sync::{Arrival, Barrier, BarrierError, FutexBell, Liveness};

use super::super::SMALL;
use super::super::alias::{self, AliasDeaths, Aliases};
use crate::deaths::Deaths;
use crate::scenario::{
    Actor, Cast, Layout, Outcome, Role, Scenario, Step, ensure, is_in_vain, unexpected,
};
use crate::stage::{Cell, Stage};

const OPS: &[&str] = &["look", "wait"];

const PARTIES: usize = 3;

const fn party(name: &'static str) -> Role {
    Role {
        name,
        ops: OPS,
        proof: 1,
        exclusive: true,
    }
}

const ROLES: &[Role] = &[party("party 1"), party("party 2"), party("party 3")];

const CASTS: &[Cast] = &[
    Cast {
        victims: &[0, 1],
        survivors: &[2],
    },
    Cast {
        victims: &[0, 2],
        survivors: &[1],
    },
    Cast {
        victims: &[0, 1, 2],
        survivors: &[],
    },
];

/// For how long a life that is over may look alive while the next one attaches.
const MOMENT: Duration = Duration::from_secs(1);

/// Phases whose leaders are remembered.
const LEADERS: usize = 32;

/// An arrival at whatever phase is the next.
const ANY: u32 = u32::MAX;

pub(in super::super) struct BarrierScenario;

struct Party<'m> {
    barrier: Barrier<'m>,
    role: usize,
    stage: Stage<'m>,
    liveness: AliasDeaths<'m>,
    /// The next phase to arrive at, until it is passed.
    next: u32,
}

/// What the account says of a party.
fn cell<'m>(stage: &Stage<'m>, role: usize, word: usize) -> Cell<'m> {
    stage.ledger.account(alias::ACCOUNT + role * 4 + word)
}

/// Lives of the party.
fn lives<'m>(stage: &Stage<'m>, role: usize) -> Cell<'m> {
    cell(stage, role, 0)
}

/// The phase that it may have arrived at.
fn arriving<'m>(stage: &Stage<'m>, role: usize) -> Cell<'m> {
    cell(stage, role, 1)
}

/// The last phase that it passed.
fn passed<'m>(stage: &Stage<'m>, role: usize) -> Cell<'m> {
    cell(stage, role, 2)
}

impl Party<'_> {
    fn pass(&mut self, arrival: Arrival) -> Outcome<Step> {
        let phase = arrival.phase;
        let last = passed(&self.stage, self.role).get();
        ensure(
            self.next == ANY && phase > last || phase == self.next,
            || format!("passed {phase}, and before that {last}"),
        )?;
        for other in 0..PARTIES {
            let at = arriving(&self.stage, other).get();
            ensure(at >= phase, || {
                format!(
                    "passed {phase} when party {} had come to {at} at the most",
                    other + 1
                )
            })?;
            let through = passed(&self.stage, other).get();
            ensure(through <= phase, || {
                format!(
                    "party {} passed {through} without us, at {phase}",
                    other + 1
                )
            })?;
        }
        if arrival.leader {
            let at = alias::ACCOUNT + 4 * PARTIES + phase as usize % LEADERS;
            let before = self.stage.ledger.account(at).swap(phase);
            ensure(before != phase, || format!("phase {phase} has two leaders"))?;
        }
        passed(&self.stage, self.role).set(phase);
        self.next = phase + 1;
        Ok(Step::Done)
    }
}

impl Actor for Party<'_> {
    fn act(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        arriving(&self.stage, self.role).set(self.next);
        let came = match op {
            0 => self.barrier.try_wait(&mut self.liveness),
            _ => {
                let mut wait = self.liveness.deaths.patience(Duration::from_millis(1));
                self.barrier.wait(&mut wait, &mut self.liveness).map(Some)
            }
        };
        match came {
            Ok(Some(arrival)) => self.pass(arrival),
            Ok(None) => Ok(Step::Idle),
            Err(error) if is_in_vain(&error) => Ok(Step::Idle),
            Err(BarrierError::PartyDied(life)) => {
                // While its next life attaches, it looks alive for a moment.
                let told = Instant::now();
                while !self.liveness.is_gone(life) {
                    ensure(told.elapsed() < MOMENT, || {
                        format!("{life} is said to have died, and lives")
                    })?;
                    std::thread::yield_now();
                }
                Ok(Step::Idle)
            }
            Err(error) => Err(unexpected("waiting")(error)),
        }
    }
}

impl Scenario for BarrierScenario {
    fn name(&self) -> &'static str {
        "barrier"
    }

    fn about(&self) -> &'static str {
        "parties of a barrier die, and their next lives arrive in their stead"
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
        let len = Barrier::segment_len(PARTIES as u8);
        Layout {
            geometry: SMALL,
            space: 0,
            object: Some((Kind::BARRIER, len)),
            account: alias::ACCOUNT + 4 * PARTIES + LEADERS,
        }
    }

    fn starts(&self, _: u32) -> u32 {
        4
    }

    /// So many phases passed, and then some have come to the next.
    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        let mut rng = Rng::with_seed(start.into());
        let mut parties = Vec::new();
        for role in 0..PARTIES {
            parties.push(self.join(stage, role, Life::first(6), deaths.share())?);
        }
        for _ in 0..start {
            for _ in 0..2 {
                for party in &mut parties {
                    party.act(0, &mut rng)?;
                }
            }
        }
        deaths.bury(Life::first(6));
        Ok(())
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        role: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        let aliases = Aliases {
            ledger: stage.ledger,
            at: 0,
        };
        let alias = aliases.next(role as u8 + 1, lives(stage, role), life)?;
        // SAFETY: the only handle of its life that is used.
        let barrier = unsafe { Barrier::attach(stage.object, alias, PARTIES, &FutexBell) };
        Ok(Box::new(Party {
            barrier: barrier.map_err(unexpected("attaching to the barrier"))?,
            role,
            stage: *stage,
            liveness: AliasDeaths { aliases, deaths },
            next: ANY,
        }))
    }

    fn audits(&self) -> bool {
        false
    }

    fn audit<'m>(
        &self,
        _: &Stage<'m>,
        _: &Deaths<'m>,
        actors: &mut [&mut (dyn Actor + 'm)],
        _: bool,
    ) -> Outcome {
        let mut rng = Rng::with_seed(0);
        let mut passes = 0;
        for _ in 0..6 {
            for actor in &mut *actors {
                passes += usize::from(actor.act(0, &mut rng)? == Step::Done);
            }
        }
        ensure(passes >= 2 * PARTIES, || {
            format!("all come, and in six turns {passes} pass")
        })
    }
}
