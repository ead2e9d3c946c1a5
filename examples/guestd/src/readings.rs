//! Statistics from `/proc`, published at a steady pace.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kmon_protocol::Stats;
use kmon_protocol::link::StatsWriter;
use nix::sys::utsname::uname;
use rustix::time::{ClockId, clock_gettime};

use crate::outlet::Outlet;
use crate::sources::Sources;

/// Publishes readings to the region that there is.
#[derive(Default)]
pub(crate) struct Publisher {
    /// Nothing while there is none.
    board: Mutex<Option<Board>>,
    changed: Condvar,
}

struct Board {
    writer: StatsWriter<'static>,
    period: Duration,
}

impl Publisher {
    /// From now on a reading goes to `writer` every `period`, the first at once.
    pub(crate) fn publish_to(&self, writer: StatsWriter<'static>, period: Duration) {
        *self.board() = Some(Board { writer, period });
        self.changed.notify_one();
    }

    /// Publishes nothing more until there is another region.
    pub(crate) fn stop(&self) {
        *self.board() = None;
    }

    /// Publishes for as long as the process lives.
    pub(crate) fn run(&self, outlet: &Outlet) {
        let mut sources = Sources::of_machine();
        let mut next = Instant::now();
        loop {
            let stats = read(&mut sources, outlet.dropped());
            let mut board = self.board();
            let Some(Board { writer, period }) = board.as_mut() else {
                drop(self.changed.wait(board));
                next = Instant::now();
                continue;
            };
            writer.publish(&stats);
            // By the clock and not by a pause, so that readings do not drift; after a
            // long sleep of the machine, no burst to catch up.
            let now = Instant::now();
            next = (next + *period).max(now);
            let waited = self.changed.wait_timeout(board, next - now);
            if !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
                next = Instant::now();
            }
        }
    }

    fn board(&self) -> MutexGuard<'_, Option<Board>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reading.
fn read(sources: &mut Sources, dropped_bytes: u64) -> Stats {
    let mut stats = Stats {
        taken_ns: nanoseconds(ClockId::Monotonic),
        uptime_ms: nanoseconds(ClockId::Boottime) / 1_000_000,
        dropped_bytes,
        ..Stats::default()
    };
    sources.read(&mut stats);
    if let Ok(name) = uname() {
        stats.hostname = name.nodename().to_string_lossy().into_owned();
        stats.kernel = name.release().to_string_lossy().into_owned();
    }
    stats
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_has_what_this_machine_tells() {
        let stats = read(&mut Sources::of_machine(), 7);
        assert_eq!(stats.dropped_bytes, 7);
        assert!(stats.taken_ns > 0 && stats.uptime_ms > 0, "{stats:?}");
        assert!(
            stats.memory_total_kb >= stats.memory_available_kb && stats.memory_available_kb > 0,
            "{stats:?}"
        );
        assert!(
            !stats.cpus.is_empty() && !stats.hostname.is_empty() && !stats.kernel.is_empty(),
            "{stats:?}"
        );
    }

    #[test]
    fn a_later_reading_is_new() {
        let mut sources = Sources::of_machine();
        let (first, second) = (read(&mut sources, 0), read(&mut sources, 0));
        assert!(second.taken_ns > first.taken_ns && second.cpu.total >= first.cpu.total);
        assert_eq!(second.cpus.len(), first.cpus.len());
    }
}
