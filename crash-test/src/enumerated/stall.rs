//! A party is stopped at a store, and goes on after its peers have worked. To them it was
//! silent or gone.
//!
//! - **S1** No party takes anything from a silent party: when that party goes on, everything
//!   that it does works, and it changes nothing that others own by then.
//! - **S2** A party that was presumed gone, and whose role another party has, gets an error
//!   that says so, at the latest from its next call. It changes at most [`STEP`] bytes of what
//!   others own by then. The object works as after a death, unless the party did no more
//!   than the one step that was under way. Nothing can prevent that; such cases are counted.
//! - **S3** A party that is alive gets no error of eviction, unless the other was stopped
//!   while it joined or left: its last store may take the role, and both get an error.
//! - **S4** After an error of eviction from an operation that checks the role throughout,
//!   each such operation returns the error again, and the party stores nothing more.

use fastrand::Rng;
use shmem_core::crash::{self, Ended};
use shmem_core::mem::Window;
use shmem_sync::PartitionState;

use super::case::{Case, victim};
use super::trial::{Actors, Ends, ROUNDS, Trial};
use crate::actor::{Action, Actor, Sabotage};
use crate::report::Tally;
use crate::scene::Scene;
use crate::verdict::{Outcome, Violation, ensure};

/// Bytes that a party can change if it was stopped after it checked its claim.
const STEP: usize = 4096;
/// Stores of such a step: one word, or an incomplete copy.
const STORES: u64 = 2;

/// Rounds in which the others work while a party is silent: they may time out.
const FEW: usize = 4;

/// Stops the victim before its store `at`, and lets the others work, for which it is in `state`.
pub(super) fn attempt(
    memory: Window<'_>,
    case: Case,
    state: PartitionState,
    at: u64,
    tally: &Tally,
) -> Outcome<Ends> {
    let trial = Trial::begin(memory, case)?;
    let mut actors = trial.witnesses()?;
    let stopped = Stopped {
        joined: trial.join_victim(&mut actors)?,
        case,
        scene: trial.scene.share(),
        at,
        is_at_end: false,
    };
    let mut others = Ok(Vec::new());
    let meanwhile = || others = trial.work_while_stopped(&mut actors, state);
    let (went_on, _) = crash::stall(at, || stopped.run(), meanwhile);
    let theirs = others?;
    let WentOn {
        saw_eviction,
        is_at_end,
        stores,
    } = went_on.map_err(|found| Violation::new(format!("when it went on: {found}")))?;
    let reported = match saw_eviction {
        true => "got an error of eviction",
        false => "got no error of eviction",
    };
    let changed: usize = theirs.iter().map(changed).sum();
    ensure(changed <= if saw_eviction { STEP } else { 0 }, || {
        format!("it changed {changed} bytes of others, and {reported}")
    })?;
    match trial.work_after_stop(actors, state, saw_eviction) {
        Err(_) if saw_eviction && stores <= STORES => tally.counts().late_damage += 1, // S2
        after => after.map_err(|found| {
            let went_on = format!("it went on for {stores} stores, and {reported}");
            Violation::new(format!("{found}; {went_on}"))
        })?,
    }
    Ok(Ends {
        victim: match is_at_end {
            true => Ended::Finished { stores: at },
            false => Ended::Died,
        },
        successor: Ended::Finished { stores: 0 },
    })
}

/// The party that is stopped. It works on a thread of its own.
struct Stopped<'m> {
    /// `None` if it is to join.
    joined: Option<Actor<'m>>,
    case: Case,
    scene: Scene<'m>,
    /// The store before which it is stopped.
    at: u64,
    /// Whether it was stopped after the last store of its action.
    is_at_end: bool,
}

/// The result of going on.
struct WentOn {
    /// Whether an error reported its eviction.
    saw_eviction: bool,
    is_at_end: bool,
    /// Stores that it made after it was stopped.
    stores: u64,
}

impl Stopped<'_> {
    fn run(mut self) -> Outcome<WentOn> {
        let played = self.play();
        let saw_eviction = matches!(&played, Err(error) if error.is_eviction && self.is_evicted());
        match played {
            Err(error) if !saw_eviction => Err(error),
            _ => Ok(WentOn {
                saw_eviction,
                is_at_end: self.is_at_end,
                stores: crash::stores().saturating_sub(self.at),
            }),
        }
    }

    /// Whether the others were allowed to presume it gone.
    fn is_evicted(&self) -> bool {
        self.scene.memory.is_evicted(victim())
    }

    fn play(&mut self) -> Outcome {
        let mut actor = match self.joined.take() {
            Some(actor) => actor,
            None => self.scene.join(self.case.role, victim())?,
        };
        if self.case.action == Action::Leave {
            drop(actor);
            self.is_at_end = crash::stop();
            return Ok(());
        }
        let performed = self.perform(&mut actor);
        let saw_eviction =
            matches!(&performed, Err(error) if error.is_eviction && self.is_evicted());
        if saw_eviction && self.case.is_claimed() && self.case.is_same_role() {
            ensure_no_more_stores(actor)?; // S4
        }
        performed
    }

    fn perform(&mut self, actor: &mut Actor<'_>) -> Outcome {
        let case = self.case;
        let mut rng = Rng::with_seed(case.start.into());
        let role = actor.role;
        let op = match case.action {
            Action::Perform(op) => actor.perform(op, &mut rng).map(|_| op)?,
            _ => role.proof,
        };
        self.is_at_end = crash::stop();
        if !self.is_evicted() {
            return actor.perform_each(0..role.ops.len(), &mut rng); // S1
        }
        if case.is_claimed() && case.is_same_role() {
            actor.perform(op, &mut rng)?;
            let what = format!(
                "`{}` did not report that another has its role",
                role.ops[op]
            );
            return Err(Violation::new(what)); // S2
        }
        Ok(())
    }
}

/// Checks that each claimed operation reports the eviction again, and that nothing is stored.
fn ensure_no_more_stores(mut actor: Actor<'_>) -> Outcome {
    let before = crash::stores();
    for &op in actor.role.claimed {
        let again = actor.perform(op, &mut Rng::with_seed(0));
        let saw_eviction = matches!(&again, Err(error) if error.is_eviction);
        ensure(saw_eviction, || {
            let op = actor.role.ops[op];
            format!("an error said that another has its role, and `{op}` returned {again:?}")
        })?;
    }
    drop(actor);
    let stored = crash::stores() - before;
    ensure(stored == 0, || {
        format!("an error said that another has its role, and it stored {stored} times more")
    })
}

/// Memory that others own, with its content when the stopped party went on.
type Copied<'m> = (Window<'m>, Vec<u8>);

fn read(window: Window<'_>) -> Vec<u8> {
    let mut bytes = vec![0; window.len()];
    window.read(0, &mut bytes);
    bytes
}

/// Returns how many bytes have changed since.
fn changed((window, before): &Copied<'_>) -> usize {
    let after = read(*window);
    let pairs = before.iter().zip(&after);
    pairs.filter(|(before, after)| before != after).count()
}

impl<'m> Trial<'m> {
    /// Lets the others work while the victim is stopped. Returns the memory that they own then.
    fn work_while_stopped(
        &self,
        actors: &mut Actors<'m>,
        state: PartitionState,
    ) -> Outcome<Vec<Copied<'m>>> {
        let (case, scenario, memory) = (self.case, self.case.scenario, self.scene.memory);
        if memory.is_held() {
            (scenario.release_held)(&memory)?;
        }
        let is_gone = state == PartitionState::Gone;
        // They may time out while a party is silent.
        memory.ledger.held().set(u32::from(!is_gone));
        memory.ledger.deaths().add(u32::from(is_gone));
        let evicted = if is_gone { victim().word() } else { 0 };
        memory.ledger.evicted().set(evicted);
        self.scene
            .observer
            .declare(victim(), self.observed_state(state));
        self.let_witnesses_work(actors)?;
        if let Some(successor) = self.successor(state)? {
            actors[case.successor_role] = Some(successor);
        }
        self.recover(actors, u64::from(case.start) + 1)?;
        let complete = is_gone && actors.iter().all(Option::is_some);
        self.work(actors, if complete { ROUNDS } else { FEW })?;
        for actor in actors.iter_mut().flatten() {
            let ops = actor.role.before_return.iter().copied();
            actor.perform_each(ops, &mut Rng::with_seed(0))?;
        }
        // The stopped party may find that no other has waited for it.
        memory.ledger.held().set(1);
        let theirs = (scenario.others_memory)(&memory, victim())?;
        Ok(theirs
            .into_iter()
            .map(|window| (window, read(window)))
            .collect())
    }

    /// The state in which the others see the victim.
    fn observed_state(&self, state: PartitionState) -> PartitionState {
        match self.scene.sabotage {
            Some(Sabotage::PresumeGone) if self.case.is_same_role() => PartitionState::Gone,
            _ => state,
        }
    }

    /// Lets the successor join; `None` if the victim has the role alone.
    fn successor(&self, state: PartitionState) -> Outcome<Option<Actor<'m>>> {
        let case = self.case;
        let shared = !case.is_same_role() || !self.scene.roles[case.role].exclusive;
        let join = || self.scene.join(case.successor_role, case.successor());
        if shared || state == PartitionState::Gone {
            return join().map(Some);
        }
        if case.is_claimed() {
            ensure(join().is_err(), || {
                "a silent party's role was given to another".to_owned()
            })?; // S1
        }
        Ok(None)
    }

    /// Performs the recovery of the actor in the successor's role; it need not be possible.
    fn recover(&self, actors: &mut Actors<'m>, seed: u64) -> Outcome {
        let Some(successor) = &mut actors[self.case.successor_role] else {
            return Ok(());
        };
        let recovery = successor.role.recovery.iter().copied();
        successor.perform_each(recovery, &mut Rng::with_seed(seed))
    }

    /// Lets the others work after the stopped party has finished.
    fn work_after_stop(
        &self,
        mut actors: Actors<'m>,
        state: PartitionState,
        saw_eviction: bool,
    ) -> Outcome {
        let (case, ledger) = (self.case, self.scene.memory.ledger);
        ledger.held().set(0);
        ledger.half_done().set(u32::from(saw_eviction));
        self.scene.declare_gone(victim());
        // The actor that has the victim's role shows first that it works.
        match self.recover(&mut actors, 1) {
            Err(error)
                if error.is_eviction && state == PartitionState::Gone && !case.is_claimed() =>
            {
                self.scene.declare_gone(case.successor()); // S3
                actors[case.successor_role] = None;
            }
            recovered => recovered?,
        }
        self.settle(actors)
    }
}
