//! What the living do about a death.

use std::time::Instant;

use super::session::{Player, Session};
use super::victim::{REST, RESTING};
use crate::deaths::LIMIT;
use crate::scenario::{Actor, Outcome, Step, Violation, ensure};

/// The first partition of those that take the place of the dead, if that is another.
const HEIRS: u8 = 12;
/// The first partition of those that play what nobody plays any more.
const AUDITORS: u8 = 5;

impl<'m> Session<'_, '_, 'm> {
    /// Lets each role of the dead be played again until it works, and notes how long
    /// that took. Those of which there is one are played by heirs, which are returned.
    pub(super) fn recover(&mut self, targets: &[usize], dead: Instant) -> Outcome<Vec<Player<'m>>> {
        let roles = self.plan.scenario.roles();
        let played = targets.iter().map(|&slot| (slot, self.cast.victims[slot]));
        let (alone, shared): (Vec<_>, Vec<_>) =
            played.partition(|&(_, role)| roles[role].exclusive);
        let mut heirs = self.heirs(&alone)?;
        let mut unproven: Vec<_> = heirs.iter().map(|heir| heir.role).collect();
        unproven.extend(shared.into_iter().map(|(_, role)| role));
        let deadline = dead + LIMIT;
        while !unproven.is_empty() {
            self.plan.watchdog.alive();
            let heirs = heirs.iter_mut().map(|heir| (heir, true));
            let survivors = self.survivors.iter_mut().map(|player| (player, false));
            for (player, is_heir) in heirs.chain(survivors) {
                let at = unproven.iter().position(|&role| role == player.role);
                // Others may need an heir that has shown what it can do.
                if is_heir || at.is_some() {
                    let ops = self.plan.scenario.recovery(player.role);
                    let proven = proves(player, roles[player.role].proof, &ops, &mut self.rng)?;
                    at.filter(|_| proven).map(|at| unproven.remove(at));
                }
            }
            if unproven.is_empty() {
                break;
            }
            self.work()?;
            ensure(Instant::now() < deadline, || {
                let names = unproven.iter().map(|&role| roles[role].name);
                let names: Vec<_> = names.collect();
                format!(
                    "{} cannot work {LIMIT:?} after the death; {}{}",
                    names.join(", "),
                    self.plan.scenario.describe(&self.stage),
                    self.stuck()
                )
            })?;
        }
        self.plan.tally.counts().recoveries.push(dead.elapsed());
        Ok(heirs)
    }

    /// Lives in place of the dead of these slots and roles.
    fn heirs(&mut self, dead: &[(usize, usize)]) -> Outcome<Vec<Player<'m>>> {
        let watching = dead.iter().map(|&(slot, role)| {
            let mut deaths = self.heart.deaths();
            // All at once, where it takes time to know.
            deaths.watch_all(&self.stage.registry);
            let partition = slot as u8 + if self.rng.bool() { 1 } else { HEIRS };
            (role, partition, deaths)
        });
        let watching: Vec<_> = watching.collect();
        let joins = watching.into_iter();
        joins
            .map(|(role, partition, deaths)| self.join(role, partition, deaths))
            .collect()
    }

    /// Lets the processes rest and the scenario look at what is there, unless a living
    /// process has a role that is needed for that. Ends the heirs.
    pub(super) fn audit(&mut self, mut heirs: Vec<Player<'m>>, end: bool) -> Outcome {
        let roles = self.plan.scenario.roles();
        let is_taken =
            |(slot, &role): (usize, &usize)| roles[role].exclusive && self.victims[slot].is_some();
        let busy = self.cast.victims.iter().enumerate().any(is_taken);
        if end || self.plan.scenario.audits() && !busy {
            for role in 0..roles.len() {
                let is_it = |player: &Player<'_>| player.role == role;
                if !heirs.iter().chain(&self.survivors).any(is_it) {
                    let partition = AUDITORS + role as u8;
                    heirs.push(self.join(role, partition, self.heart.deaths())?);
                }
            }
            self.rest()?;
            let looked = self.look(&mut heirs, end);
            self.stage.ledger.session(REST).set(0);
            looked?;
        }
        for Player { life, actor, .. } in heirs {
            drop(actor);
            self.heart.leave(life);
        }
        Ok(())
    }

    /// Waits until all living processes rest.
    fn rest(&mut self) -> Outcome {
        self.stage.ledger.session(REST).set(1);
        self.until("a living process does not come to rest", |session| {
            let living = |slot: &usize| session.victims[*slot].is_some();
            let mut slots = (0..session.victims.len()).filter(living);
            slots.all(|slot| session.word(slot, RESTING) != 0)
        })
    }

    fn look(&mut self, heirs: &mut [Player<'m>], end: bool) -> Outcome {
        let mut parts: Vec<Option<&mut (dyn Actor + 'm)>> = Vec::new();
        parts.resize_with(self.plan.scenario.roles().len(), || None);
        for player in heirs.iter_mut().chain(&mut self.survivors) {
            parts[player.role].get_or_insert(&mut *player.actor);
        }
        let mut actors: Vec<_> = parts.into_iter().flatten().collect();
        let deaths = self.heart.deaths();
        let audited = self
            .plan
            .scenario
            .audit(&self.stage, &deaths, &mut actors, end);
        audited.map_err(|found| Violation::new(format!("at rest: {found}")))
    }
}

/// Whether a player could do what shows that its role works.
fn proves(
    player: &mut Player<'_>,
    proof: usize,
    ops: &[usize],
    rng: &mut fastrand::Rng,
) -> Outcome<bool> {
    for &op in ops {
        if player.actor.act(op, rng)? == Step::Done && op == proof {
            return Ok(true);
        }
    }
    Ok(false)
}
