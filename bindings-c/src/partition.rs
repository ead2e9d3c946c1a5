//! Attachments: which partitions are in a region, and in which incarnation.

use core::mem::MaybeUninit;

use shmem_core::Incarnation;
use shmem_registry::{Attachment, Evicted, OpenError, Process};

use crate::handle::{close, get, handle, open, output, value, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::registry::shmr_registry;
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_attachment - a partition's attachment to a region
/// @error: why the last call on it failed
#[repr(C)]
pub struct shmr_attachment {
    pub error: shmr_error,
    opaque: [u64; 11],
}

handle!(shmr_attachment, b"pres", Attachment<'static>);

/// struct shmr_process - how a partition's kernel identifies its process
/// @namespace_id: identifies the kernel, the PID namespace and the time namespace; 0 if unknown
/// @number:       the process's number there
/// @start:        when it started, low 32 bits
/// @image:        distinguishes the programs that the process runs one after the other; 0 if
///                unknown
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_process {
    pub namespace_id: u32,
    pub number: u32,
    pub start: u32,
    pub image: u32,
}

impl From<Process> for shmr_process {
    fn from(process: Process) -> Self {
        Self {
            namespace_id: process.namespace_id,
            number: process.number,
            start: process.start,
            image: process.image,
        }
    }
}

impl From<shmr_process> for Process {
    fn from(process: shmr_process) -> Self {
        Self {
            namespace_id: process.namespace_id,
            number: process.number,
            start: process.start,
            image: process.image,
        }
    }
}

/// struct shmr_partition - the contents of a partition's slot
/// @incarnation: its incarnation, or its last one; 0 if it never attached
/// @attached:    true until it leaves. A partition that was killed has not left
/// @heartbeat:   changes while the partition runs; only a difference has a meaning
/// @process:     how its kernel identifies its process
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_partition {
    pub incarnation: u32,
    pub attached: bool,
    pub heartbeat: u32,
    pub process: shmr_process,
}

/// Converts an incarnation that the caller gave.
pub(crate) fn incarnation(word: u32) -> Outcome<Incarnation> {
    Incarnation::from_word(word).ok_or(Fault::invalid(Argument::Incarnation))
}

/// Returns the attachment that the caller gave, unless it was evicted.
///
/// # Safety
///
/// As [`get`].
pub(crate) unsafe fn checked_attachment<'h>(
    attachment: *const shmr_attachment,
) -> Outcome<&'h Attachment<'static>> {
    // SAFETY: guaranteed by the caller.
    let attachment: &Attachment<'_> = unsafe { get(attachment, Argument::Attachment) }?;
    attachment
        .check()
        .map_err(|evicted| eviction_fault(attachment, evicted))?;
    Ok(attachment)
}

/// Returns why an attachment is no longer its partition's.
fn eviction_fault(attachment: &Attachment<'_>, evicted: Evicted) -> Fault {
    match attachment.is_reformatted() {
        true => OpenError::Reformatted.into(),
        false => evicted.into(),
    }
}

/// Converts a process that the caller gave; null is an unknown process.
///
/// # Safety
///
/// Null, or a process.
unsafe fn process(process: *const shmr_process) -> Outcome<Process> {
    if process.is_null() {
        return Ok(Process::UNKNOWN);
    }
    // SAFETY: guaranteed by the caller.
    unsafe { value(process, Argument::Process) }.map(|&process| process.into())
}

/// shmr_partition_attach() - attach a partition to a region, as its next incarnation
/// @attachment: to be opened
/// @registry:   the registry
/// @number:     the partition's number, from 1
/// @process:    shmr_process_this(), or NULL
///
/// Return:
/// * SHMR_OK
/// * SHMR_NO_SUCH_PARTITION: the region has no slot for @number, and the error's value is the
///   number of slots. Use another number.
/// * SHMR_ATTACHED: an earlier incarnation has not left, and is the error's value. It is alive, or
///   it was killed: use shmr_partition_attach_or_take_over().
/// * SHMR_EINVAL, SHMR_OPEN, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_partition_attach(
    attachment: *mut shmr_attachment,
    registry: *const shmr_registry,
    number: u8,
    process: *const shmr_process,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(attachment, || {
            let registry = get(registry, Argument::Registry)?;
            Ok(registry.attach_partition(number, self::process(process)?)?)
        })
    }
}

/// shmr_partition_attach_after() - attach a partition as the incarnation after one that is gone
/// @attachment: to be opened
/// @registry:   the registry
/// @earlier:    the incarnation that is gone. If it is alive, it is evicted
/// @process:    shmr_process_this(), or NULL
///
/// Return: the statuses of shmr_partition_attach(); SHMR_ATTACHED if an incarnation other than
/// @earlier is attached.
#[no_mangle]
pub unsafe extern "C" fn shmr_partition_attach_after(
    attachment: *mut shmr_attachment,
    registry: *const shmr_registry,
    earlier: u32,
    process: *const shmr_process,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(attachment, || {
            let registry = get(registry, Argument::Registry)?;
            Ok(registry.attach_after(incarnation(earlier)?, self::process(process)?)?)
        })
    }
}

/// shmr_partition_attach_or_take_over() - attach a partition, and wait until its earlier
/// incarnation is known to be gone
/// @attachment: to be opened
/// @registry:   the registry
/// @number:     the partition's number, from 1
/// @process:    shmr_process_this(), or NULL
/// @wait:       how to wait, and for how long
/// @liveness:   knows which partitions are gone; a silent one is waited for
///
/// Return: the statuses of shmr_partition_attach(); SHMR_ATTACHED if the earlier incarnation is not
/// known to be gone when @wait gives up.
#[no_mangle]
pub unsafe extern "C" fn shmr_partition_attach_or_take_over(
    attachment: *mut shmr_attachment,
    registry: *const shmr_registry,
    number: u8,
    process: *const shmr_process,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(attachment, || {
            let registry = get(registry, Argument::Registry)?;
            let process = self::process(process)?;
            let (mut wait, mut liveness) =
                (Waiting::from_ptr(wait)?, CLiveness::from_ptr(liveness)?);
            Ok(registry.attach_or_take_over(number, process, &mut wait, &mut liveness)?)
        })
    }
}

/// shmr_attachment_incarnation() - the incarnation of an attachment
/// @attachment: an attachment
///
/// Return: one word, as all calls use for incarnations: bits 0 to 7 are the partition's number,
/// bits 8 to 30 the number of its incarnation; 0 if @attachment is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_attachment_incarnation(attachment: *const shmr_attachment) -> u32 {
    // SAFETY: guaranteed by the caller.
    let attachment: Outcome<&Attachment<'_>> = unsafe { get(attachment, Argument::Attachment) };
    attachment.map_or(0, |attachment| attachment.incarnation().word())
}

/// shmr_attachment_beat() - show the other partitions that this one is alive
/// @attachment: an attachment
///
/// Call it several times within the limit after which peers report the partition as silent.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EVICTED, SHMR_REFORMATTED: nothing was stored, and this partition must not use the region
///   any more. Leave, and attach again.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_attachment_beat(attachment: *mut shmr_attachment) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe {
        with(attachment, |own| {
            own.beat().map_err(|evicted| eviction_fault(own, evicted))
        })
    }
}

/// shmr_attachment_leave() - leave the region
/// @attachment: the attachment to close
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_attachment_leave(attachment: *mut shmr_attachment) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(attachment) }
}

/// shmr_partition_read() - read the slot of a partition
/// @registry:  the registry
/// @number:    the partition's number
/// @partition: set to the contents
///
/// Only loads.
///
/// Return:
/// * SHMR_OK
/// * SHMR_NO_SUCH_PARTITION: the region has no slot for @number, and the error's value is the
///   number of slots
/// * SHMR_CORRUPT: the slot contains an incarnation of another partition
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_partition_read(
    registry: *mut shmr_registry,
    number: u8,
    partition: *mut shmr_partition,
) -> shmr_status {
    let read = |registry: &mut shmem_registry::Registry<'static>| {
        // SAFETY: guaranteed by the caller.
        let out: &mut MaybeUninit<_> = unsafe { output(partition, Argument::Partition) }?;
        let found = registry.partition(number)?;
        out.write(shmr_partition {
            incarnation: found
                .incarnation
                .map_or(0, |incarnation| incarnation.word()),
            attached: found.attached,
            heartbeat: found.heartbeat,
            process: found.process.into(),
        });
        Ok::<_, Fault>(())
    };
    // SAFETY: guaranteed by the caller.
    unsafe { with(registry, read) }
}

/// shmr_process_this() - this process, as peers on the same kernel identify it
///
/// Return: the process; all 0 if /proc is not mounted or shows another PID namespace.
#[cfg(feature = "linux")]
#[no_mangle]
pub extern "C" fn shmr_process_this() -> shmr_process {
    Process::this().into()
}
