//! Statistics of instances, and rates between two of them.

use kmon_protocol::Stats;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The newest readings of all instances.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Readings {
    /// Seconds between two readings of an instance.
    pub(crate) period_s: f64,
    pub(crate) instances: Vec<InstanceReadings>,
}

/// The two newest readings of an instance.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct InstanceReadings {
    pub(crate) number: u8,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) detail: Option<String>,
    pub(crate) dropped_bytes: u64,
    /// The newest one; none unless the instance runs.
    pub(crate) reading: Option<Reading>,
    /// The one before.
    pub(crate) earlier: Option<Reading>,
}

/// One reading of an instance.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub(crate) struct Reading {
    /// Nanoseconds of the instance's own clock.
    pub(crate) taken_ns: u64,
    pub(crate) uptime_ms: u64,
    /// Averages over 1, 5 and 15 minutes.
    pub(crate) load: [f64; 3],
    pub(crate) cpu: CpuTime,
    pub(crate) cpus: Vec<CpuTime>,
    pub(crate) memory: Memory,
    pub(crate) interfaces: Vec<Counters>,
}

/// Time of a processor since its start, in any unit.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct CpuTime {
    pub(crate) busy: u64,
    pub(crate) total: u64,
}

/// The memory of an instance's system.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Memory {
    pub(crate) total_kb: u64,
    pub(crate) free_kb: u64,
    pub(crate) available_kb: u64,
}

/// What an interface has transferred since its start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Counters {
    pub(crate) name: String,
    pub(crate) rx_bytes: u64,
    pub(crate) rx_packets: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) tx_packets: u64,
}

impl From<&Stats> for Reading {
    fn from(stats: &Stats) -> Self {
        let time = |time: kmon_protocol::stats::CpuTime| CpuTime {
            busy: time.busy,
            total: time.total,
        };
        let counters = |interface: &kmon_protocol::stats::Interface| Counters {
            name: interface.name.clone(),
            rx_bytes: interface.rx_bytes,
            rx_packets: interface.rx_packets,
            tx_bytes: interface.tx_bytes,
            tx_packets: interface.tx_packets,
        };
        Self {
            taken_ns: stats.taken_ns,
            uptime_ms: stats.uptime_ms,
            load: stats.load.map(|hundredths| f64::from(hundredths) / 100.0),
            cpu: time(stats.cpu),
            cpus: stats.cpus.iter().copied().map(time).collect(),
            memory: Memory {
                total_kb: stats.memory_total_kb,
                free_kb: stats.memory_free_kb,
                available_kb: stats.memory_available_kb,
            },
            interfaces: stats.interfaces.iter().map(counters).collect(),
        }
    }
}
