//! Reads statistics from `/proc` and publishes them periodically.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kmon_protocol::Stats;
use kmon_protocol::link::StatsWriter;
use kmon_protocol::stats::{CpuTime, Interface};
use nix::sys::utsname::uname;
use procfs::{Current, CurrentSI, KernelStats, LoadAverage, Meminfo, Uptime};
use rustix::time::{ClockId, clock_gettime};

use crate::outlet::Outlet;

/// Publishes readings to the current region.
#[derive(Default)]
pub(crate) struct Publisher {
    /// `None` while there is no region.
    target: Mutex<Option<Target>>,
    changed: Condvar,
}

struct Target {
    writer: StatsWriter<'static>,
    period: Duration,
}

impl Publisher {
    /// Publishes a reading to `writer` every `period` from now on, the first immediately.
    pub(crate) fn publish_to(&self, writer: StatsWriter<'static>, period: Duration) {
        *self.target() = Some(Target { writer, period });
        self.changed.notify_one();
    }

    /// Stops publishing until there is another region.
    pub(crate) fn stop(&self) {
        *self.target() = None;
    }

    /// Publishes readings as long as the process runs.
    pub(crate) fn run(&self, outlet: &Outlet) {
        let mut next = Instant::now();
        loop {
            let stats = read(outlet.dropped());
            let mut target = self.target();
            let Some(Target { writer, period }) = target.as_mut() else {
                drop(self.changed.wait(target));
                next = Instant::now();
                continue;
            };
            writer.publish(&stats);
            // Scheduled by the clock, so that readings do not drift. After a long sleep of the
            // machine, missed readings are not made up.
            let now = Instant::now();
            next = (next + *period).max(now);
            let waited = self.changed.wait_timeout(target, next - now);
            if !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
                next = Instant::now();
            }
        }
    }

    fn target(&self) -> MutexGuard<'_, Option<Target>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes one reading. Values that the kernel does not provide stay zero.
fn read(dropped_bytes: u64) -> Stats {
    let mut stats = Stats {
        taken_ns: monotonic_ns(),
        dropped_bytes,
        ..Stats::default()
    };
    if let Ok(uptime) = Uptime::current() {
        stats.uptime_ms = uptime.uptime_duration().as_millis() as u64;
    }
    if let Ok(load) = LoadAverage::current() {
        stats.load = [load.one, load.five, load.fifteen].map(|load| (load * 100.0).round() as u32);
    }
    if let Ok(memory) = Meminfo::current() {
        stats.memory_total_kb = memory.mem_total / 1024;
        stats.memory_free_kb = memory.mem_free / 1024;
        // Before Linux 3.14 there is no estimate; free memory is a safe one.
        stats.memory_available_kb = memory.mem_available.unwrap_or(memory.mem_free) / 1024;
    }
    if let Ok(kernel) = KernelStats::current() {
        stats.cpu = cpu_time(&kernel.total);
        stats.cpus = kernel
            .cpu_time
            .iter()
            .take(Stats::MAX_CPUS)
            .map(cpu_time)
            .collect();
    }
    if let Ok(name) = uname() {
        stats.hostname = name.nodename().to_string_lossy().into_owned();
        stats.kernel = name.release().to_string_lossy().into_owned();
    }
    stats.interfaces = interfaces();
    stats
}

/// Converts the times of a CPU. Guest time is left out of the sum: the kernel includes it in `user`
/// and `nice`.
fn cpu_time(ticks: &procfs::CpuTime) -> CpuTime {
    let waiting = ticks.idle + ticks.iowait.unwrap_or(0);
    let busy = ticks.user
        + ticks.nice
        + ticks.system
        + [ticks.irq, ticks.softirq, ticks.steal]
            .into_iter()
            .flatten()
            .sum::<u64>();
    CpuTime {
        busy,
        total: busy + waiting,
    }
}

/// Returns the interfaces sorted by name, so that their order does not change between readings.
fn interfaces() -> Vec<Interface> {
    let status = procfs::net::dev_status().unwrap_or_default();
    let mut interfaces: Vec<_> = status
        .into_values()
        .map(|status| Interface {
            name: status.name,
            rx_bytes: status.recv_bytes,
            rx_packets: status.recv_packets,
            tx_bytes: status.sent_bytes,
            tx_packets: status.sent_packets,
        })
        .collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces.truncate(Stats::MAX_INTERFACES);
    interfaces
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use procfs::LocalSystemInfo;
    use procfs::prelude::FromReadSI;

    use super::*;

    #[test]
    fn a_reading_has_the_values_of_this_machine() {
        let stats = read(7);
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
    fn time_waiting_for_a_disk_is_not_busy_and_guest_time_counts_once() {
        let text = "cpu  1 2 4 100 200 8 16 32 64 128\nctxt 1\nbtime 1\nprocesses 1\n";
        let kernel = KernelStats::from_read(text.as_bytes(), &LocalSystemInfo).unwrap();
        let expected = CpuTime {
            busy: 63,
            total: 363,
        };
        assert_eq!(cpu_time(&kernel.total), expected);
    }
}
