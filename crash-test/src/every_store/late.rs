//! A party that is stopped at a store, and comes late.
//!
//! - **S1** Nobody takes anything from a silent party: when it goes on, everything that
//!   it does works, and nothing of what others own by then has changed.
//! - **S2** One that was taken for gone, and whose part another has, is told so by an
//!   error, at the latest at its next call; no more than [`STEP`] bytes of what others
//!   own by then have changed. The object works as after a death, unless no more than the
//!   one step that was under way was done, which nothing can prevent: such are counted.
//! - **S3** Whoever is alive is not told that it was evicted, unless the other was stopped
//!   while it came or left: its last store may take the part, of which both are told.

use shmem_core::Life;
use shmem_core::crash::{self, Ended};
use shmem_core::mem::Window;
use shmem_sync::PartitionState;

use fastrand::Rng;

use super::trial::{Part, ROUNDS, Trial};
use super::{Case, Deed, Ends, EveryStore, next};
use crate::deaths::Deaths;
use crate::scenario::{Outcome, Scenario, Violation, ensure};
use crate::stage::Stage;

/// Bytes that a party may change that was stopped after it looked at its claim.
const STEP: usize = 4096;
/// Stores of such a step: a word, or a copy that is torn.
const STORES: u64 = 2;

/// Rounds of work of the others while one is silent, who may wait for it in vain.
const FEW: usize = 4;

/// The party that is stopped: it lives on a thread of its own.
struct Late<'m> {
    scenario: &'static dyn Scenario,
    stage: Stage<'m>,
    deaths: Deaths<'m>,
    case: Case,
    life: Life,
    /// The store that it is stopped before.
    at: u64,
    /// Whether it was stopped after the last store of what it did.
    at_end: bool,
}

/// How it went on.
struct End {
    /// Whether it was told that it has nothing any more.
    told: bool,
    at_end: bool,
    /// Stores that it made then.
    stores: u64,
}

impl Late<'_> {
    fn live(mut self) -> Outcome<End> {
        let played = self.play();
        let told = matches!(&played, Err(error) if error.tells && self.is_gone());
        let at_end = self.at_end;
        match played {
            Err(error) if !told => Err(error),
            _ => Ok(End {
                told,
                at_end,
                stores: crash::stores().saturating_sub(self.at),
            }),
        }
    }

    /// Whether others had leave to take it for gone.
    fn is_gone(&self) -> bool {
        self.stage.late().get() == self.life.word()
    }

    fn play(&mut self) -> Outcome {
        let Self { scenario, case, .. } = *self;
        let deaths = self.deaths.share();
        let mut actor = scenario.join(&self.stage, case.role, self.life, deaths)?;
        let mut rng = Rng::with_seed(case.start.into());
        let role = &scenario.roles()[case.role];
        let op = match case.deed {
            Deed::Join => role.proof,
            Deed::Act(op) => actor.act(op, &mut rng).map(|_| op)?,
            Deed::Leave => {
                drop(actor);
                self.at_end = crash::stop();
                return Ok(());
            }
        };
        self.at_end = crash::stop();
        if !self.is_gone() {
            let mut all = 0..role.ops.len();
            return all.try_for_each(|op| actor.act(op, &mut rng).map(drop)); // S1
        }
        if case.is_claimed(scenario) && case.role == case.heir {
            actor.act(op, &mut rng)?;
            let what = format!("`{}` did not tell that another has its part", role.ops[op]);
            return Err(Violation::new(what)); // S2
        }
        Ok(())
    }
}

impl EveryStore<'_> {
    /// Stops the victim before its store `at`, and lets the others meet it as `state`.
    pub(super) fn stall(
        &self,
        memory: Window<'_>,
        case: Case,
        state: PartitionState,
        at: u64,
    ) -> Outcome<Ends> {
        let trial = self.begin(memory, case)?;
        let mut actors = trial.witnesses(case)?;
        let life = next(Life::first(1));
        let late = Late {
            scenario: self.scenario,
            stage: trial.stage,
            deaths: trial.deaths.share(),
            case,
            life,
            at,
            at_end: false,
        };
        let mut others = Ok(Vec::new());
        let is_gone = state == PartitionState::Gone;
        let meanwhile = || others = trial.meanwhile(&mut actors, case, life, state);
        let (end, _) = crash::stall(at, || late.live(), meanwhile);
        let theirs = others?;
        let when = |found| Violation::new(format!("when it went on: {found}"));
        let End {
            told,
            at_end,
            stores,
        } = end.map_err(when)?;
        let changed: usize = theirs.iter().map(Belonging::changed).sum();
        let allowed = if told { STEP } else { 0 };
        let told_so = if told { "told" } else { "not told" };
        ensure(changed <= allowed, || {
            format!("it changed {changed} bytes of others, and was {told_so}")
        })?;
        trial.stage.held().set(0);
        trial.stage.spoilt().set(u32::from(told));
        trial.deaths.bury(life);
        let after = self.after(&trial, actors, case, case.heir_of(life), is_gone);
        match told && stores <= STORES {
            true => self.tally.counts().landed += u64::from(after.is_err()), // S2
            false => after.map_err(|found| {
                let went_on = format!("it went on for {stores} stores, and was {told_so}");
                Violation::new(format!("{found}; {went_on}"))
            })?,
        }
        let victim = match at_end {
            true => Ended::Alive { stores: at },
            false => Ended::Died,
        };
        let heir = Ended::Alive { stores: 0 };
        Ok(Ends { victim, heir })
    }

    /// What the others do when the late party is through.
    fn after<'m>(
        &self,
        trial: &Trial<'m>,
        mut actors: Vec<Part<'m>>,
        case: Case,
        heir: Life,
        is_gone: bool,
    ) -> Outcome {
        // Whoever has its part shows that first.
        let recovery = self.scenario.recovery(case.heir);
        match Trial::act(&mut actors[case.heir], &recovery, 1) {
            Err(error) if error.tells && is_gone && !case.is_claimed(self.scenario) => {
                trial.deaths.bury(heir); // S3
                actors[case.heir] = None;
            }
            shown => shown?,
        }
        trial.settle(actors, case, heir)
    }
}

impl Case {
    /// Whether the object knows of the victim's part all through what it does.
    fn is_claimed(self, scenario: &dyn Scenario) -> bool {
        match self.deed {
            Deed::Act(op) => scenario.claims(self.role, op),
            Deed::Join | Deed::Leave => false,
        }
    }
}

/// Memory that others own, as it was when the late party went on.
struct Belonging<'m> {
    window: Window<'m>,
    before: Vec<u8>,
}

impl<'m> Belonging<'m> {
    fn new(window: Window<'m>) -> Self {
        let before = Self::read(window);
        Self { window, before }
    }

    fn read(window: Window<'_>) -> Vec<u8> {
        let mut bytes = vec![0; window.len()];
        window.read(0, &mut bytes);
        bytes
    }

    fn changed(&self) -> usize {
        let after = Self::read(self.window);
        let pairs = self.before.iter().zip(&after);
        pairs.filter(|(before, after)| before != after).count()
    }
}

impl<'m> Trial<'m> {
    /// What the others do while `late` is stopped. What they own then.
    fn meanwhile(
        &self,
        actors: &mut [Part<'m>],
        case: Case,
        late: Life,
        state: PartitionState,
    ) -> Outcome<Vec<Belonging<'m>>> {
        let held = self.stage.held();
        if held.get() != 0 {
            self.scenario.let_go(&self.stage)?;
        }
        let is_gone = state == PartitionState::Gone;
        // They may wait in vain for one that is silent.
        held.set(u32::from(!is_gone));
        self.stage.killed().add(u32::from(is_gone));
        self.stage.late().set(if is_gone { late.word() } else { 0 });
        let rash = self.scenario.is_rash() && case.role == case.heir;
        self.deaths
            .declare(late, if rash { PartitionState::Gone } else { state });
        self.go_on(actors, case)?;
        actors[case.heir] = self.heir(case, late, state)?.or(actors[case.heir].take());
        let recovery = self.scenario.recovery(case.heir);
        Trial::act(&mut actors[case.heir], &recovery, u64::from(case.start) + 1)?;
        let complete = is_gone && actors.iter().all(Option::is_some);
        self.work(actors, case, if complete { ROUNDS } else { FEW })?;
        for (role, actor) in actors.iter_mut().enumerate() {
            Trial::act(actor, &self.scenario.before_return(role), 0)?;
        }
        // It may find that nobody waited for it.
        held.set(1);
        let theirs = self.scenario.belongings(&self.stage, late)?;
        Ok(theirs.into_iter().map(Belonging::new).collect())
    }

    /// Who plays the heir's role; nobody if that is the victim's alone.
    fn heir(&self, case: Case, late: Life, state: PartitionState) -> Outcome<Part<'m>> {
        let shared = case.role != case.heir || !self.scenario.roles()[case.role].exclusive;
        let join = || {
            let life = case.heir_of(late);
            let deaths = self.deaths.share();
            self.scenario.join(&self.stage, case.heir, life, deaths)
        };
        if shared || state == PartitionState::Gone {
            return join().map(Some);
        }
        if case.is_claimed(self.scenario) {
            ensure(join().is_err(), || {
                "the part of a silent party was given to another".to_owned()
            })?; // S1
        }
        Ok(None)
    }
}
