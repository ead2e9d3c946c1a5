//! Deliberate errors in a ring.

use std::mem::offset_of;

use shmem_core::layout::{RECORD_HEADER, RingControl, TypedRingControl};
use shmem_core::mem::{Window, Word};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::Ring;
use shmem_core::typed_ring::inspect::Inspection;

/// Drops the unread records.
pub(super) fn forget_unread(ring: &Window<'_>) {
    let head = first_unread(ring);
    ring.word(offset_of!(RingControl, tail))
        .store(head, Relaxed);
    let control = size_of::<RingControl>();
    let capacity = ring.len() - control;
    ring.word(control + head as usize % capacity)
        .store(0, Relaxed);
}

/// Drops the unread records of a typed ring.
pub(super) fn forget_unread_typed(ring: &Window<'_>) {
    if let Ok(found) = Inspection::new(*ring) {
        move_all(ring, offset_of!(TypedRingControl, tails), found.position);
    }
}

/// Resets the position of a typed ring's consumer to what it has released.
pub(super) fn forget_position_typed(ring: &Window<'_>) {
    if let Ok(found) = Inspection::new(*ring) {
        let positions = offset_of!(TypedRingControl, positions);
        move_all(ring, positions, found.head);
    }
}

/// Stores another position into the four stamps at `offset`.
fn move_all(ring: &Window<'_>, offset: usize, position: u16) {
    for word in (0..4).map(|index| ring.word(offset + 4 * index)) {
        let epoch = word.load(Relaxed) & 0xffff_0000;
        word.store(epoch | u32::from(position), Relaxed);
    }
}

/// Changes the epoch of a ring's consumer.
pub(super) fn count_opening(ring: &Window<'_>, by: i32) {
    let epoch = ring.word(offset_of!(RingControl, consumer_epoch));
    let opened = epoch.load(Relaxed);
    if opened != 0 {
        epoch.store(opened.wrapping_add_signed(by), Relaxed);
    }
}

/// Lets the next consumer of a ring begin one record earlier.
pub(super) fn receive_again(ring: &Window<'_>) {
    let head = first_unread(ring);
    let is_record = |&stride: &u32| {
        let header = data(ring, head.wrapping_sub(stride)).load(Relaxed);
        let len = (header >> 2) as usize + RECORD_HEADER;
        header & 3 == 1 && len.next_multiple_of(8) == stride as usize
    };
    if let Some(stride) = (8..100).step_by(8).find(is_record) {
        begin_at(ring, head.wrapping_sub(stride));
    }
}

/// Lets the next consumer of a ring begin after all records.
pub(super) fn skip_unread(ring: &Window<'_>) {
    begin_at(ring, end(ring));
}

/// Resets the consumer's position to what it has released.
pub(super) fn forget_position(ring: &Window<'_>) {
    let head = ring.word(offset_of!(RingControl, head)).load(Relaxed);
    begin_at(ring, head);
}

/// The position at which the next consumer begins.
fn first_unread(ring: &Window<'_>) -> u32 {
    ring.word(offset_of!(RingControl, position)).load(Relaxed)
}

/// The position at which the next producer begins.
fn end(ring: &Window<'_>) -> u32 {
    let records = Ring::attach(*ring)
        .ok()
        .and_then(|ring| ring.unread().last());
    records.map_or(first_unread(ring), |last| {
        let stride = (RECORD_HEADER + last.record.len()).next_multiple_of(8);
        last.position.wrapping_add(stride as u32)
    })
}

/// Lets the next consumer begin at `position`.
fn begin_at(ring: &Window<'_>, position: u32) {
    for offset in [
        offset_of!(RingControl, head),
        offset_of!(RingControl, position),
    ] {
        ring.word(offset).store(position, Relaxed);
    }
}

/// Gives the next answer the number of the first call of the next client.
pub(super) fn mix_up(commands: &Window<'_>, results: &Window<'_>) {
    let head = first_unread(results);
    let number = data(results, head.wrapping_add(RECORD_HEADER as u32 + 4));
    if number.load(Relaxed) != 0 {
        number.store(end(commands).wrapping_add(1), Relaxed);
    }
}

/// The word of a ring's data at `position`.
fn data<'m>(ring: &Window<'m>, position: u32) -> Word<'m> {
    let control = size_of::<RingControl>();
    ring.word(control + position as usize % (ring.len() - control))
}
