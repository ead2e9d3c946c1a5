//! A status in words.

use core::ffi::c_char;

use crate::status::shmr_status::*;
use crate::strings;

/// shmr_strerror() - a status in words
/// @status: any number, whether it is a status or not
///
/// Return: a sentence without its full stop; never NULL, valid for ever.
#[no_mangle]
pub extern "C" fn shmr_strerror(status: i32) -> *const c_char {
    text(status).as_ptr().cast()
}

/// A status in words, with what follows in memory.
fn text(status: i32) -> &'static [u8] {
    // From 0 up to the highest number, then from -1 down; behind them all, the unknown.
    let place = match status {
        0..=LAST_GOOD => status,
        LAST_BAD..=-1 => LAST_GOOD - status,
        _ => TEXTS.len() as i32 - 1,
    };
    strings::nth(&ALL, place as usize)
}

/// The largest status that is no failure.
const LAST_GOOD: i32 = SHMR_MESSAGE_FIRST as i32;
/// The failure with the lowest number.
const LAST_BAD: i32 = SHMR_BAD_MESSAGE as i32;

/// Every status, in the order that `text` counts them in, and what no status is.
const TEXTS: [(i32, &str); 42] = [
    (SHMR_OK as i32, "done"),
    (SHMR_EMPTY as i32, "nothing is there now"),
    (SHMR_FULL as i32, "no room now"),
    (SHMR_BUSY as i32, "somebody else has it"),
    (SHMR_TIMED_OUT as i32, "the wait gave up first"),
    (SHMR_RESTARTED as i32, "the other end was restarted"),
    (SHMR_OWNER_DIED as i32, "the lock's last owner died inside"),
    (
        SHMR_PARTY_DIED as i32,
        "a party of the barrier died before it arrived",
    ),
    (
        SHMR_CONTENDED as i32,
        "others changed the table under every attempt: try again",
    ),
    (SHMR_PEER_GONE as i32, "the peer is gone"),
    (
        SHMR_CALLER_RESTARTED as i32,
        "the client that made the call was restarted: no answer was sent",
    ),
    (
        SHMR_MESSAGE_FIRST as i32,
        "a message that is no answer is next: receive it first",
    ),
    (SHMR_EINVAL as i32, "an argument that cannot be used"),
    (SHMR_CORRUPT as i32, "the peer broke the protocol"),
    (SHMR_TOO_LONG as i32, "longer than there is room for"),
    (SHMR_TOO_SHORT as i32, "the memory is too short"),
    (
        SHMR_NOT_A_REGION as i32,
        "not a region: format it first, or check the address",
    ),
    (SHMR_VERSION as i32, "the region has another layout version"),
    (
        SHMR_FEATURES as i32,
        "the region needs features that this library does not know",
    ),
    (SHMR_LENGTH as i32, "another length than expected"),
    (
        SHMR_NOT_FORMATTED as i32,
        "the region has no registry: format one first",
    ),
    (SHMR_EXISTS as i32, "the region has a registry already"),
    (SHMR_NOT_FOUND as i32, "no segment has this identifier"),
    (SHMR_KIND as i32, "the segment holds something else"),
    (
        SHMR_COLLISION as i32,
        "another name has the same identifier",
    ),
    (
        SHMR_TABLE_FULL as i32,
        "every row of the registry is in use",
    ),
    (
        SHMR_OUT_OF_SPACE as i32,
        "the region has no free bytes left in one piece",
    ),
    (SHMR_STALE as i32, "the segment was removed before"),
    (
        SHMR_NO_SUCH_PARTITION as i32,
        "there is no place for a partition of this number",
    ),
    (
        SHMR_ATTACHED as i32,
        "a partition of this number is attached",
    ),
    (
        SHMR_EVICTED as i32,
        "declared gone while it lived: others have what it held",
    ),
    (
        SHMR_CLAIMED as i32,
        "another incarnation has this end of the ring",
    ),
    (
        SHMR_POISONED as i32,
        "nobody repaired what a dead owner left",
    ),
    (
        SHMR_NOT_HELD as i32,
        "given back by one who does not hold it",
    ),
    (SHMR_OVERFLOW as i32, "more permits than there is room for"),
    (SHMR_SYSTEM as i32, "the system refused"),
    (
        SHMR_NO_RMW as i32,
        "it needs compare-and-swap, which this memory does not have",
    ),
    (
        SHMR_REFORMATTED as i32,
        "the region was formatted again: attach to it anew",
    ),
    (
        SHMR_OPEN as i32,
        "the handle is open and has to be closed first",
    ),
    (
        SHMR_BUFFER_TOO_SHORT as i32,
        "the message is longer than the buffer",
    ),
    (SHMR_BAD_MESSAGE as i32, "the peer broke the rules of calls"),
    (i32::MAX, "not a status of this library"),
];

const WORDS: [&str; TEXTS.len()] = {
    let mut words = [""; TEXTS.len()];
    let mut at = 0;
    while at < TEXTS.len() {
        words[at] = TEXTS[at].1;
        at += 1;
    }
    words
};

static ALL: [u8; strings::len(&WORDS)] = strings::joined(&WORDS);

#[cfg(test)]
mod tests {
    use core::ffi::CStr;

    use super::*;

    #[test]
    fn every_status_has_a_text_of_its_own_and_no_other_number_has_one() {
        let text = |status| CStr::from_bytes_until_nul(text(status)).unwrap().to_str();
        for (status, written) in TEXTS {
            assert_eq!(text(status), Ok(written), "{status}");
            let same = |other: &&(i32, &str)| other.1 == written;
            assert_eq!(TEXTS.iter().filter(same).count(), 1);
        }
        let unknown = text(i32::MAX);
        let known = |status: &i32| text(*status) != unknown;
        assert_eq!((-100..100).filter(known).count(), TEXTS.len() - 1);
        assert_eq!(text(i32::MIN), unknown);
    }
}
