//! A status as text.

use core::ffi::c_char;

use crate::status::shmr_status::*;
use crate::strings;

/// shmr_strerror() - a status as text
/// @status: any number, even one that is not a status
///
/// Return: a sentence without its full stop; never NULL, and always valid.
#[no_mangle]
pub extern "C" fn shmr_strerror(status: i32) -> *const c_char {
    text(status).as_ptr().cast()
}

/// Returns the text of a status, and everything after it in memory.
fn text(status: i32) -> &'static [u8] {
    // First the statuses from 0 up, then those from -1 down, then the text of an unknown one.
    let position = match status {
        0..=LAST_GOOD => status,
        LAST_BAD..=-1 => LAST_GOOD - status,
        _ => TEXTS.len() as i32 - 1,
    };
    strings::nth(&ALL, position as usize)
}

/// The largest status that is not a failure.
const LAST_GOOD: i32 = SHMR_ANSWER_LOST as i32;
/// The lowest status.
const LAST_BAD: i32 = SHMR_BAD_MESSAGE as i32;

/// Every status, in the order that `text` uses, and the text of an unknown one.
const TEXTS: [(i32, &str); 43] = [
    (SHMR_OK as i32, "done"),
    (SHMR_EMPTY as i32, "nothing to read now"),
    (SHMR_FULL as i32, "no room now"),
    (SHMR_BUSY as i32, "not available now: try again"),
    (SHMR_TIMED_OUT as i32, "the wait timed out"),
    (SHMR_RESTARTED as i32, "the other end was restarted"),
    (
        SHMR_OWNER_DIED as i32,
        "the last owner of the lock died while it held it",
    ),
    (SHMR_PARTY_DIED as i32, "a party of the barrier is gone"),
    (
        SHMR_CONTENDED as i32,
        "other partitions changed the registry in every attempt: try again",
    ),
    (SHMR_PEER_GONE as i32, "the peer is gone"),
    (
        SHMR_CALLER_RESTARTED as i32,
        "the client that made the call was restarted: no answer was sent",
    ),
    (
        SHMR_MESSAGE_FIRST as i32,
        "the next message is not an answer: receive it first",
    ),
    (
        SHMR_ANSWER_LOST as i32,
        "the server was restarted before it answered: the command may have been carried out",
    ),
    (SHMR_EINVAL as i32, "an argument is invalid"),
    (SHMR_CORRUPT as i32, "a peer broke the protocol"),
    (SHMR_TOO_LONG as i32, "longer than the limit or the buffer"),
    (SHMR_TOO_SHORT as i32, "the memory is too short"),
    (
        SHMR_NOT_A_REGION as i32,
        "the memory is not a region: format it first, or check the address",
    ),
    (
        SHMR_OTHER_LAYOUT_VERSION as i32,
        "the region has another layout version",
    ),
    (
        SHMR_FEATURES as i32,
        "the region needs features that this library does not know",
    ),
    (
        SHMR_LENGTH as i32,
        "the length differs from the expected one",
    ),
    (
        SHMR_NOT_FORMATTED as i32,
        "the region has no registry: format one first",
    ),
    (SHMR_EXISTS as i32, "the region already has a registry"),
    (
        SHMR_NOT_FOUND as i32,
        "not found: no such segment, or the file was removed",
    ),
    (SHMR_KIND as i32, "the segment has another kind"),
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
        "no run of free blocks is long enough",
    ),
    (
        SHMR_STALE as i32,
        "the segment was removed, or the file was replaced",
    ),
    (
        SHMR_NO_SUCH_PARTITION as i32,
        "the region has no place for this partition number",
    ),
    (
        SHMR_ATTACHED as i32,
        "an incarnation of this partition is attached",
    ),
    (
        SHMR_EVICTED as i32,
        "another incarnation has taken the place of this one",
    ),
    (
        SHMR_CLAIMED as i32,
        "another incarnation holds this end of the ring",
    ),
    (
        SHMR_POISONED as i32,
        "the lock is poisoned: what a dead owner left was not repaired",
    ),
    (
        SHMR_NOT_HELD as i32,
        "the caller does not hold the lock or permit",
    ),
    (SHMR_OVERFLOW as i32, "no room for these permits"),
    (SHMR_SYSTEM as i32, "the kernel refused"),
    (
        SHMR_NO_RMW as i32,
        "the call needs compare-and-swap, which is disabled for this handle",
    ),
    (
        SHMR_REFORMATTED as i32,
        "the region was formatted again: attach to it again",
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

static ALL: [u8; strings::len(&WORDS)] = strings::join(&WORDS);

#[cfg(test)]
mod tests {
    use core::ffi::CStr;

    use super::*;

    #[test]
    fn every_status_has_its_own_text_and_other_numbers_have_none() {
        let text = |status| CStr::from_bytes_until_nul(text(status)).unwrap().to_str();
        for (status, written) in TEXTS {
            assert_eq!(text(status), Ok(written), "{status}");
            let is_same = |other: &&(i32, &str)| other.1 == written;
            assert_eq!(TEXTS.iter().filter(is_same).count(), 1);
        }
        let unknown = text(i32::MAX);
        let known = |status: &i32| text(*status) != unknown;
        assert_eq!((-100..100).filter(known).count(), TEXTS.len() - 1);
        assert_eq!(text(i32::MIN), unknown);
    }
}
