//! Measures throughput and round trips.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::rig::Rig;
use crate::text;

/// Bytes that the flooding program writes at a time: a page.
const WRITE: usize = 4096;
/// How long a daemon that polls does so often after the last command. Meanwhile it would use the
/// guest's processor during the next measurement.
const SETTLE: Duration = Duration::from_millis(1100);
/// The line to type.
const LINE: &[u8] = b"a line that is typed\n";

/// The amount of each measurement.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) flood_bytes: usize,
    pub(crate) floods: usize,
    pub(crate) rounds: usize,
    /// Lines for each terminal in each round, each directly after the answer to the one before.
    pub(crate) at_once: usize,
    /// Lines for each terminal in each round, each after a pause.
    pub(crate) typed: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Flood {
    pub(crate) terminal: &'static str,
    /// Bytes of all floods.
    pub(crate) bytes: usize,
    /// How many of them did not arrive.
    pub(crate) lost: usize,
    /// The rate of each flood, of the bytes that arrived.
    pub(crate) mb_per_s: Vec<f64>,
    pub(crate) median: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct RoundTrip {
    pub(crate) terminal: &'static str,
    /// True if each line came after a pause, as if typed; false if directly after the answer to
    /// the one before.
    pub(crate) typed: bool,
    pub(crate) count: usize,
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
}

/// Sends text through each terminal, several times, while the others are idle.
pub(crate) fn floods(rig: &mut Rig, amount: Amount) -> Result<Vec<Flood>> {
    let text = text::numbered_lines(amount.flood_bytes);
    let mut rates = vec![(Vec::new(), 0); rig.terminals.len()];
    for _ in 0..amount.floods {
        for (terminal, (rates, lost)) in rig.terminals.iter_mut().zip(&mut rates) {
            let outcome = terminal.flood(&text, WRITE)?;
            let came = (text.len() - outcome.lost) as f64;
            rates.push(came / 1e6 / outcome.took.as_secs_f64());
            *lost += outcome.lost;
            thread::sleep(SETTLE);
        }
    }
    let terminals = rig.terminals.iter().zip(rates);
    Ok(terminals
        .map(|(terminal, (mb_per_s, lost))| Flood {
            terminal: terminal.name,
            bytes: text.len() * amount.floods,
            lost,
            median: quantile(&mut mb_per_s.clone(), 0.5),
            mb_per_s,
        })
        .collect())
}

/// Sends lines and waits for their answers, in one terminal at a time.
pub(crate) fn round_trips(rig: &mut Rig, amount: Amount) -> Result<Vec<RoundTrip>> {
    let mut at_once = vec![Vec::new(); rig.terminals.len()];
    let mut typed = vec![Vec::new(); rig.terminals.len()];
    let mut pause = Pauses(1);
    for _ in 0..amount.rounds {
        for (terminal, times) in rig.terminals.iter_mut().zip(&mut at_once) {
            for _ in 0..amount.at_once {
                times.push(terminal.round_trip(LINE)?);
            }
            thread::sleep(SETTLE);
        }
        for (terminal, times) in rig.terminals.iter_mut().zip(&mut typed) {
            for _ in 0..amount.typed {
                thread::sleep(pause.next());
                times.push(terminal.round_trip(LINE)?);
            }
            thread::sleep(SETTLE);
        }
    }
    let mut rows = Vec::new();
    for (typed, times) in [(false, at_once), (true, typed)] {
        for (terminal, times) in rig.terminals.iter().zip(times) {
            let mut times: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
            rows.push(RoundTrip {
                terminal: terminal.name,
                typed,
                count: times.len(),
                p50_us: quantile(&mut times, 0.5),
                p95_us: quantile(&mut times, 0.95),
                p99_us: quantile(&mut times, 0.99),
            });
        }
    }
    Ok(rows)
}

/// Pauses of a typing person, from 50 to 150 ms; the same in each run.
struct Pauses(u32);

impl Pauses {
    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Duration::from_micros(u64::from(50_000 + (self.0 >> 8) % 100_000))
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}
