//! A region's header, sound or not, and how to go on behind it.

use std::mem::offset_of;

use shmem_core::Window;
use shmem_core::layout::{LINE, MAGIC, RegionHeader, VERSION};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::region::FEATURES;

use super::subject::Subject;
use crate::finding::Findings;
use crate::report::Header;

/// The longest region that is read although its header, or its end, is damaged.
const LONGEST: u64 = 1 << 40;
/// A header and a line.
const SHORTEST: usize = 2 * LINE;
/// Bytes of the header that have a meaning.
const WORDS: usize = offset_of!(RegionHeader, reserved);

/// How to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The region can be attached.
    Attach,
    /// A copy with a header for so many bytes can be.
    Repair(usize),
    /// What lies behind has no known meaning.
    Stop,
}

/// Reads the header, and says what is wrong with it.
pub(super) fn read(subject: &Subject<'_>, findings: &mut Findings) -> (Option<Header>, Next) {
    let there = subject.there.min(subject.memory.len());
    let mut damaged = |code, what: String| findings.damaged(code, "header", what);
    if there < WORDS {
        let what = format!("{there} bytes are too few for one");
        damaged("header.short", what);
        return (None, Next::Stop);
    }
    let (magic, header) = load(subject.memory);
    let unknown = header.features & !FEATURES;
    if magic != MAGIC {
        damaged("header.magic", magic_is(magic));
    }
    if unknown != 0 {
        let what = format!("features {unknown:#x} are unknown here: the rest may be misread");
        damaged("header.features", what);
    }
    if header.version != VERSION {
        let found = header.version;
        let what = format!("layout version {found} is not {VERSION}, the one that is known here");
        damaged("header.version", what);
    }
    if there < SHORTEST {
        let what = format!("{there} bytes are too few for a region, {SHORTEST} is the least");
        damaged("header.short", what);
    }
    if header.version != VERSION || there < SHORTEST {
        return (Some(header), Next::Stop);
    }
    let (len, wrong) = length(header.length, there);
    if let Some((code, what)) = wrong {
        damaged(code, what);
    }
    // A dump that was cut off is as long as its header says, here.
    let whole = header.length == len as u64 && len <= subject.memory.len();
    let next = match magic == MAGIC && unknown == 0 && whole {
        true => Next::Attach,
        false => Next::Repair(len),
    };
    (Some(header), next)
}

/// The header as it stands, and its first word.
fn load(memory: Window<'_>) -> (u32, Header) {
    let load = |offset| memory.word(offset).load(Relaxed);
    let magic = load(offset_of!(RegionHeader, magic));
    let low = load(offset_of!(RegionHeader, length_low));
    let high = load(offset_of!(RegionHeader, length_high));
    let header = Header {
        magic: format!("{magic:#010x}"),
        version: load(offset_of!(RegionHeader, version)),
        features: load(offset_of!(RegionHeader, features)),
        generation: load(offset_of!(RegionHeader, generation)),
        length: u64::from(high) << 32 | u64::from(low),
    };
    (magic, header)
}

fn magic_is(magic: u32) -> String {
    match magic {
        0 => "the first word is 0: never formatted, or a format was not finished".to_owned(),
        _ => format!("the first word is {magic:#010x}, not the magic {MAGIC:#010x}"),
    }
}

/// How long the region is taken to be, and what is wrong with what it says.
fn length(says: u64, there: usize) -> (usize, Option<(&'static str, String)>) {
    let guess = there / 8 * 8;
    let least = SHORTEST as u64;
    if says < least || !says.is_multiple_of(8) || says > LONGEST.max(there as u64) {
        let what = format!("a region of {says} bytes cannot be: {guess} are taken for it");
        return (guess, Some(("header.length", what)));
    }
    let Ok(len) = usize::try_from(says) else {
        let what = format!("a region of {says} bytes is more than can be read here");
        return (guess, Some(("header.length", what)));
    };
    if len > there {
        let what = format!("cut off: {there} of the region's {says} bytes are there");
        return (len, Some(("header.cut", what)));
    }
    (len, None)
}
