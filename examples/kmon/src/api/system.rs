//! The machine of the server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A machine.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct SystemInfo {
    pub(crate) hostname: String,
    pub(crate) kernel: String,
    pub(crate) cpus: Processors,
    pub(crate) memory: MachineMemory,
    pub(crate) interfaces: Vec<MachineInterface>,
}

/// Its processors.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Processors {
    pub(crate) count: usize,
    pub(crate) model: Option<String>,
    pub(crate) mhz: Vec<f64>,
}

/// Its memory.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct MachineMemory {
    pub(crate) total_kb: u64,
    pub(crate) free_kb: u64,
    pub(crate) available_kb: Option<u64>,
}

/// One of its network interfaces.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
pub(crate) struct MachineInterface {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) mac: Option<String>,
    pub(crate) mtu: Option<u32>,
    pub(crate) addresses: Vec<String>,
}
