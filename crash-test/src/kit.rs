//! The names that every scenario imports.

pub(crate) use crate::actor::{Actor, Role};
pub(crate) use crate::incarnation::Incarnation;
pub(crate) use crate::ledger::{Cell, Count, Ledger};
pub(crate) use crate::memory::{Layout, PARTITIONS, TestMemory};
pub(crate) use crate::observer::{LIMIT, Observer};
pub(crate) use crate::party::{Join, Party, Seat, Step, boxed};
pub(crate) use crate::scenario::{Cast, Scenario};
pub(crate) use crate::scene::{DYING, Scene};
pub(crate) use crate::verdict::{OrViolation, Outcome, Violation, ensure, is_timeout, unexpected};
