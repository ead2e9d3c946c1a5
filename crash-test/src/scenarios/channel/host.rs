//! The platform of a session in a scenario: clock, sleep, and state of its peers.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use shmem_channel::{Platform, Session, SessionOptions, WakeReason};
use shmem_core::doorbell::Doorbell;
use shmem_core::wait::Wait;
use shmem_core::{Liveness, PartitionState};
use shmem_registry::{Process, Registry};
use shmem_sync::{Futex, FutexBell};

use crate::kit::{Incarnation, LIMIT, OrViolation, Outcome, Seat, ensure};
use crate::scenarios::alias::Aliases;
use crate::scenarios::attach::{process, read_partition};

/// How long a call waits.
pub(super) const WAIT: Duration = Duration::from_micros(500);

/// How far the simulated clock advances at each reading.
const TICK: Duration = Duration::from_micros(100);

struct Host<'m> {
    aliases: Mutex<Aliases<'m>>,
    process: Process,
    /// Readings of the simulated clock; `None` if the clock is real.
    readings: Option<AtomicU32>,
}

impl Platform for Host<'_> {
    fn now(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        match &self.readings {
            Some(readings) => TICK * readings.fetch_add(1, Relaxed),
            None => START.get_or_init(Instant::now).elapsed(),
        }
    }

    fn sleep(&self, ring_count: &AtomicU32, seen: u32, longest: Duration) {
        if self.readings.is_none() {
            Futex::timeout(longest).sleep(ring_count, seen);
        }
    }

    fn wake(&self, ring_count: &AtomicU32, _: WakeReason) {
        FutexBell.ring(ring_count);
    }

    fn state(&self, _: &Registry<'_>, partition: Incarnation) -> PartitionState {
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        aliases.state(partition)
    }

    fn process(&self) -> Process {
        self.process
    }
}

/// Joins the region as the next incarnation of `partition`, after its last one is gone.
pub(super) fn join(seat: Seat<'_>, partition: u8) -> Outcome<Session<'_>> {
    let memory = seat.memory;
    let is_simulated = seat.observer.is_listed();
    let mut aliases = Aliases {
        ledger: memory.ledger,
        observer: seat.observer,
    };
    let before = read_partition(&memory.registry, partition)?;
    let last = before.incarnation.map_or(0, Incarnation::number);
    let next = aliases.add(partition, last, seat.incarnation)?;
    let mut options = SessionOptions::new(partition);
    match before.incarnation {
        // Every other one takes over with the number of the incarnation that is gone.
        Some(earlier) if last % 2 == 0 && aliases.is_gone(earlier) => {
            options = options.take_over(earlier);
        }
        _ if !is_simulated => options = options.wait_for_earlier(LIMIT),
        _ => {}
    }
    let host = Arc::new(Host {
        aliases: Mutex::new(aliases),
        process: process(next),
        readings: is_simulated.then(AtomicU32::default),
    });
    let session = options.join(memory.object, Arc::clone(&host));
    let session = session.or_violation("joining")?;
    let after = read_partition(&memory.registry, partition)?;
    let joined = session.incarnation() == next
        && after.incarnation == Some(next)
        && after.attached
        && after.process == process(next);
    let mut aliases = host.aliases.lock().unwrap_or_else(PoisonError::into_inner);
    ensure(joined || aliases.observer.is_gone(seat.incarnation), || {
        format!(
            "{before:?}, then {} joined: {after:?}",
            session.incarnation()
        )
    })?;
    drop(aliases);
    Ok(session)
}
