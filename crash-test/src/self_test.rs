//! The self-test: each deliberate error is noticed, at every store and in processes.

use fastrand::Rng;

use crate::actor::Sabotage;
use crate::enumerated;
use crate::fault::FaultKind;
use crate::harness::Harness;
use crate::interrupt;
use crate::processes::{Detection, Processes};
use crate::report::Tally;
use crate::sabotage;
use crate::scenario::Scenario;
use crate::watchdog::Watchdog;

/// Faults of processes within which an error must be noticed. They fall at random moments. The
/// rarest error is noticed after 120 on average, so one of 10^14 runs fails without cause.
const POINTS: u64 = 4000;

/// Prints the results to `tally`. Returns true if every error was noticed.
pub(crate) fn run(tally: &Tally, watchdog: &Watchdog, seed: u64) -> bool {
    let mut seeds = Rng::with_seed(seed);
    let mut passed = true;
    for scenario in sabotage::all() {
        watchdog.alive();
        let at_stores = at_stores(scenario, watchdog);
        let in_processes = in_processes(scenario, watchdog, &mut seeds);
        let at_stores = ("at every store", at_stores);
        for (mode, found) in [at_stores]
            .into_iter()
            .chain(in_processes.map(|found| ("in processes", found)))
        {
            let what = found.as_deref().unwrap_or("NOT NOTICED");
            let Scenario { name, about, .. } = scenario;
            tally.line(&format!("{name} ({about}), {mode}:\n  {what}"));
            passed &= found.is_some();
        }
    }
    passed
}

/// The kind of fault that shows the error.
fn fault(scenario: &Scenario) -> FaultKind {
    match scenario.sabotage {
        None | Some(Sabotage::SpoilRecovery(_)) => FaultKind::Death,
        Some(_) => FaultKind::Stall,
    }
}

/// Tries every store. Returns the first violation.
fn at_stores(scenario: &'static Scenario, watchdog: &Watchdog) -> Option<String> {
    let fault = fault(scenario);
    first_violation(fault, watchdog, |harness| {
        enumerated::run(&harness, scenario, fault);
    })
}

/// Runs processes. Returns the first violation, or the outer `None` if processes cannot show the
/// error.
fn in_processes(
    scenario: &'static Scenario,
    watchdog: &Watchdog,
    seeds: &mut Rng,
) -> Option<Option<String>> {
    let detection = match scenario.sabotage {
        Some(Sabotage::IgnoreEviction | Sabotage::StoreAfterEviction(_)) => return None,
        Some(Sabotage::PresumeGone) => Detection::Heartbeat,
        _ => Detection::Pidfd,
    };
    let fault = fault(scenario);
    Some(first_violation(fault, watchdog, |harness| {
        let processes = Processes {
            harness,
            scenario,
            fault,
            detection: Some(detection),
        };
        processes.run(POINTS, seeds);
    }))
}

fn first_violation(
    fault: FaultKind,
    watchdog: &Watchdog,
    run: impl FnOnce(Harness<'_>),
) -> Option<String> {
    let tally = Tally::new(None, fault);
    let found = || !tally.counts().violations.is_empty();
    run(Harness {
        tally: &tally,
        watchdog,
        stop: &|| interrupt::interrupted() || found(),
    });
    let counts = tally.counts();
    let first = counts.violations.first()?;
    let faults = counts.points + counts.enumerated;
    Some(format!("after {faults}: {}", first.violation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deliberate_error_is_noticed_at_some_store() {
        for scenario in sabotage::all() {
            let found = at_stores(scenario, &Watchdog::default());
            assert!(found.is_some(), "{}", scenario.name);
        }
    }
}
