//! Deaths of processes: they are killed, and at once others recover.

use std::time::{Duration, Instant};

use super::round::Round;
use crate::fault::FaultKind;
use crate::verdict::Outcome;

/// How long one that kills itself may take until it is helped.
const OWN_TIME: Duration = Duration::from_millis(20);

impl Round<'_, '_> {
    /// Kills so many processes, or a few more. `point` says what is done.
    pub(super) fn kill_some(&mut self, points: u64, point: &mut String) -> Outcome {
        let tally = self.harness.tally;
        let end = tally.counts().points + points;
        while tally.counts().points < end && !(self.harness.stop)() {
            let target = self.rng.usize(..self.processes.len());
            *point = format!("before {} is killed", self.role(target).name);
            self.start_missing(Some(target))?;
            if self.rng.u8(..) >= 24 {
                self.until_all_work()?;
            }
            self.work_a_while()?;
            let mut targets = vec![target];
            if self.rng.u8(..) < 50 {
                targets = (0..self.processes.len()).collect();
            }
            let dead = self.kill(&targets, point)?;
            let successors = self.recover(&targets, dead)?;
            self.everybody_moves()?;
            self.audit(successors, false)?;
        }
        Ok(())
    }

    /// Kills all that are left, and looks at what they leave.
    pub(super) fn close(mut self, point: &mut String) -> Outcome {
        let all: Vec<_> = (0..self.processes.len()).collect();
        let left = |slot: &usize| self.processes[*slot].is_some();
        let left: Vec<_> = all.iter().copied().filter(left).collect();
        let dead = self.kill(&left, point)?;
        point.push_str(" at the end");
        let successors = self.recover(&all, dead)?;
        self.audit(successors, true)?;
        let doubts = self.scene.memory.ledger.doubts().get();
        self.harness.tally.counts().doubts += u64::from(doubts);
        Ok(())
    }

    /// Kills processes. Returns since when all of them are dead.
    fn kill(&mut self, targets: &[usize], point: &mut String) -> Outcome<Instant> {
        let mut dead = Instant::now();
        let mut names = Vec::new();
        let ledger = self.scene.memory.ledger;
        ledger.deaths().add(targets.len() as u32);
        for &slot in targets {
            let Some(process) = self.processes[slot].take() else {
                continue;
            };
            let by_itself = process.armed && process.has_ended(OWN_TIME);
            dead = match by_itself {
                true => Instant::now(),
                false => process.kill()?,
            };
            names.push(format!(
                "{} is killed{} in `{}` after {} operations",
                self.role(slot).name,
                if process.armed { ", by itself," } else { "" },
                self.doing(slot),
                self.slot(slot).operations.get(),
            ));
            *point = names.join("; ");
            self.harness.tally.count_point(FaultKind::Death);
            process.reap()?;
        }
        Ok(dead)
    }
}
