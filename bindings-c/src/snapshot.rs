//! The latest value of one writer.

use core::ffi::c_void;

use shmem_core::snapshot::{segment_len, Reader, Writer};

use crate::handle::{bytes, bytes_mut, get, handle, open, output, with};
use crate::segment::{bounded_len, segment_window, shmr_segment};
use crate::status::{shmr_error, shmr_status, Outcome};
use crate::word::Argument;

/// struct shmr_snapshot_writer - the side of a snapshot that writes
/// @error: why the last call on it failed
///
/// A snapshot has one writer. Needs no closing.
#[repr(C)]
pub struct shmr_snapshot_writer {
    pub error: shmr_error,
    opaque: [u64; 7],
}

handle!(shmr_snapshot_writer, b"snpw", Writer<'static>);

/// struct shmr_snapshot_reader - a side of a snapshot that reads
/// @error: why the last call on it failed
///
/// A snapshot can have any number of readers. Needs no closing.
#[repr(C)]
pub struct shmr_snapshot_reader {
    pub error: shmr_error,
    opaque: [u64; 7],
}

handle!(shmr_snapshot_reader, b"snpr", Reader<'static>);

/// shmr_snapshot_len() - the length of a segment for a snapshot
/// @max: bytes of the longest value
///
/// Return: the len for struct shmr_request; 0 if @max is more than 1 GiB.
#[no_mangle]
pub extern "C" fn shmr_snapshot_len(max: usize) -> usize {
    bounded_len(max, segment_len)
}

/// shmr_snapshot_writer_open() - open the writing side of a snapshot
/// @writer:   to be opened
/// @snapshot: the snapshot's segment; a zeroed segment is a snapshot without a value
///
/// No other handle may write the snapshot.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
///   shmr_snapshot_len().
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_writer_open(
    writer: *mut shmr_snapshot_writer,
    snapshot: *const shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe { open(writer, || Ok(Writer::attach(segment_window(snapshot)?)?)) }
}

/// shmr_snapshot_write() - publish a value as the latest one
/// @writer: a writer
/// @value:  its bytes, outside the region
/// @len:    number of bytes
///
/// Never waits.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_LONG: the value does not fit, and the error's value is the limit. Use a larger
///   segment.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_write(
    writer: *mut shmr_snapshot_writer,
    value: *const c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(writer, |own| {
            Ok(own.write(bytes(value, len, Argument::Value)?)?)
        })
    }
}

/// shmr_snapshot_reader_open() - open a reading side of a snapshot
/// @reader:   to be opened
/// @snapshot: the snapshot's segment
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
///   shmr_snapshot_len().
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_reader_open(
    reader: *mut shmr_snapshot_reader,
    snapshot: *const shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe { open(reader, || Ok(Reader::attach(segment_window(snapshot)?)?)) }
}

/// shmr_snapshot_read() - copy the latest value
/// @reader: a reader
/// @value:  where the value goes
/// @size:   bytes of @value
/// @len:    set to the length of the value
///
/// Only loads. Never waits.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EMPTY: no value was written yet. Try again later.
/// * SHMR_BUSY: the writer overwrote the value in every attempt. Try again.
/// * SHMR_TOO_LONG: the value is longer than @size, and the error's value is its length. Read again
///   with more room.
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_read(
    reader: *mut shmr_snapshot_reader,
    value: *mut c_void,
    size: usize,
    len: *mut usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(reader, |own| {
            let len = output(len, Argument::Len)?;
            len.write(own.read(bytes_mut(value, size, Argument::Value)?)?);
            Ok(())
        })
    }
}

/// shmr_snapshot_sequence() - a number that changes with each value
/// @reader: a reader
///
/// Return: the number; 0 if no value was written yet, or @reader is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_snapshot_sequence(reader: *const shmr_snapshot_reader) -> u32 {
    // SAFETY: guaranteed by the caller.
    let reader: Outcome<&Reader<'_>> = unsafe { get(reader, Argument::Reader) };
    reader.map_or(0, Reader::sequence)
}
