//! A party that is stopped at a store, and goes on after its peers have worked, to whom it
//! was silent or gone.
//!
//! - **S1** Nobody takes anything from a silent party: when it goes on, everything that
//!   it does works, and nothing of what others own by then has changed.
//! - **S2** One that was taken for gone, and whose part another has, is told so by an
//!   error, at the latest at its next call; no more than [`STEP`] bytes of what others
//!   own by then have changed. The object works as after a death, unless no more than the
//!   one step that was under way was done, which nothing can prevent: such are counted.
//! - **S3** Whoever is alive is not told that it was evicted, unless the other was stopped
//!   while it came or left: its last store may take the part, of which both are told.
//! - **S4** One that was told at an operation all through which the object knows its part is
//!   told again by each such operation, and stores nothing more.

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

/// Bytes that a party may change that was stopped after it looked at its claim.
const STEP: usize = 4096;
/// Stores of such a step: a word, or a copy that is torn.
const STORES: u64 = 2;

/// Rounds of work of the others while one is silent: they may time out.
const FEW: usize = 4;

/// Stops the victim before its store `at`, and lets the others work, to whom it is `state`.
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
    let meanwhile = || others = trial.meanwhile(&mut actors, state);
    let (went_on, _) = crash::stall(at, || stopped.run(), meanwhile);
    let theirs = others?;
    let WentOn {
        told,
        is_at_end,
        stores,
    } = went_on.map_err(|found| Violation::new(format!("when it went on: {found}")))?;
    let told_so = if told { "told" } else { "not told" };
    let changed: usize = theirs.iter().map(changed).sum();
    ensure(changed <= if told { STEP } else { 0 }, || {
        format!("it changed {changed} bytes of others, and was {told_so}")
    })?;
    match trial.after(actors, state, told) {
        Err(_) if told && stores <= STORES => tally.counts().landed += 1, // S2
        after => after.map_err(|found| {
            let went_on = format!("it went on for {stores} stores, and was {told_so}");
            Violation::new(format!("{found}; {went_on}"))
        })?,
    }
    Ok(Ends {
        victim: match is_at_end {
            true => Ended::Alive { stores: at },
            false => Ended::Died,
        },
        successor: Ended::Alive { stores: 0 },
    })
}

/// The party that is stopped: it works on a thread of its own.
struct Stopped<'m> {
    /// Nobody if it is to join.
    joined: Option<Actor<'m>>,
    case: Case,
    scene: Scene<'m>,
    /// The store that it is stopped before.
    at: u64,
    /// Whether it was stopped after the last store of what it did.
    is_at_end: bool,
}

/// How it went on.
struct WentOn {
    /// Whether it was told that it was evicted.
    told: bool,
    is_at_end: bool,
    /// Stores that it made then.
    stores: u64,
}

impl Stopped<'_> {
    fn run(mut self) -> Outcome<WentOn> {
        let played = self.play();
        let told = matches!(&played, Err(error) if error.says_evicted && self.is_evicted());
        match played {
            Err(error) if !told => Err(error),
            _ => Ok(WentOn {
                told,
                is_at_end: self.is_at_end,
                stores: crash::stores().saturating_sub(self.at),
            }),
        }
    }

    /// Whether others had leave to take it for gone.
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
        let told = matches!(&performed, Err(error) if error.says_evicted && self.is_evicted());
        if told && self.case.is_claimed() && self.case.is_same_role() {
            ensure_silent(actor)?; // S4
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
            let what = format!("`{}` did not tell that another has its part", role.ops[op]);
            return Err(Violation::new(what)); // S2
        }
        Ok(())
    }
}

/// An evicted actor is told so again, and stores nothing.
fn ensure_silent(mut actor: Actor<'_>) -> Outcome {
    let before = crash::stores();
    for &op in actor.role.claimed {
        let again = actor.perform(op, &mut Rng::with_seed(0));
        let told = matches!(&again, Err(error) if error.says_evicted);
        ensure(told, || {
            let op = actor.role.ops[op];
            format!("it was told that another has its part, and `{op}` came to {again:?}")
        })?;
    }
    drop(actor);
    let stored = crash::stores() - before;
    ensure(stored == 0, || {
        format!("it was told that another has its part, and stored {stored} times more")
    })
}

/// Memory that others own, and what was there when the stopped party went on.
type Belonging<'m> = (Window<'m>, Vec<u8>);

fn read(window: Window<'_>) -> Vec<u8> {
    let mut bytes = vec![0; window.len()];
    window.read(0, &mut bytes);
    bytes
}

/// How many bytes have changed since.
fn changed((window, before): &Belonging<'_>) -> usize {
    let after = read(*window);
    let pairs = before.iter().zip(&after);
    pairs.filter(|(before, after)| before != after).count()
}

impl<'m> Trial<'m> {
    /// What the others do while the victim is stopped. Returns what they own then.
    fn meanwhile(
        &self,
        actors: &mut Actors<'m>,
        state: PartitionState,
    ) -> Outcome<Vec<Belonging<'m>>> {
        let (case, scenario, memory) = (self.case, self.case.scenario, self.scene.memory);
        if memory.is_held() {
            (scenario.release_held)(&memory)?;
        }
        let is_gone = state == PartitionState::Gone;
        // They may time out where one is silent.
        memory.ledger.held().set(u32::from(!is_gone));
        memory.ledger.deaths().add(u32::from(is_gone));
        let evicted = if is_gone { victim().word() } else { 0 };
        memory.ledger.evicted().set(evicted);
        self.scene.observer.declare(victim(), self.as_seen(state));
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
        // It may find that nobody waited for it.
        memory.ledger.held().set(1);
        let theirs = (scenario.belongings)(&memory, victim())?;
        Ok(theirs
            .into_iter()
            .map(|window| (window, read(window)))
            .collect())
    }

    /// What the others believe.
    fn as_seen(&self, state: PartitionState) -> PartitionState {
        match self.scene.sabotage {
            Some(Sabotage::PresumeGone) if self.case.is_same_role() => PartitionState::Gone,
            _ => state,
        }
    }

    /// Who plays the successor's role; nobody if that is the victim's alone.
    fn successor(&self, state: PartitionState) -> Outcome<Option<Actor<'m>>> {
        let case = self.case;
        let shared = !case.is_same_role() || !self.scene.roles[case.role].exclusive;
        let join = || self.scene.join(case.successor_role, case.successor());
        if shared || state == PartitionState::Gone {
            return join().map(Some);
        }
        if case.is_claimed() {
            ensure(join().is_err(), || {
                "the part of a silent party was given to another".to_owned()
            })?; // S1
        }
        Ok(None)
    }

    /// Lets whoever has the successor's role recover, whatever comes of it.
    fn recover(&self, actors: &mut Actors<'m>, seed: u64) -> Outcome {
        let Some(successor) = &mut actors[self.case.successor_role] else {
            return Ok(());
        };
        let recovery = successor.role.recovery.iter().copied();
        successor.perform_each(recovery, &mut Rng::with_seed(seed))
    }

    /// What the others do when the stopped party is through.
    fn after(&self, mut actors: Actors<'m>, state: PartitionState, told: bool) -> Outcome {
        let (case, ledger) = (self.case, self.scene.memory.ledger);
        ledger.held().set(0);
        ledger.half_done().set(u32::from(told));
        self.scene.declare_gone(victim());
        // Whoever has its part shows that first.
        match self.recover(&mut actors, 1) {
            Err(error)
                if error.says_evicted && state == PartitionState::Gone && !case.is_claimed() =>
            {
                self.scene.declare_gone(case.successor()); // S3
                actors[case.successor_role] = None;
            }
            recovered => recovered?,
        }
        self.settle(actors)
    }
}
