//! The counters that a lock protects: plain loads and stores, nothing atomic about them.
//!
//! `total` counts everybody's rounds and `by` each party's. Whoever is inside adds to `by`
//! first and to `total` second, so they disagree while somebody is inside, or died there.

use shmem_core::Window;

use crate::cli::PARTIES;
use crate::stop::Stop;

const COUNT: usize = size_of::<u64>();
/// Between `total` and `by`, so that they are in different lines.
const GAP: usize = 128;

/// The counters, for whoever is inside.
#[derive(Clone, Copy)]
pub(crate) struct Ledger<'m>(Window<'m>);

impl<'m> Ledger<'m> {
    pub(crate) const LEN: usize = GAP + PARTIES as usize * COUNT;

    pub(crate) fn new(data: Window<'m>) -> Self {
        Self(data)
    }

    fn at(party: u8) -> usize {
        GAP + (usize::from(party) - 1) * COUNT
    }

    fn get(self, at: usize) -> u64 {
        let mut bytes = [0; COUNT];
        self.0.read(at, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn set(self, at: usize, count: u64) {
        self.0.write(at, &count.to_le_bytes());
    }

    pub(crate) fn total(self) -> u64 {
        self.get(0)
    }

    /// Each party's rounds, from party 1 on.
    pub(crate) fn by_party(self) -> Vec<u64> {
        (1..=PARTIES)
            .map(|party| self.get(Self::at(party)))
            .collect()
    }

    /// The first half of a round.
    pub(crate) fn begin(self, party: u8) {
        self.set(Self::at(party), self.get(Self::at(party)) + 1);
    }

    /// The second half.
    pub(crate) fn finish(self) {
        self.set(0, self.total() + 1);
    }

    /// Makes good what one left that died between the halves.
    pub(crate) fn mend(self) {
        self.set(0, self.by_party().iter().sum());
    }

    /// An error unless all rounds are whole.
    pub(crate) fn check(self) -> Result<(), Stop> {
        let (total, by) = (self.total(), self.by_party());
        match by.iter().sum::<u64>() == total {
            true => Ok(()),
            false => Err(Stop::Wrong(format!("total {total}, by party {by:?}"))),
        }
    }
}
