//! What a litmus has found, and what to change.

use core::fmt;

/// Whether something works across the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Both parties did it at the same time, often, and nothing went wrong.
    Works,
    /// It went wrong.
    Broken {
        /// How often.
        wrong: u32,
        /// Of how many.
        of: u32,
    },
    /// The other party did not answer, or the two hardly ran at the same time.
    Unknown,
}

impl Finding {
    /// So many went wrong of those that were tried, which were enough or not.
    pub(super) fn from_counts(wrong: u32, of: u32, enough: bool) -> Self {
        match wrong {
            0 if enough && of != 0 => Self::Works,
            0 => Self::Unknown,
            wrong => Self::Broken { wrong, of },
        }
    }

    /// Whether it went wrong; what is not known did not.
    pub fn is_broken(self) -> bool {
        matches!(self, Self::Broken { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("works"),
            Self::Broken { wrong, of } => write!(f, "broken, {wrong} of {of} went wrong"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What two parties have found out about their memory.
///
/// A party that does not keep to the protocol can make it say anything, of this
/// memory, which it could spoil anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Compare-and-swap: of two that add to one word at the same time, none is lost.
    /// Counted are additions.
    pub read_modify_write: Finding,
    /// A full fence between a store and a load: of two parties that each store and then
    /// look, one sees the other's. Counted are rounds.
    pub fences: Finding,
}

impl Verdict {
    /// What the other party says, but for what only we have seen to be broken.
    pub(super) fn or_worse(self, theirs: Self) -> Self {
        let choose = |ours: Finding, theirs: Finding| match theirs.is_broken() {
            false if ours.is_broken() => ours,
            _ => theirs,
        };
        Self {
            read_modify_write: choose(self.read_modify_write, theirs.read_modify_write),
            fences: choose(self.fences, theirs.fences),
        }
    }

    /// Refuses what has not been seen to work: for those who are to create segments, or
    /// to take a mutex, a semaphore or a reader-writer lock.
    ///
    /// # Errors
    ///
    /// [`Unfit::ReadModifyWrite`], which says what to change. Who would rather go on
    /// with what is not known asks [`Finding::is_broken`].
    pub fn require_read_modify_write(&self) -> Result<(), Unfit> {
        match self.read_modify_write {
            Finding::Works => Ok(()),
            finding => Err(Unfit::ReadModifyWrite(finding)),
        }
    }

    /// The same for those who are to sleep until they are rung, or to use a lock, the
    /// bakery mutex and the barrier among them.
    ///
    /// # Errors
    ///
    /// [`Unfit::Fences`], as [`Verdict::require_read_modify_write`].
    pub fn require_fences(&self) -> Result<(), Unfit> {
        match self.fences {
            Finding::Works => Ok(()),
            finding => Err(Unfit::Fences(finding)),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "compare-and-swap: {}; fences: {}",
            self.read_modify_write, self.fences
        )
    }
}

/// Memory that is not fit for what was to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Compare-and-swap is broken, or not seen to work.
    ReadModifyWrite(Finding),
    /// Fences are broken, or not seen to work.
    Fences(Finding),
}

/// What helps, as far as we know.
const ADVICE: &str = "map the memory as normal cacheable memory; under QEMU without KVM, start \
                      it with -accel tcg,thread=multi and with -smp 2, or -smp 1,maxcpus=2, or more";

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, counted, finding) = match self {
            Self::ReadModifyWrite(finding) => ("compare-and-swap", "additions were lost", finding),
            Self::Fences(finding) => ("a full fence", "rounds were seen out of order", finding),
        };
        match finding {
            Finding::Broken { wrong, of } => write!(
                f,
                "{what} does not work across this memory, {wrong} of {of} {counted}: {ADVICE}"
            ),
            _ => write!(
                f,
                "{what} has not been seen to work across this memory, because the other party \
                 did not answer, or hardly ran while this one did: ask again"
            ),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Unfit {}
