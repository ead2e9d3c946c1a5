//! A single writer's latest value.

use core::ffi::c_void;

use shmem_core::snapshot::{segment_len, Reader, Writer};

use crate::handle::{bytes, bytes_mut, get, handle, open, place, with};
use crate::segment::{segment_window, shmr_segment, sized};
use crate::status::{shmr_error, shmr_status, Outcome};
use crate::word::Argument;

/// struct shmr_snapshot_writer - the side of a snapshot that writes
/// @error: why the last call on it failed
///
/// There is one. Needs no closing.
#[repr(C)]
pub struct shmr_snapshot_writer {
    pub error: shmr_error,
    opaque: [u64; 7],
}

handle!(shmr_snapshot_writer, b"snpw", Writer<'static>);

/// struct shmr_snapshot_reader - a side of a snapshot that reads
/// @error: why the last call on it failed
///
/// There may be any number. Needs no closing.
#[repr(C)]
pub struct shmr_snapshot_reader {
    pub error: shmr_error,
    opaque: [u64; 7],
}

handle!(shmr_snapshot_reader, b"snpr", Reader<'static>);

/// shmr_snapshot_len() - bytes of a segment for a snapshot
/// @max: bytes of the longest value
///
/// Return: the number for struct shmr_request; 0 if that is more than 1 GiB.
#[no_mangle]
pub extern "C" fn shmr_snapshot_len(max: usize) -> usize {
    sized(max, segment_len)
}

/// shmr_snapshot_writer_open() - the writing side of a snapshot, which nobody else writes
/// @writer:   to be opened
/// @snapshot: the snapshot's segment; zeroed, it was never written
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_writer_open(
    writer: *mut shmr_snapshot_writer,
    snapshot: *const shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe { open(writer, || Ok(Writer::attach(segment_window(snapshot)?)?)) }
}

/// shmr_snapshot_write() - make a value the latest
/// @writer: a writer
/// @value:  its bytes, outside the region
/// @len:    how many
///
/// Never waits.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_LONG.
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_write(
    writer: *mut shmr_snapshot_writer,
    value: *const c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(writer, |own| {
            Ok(own.write(bytes(value, len, Argument::Value)?)?)
        })
    }
}

/// shmr_snapshot_reader_open() - a reading side of a snapshot
/// @reader:   to be opened
/// @snapshot: the snapshot's segment
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_reader_open(
    reader: *mut shmr_snapshot_reader,
    snapshot: *const shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe { open(reader, || Ok(Reader::attach(segment_window(snapshot)?)?)) }
}

/// shmr_snapshot_read() - copy the latest value
/// @reader: a reader
/// @value:  where its bytes go
/// @size:   room there
/// @len:    bytes of the value
///
/// Only loads; never waits.
///
/// Return: SHMR_OK; SHMR_EMPTY, never written; SHMR_BUSY, the writer overtook every
///         attempt; SHMR_EINVAL; SHMR_TOO_LONG, and the error's value is its length;
///         SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_read(
    reader: *mut shmr_snapshot_reader,
    value: *mut c_void,
    size: usize,
    len: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(reader, |own| {
            let len = place(len, Argument::Len)?;
            len.write(own.read(bytes_mut(value, size, Argument::Value)?)?);
            Ok(())
        })
    }
}

/// shmr_snapshot_sequence() - a number that changes with each value
/// @reader: a reader
///
/// Return: 0 if nothing was written yet, or @reader is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_sequence(reader: *const shmr_snapshot_reader) -> u32 {
    // SAFETY: the caller's.
    let reader: Outcome<&Reader<'_>> = unsafe { get(reader, Argument::Reader) };
    reader.map_or(0, Reader::sequence)
}
