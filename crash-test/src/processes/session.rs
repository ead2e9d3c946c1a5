//! One stage and those that play on it.

use std::time::{Duration, Instant};

use fastrand::Rng;
use shmem_core::{Life, Mapping};

use super::Processes;
use super::child::Victim;
use super::heart::{DOUBTS, Heart};
use super::victim::{Arguments, DOING, OPS, READY, RESTING};
use crate::deaths::{Deaths, LIMIT};
use crate::scenario::{Actor, Cast, Outcome, Violation, ensure};
use crate::stage::Stage;
use crate::watchdog::{task, whereabouts};

/// The longest time that a victim works before it is killed.
const LONGEST: Duration = Duration::from_millis(3);

/// How long a process may show nothing: longer than whatever it waits for, so that
/// it can say that itself.
const PATIENCE: Duration = LIMIT.saturating_mul(2);

/// How long one that kills itself may take until it is helped.
const OWN_TIME: Duration = Duration::from_millis(20);

/// The first survivor's partition; victims have those from 1 on.
const SURVIVORS: u8 = 8;
pub(super) struct Session<'a, 'p, 'm> {
    pub(super) plan: &'a Processes<'p>,
    memory: &'m Mapping,
    pub(super) stage: Stage<'m>,
    pub(super) cast: &'static Cast,
    pub(super) heart: &'a Heart<'m>,
    pub(super) rng: Rng,
    pub(super) victims: Vec<Option<Victim>>,
    pub(super) survivors: Vec<Player<'m>>,
}

/// A life of the harness, and its role.
pub(super) struct Player<'m> {
    pub(super) role: usize,
    pub(super) life: Life,
    pub(super) actor: Box<dyn Actor + 'm>,
}

impl<'a, 'p, 'm> Session<'a, 'p, 'm> {
    pub(super) fn open(
        plan: &'a Processes<'p>,
        memory: &'m Mapping,
        stage: Stage<'m>,
        heart: &'a Heart<'m>,
        mut rng: Rng,
    ) -> Outcome<Self> {
        let casts = plan.scenario.casts();
        let cast = &casts[rng.usize(..casts.len())];
        let mut session = Self {
            plan,
            memory,
            stage,
            cast,
            heart,
            rng,
            victims: cast.victims.iter().map(|_| None).collect(),
            survivors: Vec::new(),
        };
        for (at, &role) in cast.survivors.iter().enumerate() {
            let survivor = session.join(role, SURVIVORS + at as u8, heart.deaths())?;
            session.survivors.push(survivor);
        }
        Ok(session)
    }

    /// Kills so many processes, or a few more. `point` says what is done.
    pub(super) fn play(&mut self, points: u64, point: &mut String) -> Outcome {
        let tally = self.plan.tally;
        let killed = || tally.counts().points;
        let end = killed() + points;
        while killed() < end && !(self.plan.stop)() {
            let target = self.rng.usize(..self.victims.len());
            *point = format!("before {} is killed", self.name(target));
            self.cast_all(Some(target))?;
            if self.rng.u8(..) >= 24 {
                self.until_all_work()?;
            }
            let delay = self.delay();
            self.work_for(delay)?;
            let mut targets = vec![target];
            if self.rng.u8(..) < 50 {
                targets = (0..self.victims.len()).collect();
            }
            let dead = self.kill(&targets, point)?;
            let heirs = self.recover(&targets, dead)?;
            self.everybody_moves()?;
            self.audit(heirs, false)?;
        }
        Ok(())
    }

    /// Kills all that are left, and looks at what they leave.
    pub(super) fn close(mut self, point: &mut String) -> Outcome {
        let left = |at: &usize| self.victims[*at].is_some();
        let targets: Vec<_> = (0..self.victims.len()).filter(left).collect();
        let dead = self.kill(&targets, point)?;
        point.push_str(" at the end");
        let all: Vec<_> = (0..self.victims.len()).collect();
        let heirs = self.recover(&all, dead)?;
        self.audit(heirs, true)?;
        let doubts = self.stage.ledger.session(DOUBTS).get();
        self.plan.tally.counts().doubts += u64::from(doubts);
        Ok(())
    }

    /// Lets the harness play a role, as the next life of a partition.
    pub(super) fn join(
        &self,
        role: usize,
        partition: u8,
        mut deaths: Deaths<'m>,
    ) -> Outcome<Player<'m>> {
        let life = self.heart.attach(partition, &mut deaths)?;
        let actor = self.plan.scenario.join(&self.stage, role, life, deaths)?;
        Ok(Player { role, life, actor })
    }

    pub(super) fn name(&self, slot: usize) -> &'static str {
        self.plan.scenario.roles()[self.cast.victims[slot]].name
    }

    /// Starts the victims that are missing. The next one to die may do so by itself,
    /// at a store that is chosen.
    pub(super) fn cast_all(&mut self, target: Option<usize>) -> Outcome {
        for slot in 0..self.victims.len() {
            if self.victims[slot].is_some() {
                continue;
            }
            for word in [READY, OPS, DOING, RESTING] {
                self.stage.ledger.slot(slot, word).set(0);
            }
            let is_armed = Some(slot) == target && self.rng.u8(..) < 64;
            if is_armed {
                self.stage.killed().add(1);
            }
            let arguments = Arguments {
                scenario: self.plan.scenario.name().to_owned(),
                shape: self.stage.shape,
                slot,
                role: self.cast.victims[slot],
                partition: slot as u8 + 1,
                seed: self.rng.u64(..),
                liveness: self.heart.liveness,
                parent: std::process::id(),
                armed: is_armed.then(|| self.rng.u64(..2000)),
            };
            self.victims[slot] = Some(Victim::spawn(self.memory, &arguments)?);
        }
        Ok(())
    }

    /// Most deaths follow soon, so that many fall into the first operations.
    pub(super) fn delay(&mut self) -> Duration {
        let part = self.rng.f64();
        LONGEST.mul_f64(part * part)
    }

    /// Lets the survivors work for a while.
    pub(super) fn work_for(&mut self, time: Duration) -> Outcome {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.work()?;
            if self.survivors.is_empty() {
                std::thread::sleep(time.min(Duration::from_micros(50)));
            }
        }
        Ok(())
    }

    /// One operation of each survivor.
    pub(super) fn work(&mut self) -> Outcome {
        self.plan.watchdog.alive();
        for survivor in &mut self.survivors {
            let ops = self.plan.scenario.roles()[survivor.role].ops.len();
            survivor.actor.act(self.rng.usize(..ops), &mut self.rng)?;
        }
        Ok(())
    }

    /// Works until `done`; an error that begins with `what` if that takes too long.
    pub(super) fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            self.work()?;
            self.nobody_ended()?;
            ensure(Instant::now() < deadline, || {
                format!("{what} after {PATIENCE:?}: {}", self.stuck())
            })?;
        }
        Ok(())
    }

    pub(super) fn until_all_work(&mut self) -> Outcome {
        self.until("a process does not begin", |session| {
            let slots = 0..session.victims.len();
            slots
                .into_iter()
                .all(|slot| session.word(slot, READY) != 0 || session.is_armed(slot))
        })
    }

    /// Every process that lives does something, whoever has died.
    pub(super) fn everybody_moves(&mut self) -> Outcome {
        let slots = 0..self.victims.len();
        let before: Vec<_> = slots.map(|slot| self.word(slot, OPS)).collect();
        self.until("a living process does not move", |session| {
            before.iter().enumerate().all(|(slot, &ops)| {
                session.victims[slot].is_none() || session.word(slot, OPS) != ops
            })
        })
    }

    pub(super) fn word(&self, slot: usize, word: usize) -> u32 {
        self.stage.ledger.slot(slot, word).get()
    }

    fn is_armed(&self, slot: usize) -> bool {
        self.victims[slot]
            .as_ref()
            .is_some_and(|victim| victim.armed)
    }

    /// An error if a process ended that was not killed: it found something.
    fn nobody_ended(&mut self) -> Outcome {
        for victim in &mut self.victims {
            let ended = |victim: &mut Victim| !victim.armed && victim.has_ended(Duration::ZERO);
            if let Some(victim) = victim.take_if(ended) {
                victim.bury()?;
                return Err(Violation::new(
                    "a process was killed by somebody else".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// What the living processes are at.
    pub(super) fn stuck(&self) -> String {
        let living = self.victims.iter().enumerate();
        let at = living.filter_map(|(slot, victim)| {
            let id = victim.as_ref()?.id();
            let role = &self.plan.scenario.roles()[self.cast.victims[slot]];
            let doing = self.word(slot, DOING).checked_sub(1);
            let doing = doing.map_or("join", |op| role.ops[op as usize]);
            let at = whereabouts(&task(id));
            Some(format!("\n  {} in `{doing}`: {at}", role.name))
        });
        at.collect()
    }

    /// Kills processes. Since when all of them are dead.
    fn kill(&mut self, targets: &[usize], point: &mut String) -> Outcome<Instant> {
        let mut dead = Instant::now();
        let mut names = Vec::new();
        self.stage.killed().add(targets.len() as u32);
        for &slot in targets {
            let Some(victim) = self.victims[slot].take() else {
                continue;
            };
            let by_itself = victim.armed && victim.has_ended(OWN_TIME);
            dead = if by_itself {
                Instant::now()
            } else {
                victim.kill()?
            };
            let role = &self.plan.scenario.roles()[self.cast.victims[slot]];
            let doing = self.word(slot, DOING).checked_sub(1);
            names.push(format!(
                "{} is killed{} in `{}` after {} operations",
                role.name,
                if victim.armed { ", by itself," } else { "" },
                doing.map_or("join", |op| role.ops[op as usize]),
                self.word(slot, OPS),
            ));
            *point = names.join("; ");
            self.plan.tally.counts().points += u64::from(!self.plan.stall);
            victim.bury()?;
        }
        Ok(dead)
    }
}
