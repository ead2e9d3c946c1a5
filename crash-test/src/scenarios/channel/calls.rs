//! Calls over a channel, either end of which dies.
//!
//! - **A1** A call is carried out once at most, and one that was refused never.
//! - **A2** An answer is that of the call that is finished, and that call was carried out.
//! - **A3** A call whose server is no more ends with an error, not with the time.
//! - **A4** Whatever became of the calls before it, a call is answered when both ends live.

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
    // So that calls go by the line, and there is one that is started, received or answered.
    rehearsal: &[
        (CLIENT, START),
        (SERVER, RECEIVE),
        (SERVER, ANSWER),
        (CLIENT, FINISH),
    ],
    audit,
    ..CHANNEL
};

/// Empties both rings, and sees that a call is answered.
fn audit<'m>(scene: &Scene<'m>, actors: &mut [&mut Actor<'m>], _: bool) -> Outcome {
    let mut rng = Rng::with_seed(0);
    let [caller, answerer] = actors else {
        return Ok(());
    };
    let serve = |answerer: &mut Actor<'m>, rng: &mut Rng| -> Outcome {
        // A restart is reported by a call that does nothing else.
        for _ in 0..4 {
            while answerer.perform(RECEIVE, rng)? == Step::Done {}
            while answerer.perform(ANSWER, rng)? == Step::Done {}
        }
        Ok(())
    };
    serve(answerer, &mut rng)?;
    ends::journal(scene.memory.ledger, CLIENT).ensure_none_is_left()?;
    // More than those that were started before, of which some are given up.
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
