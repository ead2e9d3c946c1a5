//! Reads a region's header, and decides how to read the rest.

use std::mem::offset_of;

use shmem_core::Window;
use shmem_core::layout::{LINE, MAGIC, RegionHeader, VERSION};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::region::FEATURES;

use super::subject::Subject;
use crate::finding::Findings;
use crate::report::Header;

/// The longest region that is read with a damaged header, or with its end cut off.
const LONGEST: u64 = 1 << 40;
/// The shortest region: a header and a line.
const SHORTEST: usize = 2 * LINE;
/// The used bytes of the header.
const WORDS: usize = offset_of!(RegionHeader, reserved);

/// How to read the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Attach to the region.
    Attach,
    /// Attach to a copy, with a header for this many bytes.
    Repair(usize),
    /// Stop: the layout of the rest is unknown.
    Stop,
}

/// Reads the header, and reports what is wrong with it.
pub(super) fn read(subject: &Subject<'_>, findings: &mut Findings) -> (Option<Header>, Next) {
    let available = subject.available.min(subject.memory.len());
    let mut damaged = |code, what: String| findings.damaged(code, "header", what);
    if available < WORDS {
        let what = format!("{available} bytes are too few for a header");
        damaged("header.short", what);
        return (None, Next::Stop);
    }
    let (magic, header) = load(subject.memory);
    let unknown = header.features & !FEATURES;
    if magic != MAGIC {
        damaged("header.magic", describe_magic(magic));
    }
    if unknown != 0 {
        let what = format!("features {unknown:#x} are unknown: the rest may be misread");
        damaged("header.features", what);
    }
    if header.version != VERSION {
        let found = header.version;
        let what = format!("layout version {found} is unknown; this program knows {VERSION}");
        damaged("header.version", what);
    }
    if available < SHORTEST {
        let what =
            format!("{available} bytes are too few for a region, which has at least {SHORTEST}");
        damaged("header.short", what);
    }
    if header.version != VERSION || available < SHORTEST {
        return (Some(header), Next::Stop);
    }
    let (len, wrong) = length(header.length, available);
    if let Some((code, what)) = wrong {
        damaged(code, what);
    }
    // The window of a dump that was cut off is as long as its header states.
    let whole = header.length == len as u64 && len <= subject.memory.len();
    let next = match magic == MAGIC && unknown == 0 && whole {
        true => Next::Attach,
        false => Next::Repair(len),
    };
    (Some(header), next)
}

/// Loads the header, and its first word.
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

fn describe_magic(magic: u32) -> String {
    match magic {
        0 => "the first word is 0: the memory was never formatted, or formatting did not finish"
            .to_owned(),
        _ => format!("the first word is {magic:#010x}, not the magic {MAGIC:#010x}"),
    }
}

/// Returns the length to assume for the region, and what is wrong with the stated one.
fn length(stated: u64, available: usize) -> (usize, Option<(&'static str, String)>) {
    let guess = available / 8 * 8;
    let least = SHORTEST as u64;
    if stated < least || !stated.is_multiple_of(8) || stated > LONGEST.max(available as u64) {
        let what = format!("a region cannot have {stated} bytes: {guess} are assumed");
        return (guess, Some(("header.length", what)));
    }
    let Ok(len) = usize::try_from(stated) else {
        let what = format!("a region of {stated} bytes is too long for this machine");
        return (guess, Some(("header.length", what)));
    };
    if len > available {
        let what = format!("cut off: {available} of the region's {stated} bytes are available");
        return (len, Some(("header.cut", what)));
    }
    (len, None)
}
