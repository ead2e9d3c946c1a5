//! What a scenario is: an object in shared memory, what lives do with it, and
//! what must hold whenever one of them has died.

use std::fmt;

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::mem::Window;
use shmem_registry::{Geometry, Kind};

use super::deaths::Deaths;
use super::stage::Stage;

/// Something that was found and must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) what: String,
    /// Whether it is an error by which a partition learns that something is not its
    /// own any more: right for one that was taken for gone and comes late.
    pub(super) tells: bool,
}

/// The errors of the libraries that tell so.
const TELLING: [&str; 5] = ["Evicted", "NotHeld", "Stale", "Claimed", "Attached"];

impl Violation {
    pub(super) fn new(what: String) -> Self {
        Self { what, tells: false }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

impl std::error::Error for Violation {}

/// Whether an error of the libraries says that somebody was waited for in vain.
pub(super) fn is_in_vain(error: &impl fmt::Debug) -> bool {
    let variant = format!("{error:?}");
    let names = ["TimedOut", "HolderSilent", "PartySilent"];
    names.iter().any(|name| variant.starts_with(name))
}

pub(super) type Outcome<T = ()> = Result<T, Violation>;

/// A violation, unless `holds`.
pub(super) fn ensure(holds: bool, found: impl FnOnce() -> String) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(Violation::new(found())),
    }
}

/// Another error, where none may be.
pub(super) fn unexpected<T>(what: &'static str) -> impl FnOnce(T) -> Violation
where
    T: fmt::Display + fmt::Debug,
{
    move |error| {
        let variant = format!("{error:?}");
        Violation {
            what: format!("{what}: {error}"),
            tells: TELLING.iter().any(|name| variant.starts_with(name)),
        }
    }
}

/// What became of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    /// There was nothing to do: a full ring, an empty one, no space.
    Idle,
}

/// A part that a life can play.
pub(super) struct Role {
    pub(super) name: &'static str,
    /// The names of its operations.
    pub(super) ops: &'static [&'static str],
    /// The operation that shows that the object works for it.
    pub(super) proof: usize,
    /// Whether one life at a time plays it.
    pub(super) exclusive: bool,
}

/// Who plays in a session of processes.
pub(super) struct Cast {
    /// The roles of the processes, each of which may be killed.
    pub(super) victims: &'static [usize],
    /// The roles of lives in the harness.
    pub(super) survivors: &'static [usize],
}

/// A life that plays a role.
pub(super) trait Actor {
    /// Does one operation of the role, wholly.
    fn act(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step>;
}

/// Where a scenario's object lies.
pub(super) struct Layout {
    pub(super) geometry: Geometry,
    /// Bytes for segments.
    pub(super) space: usize,
    /// The segment that holds the object; none where the registry is the object.
    pub(super) object: Option<(Kind, usize)>,
    /// Words that the scenario keeps its account in.
    pub(super) account: usize,
}

pub(super) trait Scenario: Sync {
    fn name(&self) -> &'static str;

    /// One line for a person who chooses.
    fn about(&self) -> &'static str;

    fn roles(&self) -> &'static [Role];

    fn casts(&self) -> &'static [Cast];

    /// Sizes of the object.
    fn shapes(&self) -> &'static [u32];

    /// Those for the enumeration of stalls.
    fn stall_shapes(&self) -> &'static [u32] {
        self.shapes()
    }

    fn layout(&self, shape: u32) -> Layout;

    /// Makes a fresh stage what the scenario begins with.
    fn found(&self, _: &Stage<'_>) -> Outcome {
        Ok(())
    }

    /// How many starting states there are for the enumeration of stores.
    fn starts(&self, shape: u32) -> u32;

    /// Brings a fresh object into a starting state.
    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome;

    /// Lets go of what a starting state held.
    fn let_go(&self, _: &Stage<'_>) -> Outcome {
        Ok(())
    }

    /// Lets `life` play a role, after a dead life if there was one.
    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        role: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>>;

    /// The operations that a recoverer in this role does, after it joined.
    fn recovery(&self, role: usize) -> Vec<usize> {
        vec![self.roles()[role].proof]
    }

    /// Whether the object knows who plays this role, in all of this operation, and refuses
    /// others meanwhile.
    fn claims(&self, _role: usize, _op: usize) -> bool {
        false
    }

    /// What those in a role do just before one that was stopped goes on.
    fn before_return(&self, _role: usize) -> Vec<usize> {
        Vec::new()
    }

    /// Memory that lives other than `late` own, and that it is not to change.
    fn belongings<'m>(&self, _: &Stage<'m>, _late: Life) -> Outcome<Vec<Window<'m>>> {
        Ok(Vec::new())
    }

    /// Whether others take a silent life for gone, which is wrong: for the self-test.
    fn is_rash(&self) -> bool {
        false
    }

    /// Whether an audit is worth its time after each death, and not only at the end.
    fn audits(&self) -> bool {
        true
    }

    /// What a person wants to see of an object that does not work any more.
    fn describe(&self, _: &Stage<'_>) -> String {
        String::new()
    }

    /// Holds the object against the account while nobody else works on it; there is
    /// an actor for each role, in their order. In the end, nobody has anything left to do.
    fn audit<'m>(
        &self,
        stage: &Stage<'m>,
        deaths: &Deaths<'m>,
        actors: &mut [&mut (dyn Actor + 'm)],
        end: bool,
    ) -> Outcome;
}
