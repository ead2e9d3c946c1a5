//! Ends what a client has started, or everything.

use crate::api::fault::{Code, Fault};
use crate::api::instances::{Halt, HaltAnswer, List};
use crate::client::Client;

/// Ends instance `number` if it runs.
pub(super) fn halt(client: &Client, number: u8) -> anyhow::Result<()> {
    let path = format!("/v1/instances/{number}/halt");
    let halted = client.post::<HaltAnswer>(&path, &Halt { force: false });
    let code = |error: &anyhow::Error| Some(error.downcast_ref::<Fault>()?.code);
    match halted {
        Err(error)
            if matches!(
                code(&error),
                Some(Code::AlreadyHalted | Code::NoSuchInstance)
            ) =>
        {
            Ok(())
        }
        done => done.map(drop),
    }
}

/// Returns how many instances run.
pub(super) fn count_running(client: &Client) -> usize {
    // Without a server, none can be ended.
    let list: List = client.get("/v1/instances").unwrap_or_default();
    list.instances.iter().filter(|one| one.is_alive()).count()
}
