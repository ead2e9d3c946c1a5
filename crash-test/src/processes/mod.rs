//! Death and delay of real processes, at moments that nobody chooses.
//!
//! Victims are processes of this program that map a memfd and work on the object
//! as fast as they can, until they are killed. At once a survivor in the harness
//! recovers, and what it finds is held against the ledger. Or they are stopped for a
//! while, and nobody is to recover anything.

mod child;
mod heart;
mod recovery;
mod session;
mod stall;
mod victim;

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmem_core::Mapping;

use super::report::{Found, Tally};
use super::scenario::{Outcome, Scenario, unexpected};
use super::stage::{self, Stage};
use super::watchdog::Watchdog;
use heart::Heart;
use session::Session;
pub(super) use victim::run as run_victim;
pub(crate) use victim::{Arguments, COMMAND as VICTIM};

/// How the living learn of a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Liveness {
    /// From the kernel, at once
    Pidfd,
    /// By a heartbeat that stands still
    Heartbeat,
}

/// Deaths on one stage, after which there is a fresh one.
const SESSION: u64 = 40;
/// How often there is a word of progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// Violations of one scenario after which there is no need for more.
const ENOUGH: usize = 20;

pub(super) struct Processes<'a> {
    pub(super) scenario: &'static dyn Scenario,
    /// By turns, if none is given and processes are stopped.
    pub(super) liveness: Option<Liveness>,
    /// Whether they are stopped, and go on, instead of killed.
    pub(super) stall: bool,
    pub(super) tally: &'a Tally,
    pub(super) watchdog: &'a Watchdog,
    pub(super) stop: &'a dyn Fn() -> bool,
}

impl Processes<'_> {
    /// Kills, or stops, `points` processes, or a few more.
    pub(super) fn run(&self, points: u64, seeds: &mut Rng) {
        let killed = || self.tally.counts().points;
        let found = || self.tally.counts().violations.len();
        let (end, violations) = (killed() + points, found());
        let mut shown = Instant::now();
        while killed() < end && !(self.stop)() && found() - violations < ENOUGH {
            let (seed, start) = (seeds.u64(..), killed());
            let mut point = String::new();
            let played = self.session(seed, (end - start).min(SESSION), &mut point);
            if let Err(violation) = played {
                self.tally.violation(Found {
                    scenario: self.scenario.name(),
                    seed: Some(seed),
                    point: format!("point {}: {point}", killed() - start),
                    violation,
                });
            }
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                let left = end.saturating_sub(killed());
                let name = self.scenario.name();
                self.tally.line(&format!("{name}: {left} more"));
            }
        }
    }

    /// One stage from its beginning to the end of all that play on it. `point` says
    /// what was done last.
    fn session(&self, seed: u64, points: u64, point: &mut String) -> Outcome {
        let mut rng = Rng::with_seed(seed);
        let shapes = self.scenario.shapes();
        let shape = shapes[rng.usize(..shapes.len())];
        let memory = Mapping::memfd("kill", stage::len(self.scenario, shape));
        let memory = memory.map_err(unexpected("memory"))?;
        let stage = Stage::format(memory.window(), self.scenario, shape)?;
        self.scenario.found(&stage)?;
        let liveness = self.liveness.unwrap_or(match self.stall && rng.bool() {
            true => Liveness::Heartbeat,
            false => Liveness::Pidfd,
        });
        let heart = Heart::new(stage, liveness, self.scenario);
        thread::scope(|scope| {
            let _beating = heart.beat(scope);
            let mut session = Session::open(self, &memory, stage, &heart, rng)?;
            match self.stall {
                true => session.stall(points, point)?,
                false => session.play(points, point)?,
            }
            session.close(point)
        })
    }
}
