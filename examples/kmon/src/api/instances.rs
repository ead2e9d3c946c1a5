//! The instances, and requests to change them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// All instances.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
pub(crate) struct List {
    pub(crate) instances: Vec<Row>,
}

/// One instance.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Row {
    pub(crate) number: u8,
    pub(crate) name: String,
    /// `process`, `qemu` or `external`.
    pub(crate) kind: String,
    /// Only for a machine.
    pub(crate) transport: Option<String>,
    /// Where the region of an external instance is.
    pub(crate) region: Option<String>,
    /// What works across its memory, if that was tested.
    pub(crate) memory: Option<MemoryVerdict>,
    /// `starting`, `running`, `restarting`, `silent`, `paused`, `panicked`, `dead`, `halted` or
    /// `corrupt`.
    pub(crate) state: String,
    pub(crate) detail: Option<String>,
    pub(crate) pid: Option<i32>,
    pub(crate) uptime_s: Option<u64>,
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) memory_used_kb: Option<u64>,
    pub(crate) memory_total_kb: Option<u64>,
    pub(crate) unseen_bytes: u64,
    /// Unseen bytes of its kernel's log.
    pub(crate) kernel_unseen_bytes: u64,
    pub(crate) dropped_bytes: u64,
    /// The number of guestd's incarnation in this region.
    pub(crate) incarnation: Option<u32>,
    pub(crate) discarded_commands: u64,
}

impl Row {
    /// Returns true if something of the instance exists.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state.as_str(), "dead" | "halted" | "corrupt")
    }
}

/// Whether operations work across an instance's memory: `works`, `broken` or `unknown`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct MemoryVerdict {
    pub(crate) read_modify_write: String,
    pub(crate) fences: String,
}

/// Asks for an instance, now or when it has started.
#[derive(Debug, Default, Deserialize, IntoParams, Serialize)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Look {
    /// Wait until it runs, or until it is clear that it does not.
    pub(crate) wait: bool,
}

/// Starts an instance.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Load {
    /// Its name from now on.
    pub(crate) name: Option<String>,
    /// Answer when it runs. Not for an external instance, which may attach at any time.
    pub(crate) wait: bool,
}

/// Kills an instance and starts it again.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Reset {
    /// As in `Load`.
    pub(crate) wait: bool,
}

/// Ends an instance.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Halt {
    /// Kill it without asking it first.
    pub(crate) force: bool,
}

/// How an instance was ended.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct HaltAnswer {
    pub(crate) how: Halted,
}

/// How an instance was ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Halted {
    /// Guestd ended it on request.
    Clean,
    /// Its system ended after the power button was pressed.
    PoweredDown,
    /// It was killed.
    Killed,
    /// KMON has released it, because it had not attached or did not answer.
    Released,
}

/// Asks for a part of an instance's log.
#[derive(Debug, Default, Deserialize, IntoParams, Serialize)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// The log of its kernel instead of its output.
    pub(crate) kernel: bool,
    /// Also output that was seen.
    pub(crate) all: bool,
    /// The position of the first byte; without it, the first byte that is unseen.
    pub(crate) from: Option<u64>,
    /// At most this many bytes, up to 1 MiB.
    #[param(maximum = 1_048_576)]
    pub(crate) max: Option<u32>,
}

/// Notes that output was seen.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    /// The position after the last byte that was seen.
    pub(crate) position: u64,
    /// In the log of the kernel.
    #[serde(default)]
    pub(crate) kernel: bool,
}
