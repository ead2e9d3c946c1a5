//! The record by which the next KMON finds a backend.

use serde::{Deserialize, Serialize};

use super::server;
use crate::embedded;

/// The record by which the next KMON finds a backend.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendRecord {
    Process(embedded::ProcessRecord),
    /// A machine that is being started.
    #[serde(rename = "begun")]
    Starting,
    Machine(MachineRecord),
    External,
}

/// The record by which a machine is found.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct MachineRecord {
    pub(super) machine: kmon_qemu::MachineRecord,
    pub(super) server: Option<server::ServerRecord>,
}
