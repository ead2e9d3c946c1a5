//! A value of two halves that belong together, so that a mixture shows.

use shmem_core::Window;

/// Writes both halves in turn.
pub(crate) fn write_halves(data: Window<'_>, number: u64) {
    data.write(0, &number.to_le_bytes());
    data.write(8, &number.to_le_bytes());
}

/// The number that both halves are, if they are one.
pub(crate) fn whole(data: Window<'_>) -> Option<u64> {
    let mut halves = [[0; 8]; 2];
    data.read(0, &mut halves[0]);
    data.read(8, &mut halves[1]);
    (halves[0] == halves[1]).then_some(u64::from_le_bytes(halves[0]))
}
