//! A call on a channel: a command and its answer.

use std::time::Duration;

use shmem_channel::{Incoming, SameKernel, Session, SessionOptions};
use shmem_core::Mapping;

use crate::race::race;
use crate::{check, stamp};

/// Longer than any call takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Commands and answers of `N` bytes, one call after the other.
pub fn call<const N: usize>(count: u64) -> Duration {
    let mapping = Mapping::memfd("bench", 1 << 20).expect("a memfd");
    let here = Session::create(mapping.window(), 1, &SameKernel).expect("long enough");
    let there = SessionOptions::new(2).join(mapping.window(), &SameKernel);
    let there = there.expect("the slot is free");
    let mut client = here.client("bench").expect("there is room");
    let mut server = there.server("bench").expect("there is room");
    let (mut sent, mut received, mut command) = ([0; N], [0; N], [0; N]);
    race(
        move || {
            for n in 0..count {
                stamp(&mut sent, n);
                let answered = client.call(&sent, &mut received, PATIENCE);
                answered.expect("the server is alive");
                check(&received, n);
            }
        },
        move || {
            for _ in 0..count {
                let incoming = server.recv(&mut command, PATIENCE);
                let Ok(Incoming::Call { call, .. }) = incoming else {
                    panic!("only calls are made: {incoming:?}");
                };
                let answered = server.answer(call, &command, PATIENCE);
                answered.expect("the client is alive");
            }
        },
    )
}
