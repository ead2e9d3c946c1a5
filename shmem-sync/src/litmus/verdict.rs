//! The findings of a litmus test, and how to fix the machine.

use core::fmt;

/// Whether a feature works across the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Both parties tried it often at the same time, and it never failed.
    Works,
    /// It failed at least once.
    Broken {
        /// The number of attempts that failed.
        wrong: u32,
        /// The number of attempts.
        attempts: u32,
    },
    /// The other party did not answer, or the two rarely ran at the same time.
    Unknown,
}

impl Finding {
    /// Returns the finding for `wrong` failures in `attempts` attempts; `enough` is true if the
    /// effort was enough.
    pub(super) fn from_counts(wrong: u32, attempts: u32, enough: bool) -> Self {
        match wrong {
            0 if enough && attempts != 0 => Self::Works,
            0 => Self::Unknown,
            wrong => Self::Broken { wrong, attempts },
        }
    }

    /// Returns true if it failed at least once; false for [`Finding::Unknown`].
    pub fn is_broken(self) -> bool {
        matches!(self, Self::Broken { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("works"),
            Self::Broken { wrong, attempts } => {
                write!(f, "broken: {wrong} of {attempts} attempts failed")
            }
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What two parties have found about their memory.
///
/// A hostile party can make the verdict wrong, but only for this memory, which it can damage
/// anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Compare-and-swap: no addition is lost if both parties add to one word at the same time.
    /// Counts additions.
    pub read_modify_write: Finding,
    /// A full fence between a store and a load: if both parties store and then load the other's
    /// word, at least one sees the other's store. Counts rounds.
    pub fences: Finding,
}

impl Verdict {
    /// Returns the other party's verdict, except where only we have seen a failure.
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

    /// Returns an error unless compare-and-swap was seen to work: for partitions that create
    /// segments, or use a mutex, a semaphore or a reader-writer lock.
    ///
    /// # Errors
    ///
    /// [`MissingFeature::ReadModifyWrite`], whose text says what to change. To accept an unknown
    /// finding, use [`Finding::is_broken`] instead.
    pub fn require_read_modify_write(&self) -> Result<(), MissingFeature> {
        match self.read_modify_write {
            Finding::Works => Ok(()),
            finding => Err(MissingFeature::ReadModifyWrite(finding)),
        }
    }

    /// Returns an error unless fences were seen to work: for partitions that sleep until they are
    /// rung, or use a lock, including the bakery mutex and the barrier.
    ///
    /// # Errors
    ///
    /// [`MissingFeature::Fences`], as [`Verdict::require_read_modify_write`].
    pub fn require_fences(&self) -> Result<(), MissingFeature> {
        match self.fences {
            Finding::Works => Ok(()),
            finding => Err(MissingFeature::Fences(finding)),
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

/// A feature that a partition needs does not work across the memory, or is not known to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingFeature {
    /// Compare-and-swap is broken, or not known to work.
    ReadModifyWrite(Finding),
    /// Fences are broken, or not known to work.
    Fences(Finding),
}

/// The known remedies.
const ADVICE: &str = "map the memory as normal cacheable memory; under QEMU without KVM, start \
                      it with -accel tcg,thread=multi and with -smp 2, or -smp 1,maxcpus=2, or more";

impl fmt::Display for MissingFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, counted, finding) = match self {
            Self::ReadModifyWrite(finding) => ("compare-and-swap", "additions were lost", finding),
            Self::Fences(finding) => ("a full fence", "rounds were seen out of order", finding),
        };
        match finding {
            Finding::Broken { wrong, attempts } => write!(
                f,
                "{what} does not work across this memory, {wrong} of {attempts} {counted}: {ADVICE}"
            ),
            _ => write!(
                f,
                "{what} has not been seen to work across this memory, because the other party \
                 did not answer, or rarely ran while this one did: ask again"
            ),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for MissingFeature {}
