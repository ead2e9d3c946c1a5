//! A test of the memory by two parties: is it suitable for a lock?

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use shmem_sync::SpinYield;
use shmem_sync::litmus::{Finding, Litmus, Verdict};

use crate::area::{self, Area};
use crate::cli::Lock;
use crate::party::Party;
use crate::report::{Event, Report};
use crate::stop::Stop;

/// Time limit of one trial.
const TRIAL: Duration = Duration::from_millis(500);
/// Time between two checks for a request.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// Refuses `lock` unless all operations that it needs work between the party and the party that
/// answers.
pub(crate) fn require(party: &Party<'_>, lock: Lock) -> Result<()> {
    let litmus = Litmus::attach(party.area.open(area::litmus(party.number()))?)?;
    let began = Instant::now();
    let verdict = loop {
        let verdict = litmus.ask(&mut SpinYield::timeout(TRIAL));
        let is_known = ![verdict.read_modify_write, verdict.fences].contains(&Finding::Unknown);
        if is_known || began.elapsed() > party.options.timeout {
            break verdict;
        }
    };
    say(party.report, &verdict);
    let unfit = |unfit: shmem_sync::litmus::MissingFeature| Stop::Unfit(unfit.to_string());
    match lock {
        Lock::Mutex | Lock::Semaphore | Lock::Rwlock => {
            verdict.require_read_modify_write().map_err(unfit)?;
        }
        Lock::Bakery | Lock::Barrier => {}
    }
    Ok(verdict.require_fences().map_err(unfit)?)
}

/// Answers the party `asker` until a result is known.
pub(crate) fn answer(area: Area<'_>, report: Report, asker: u8, timeout: Duration) -> Result<()> {
    let litmus = Litmus::attach(area.open(area::litmus(asker))?)?;
    let began = Instant::now();
    while began.elapsed() < timeout {
        match litmus.answer(&mut SpinYield::timeout(TRIAL)) {
            Some(verdict) if verdict.fences != Finding::Unknown => {
                say(report, &verdict);
                return Ok(());
            }
            _ => thread::sleep(CHECK_INTERVAL),
        }
    }
    Err(Stop::TimedOut("the other party did not ask".to_owned()).into())
}

fn say(report: Report, verdict: &Verdict) {
    report.say(&Event::Tried {
        compare_and_swap: verdict.read_modify_write.to_string(),
        fences: verdict.fences.to_string(),
    });
}
