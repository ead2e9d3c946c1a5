//! A call in one cache line: a command and its answer lie in the same 64 bytes.
//!
//! A call costs one line that moves there and back, where two rings cost two. Several lines
//! that take turns would cost an extra move: the server still has its copy of the next one.
//! Who numbers the calls, who sleeps, and what becomes of those that do not fit is the affair of
//! the layer above (`shmem-channel`).
//!
//! - **L1** The client stores only `asked`, its length and the command; the server only
//!   `answered`, its length and the answer.
//! - **L2** The line is *free* if `answered` equals `asked`. The client stores in it only while
//!   it is free, and the server while it is not.
//! - **L3** `asked` and `answered` are stored last. No two calls have the same number, so
//!   what lies in the line is never taken for another call's.
//! - **L4** `started` is the number of the last call that was made in another way, for the next
//!   client to count on from.
//! - **L5** `received` is the number of the last call in the line that a server has received,
//!   for the next one to know which was lost. It lies apart: the client never loads it.
//!
//! | store                 | paired load             | hands over             |
//! |-----------------------|-------------------------|------------------------|
//! | `asked` in `ask`      | `asked` in `asked`      | the command            |
//! | `answered` in `answer`| `answered` in `answered`| the answer, the line   |
//! | the same in `discard` | the same, and `is_free` | the line               |
//!
//! An end that was evicted and goes on late can garble one call, and hide one from its
//! peer: [`CallLine::repeat_asked`] and [`CallLine::repeat_answered`] show it again.

use memoffset::offset_of;

use crate::error::{ControlWord, Corrupt};
use crate::layout::CallControl;
use crate::mem::{OutOfWindow, Window, Word};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};

/// Bytes of the longest command, and of the longest answer.
pub const MAX_LEN: usize = 24;

/// Bytes of a segment of a call line.
pub const SEGMENT_LEN: usize = core::mem::size_of::<CallControl>();

/// Whether both ends can store in one line: not where their caches are not coherent.
pub const USABLE: bool = cfg!(not(feature = "noncoherent"));

/// As a length: the answer is elsewhere.
const ELSEWHERE: u32 = u32::MAX;

/// A command or an answer that lies in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many bytes.
    Here(usize),
    /// The server has answered otherwise, or does not answer.
    Elsewhere,
}

/// The call line of one client and one server.
#[derive(Clone, Copy)]
pub struct CallLine<'m> {
    segment: Window<'m>,
}

/// What a call line holds, for tools that look at memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Number of the last call in the line; 0: no call yet.
    pub asked: u32,
    /// Number of the last call that was answered.
    pub answered: u32,
    /// Number of the last call that was made in another way.
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
    /// The call line in `segment`. A zeroed segment has no calls.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if it is shorter than [`SEGMENT_LEN`].
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        let segment = segment.sub(0, SEGMENT_LEN)?;
        Ok(Self { segment })
    }

    /// Whether the line is free (L2).
    #[inline]
    pub fn is_free(&self) -> bool {
        // relaxed: only the client stores it.
        let asked = self.segment.word(COMMAND.number).load(Relaxed);
        // Pairs with the store in `put`: the server has read the command and stored the answer
        // before the line is used again.
        // loom: loom_call
        self.segment.word(ANSWER.number).load(Acquire) == asked
    }

    /// What the line holds.
    pub fn inspect(&self) -> Inspection {
        // relaxed: each word is true by itself.
        let load = |offset| self.segment.word(offset).load(Relaxed);
        Inspection {
            asked: load(COMMAND.number),
            answered: load(ANSWER.number),
            started: load(offset_of!(CallControl, started)),
        }
    }

    /// Makes `command` call number `call`; not 0. The line must be free.
    ///
    /// # Panics
    ///
    /// If the command is longer than [`MAX_LEN`].
    #[inline]
    pub fn ask(&self, call: u32, command: &[u8]) {
        self.put(call, COMMAND, command);
    }

    /// Whether `call` was made, and how long its command is.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no command has this length.
    #[inline]
    pub fn asked(&self, call: u32) -> Result<Option<usize>, Corrupt> {
        match self.find(call, COMMAND)? {
            Some(Found::Here(len)) => Ok(Some(len)),
            Some(Found::Elsewhere) => Err(corrupt_length(ELSEWHERE)),
            None => Ok(None),
        }
    }

    /// Copies the front of the command of `call`, which was [asked](Self::asked), into
    /// `command`: it is received (L5).
    ///
    /// # Panics
    ///
    /// If that is longer than [`MAX_LEN`].
    #[inline]
    pub fn receive(&self, call: u32, command: &mut [u8]) {
        self.read(COMMAND, command);
        // relaxed: the next server finds it once this one is gone.
        self.received().store(call, Relaxed);
    }

    /// Makes `answer` the answer to `call`, which was [asked](Self::asked).
    ///
    /// # Panics
    ///
    /// If the answer is longer than [`MAX_LEN`].
    #[inline]
    pub fn answer(&self, call: u32, answer: &[u8]) {
        self.put(call, ANSWER, answer);
    }

    /// Whether `call` was answered, and how.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no answer has this length.
    #[inline]
    pub fn answered(&self, call: u32) -> Result<Option<Found>, Corrupt> {
        self.find(call, ANSWER)
    }

    /// Copies the front of what was [answered](Self::answered) into `answer`.
    ///
    /// # Panics
    ///
    /// If that is longer than [`MAX_LEN`].
    #[inline]
    pub fn read_answer(&self, answer: &mut [u8]) {
        self.read(ANSWER, answer);
    }

    /// Frees the line: by a server that answers what was asked in another way, or never. The
    /// client may still wait for it. Returns its number if nobody has received it.
    pub fn discard(&self) -> Option<u32> {
        // relaxed: the bytes of the command are not looked at.
        let asked = self.segment.word(COMMAND.number).load(Relaxed);
        // relaxed: a server's word.
        if self.segment.word(ANSWER.number).load(Relaxed) == asked {
            return None;
        }
        self.finish(asked, ANSWER, ELSEWHERE);
        // relaxed: a server's word.
        (self.received().load(Relaxed) != asked).then_some(asked)
    }

    /// Shows again that `call` was made, if the late store of an evicted client hid it.
    pub fn repeat_asked(&self, call: u32) {
        self.repeat(call, COMMAND);
    }

    /// Shows again that `call` was answered, if the late store of an evicted server hid it.
    pub fn repeat_answered(&self, call: u32) {
        self.repeat(call, ANSWER);
    }

    /// The latest number that any client has used (L4), as far as this one can see.
    pub fn last_started(&self) -> u32 {
        let Inspection { asked, started, .. } = self.inspect();
        match asked.wrapping_sub(started) as i32 > 0 {
            true => asked,
            false => started,
        }
    }

    /// Keeps that `call` is made in another way than by the line (L4).
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
        assert!(bytes.len() <= MAX_LEN, "longer than a call line");
        self.segment.write(part.bytes, bytes);
        self.finish(call, part, bytes.len() as u32);
    }

    #[inline]
    fn finish(&self, call: u32, part: Part, len: u32) {
        // relaxed: the store after it publishes it.
        self.segment.word(part.len).store(len, Relaxed);
        // Pairs with the load in `find`, and with that in `is_free`: the bytes are whole, and
        // the command was read.
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
        assert!(bytes.len() <= MAX_LEN, "longer than a call line");
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
