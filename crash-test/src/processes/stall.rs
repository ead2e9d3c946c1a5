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
use shmem_core::Life;
use shmem_registry::liveness::LIMIT;
use shmem_sync::{Liveness as _, PartitionState};

use super::Liveness;
use super::session::Session;
use crate::deaths::Deaths;
use crate::scenario::{Outcome, ensure, unexpected};

/// The longest stop where nobody goes by the time.
const SHORT: Duration = Duration::from_millis(10);
/// The longest time between those that go on.
const APART: Duration = Duration::from_millis(3);

impl Session<'_, '_, '_> {
    /// Stops processes so many times. `point` says what is done.
    pub(super) fn stall(&mut self, points: u64, point: &mut String) -> Outcome {
        self.cast_all(None)?;
        self.until_all_work()?;
        for _ in 0..points {
            if (self.plan.stop)() {
                break;
            }
            let delay = self.delay();
            self.work_for(delay)?;
            let time = self.time();
            self.plan.tally.counts().points += 1;
            let count = self.victims.len();
            // One of them, all, or those that judge and are not among them.
            match self.rng.usize(..count + 2) {
                all if all == count => {
                    *point = format!("all are stopped for {time:?}");
                    self.stop((0..count).collect(), time)?;
                }
                one if one < count => {
                    *point = format!("{} is stopped for {time:?}", self.name(one));
                    self.stop(vec![one], time)?;
                }
                _ => {
                    *point = format!("the harness is stopped for {time:?}");
                    self.stop_ourselves(time)?;
                }
            }
            ensure(!self.heart.is_robbed(), || {
                "another took the place of the harness".to_owned()
            })?;
            self.everybody_moves()?;
            self.audit(Vec::new(), false)?;
        }
        Ok(())
    }

    /// Shorter and longer than the limit of a heartbeat.
    fn time(&mut self) -> Duration {
        let part = self.rng.f64();
        match self.heart.liveness {
            Liveness::Pidfd => SHORT.mul_f64(part),
            Liveness::Heartbeat if self.rng.bool() => LIMIT.mul_f64(part / 2.0),
            Liveness::Heartbeat => LIMIT.mul_f64(1.0 + part),
        }
    }

    /// The lives of all processes.
    fn lives(&self) -> Outcome<Vec<Life>> {
        let partitions = 1..=self.victims.len() as u8;
        let life = |partition| {
            let slot = self.stage.registry.partition(partition);
            Ok(slot.map_err(unexpected("looking at a partition"))?.life)
        };
        let lives: Outcome<Vec<_>> = partitions.map(life).collect();
        Ok(lives?.into_iter().flatten().collect())
    }

    /// Stops some processes; they go on one after the other.
    fn stop(&mut self, mut slots: Vec<usize>, time: Duration) -> Outcome {
        self.rng.shuffle(&mut slots);
        let handles = slots.iter().filter_map(|&slot| self.victims[slot].as_ref());
        let handles: Outcome<Vec<OwnedFd>> = handles.map(|victim| victim.handle()).collect();
        let handles = handles?;
        let signal = |handle: &OwnedFd, signal| pidfd_send_signal(handle, signal);
        for handle in &handles {
            signal(handle, Signal::STOP).map_err(unexpected("stopping"))?;
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
        let mut waker = waker.map_err(unexpected("starting a shell"))?;
        self.watch_until(|| has_ended(&mut waker))
    }

    /// Works, and asks whether all are alive (T1), until `done`.
    fn watch_until(&mut self, mut done: impl FnMut() -> bool) -> Outcome {
        let lives = self.lives()?;
        let mut watchers = [
            self.heart.deaths(),
            Deaths::of_processes(self.stage.registry),
        ];
        let begun = Instant::now();
        while !done() {
            self.work()?;
            for &life in &lives {
                let [heart, kernel] = watchers.each_mut().map(|watcher| watcher.state(life));
                ensure(heart != PartitionState::Gone, || {
                    format!(
                        "{life} is said to be gone {:?} after it was stopped",
                        begun.elapsed()
                    )
                })?;
                ensure(kernel == PartitionState::Alive, || {
                    format!("the kernel is said to know that {life} is {kernel:?}")
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
