//! The state that commands use.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::client::Client;
use crate::interrupt::Interrupt;
use crate::printer::NoticePrinter;

/// The state that commands use.
pub(crate) struct Session {
    pub(crate) client: Arc<Client>,
    pub(crate) interrupt: Interrupt,
    pub(crate) printer: Arc<NoticePrinter>,
    pub(super) escape: u8,
    /// The instances that this session has loaded.
    pub(crate) loaded: BTreeSet<u8>,
}

impl Session {
    pub(crate) fn new(client: Arc<Client>, printer: Arc<NoticePrinter>, escape: u8) -> Self {
        Self {
            interrupt: client.interrupt().clone(),
            client,
            printer,
            escape,
            loaded: BTreeSet::new(),
        }
    }
}
