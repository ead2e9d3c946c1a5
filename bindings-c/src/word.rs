//! The word of a fault, as a number.
//!
//! A fault with a string in it would take four registers; with numbers it takes two.

use core::ffi::c_char;

use shmem_core::ControlWord;

use crate::strings;

/// The word of a fault: none, a word in memory that a peer corrupted, an argument, or a rule of
/// calls that a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u32);

/// Declares the arguments that can be invalid and the rules of calls that a peer can break, each
/// with its name.
macro_rules! arguments {
    ($($argument:ident $name:literal,)*) => {
        /// An argument that is invalid, or a rule of calls that a peer broke.
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(not(feature = "linux"), allow(dead_code))]
        pub(crate) enum Argument {
            $($argument,)*
        }
        const ARGUMENTS: &[&str] = &[$($name,)*];
    };
}

arguments! {
    AnsweredTwice "answered twice",
    Arrival "arrival",
    At "at",
    Bakery "bakery",
    Base "base",
    Buffer "buffer",
    Call "call",
    Capacity "capacity",
    Clock "clock",
    Consumer "consumer",
    Count "count",
    Cursor "cursor",
    Doorbell "doorbell",
    Fd "fd",
    Geometry "geometry",
    Handle "handle",
    Id "id",
    Len "len",
    Incarnation "incarnation",
    Limit "limit",
    Liveness "liveness",
    Mapping "mapping",
    Message "message",
    Mutex "mutex",
    Name "name",
    NeverCalled "never called",
    NotAMessage "not a message",
    OnRestart "on_restart",
    Options "options",
    Parties "parties",
    Partition "partition",
    Path "path",
    Place "place",
    Platform "platform",
    Attachment "attachment",
    Process "process",
    Producer "producer",
    Pushed "pushed",
    Reader "reader",
    Record "record",
    Records "records",
    Region "region",
    Registry "registry",
    Request "request",
    RequestAlign "request align",
    RequestId "request id",
    RequestLen "request len",
    RequestName "request name",
    Reservation "reservation",
    Rows "rows",
    Rwlock "rwlock",
    Segment "segment",
    Semaphore "semaphore",
    Session "session",
    Source "source",
    Value "value",
    Verdict "verdict",
    View "view",
    Wait "wait",
}

/// The number of words before the arguments.
const BEFORE: usize = 1 + ControlWord::ALL.len();
const COUNT: usize = BEFORE + ARGUMENTS.len();

/// The names, in the order of [`Word`]'s numbers.
const NAMES: [&str; COUNT] = {
    let mut names = [""; COUNT];
    let mut at = 1;
    while at < COUNT {
        names[at] = if at < BEFORE {
            ControlWord::ALL[at - 1].name()
        } else {
            ARGUMENTS[at - BEFORE]
        };
        at += 1;
    }
    names
};

static ALL: [u8; strings::len(&NAMES)] = strings::join(&NAMES);

impl Word {
    pub(crate) const NONE: Self = Self(0);

    /// Returns the word with this number.
    pub(crate) fn from_number(number: u32) -> Self {
        Self(number)
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Copies its name to the start of `to`, as far as there is room.
    pub(crate) fn copy_name(self, to: &mut [c_char]) {
        let (mut before, mut to) = (self.0, to.iter_mut());
        for &byte in &ALL {
            match (before, byte) {
                (0, 0) => break,
                (0, _) => match to.next() {
                    Some(to) => *to = byte as c_char,
                    None => break,
                },
                (_, 0) => before -= 1,
                _ => {}
            }
        }
    }
}

impl From<ControlWord> for Word {
    fn from(word: ControlWord) -> Self {
        Self(1 + word as u32)
    }
}

impl From<Argument> for Word {
    fn from(argument: Argument) -> Self {
        Self(BEFORE as u32 + argument as u32)
    }
}

#[cfg(test)]
mod tests {
    use core::ffi::CStr;

    use super::*;

    fn name(word: impl Into<Word>) -> String {
        let mut name = [0; 32];
        word.into().copy_name(&mut name);
        let name = name.map(|byte| byte as u8);
        let name = CStr::from_bytes_until_nul(&name).unwrap();
        name.to_str().unwrap().to_owned()
    }

    #[test]
    fn every_word_has_its_own_name() {
        for word in ControlWord::ALL {
            assert_eq!(name(word), word.name());
        }
        assert_eq!(name(Argument::AnsweredTwice), "answered twice");
        assert_eq!(name(Argument::RequestLen), "request len");
        assert_eq!(name(Argument::Wait), "wait");
        assert_eq!(name(Word::NONE), "");
    }

    #[test]
    fn every_name_fits_an_error() {
        assert!(NAMES.iter().all(|name| name.len() < 32));
    }
}
