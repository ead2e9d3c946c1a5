//! Calls over a channel whose client, server or both die.
//!
//! - **A1** A call is carried out at most once; a refused call is never carried out.
//! - **A2** An answer belongs to the call that is finished, and that call was carried out.
//! - **A3** A call whose server is gone ends with an error, not with a timeout.
//! - **A4** Whatever happened to earlier calls, a call is answered when both ends are alive.

use fastrand::Rng;

use super::answerer::{self, ANSWER, Answerer, NEWS, RECEIVE};
use super::caller::{self, Caller, FINISH, KEPT, START};
use super::ends::{self, CLIENT, SERVER};
use super::messages::CHANNEL;
use crate::kit::{Actor, Outcome, Role, Scenario, Scene, Step, Violation, boxed};

pub(crate) const CALL: Scenario = Scenario {
    name: "call",
    about: "a client calls a server; either end dies, or both",
    roles: &[
        Role {
            proof: FINISH,
            recovery: &[START, FINISH],
            claimed: &[FINISH],
            before_return: &[FINISH; 16],
            ..Role::exclusive("caller", caller::OPS, |seat| boxed(Caller::join(seat)))
        },
        Role {
            proof: ANSWER,
            recovery: &[RECEIVE, ANSWER, NEWS],
            claimed: &[RECEIVE, NEWS],
            before_return: &[RECEIVE; 16],
            ..Role::exclusive("answerer", answerer::OPS, |seat| {
                boxed(Answerer::join(seat))
            })
        },
    ],
    // Calls use the call line, and one is started, received or answered.
    rehearsal: &[
        (CLIENT, START),
        (SERVER, RECEIVE),
        (SERVER, ANSWER),
        (CLIENT, FINISH),
    ],
    audit,
    ..CHANNEL
};

/// Empties both rings, and checks that a call is answered.
fn audit<'m>(scene: &Scene<'m>, actors: &mut [&mut Actor<'m>], _: bool) -> Outcome {
    let mut rng = Rng::with_seed(0);
    let [caller, answerer] = actors else {
        return Ok(());
    };
    let serve = |answerer: &mut Actor<'m>, rng: &mut Rng| -> Outcome {
        // A call that reports a restart does nothing else.
        for _ in 0..4 {
            while answerer.perform(RECEIVE, rng)? == Step::Done {}
            while answerer.perform(ANSWER, rng)? == Step::Done {}
        }
        Ok(())
    };
    serve(answerer, &mut rng)?;
    ends::journal(scene.memory.ledger, CLIENT).ensure_none_left()?;
    // More calls than can be left from before, since some of those are given up.
    let mut answered = 0;
    for _ in 0..100 {
        caller.perform(START, &mut rng)?;
        serve(answerer, &mut rng)?;
        if caller.perform(FINISH, &mut rng)? == Step::Done {
            answered += 1;
        }
        if answered > KEPT {
            return Ok(());
        }
    }
    Err(Violation::new("no call is answered any more")) // A4
}
