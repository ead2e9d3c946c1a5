//! A party dies before a store; then another recovers, and may die at a store as well.

use shmem_core::crash::Ended;
use shmem_core::mem::Window;

use super::case::{Case, victim};
use super::trial::{Ends, Trial};
use crate::verdict::Outcome;

/// Lets the victim die before its store `first`, and its successor before `second`. After
/// that the object must work, and agree with its account.
pub(super) fn attempt(
    memory: Window<'_>,
    case: Case,
    first: Option<u64>,
    second: Option<u64>,
) -> Outcome<Ends> {
    let trial = Trial::begin(memory, case)?;
    let (scene, ledger) = (&trial.scene, trial.scene.memory.ledger);
    let mut actors = trial.witnesses()?;
    if first.is_some() {
        ledger.deaths().add(1);
    }
    let victim_end = trial.play_victim(&mut actors, first)?;
    scene.declare_gone(victim());
    if scene.memory.is_held() {
        (case.scenario.release_held)(&scene.memory)?;
        ledger.held().set(0);
    }
    trial.let_witnesses_work(&mut actors)?;
    let (successor_end, recovered) = trial.play_successor(first.is_some(), second)?;
    if successor_end == Ended::Died {
        scene.declare_gone(case.successor());
    } else {
        actors[case.successor_role] = recovered;
    }
    trial.settle(actors)?;
    Ok(Ends {
        victim: victim_end,
        successor: successor_end,
    })
}
