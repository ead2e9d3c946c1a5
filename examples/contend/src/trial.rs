//! Whether the memory is fit for a lock: two parties try it together.

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

/// How long one trial may take.
const TRIAL: Duration = Duration::from_millis(500);
/// Between two looks whether somebody asks.
const NAP: Duration = Duration::from_millis(1);

/// Refuses `lock` unless what it needs has been seen to work between the party and whoever answers
/// it.
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
    let unfit = |unfit: shmem_sync::litmus::Unfit| Stop::Unfit(unfit.to_string());
    match lock {
        Lock::Mutex | Lock::Semaphore | Lock::Rwlock => {
            verdict.require_read_modify_write().map_err(unfit)?;
        }
        Lock::Bakery | Lock::Barrier => {}
    }
    Ok(verdict.require_fences().map_err(unfit)?)
}

/// Answers the party `asker` until something is known.
pub(crate) fn answer(area: Area<'_>, report: Report, asker: u8, timeout: Duration) -> Result<()> {
    let litmus = Litmus::attach(area.open(area::litmus(asker))?)?;
    let began = Instant::now();
    while began.elapsed() < timeout {
        match litmus.answer(&mut SpinYield::timeout(TRIAL)) {
            Some(verdict) if verdict.fences != Finding::Unknown => {
                say(report, &verdict);
                return Ok(());
            }
            _ => thread::sleep(NAP),
        }
    }
    Err(Stop::Late("the other party did not ask".to_owned()).into())
}

fn say(report: Report, verdict: &Verdict) {
    report.say(&Event::Tried {
        compare_and_swap: verdict.read_modify_write.to_string(),
        fences: verdict.fences.to_string(),
    });
}
