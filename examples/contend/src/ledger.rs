//! The counters that a lock protects, which are read and written without atomic operations.
//!
//! The total counts the rounds of all parties, and each party has a count of its own. A party
//! that holds the lock first adds to its own count and then to the total. So the counts
//! disagree while a party holds the lock, or if it died while it held it.

use shmem_core::Window;

use crate::cli::PARTIES;
use crate::stop::Stop;

/// The index of the first party's count: in another cache line than the total.
const BY_PARTY: usize = 16;

/// The counters: the total, zeros, and the count of each party from party 1 on.
pub(crate) type Counters = [u64; BY_PARTY + PARTIES as usize];

pub(crate) fn total(counters: &Counters) -> u64 {
    counters[0]
}

/// The rounds of each party, from party 1 on.
pub(crate) fn by_party(counters: &Counters) -> &[u64] {
    &counters[BY_PARTY..]
}

/// Makes the first half of a round.
pub(crate) fn begin(counters: &mut Counters, party: u8) {
    counters[BY_PARTY + usize::from(party) - 1] += 1;
}

/// Makes the second half.
pub(crate) fn finish(counters: &mut Counters) {
    counters[0] += 1;
}

/// Completes the round of a party that died between the halves.
pub(crate) fn repair(counters: &mut Counters) {
    counters[0] = by_party(counters).iter().sum();
}

/// Returns an error unless all rounds are complete.
pub(crate) fn check(counters: &Counters) -> Result<(), Stop> {
    let (total, by) = (total(counters), by_party(counters));
    match by.iter().sum::<u64>() == total {
        true => Ok(()),
        false => Err(Stop::Wrong(format!("total {total}, by party {by:?}"))),
    }
}

/// Reads the counters at the end of a lock's segment without the lock: others may change them
/// meanwhile.
pub(crate) fn read_unlocked(segment: Window<'_>) -> Counters {
    let start = segment.len() - size_of::<Counters>();
    std::array::from_fn(|index| {
        let mut bytes = [0; size_of::<u64>()];
        segment.read(start + index * bytes.len(), &mut bytes);
        u64::from_ne_bytes(bytes)
    })
}
