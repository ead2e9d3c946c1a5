//! A call in one cache line: a command and its answer lie in the same 64 bytes.
//!
//! A call moves one line to the other processor and back; with two rings it moves two. Several
//! lines used in rotation would add a move, because the server's processor still has a copy of
//! the next line from the previous round. The layer above (`shmem-channel`) numbers the calls,
//! sleeps, and sends commands and answers that do not fit.
//!
//! - **L1** The client stores only `asked`, its length and the command; the server only
//!   `answered`, its length and the answer.
//! - **L2** The line is *free* if `answered` equals `asked`. The client stores to it only while
//!   it is free, and the server only while it is not.
//! - **L3** `asked` and `answered` are stored last. No two calls have the same number, so
//!   the content of the line is never treated as that of another call.
//! - **L4** `started` is the number of the last call that was made outside the line. The next
//!   client continues counting from it.
//! - **L5** `received` is the number of the last call in the line that a server has received.
//!   From it the next server knows which call was lost. It lies in another line, which the
//!   client never loads.
//!
//! | store                   | paired load                            | hands over           |
//! |-------------------------|----------------------------------------|----------------------|
//! | `asked` in `ask`        | `asked` in `find`                      | the command          |
//! | `answered` in `answer`  | `answered` in `find` and `is_free`     | the answer, the line |
//! | `answered` in `discard` | `answered` in `find` and `is_free`     | the line             |
//!
//! An evicted end that runs later can garble one call, and hide one from its
//! peer: [`CallLine::repeat_asked`] and [`CallLine::repeat_answered`] store its number again.

use memoffset::offset_of;

use crate::error::{ControlWord, Corrupt};
use crate::layout::CallControl;
use crate::mem::{OutOfWindow, Window, Word};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};

/// Bytes of the longest command, and of the longest answer.
pub const MAX_LEN: usize = 24;

/// Bytes of a segment for a call line.
pub const SEGMENT_LEN: usize = core::mem::size_of::<CallControl>();

/// True if call lines can be used. Both ends store to one line, so caches must be coherent.
pub const IS_COHERENT: bool = cfg!(not(feature = "noncoherent"));

/// The length that means that the answer is not in the line.
const ELSEWHERE: u32 = u32::MAX;

/// Where a command or an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In the line, with this many bytes.
    Here(usize),
    /// The server has answered outside the line, or will not answer.
    Elsewhere,
}

/// The call line of one client and one server.
#[derive(Clone, Copy)]
pub struct CallLine<'m> {
    segment: Window<'m>,
}

/// The state of a call line, for tools that inspect memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Number of the last call in the line; 0 before the first call.
    pub asked: u32,
    /// Number of the last call that was answered.
    pub answered: u32,
    /// Number of the last call that was made outside the line.
    pub started: u32,
}

/// The two parts of the line.
#[derive(Clone, Copy)]
struct Part {
    number: usize,
    len: usize,
    bytes: usize,
}

const COMMAND: Part = Part {
    number: offset_of!(CallControl, asked),
    len: offset_of!(CallControl, command_len),
    bytes: offset_of!(CallControl, command),
};
const ANSWER: Part = Part {
    number: offset_of!(CallControl, answered),
    len: offset_of!(CallControl, answer_len),
    bytes: offset_of!(CallControl, answer),
};

impl<'m> CallLine<'m> {
    /// Returns the call line in `segment`. A zeroed segment has no calls.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if it is shorter than [`SEGMENT_LEN`].
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        let segment = segment.sub(0, SEGMENT_LEN)?;
        Ok(Self { segment })
    }

    /// Returns true if the line is free (L2).
    #[inline]
    pub fn is_free(&self) -> bool {
        // relaxed: only the client stores it.
        let asked = self.segment.word(COMMAND.number).load(Relaxed);
        // Pairs with the store in `finish`: the server has read the command and stored the answer
        // before the client uses the line again.
        // loom: loom_call
        self.segment.word(ANSWER.number).load(Acquire) == asked
    }

    /// Returns the state of the line.
    pub fn inspect(&self) -> Inspection {
        // relaxed: the words do not depend on each other.
        let load = |offset| self.segment.word(offset).load(Relaxed);
        Inspection {
            asked: load(COMMAND.number),
            answered: load(ANSWER.number),
            started: load(offset_of!(CallControl, started)),
        }
    }

    /// Stores `command` as call number `call`, which is not 0. The line must be free.
    ///
    /// # Panics
    ///
    /// If the command is longer than [`MAX_LEN`].
    #[inline]
    pub fn ask(&self, call: u32, command: &[u8]) {
        self.put(call, COMMAND, command);
    }

    /// Returns the length of the command of `call`; `None` if the line does not hold that call.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no command has this length.
    #[inline]
    pub fn command_len(&self, call: u32) -> Result<Option<usize>, Corrupt> {
        match self.find(call, COMMAND)? {
            Some(Found::Here(len)) => Ok(Some(len)),
            Some(Found::Elsewhere) => Err(corrupt_length(ELSEWHERE)),
            None => Ok(None),
        }
    }

    /// Copies the start of the command of `call` into `command`, and records that the call is
    /// received (L5). Call it after [`CallLine::command_len`] has returned a length.
    ///
    /// # Panics
    ///
    /// If `command` is longer than [`MAX_LEN`].
    #[inline]
    pub fn receive(&self, call: u32, command: &mut [u8]) {
        self.read(COMMAND, command);
        // relaxed: the next server finds it once this one is gone.
        self.received().store(call, Relaxed);
    }

    /// Stores `answer` as the answer to `call`, for which [`CallLine::command_len`] has returned a
    /// length.
    ///
    /// # Panics
    ///
    /// If the answer is longer than [`MAX_LEN`].
    #[inline]
    pub fn answer(&self, call: u32, answer: &[u8]) {
        self.put(call, ANSWER, answer);
    }

    /// Returns where the answer to `call` is; `None` if the line does not hold one.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no answer has this length.
    #[inline]
    pub fn find_answer(&self, call: u32) -> Result<Option<Found>, Corrupt> {
        self.find(call, ANSWER)
    }

    /// Copies the start of the answer into `answer`. Call it after [`CallLine::find_answer`] has
    /// returned [`Found::Here`].
    ///
    /// # Panics
    ///
    /// If `answer` is longer than [`MAX_LEN`].
    #[inline]
    pub fn read_answer(&self, answer: &mut [u8]) {
        self.read(ANSWER, answer);
    }

    /// Frees the line, for a server that answers the call outside the line, or never. The
    /// client may still wait for the answer. Returns the call's number if no server has
    /// received it.
    pub fn discard(&self) -> Option<u32> {
        // relaxed: the bytes of the command are not read.
        let asked = self.segment.word(COMMAND.number).load(Relaxed);
        // relaxed: a server's word.
        if self.segment.word(ANSWER.number).load(Relaxed) == asked {
            return None;
        }
        self.finish(asked, ANSWER, ELSEWHERE);
        // relaxed: a server's word.
        (self.received().load(Relaxed) != asked).then_some(asked)
    }

    /// Stores the number of `call` again if the late store of an evicted client replaced it.
    pub fn repeat_asked(&self, call: u32) {
        self.repeat(call, COMMAND);
    }

    /// Stores the number of the answered `call` again if the late store of an evicted server
    /// replaced it.
    pub fn repeat_answered(&self, call: u32) {
        self.repeat(call, ANSWER);
    }

    /// Returns the latest number that a client has used (L4), as far as it is visible.
    pub fn last_started(&self) -> u32 {
        let Inspection { asked, started, .. } = self.inspect();
        match asked.wrapping_sub(started) as i32 > 0 {
            true => asked,
            false => started,
        }
    }

    /// Records that `call` is made outside the line (L4).
    pub fn start_elsewhere(&self, call: u32) {
        // relaxed: the next client finds it once this one is gone.
        self.started().store(call, Relaxed);
    }

    fn started(&self) -> Word<'m> {
        self.segment.word(offset_of!(CallControl, started))
    }

    fn received(&self) -> Word<'m> {
        self.segment.word(offset_of!(CallControl, received))
    }

    #[inline]
    fn put(&self, call: u32, part: Part, bytes: &[u8]) {
        assert!(
            bytes.len() <= MAX_LEN,
            "the bytes do not fit into a call line"
        );
        self.segment.write(part.bytes, bytes);
        self.finish(call, part, bytes.len() as u32);
    }

    #[inline]
    fn finish(&self, call: u32, part: Part, len: u32) {
        // relaxed: the next store publishes it.
        self.segment.word(part.len).store(len, Relaxed);
        // Pairs with the load in `find`, and with that in `is_free`: the bytes are whole, and
        // the server has read the command.
        // loom: loom_call
        self.segment.word(part.number).store(call, Release);
    }

    #[inline]
    fn find(&self, call: u32, part: Part) -> Result<Option<Found>, Corrupt> {
        // Pairs with the store in `finish`: the bytes are whole.
        // loom: loom_call
        if self.segment.word(part.number).load(Acquire) != call {
            return Ok(None);
        }
        // relaxed: the load before it orders it.
        match self.segment.word(part.len).load(Relaxed) {
            len @ 0..=24 => Ok(Some(Found::Here(len as usize))),
            ELSEWHERE => Ok(Some(Found::Elsewhere)),
            len => Err(corrupt_length(len)),
        }
    }

    #[inline]
    fn read(&self, part: Part, bytes: &mut [u8]) {
        assert!(
            bytes.len() <= MAX_LEN,
            "the bytes do not fit into a call line"
        );
        self.segment.read(part.bytes, bytes);
    }

    fn repeat(&self, call: u32, part: Part) {
        let number = self.segment.word(part.number);
        // relaxed: our own word.
        if number.load(Relaxed) != call {
            // Release: as in `finish`.
            // loom: none (what it publishes was published before)
            number.store(call, Release);
        }
    }
}

#[cold]
fn corrupt_length(value: u32) -> Corrupt {
    Corrupt {
        word: ControlWord::CallLength,
        value,
    }
}
