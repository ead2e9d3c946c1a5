//! By what the next KMON finds a body again.

use serde::{Deserialize, Serialize};

use super::server;
use crate::embedded;

/// By what the next KMON finds a body again.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendRecord {
    Process(embedded::BackendRecord),
    /// A machine that is just being started.
    Begun,
    Machine(KeptMachine),
    External,
}

/// By what a machine is found again.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct KeptMachine {
    pub(super) machine: kmon_qemu::MachineRecord,
    pub(super) server: Option<server::BackendRecord>,
}
