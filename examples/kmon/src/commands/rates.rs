//! Rates between two readings of an instance.

use serde::Serialize;

use crate::api::reading::{Counters, CpuTime, Reading};

/// Rates per second between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct InterfaceRates {
    pub(super) rx_bytes_per_s: f64,
    pub(super) tx_bytes_per_s: f64,
}

/// Returns the seconds between two readings of an instance; `None` if `later` is not the later one,
/// as after a restart.
pub(super) fn interval(earlier: &Reading, later: &Reading) -> Option<f64> {
    let nanoseconds = later.taken_ns.checked_sub(earlier.taken_ns)?;
    (nanoseconds > 0).then_some(nanoseconds as f64 / 1e9)
}

/// Returns the rates of `interface` since the reading `earlier`.
pub(super) fn interface_rates(
    interface: &Counters,
    earlier: &Reading,
    seconds: f64,
) -> InterfaceRates {
    let before = earlier
        .interfaces
        .iter()
        .find(|before| before.name == interface.name);
    let Some(before) = before else {
        return InterfaceRates::default();
    };
    let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
    InterfaceRates {
        rx_bytes_per_s: rate(interface.rx_bytes, before.rx_bytes),
        tx_bytes_per_s: rate(interface.tx_bytes, before.tx_bytes),
    }
}

/// Returns the use of the processors between two readings, in percent: of all together, and of
/// each.
pub(super) fn cpu_percent(earlier: &Reading, later: &Reading) -> (f64, Vec<f64>) {
    let pairs = later.cpus.iter().zip(&earlier.cpus);
    let each = pairs.map(|(now, then)| busy_percent(*then, *now));
    (busy_percent(earlier.cpu, later.cpu), each.collect())
}

fn busy_percent(earlier: CpuTime, later: CpuTime) -> f64 {
    let time = |time: CpuTime| kmon_protocol::stats::CpuTime {
        busy: time.busy,
        total: time.total,
    };
    time(later).percent_since(time(earlier))
}

/// Rounds to two digits, as in the paper.
pub(super) fn two_digits(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(seconds: u64, rx_bytes: u64, busy: u64) -> Reading {
        Reading {
            taken_ns: seconds * 1_000_000_000,
            cpu: CpuTime {
                busy,
                total: seconds * 100,
            },
            interfaces: vec![Counters {
                name: "lo".into(),
                rx_bytes,
                ..Counters::default()
            }],
            ..Reading::default()
        }
    }

    #[test]
    fn rates_are_per_second_of_the_instances_clock() {
        let (earlier, later) = (reading(10, 1000, 100), reading(14, 9000, 200));
        let seconds = interval(&earlier, &later).unwrap();
        let rates = interface_rates(&later.interfaces[0], &earlier, seconds);
        assert_eq!(rates.rx_bytes_per_s, 2000.0);
        assert_eq!(cpu_percent(&earlier, &later).0, 25.0);
    }

    #[test]
    fn counters_that_restart_give_no_rate() {
        let (earlier, later) = (reading(10, 1000, 100), reading(14, 10, 0));
        let rates = interface_rates(&later.interfaces[0], &earlier, 4.0);
        assert_eq!(rates, InterfaceRates::default());
        assert_eq!(interval(&later, &earlier), None);
        assert_eq!(interval(&later, &later), None);
    }
}
