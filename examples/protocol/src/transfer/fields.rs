//! Reads the fields that several records of a copy have.

use super::types::MAX_PATH;
use crate::wire::{Malformed, Reader};

/// Length of a data record's body before its bytes.
pub(super) const POSITION: usize = 8;

/// Reads a path: no NUL, and of bounded length.
pub(super) fn path<'a>(body: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = usize::from(body.u16()?);
    let path = body.take(len)?;
    match is_path(path) {
        true => Ok(path),
        false => Err(body.malformed()),
    }
}

/// Returns true if a request can contain `path`.
pub fn is_path(path: &[u8]) -> bool {
    !path.is_empty() && path.len() <= MAX_PATH && !path.contains(&0)
}

pub(super) fn mode(body: &mut Reader<'_>) -> Result<u32, Malformed> {
    let mode = body.u32()?;
    match mode <= 0o7777 {
        true => Ok(mode),
        false => Err(body.malformed()),
    }
}

/// Reads a position and at most `max` bytes, whose end is a position, too.
pub(super) fn data<'a>(body: &mut Reader<'a>, max: usize) -> Result<(u64, &'a [u8]), Malformed> {
    let offset = body.u64()?;
    let malformed = body.malformed();
    let bytes = body.rest();
    let has_end = offset.checked_add(bytes.len() as u64).is_some();
    match has_end && bytes.len() <= max {
        true => Ok((offset, bytes)),
        false => Err(malformed),
    }
}
