//! Ends what a client has started, or everything.

use crate::api::fault::{Code, Fault};
use crate::api::instances::{Halt, HaltAnswer, List};
use crate::api::{Done, Fate, Shutdown};
use crate::client::{Client, NoServer};

/// Ends all instances and the server.
pub(super) fn end_all(client: &Client) -> anyhow::Result<()> {
    let shutdown = Shutdown {
        instances: Fate::Halt,
    };
    match client.post::<Done>("/v1/shutdown", &shutdown) {
        // Another client was faster.
        Err(error) if error.is::<NoServer>() => Ok(()),
        done => done.map(drop),
    }
}

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
