//! Stalls of processes, which go on after a while.
//!
//! - **T1** No observer reports a stopped or a living process as gone: to the kernel it is
//!   alive, by its heartbeat at most silent.
//! - **T2** No party takes anything from it: when it goes on, everything that it does works,
//!   and all that it and others acknowledged exists.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};
use shmem_registry::liveness::SILENCE_LIMIT;
use shmem_sync::{Liveness, PartitionState};

use super::arguments::Detection;
use super::round::Round;
use crate::fault::FaultKind;
use crate::incarnation::Incarnation;
use crate::observer::Observer;
use crate::verdict::{OrViolation, Outcome, ensure};

/// The longest stop if heartbeats are not used.
const SHORT: Duration = Duration::from_millis(10);
/// The longest time between the processes that go on.
const APART: Duration = Duration::from_millis(3);

impl Round<'_, '_> {
    /// Stops processes `points` times. `point` describes the current step.
    pub(super) fn stop_some(&mut self, points: u64, point: &mut String) -> Outcome {
        self.start_missing(None)?;
        self.wait_until_all_ready()?;
        for _ in 0..points {
            if (self.harness.stop)() {
                break;
            }
            self.work_a_while()?;
            let time = self.stop_time();
            self.harness.tally.count_point(FaultKind::Stall);
            let count = self.processes.len();
            // One process, all of them, or the harness.
            match self.rng.usize(..count + 2) {
                all if all == count => {
                    *point = format!("all are stopped for {time:?}");
                    self.stop((0..count).collect(), time)?;
                }
                one if one < count => {
                    *point = format!("{} is stopped for {time:?}", self.role(one).name);
                    self.stop(vec![one], time)?;
                }
                _ => {
                    *point = format!("the harness is stopped for {time:?}");
                    self.stop_ourselves(time)?;
                }
            }
            self.attachments.ensure_not_evicted()?;
            self.wait_until_all_progress()?;
            self.audit(Vec::new(), false)?;
        }
        Ok(())
    }

    /// Returns a time that may be shorter or longer than the heartbeat's limit.
    fn stop_time(&mut self) -> Duration {
        let part = self.rng.f64();
        match self.attachments.detection {
            Detection::Pidfd => SHORT.mul_f64(part),
            Detection::Heartbeat if self.rng.bool() => SILENCE_LIMIT.mul_f64(part / 2.0),
            Detection::Heartbeat => SILENCE_LIMIT.mul_f64(1.0 + part),
        }
    }

    /// Stops some processes; they go on one after another.
    fn stop(&mut self, mut slots: Vec<usize>, time: Duration) -> Outcome {
        self.rng.shuffle(&mut slots);
        let processes = slots
            .iter()
            .filter_map(|&slot| self.processes[slot].as_ref());
        let handles: Outcome<Vec<OwnedFd>> = processes.map(|process| process.handle()).collect();
        let handles = handles?;
        let signal = |handle: &OwnedFd, signal| pidfd_send_signal(handle, signal);
        for handle in &handles {
            signal(handle, Signal::STOP).or_violation("stopping")?;
        }
        let apart = APART.mul_f64(self.rng.f64());
        // A thread, since this one may wait for the stopped processes.
        let waker = thread::spawn(move || {
            thread::sleep(time);
            for handle in handles {
                // The process may be dead already, if the round has ended.
                let _ = signal(&handle, Signal::CONT);
                thread::sleep(apart);
            }
        });
        self.watch_until(|| waker.is_finished())
    }

    /// Stops this process while the others go on.
    fn stop_ourselves(&mut self, time: Duration) -> Outcome {
        let seconds = time.as_secs_f64();
        let script = format!("kill -STOP $PPID; sleep {seconds:.4}; kill -CONT $PPID");
        let waker = Command::new("sh")
            .args(["-c", &script])
            .process_group(0)
            .spawn();
        let mut waker = waker.or_violation("starting a shell")?;
        self.watch_until(|| has_ended(&mut waker))
    }

    /// The incarnations of all processes.
    fn incarnations(&self) -> Outcome<Vec<Incarnation>> {
        let mut incarnations = Vec::new();
        for partition in 1..=self.processes.len() as u8 {
            let found = self.scene.memory.registry.partition(partition);
            incarnations.extend(found.or_violation("reading a partition")?.incarnation);
        }
        Ok(incarnations)
    }

    /// Works, and checks that all processes are alive (T1), until `done`.
    fn watch_until(&mut self, mut done: impl FnMut() -> bool) -> Outcome {
        let incarnations = self.incarnations()?;
        let mut observer = self.attachments.observer();
        let mut kernel = Observer::by_kernel(self.scene.memory.registry);
        let begun = Instant::now();
        while !done() {
            self.work()?;
            for &incarnation in &incarnations {
                let (seen, known) = (observer.state(incarnation), kernel.state(incarnation));
                ensure(seen != PartitionState::Gone, || {
                    let time = begun.elapsed();
                    format!("{incarnation} is reported as gone {time:?} after it was stopped")
                })?;
                ensure(known == PartitionState::Alive, || {
                    format!("the kernel reports {incarnation} as {known:?}")
                })?;
            }
            if self.survivors.is_empty() {
                thread::sleep(Duration::from_micros(100));
            }
        }
        self.work()
    }
}

fn has_ended(child: &mut Child) -> bool {
    // An error means that there is no child to wait for.
    !matches!(child.try_wait(), Ok(None))
}
