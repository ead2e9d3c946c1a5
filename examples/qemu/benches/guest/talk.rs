//! How fast text comes out, and how soon an answer.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::rig::Rig;
use crate::text;

/// What one write of the flooding program has: a page.
const WRITE: usize = 4096;
/// How long a daemon that polls looks often behind the last command, and so takes the
/// guest's processor from whatever is measured next.
const SETTLE: Duration = Duration::from_millis(1100);
/// What is typed.
const LINE: &[u8] = b"a line that is typed\n";

/// How much of each is measured.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) flood_bytes: usize,
    pub(crate) floods: usize,
    pub(crate) rounds: usize,
    /// Lines of one way, one behind the other, in each round.
    pub(crate) at_once: usize,
    /// Lines of one way, each behind a pause, in each round.
    pub(crate) typed: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Flood {
    pub(crate) way: &'static str,
    /// Of all floods.
    pub(crate) bytes: usize,
    /// Of them, those that never came out.
    pub(crate) lost: usize,
    /// Of each flood, of what came out.
    pub(crate) mb_per_s: Vec<f64>,
    pub(crate) median: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct RoundTrip {
    pub(crate) way: &'static str,
    /// Whether each line came behind a pause, as one that is typed, or behind the answer to
    /// the one before.
    pub(crate) typed: bool,
    pub(crate) count: usize,
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
}

/// Text through every way, one after the other, several times, each while the others rest.
pub(crate) fn floods(rig: &mut Rig, amount: Amount) -> Result<Vec<Flood>> {
    let text = text::of(amount.flood_bytes);
    let mut rates = vec![(Vec::new(), 0); rig.ways.len()];
    for _ in 0..amount.floods {
        for (way, (rates, lost)) in rig.ways.iter_mut().zip(&mut rates) {
            let outcome = way.flood(&text, WRITE)?;
            let came = (text.len() - outcome.lost) as f64;
            rates.push(came / 1e6 / outcome.took.as_secs_f64());
            *lost += outcome.lost;
            thread::sleep(SETTLE);
        }
    }
    let ways = rig.ways.iter().zip(rates);
    Ok(ways
        .map(|(way, (mb_per_s, lost))| Flood {
            way: way.name,
            bytes: text.len() * amount.floods,
            lost,
            median: quantile(&mut mb_per_s.clone(), 0.5),
            mb_per_s,
        })
        .collect())
}

/// Lines and their answers, the ways in turns, each while the others rest.
pub(crate) fn round_trips(rig: &mut Rig, amount: Amount) -> Result<Vec<RoundTrip>> {
    let mut at_once = vec![Vec::new(); rig.ways.len()];
    let mut typed = vec![Vec::new(); rig.ways.len()];
    let mut pause = Pauses(1);
    for _ in 0..amount.rounds {
        for (way, times) in rig.ways.iter_mut().zip(&mut at_once) {
            for _ in 0..amount.at_once {
                times.push(way.round_trip(LINE)?);
            }
            thread::sleep(SETTLE);
        }
        for (way, times) in rig.ways.iter_mut().zip(&mut typed) {
            for _ in 0..amount.typed {
                thread::sleep(pause.next());
                times.push(way.round_trip(LINE)?);
            }
            thread::sleep(SETTLE);
        }
    }
    let mut rows = Vec::new();
    for (typed, times) in [(false, at_once), (true, typed)] {
        for (way, times) in rig.ways.iter().zip(times) {
            let mut times: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
            rows.push(RoundTrip {
                way: way.name,
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

/// Pauses of a person that types, from 50 to 150 ms, the same in each run.
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
