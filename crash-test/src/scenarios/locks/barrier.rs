//! A barrier whose parties die.

use std::time::{Duration, Instant};

use fastrand::Rng;
use shmem_registry::Kind;
use shmem_sync::{Arrival, Barrier, BarrierError, FutexBell, Liveness};

use crate::kit::{
    Actor, Cast, Cell, Incarnation, Layout, OrViolation, Outcome, Party, Role, Scenario, Scene,
    Seat, Step, TestMemory, boxed, ensure, is_timeout, unexpected,
};
use crate::scenarios::alias::{self, Aliases};

const TRY: usize = 0;
const WAIT: usize = 1;

const PARTIES: usize = 3;

/// How long an incarnation that is gone may look alive while the next one attaches.
const MOMENT: Duration = Duration::from_secs(1);

/// Phases whose leaders the account holds.
const LEADERS: usize = 32;

/// Words of the account: the aliases, then those of each party, then the leaders.
const OF_PARTIES: usize = alias::ACCOUNT;
const OF_LEADERS: usize = OF_PARTIES + 4 * PARTIES;

/// An arrival at the next phase, whichever it is.
const ANY: u32 = u32::MAX;

/// The incarnation that used the barrier before.
const FORMER: Incarnation = Incarnation::first(6);

pub(crate) const BARRIER: Scenario = Scenario {
    name: "barrier",
    about: "parties of a barrier die, and their next incarnations arrive in their place",
    roles: &[role("party 1"), role("party 2"), role("party 3")],
    casts: &[
        Cast::new(&[0, 1], &[2]),
        Cast::new(&[0, 2], &[1]),
        Cast::new(&[0, 1, 2], &[]),
    ],
    layout: |_| {
        let len = Barrier::segment_len(PARTIES as u8);
        Layout::with_object(Kind::BARRIER, len, OF_LEADERS + LEADERS)
    },
    starts: |_| 4,
    prepare,
    audits_each_death: false,
    audit,
    ..Scenario::BASE
};

const fn role(name: &'static str) -> Role {
    Role {
        proof: WAIT,
        recovery: &[WAIT],
        ..Role::exclusive(name, &["try", "wait"], |seat| boxed(Waiter::join(seat)))
    }
}

/// Lets the parties pass some phases, and some arrive at the next.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    let mut rng = Rng::with_seed(start.into());
    let waiters: Outcome<Vec<_>> = (0..PARTIES).map(|role| scene.join(role, FORMER)).collect();
    let mut waiters = waiters?;
    for _ in 0..2 * start {
        for waiter in &mut waiters {
            waiter.perform(TRY, &mut rng)?;
        }
    }
    scene.declare_gone(FORMER);
    Ok(())
}

fn audit<'m>(_: &Scene<'m>, actors: &mut [&mut Actor<'m>], _: bool) -> Outcome {
    let mut rng = Rng::with_seed(0);
    let mut passes = 0;
    for _ in 0..6 {
        for actor in &mut *actors {
            passes += usize::from(actor.perform(TRY, &mut rng)? == Step::Done);
        }
    }
    ensure(passes >= 2 * PARTIES, || {
        format!("all arrive, and {passes} pass in six rounds")
    })
}

/// The words of a party in the account.
struct Account<'m> {
    /// The number of its incarnations.
    incarnations: Cell<'m>,
    /// The phase at which it may have arrived.
    arriving: Cell<'m>,
    /// The last phase that it passed.
    passed: Cell<'m>,
}

impl<'m> Account<'m> {
    fn new(memory: &TestMemory<'m>, role: usize) -> Self {
        let cell = |word| memory.ledger.account(OF_PARTIES + role * 4 + word);
        Self {
            incarnations: cell(0),
            arriving: cell(1),
            passed: cell(2),
        }
    }
}

struct Waiter<'m> {
    barrier: Barrier<'m>,
    memory: TestMemory<'m>,
    account: Account<'m>,
    aliases: Aliases<'m>,
    /// The next phase to arrive at, until it is passed.
    next: u32,
}

impl<'m> Waiter<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        let memory = seat.memory;
        let aliases = Aliases {
            ledger: memory.ledger,
            observer: seat.observer,
        };
        let account = Account::new(&memory, seat.role);
        let last = account.incarnations.get();
        let alias = aliases.add(seat.role as u8 + 1, last, seat.incarnation)?;
        account.incarnations.set(alias.number());
        // SAFETY: the only handle of its incarnation that is used.
        let barrier = unsafe { Barrier::attach(memory.object, alias, PARTIES, &FutexBell) };
        Ok(Self {
            barrier: barrier.or_violation("attaching to the barrier")?,
            memory,
            account,
            aliases,
            next: ANY,
        })
    }

    /// Checks that no party passes before all have arrived, or twice, and that one leads.
    fn pass(&mut self, arrival: Arrival) -> Outcome<Step> {
        let phase = arrival.phase;
        let last = self.account.passed.get();
        ensure(
            self.next == ANY && phase > last || phase == self.next,
            || format!("passed {phase}, and before that {last}"),
        )?;
        for other in 0..PARTIES {
            let account = Account::new(&self.memory, other);
            let (at, other) = (account.arriving.get(), other + 1);
            ensure(at >= phase, || {
                format!("passed {phase} when party {other} had arrived at {at} at most")
            })?;
            let other_passed = account.passed.get();
            ensure(other_passed <= phase, || {
                format!("party {other} passed {other_passed} without us, at {phase}")
            })?;
        }
        if arrival.leader {
            let at = OF_LEADERS + phase as usize % LEADERS;
            let before = self.memory.ledger.account(at).swap(phase);
            ensure(before != phase, || format!("phase {phase} has two leaders"))?;
        }
        self.account.passed.set(phase);
        self.next = phase + 1;
        Ok(Step::Done)
    }

    /// Checks that a party that is reported as dead is gone.
    fn ensure_gone(&mut self, party: Incarnation) -> Outcome<Step> {
        // It may look alive for a moment, while its next incarnation attaches.
        let reported = Instant::now();
        while !self.aliases.is_gone(party) {
            ensure(reported.elapsed() < MOMENT, || {
                format!("{party} is reported as dead, and is alive")
            })?;
            std::thread::yield_now();
        }
        Ok(Step::Idle)
    }
}

impl Party for Waiter<'_> {
    fn perform(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        self.account.arriving.set(self.next);
        let arrival = match op {
            TRY => self.barrier.try_wait(&mut self.aliases),
            _ => {
                let mut wait = self.aliases.observer.wait(Duration::from_millis(1));
                self.barrier.wait(&mut wait, &mut self.aliases).map(Some)
            }
        };
        match arrival {
            Ok(Some(arrival)) => self.pass(arrival),
            Ok(None) => Ok(Step::Idle),
            Err(error) if is_timeout(&error) => Ok(Step::Idle),
            Err(BarrierError::PartyDied(party)) => self.ensure_gone(party),
            Err(error) => Err(unexpected("waiting", error)),
        }
    }
}
