//! Stops of processes, which go on after a while.
//!
//! - **T1** Nobody is told that a stopped process is gone, nor that a living one is: by
//!   the kernel it is alive, by its heartbeat at the most silent.
//! - **T2** Nobody takes anything from it: when it goes on, everything it does works,
//!   and all that it and others acknowledged is there.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};
use shmem_registry::liveness::LIMIT;
use shmem_sync::{Liveness, PartitionState};

use super::arguments::Detection;
use super::round::Round;
use crate::fault::FaultKind;
use crate::incarnation::Incarnation;
use crate::observer::Observer;
use crate::verdict::{OrViolation, Outcome, ensure};

/// The longest stop where nobody goes by the time.
const SHORT: Duration = Duration::from_millis(10);
/// The longest time between those that go on.
const APART: Duration = Duration::from_millis(3);

impl Round<'_, '_> {
    /// Stops processes so many times. `point` says what is done.
    pub(super) fn stop_some(&mut self, points: u64, point: &mut String) -> Outcome {
        self.start_missing(None)?;
        self.until_all_work()?;
        for _ in 0..points {
            if (self.harness.stop)() {
                break;
            }
            self.work_a_while()?;
            let time = self.stop_time();
            self.harness.tally.count_point(FaultKind::Stall);
            let count = self.processes.len();
            // One of them, all, or those that judge and are not among them.
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
            self.everybody_moves()?;
            self.audit(Vec::new(), false)?;
        }
        Ok(())
    }

    /// Shorter and longer than the limit of a heartbeat.
    fn stop_time(&mut self) -> Duration {
        let part = self.rng.f64();
        match self.attachments.detection {
            Detection::Pidfd => SHORT.mul_f64(part),
            Detection::Heartbeat if self.rng.bool() => LIMIT.mul_f64(part / 2.0),
            Detection::Heartbeat => LIMIT.mul_f64(1.0 + part),
        }
    }

    /// Stops some processes; they go on one after the other.
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
        // On a thread: we may wait for them ourselves.
        let waker = thread::spawn(move || {
            thread::sleep(time);
            for handle in handles {
                // It may have been killed, if we gave up.
                let _ = signal(&handle, Signal::CONT);
                thread::sleep(apart);
            }
        });
        self.watch_until(|| waker.is_finished())
    }

    /// Has this process stopped while the others go on.
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
            incarnations.extend(found.or_violation("looking at a partition")?.incarnation);
        }
        Ok(incarnations)
    }

    /// Works, and asks whether all are alive (T1), until `done`.
    fn watch_until(&mut self, mut done: impl FnMut() -> bool) -> Outcome {
        let incarnations = self.incarnations()?;
        let mut observer = self.attachments.observer();
        let mut kernel = Observer::by_kernel(self.scene.memory.registry);
        let begun = Instant::now();
        while !done() {
            self.work()?;
            for &incarnation in &incarnations {
                let (said, known) = (observer.state(incarnation), kernel.state(incarnation));
                ensure(said != PartitionState::Gone, || {
                    let time = begun.elapsed();
                    format!("{incarnation} is said to be gone {time:?} after it was stopped")
                })?;
                ensure(known == PartitionState::Alive, || {
                    format!("the kernel is said to know that {incarnation} is {known:?}")
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
    // An error means that there is nothing to wait for.
    !matches!(child.try_wait(), Ok(None))
}
