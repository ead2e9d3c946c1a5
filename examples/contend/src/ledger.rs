//! The counters that a lock protects: plain loads and stores, nothing atomic about them.
//!
//! The total counts everybody's rounds, and each party has a count of its own. Whoever is
//! inside adds to its own first and to the total second, so they disagree while somebody is
//! inside, or died there.

use shmem_core::Window;

use crate::cli::PARTIES;
use crate::stop::Stop;

/// Where the parties' counts begin: in another line than the total, which is the first.
const BY_PARTY: usize = 16;

/// The counters: the total, zeros, and each party's count from party 1 on.
pub(crate) type Counters = [u64; BY_PARTY + PARTIES as usize];

pub(crate) fn total(counters: &Counters) -> u64 {
    counters[0]
}

/// Each party's rounds, from party 1 on.
pub(crate) fn by_party(counters: &Counters) -> &[u64] {
    &counters[BY_PARTY..]
}

/// The first half of a round.
pub(crate) fn begin(counters: &mut Counters, party: u8) {
    counters[BY_PARTY + usize::from(party) - 1] += 1;
}

/// The second half.
pub(crate) fn finish(counters: &mut Counters) {
    counters[0] += 1;
}

/// Makes good what one left that died between the halves.
pub(crate) fn mend(counters: &mut Counters) {
    counters[0] = by_party(counters).iter().sum();
}

/// An error unless all rounds are whole.
pub(crate) fn check(counters: &Counters) -> Result<(), Stop> {
    let (total, by) = (total(counters), by_party(counters));
    match by.iter().sum::<u64>() == total {
        true => Ok(()),
        false => Err(Stop::Wrong(format!("total {total}, by party {by:?}"))),
    }
}

/// The counters at the end of a lock's segment, for one that has no lock: others may
/// change them meanwhile.
pub(crate) fn look(segment: Window<'_>) -> Counters {
    let start = segment.len() - size_of::<Counters>();
    std::array::from_fn(|index| {
        let mut bytes = [0; size_of::<u64>()];
        segment.read(start + index * bytes.len(), &mut bytes);
        u64::from_ne_bytes(bytes)
    })
}
