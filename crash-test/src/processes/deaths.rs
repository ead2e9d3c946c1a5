//! Deaths of processes: processes are killed, and others recover at once.

use std::time::{Duration, Instant};

use super::round::Round;
use crate::fault::FaultKind;
use crate::verdict::Outcome;

/// The time that an armed process has to kill itself before the harness kills it.
const OWN_TIME: Duration = Duration::from_millis(20);

impl Round<'_, '_> {
    /// Kills at least `points` processes. `point` describes the current step.
    pub(super) fn kill_some(&mut self, points: u64, point: &mut String) -> Outcome {
        let tally = self.harness.tally;
        let end = tally.counts().points + points;
        while tally.counts().points < end && !(self.harness.stop)() {
            let target = self.rng.usize(..self.processes.len());
            *point = format!("before {} is killed", self.role(target).name);
            self.start_missing(Some(target))?;
            if self.rng.u8(..) >= 24 {
                self.wait_until_all_ready()?;
            }
            self.work_a_while()?;
            let mut targets = vec![target];
            if self.rng.u8(..) < 50 {
                targets = (0..self.processes.len()).collect();
            }
            let dead = self.kill(&targets, point)?;
            let successors = self.recover(&targets, dead)?;
            self.wait_until_all_progress()?;
            self.audit(successors, false)?;
        }
        Ok(())
    }

    /// Kills all remaining processes, and checks what they leave.
    pub(super) fn close(mut self, point: &mut String) -> Outcome {
        let all: Vec<_> = (0..self.processes.len()).collect();
        let left = |slot: &usize| self.processes[*slot].is_some();
        let left: Vec<_> = all.iter().copied().filter(left).collect();
        let dead = self.kill(&left, point)?;
        point.push_str(" at the end");
        let successors = self.recover(&all, dead)?;
        self.audit(successors, true)?;
        let false_silences = self.scene.memory.ledger.false_silences().get();
        self.harness.tally.counts().false_silences += u64::from(false_silences);
        Ok(())
    }

    /// Kills processes. Returns the time at which the last one was dead.
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
