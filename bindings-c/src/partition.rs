//! Who is attached to a region, and in which incarnation.

use core::mem::MaybeUninit;

use shmem_core::Incarnation;
use shmem_registry::{Attachment, Evicted, OpenError, Process};

use crate::handle::{close, get, handle, open, place, value, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::registry::shmr_registry;
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_attachment - a partition's own attachment in a region
/// @error: why the last call on it failed
#[repr(C)]
pub struct shmr_attachment {
    pub error: shmr_error,
    opaque: [u64; 11],
}

handle!(shmr_attachment, b"pres", Attachment<'static>);

/// struct shmr_process - how the kernel of a partition knows it
/// @space:  tells kernels and process namespaces apart; 0 is unknown
/// @number: the process's number there
/// @start:  when it started, low 32 bits
/// @image:  tells the programs that it runs one after the other apart; 0 is unknown
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_process {
    pub space: u32,
    pub number: u32,
    pub start: u32,
    pub image: u32,
}

impl From<Process> for shmr_process {
    fn from(process: Process) -> Self {
        Self {
            space: process.space,
            number: process.number,
            start: process.start,
            image: process.image,
        }
    }
}

impl From<shmr_process> for Process {
    fn from(process: shmr_process) -> Self {
        Self {
            space: process.space,
            number: process.number,
            start: process.start,
            image: process.image,
        }
    }
}

/// struct shmr_partition - what a partition's slot says of it
/// @incarnation:      its incarnation, or its last one; 0 if it never attached
/// @attached:  whether it has not left. One that was killed did not leave
/// @heartbeat: moves while it lives; only a difference means anything
/// @process:   how its kernel knows it
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_partition {
    pub incarnation: u32,
    pub attached: bool,
    pub heartbeat: u32,
    pub process: shmr_process,
}

/// An incarnation that the caller named.
pub(crate) fn incarnation(word: u32) -> Outcome<Incarnation> {
    Incarnation::from_word(word).ok_or(Fault::invalid(Argument::Incarnation))
}

/// Who creates and removes: the attachment that the caller named, unless it was evicted.
///
/// # Safety
///
/// As [`get`].
pub(crate) unsafe fn claim<'h>(
    attachment: *const shmr_attachment,
) -> Outcome<&'h Attachment<'static>> {
    // SAFETY: the caller's.
    let attachment: &Attachment<'_> = unsafe { get(attachment, Argument::Attachment) }?;
    attachment
        .check()
        .map_err(|evicted| lost(attachment, evicted))?;
    Ok(attachment)
}

/// Why an attachment is not its partition's any more.
fn lost(attachment: &Attachment<'_>, evicted: Evicted) -> Fault {
    match attachment.is_reformatted() {
        true => OpenError::Reformatted.into(),
        false => evicted.into(),
    }
}

/// A process that the caller named; null is none that a peer might know.
///
/// # Safety
///
/// Null, or a process.
unsafe fn process(process: *const shmr_process) -> Outcome<Process> {
    if process.is_null() {
        return Ok(Process::UNKNOWN);
    }
    // SAFETY: the caller's.
    unsafe { value(process, Argument::Process) }.map(|&process| process.into())
}

/// shmr_partition_attach() - announce a partition to the others, as a new incarnation of it
/// @attachment: to be opened
/// @registry: the registry
/// @number:   the partition's, from 1
/// @process:  shmr_process_this(), or NULL
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NO_SUCH_PARTITION; SHMR_ATTACHED, an earlier incarnation has
///         not left: it lives, or it was killed, which
///         shmr_partition_attach_or_take_over() finds out; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_partition_attach(
    attachment: *mut shmr_attachment,
    registry: *const shmr_registry,
    number: u8,
    process: *const shmr_process,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(attachment, || {
            let registry = get(registry, Argument::Registry)?;
            Ok(registry.attach_partition(number, self::process(process)?)?)
        })
    }
}

/// shmr_partition_attach_after() - announce the incarnation that follows one which is gone
/// @attachment: to be opened
/// @registry: the registry
/// @earlier:  that incarnation
/// @process:  shmr_process_this(), or NULL
///
/// Return: as shmr_partition_attach(), if another incarnation than @earlier is attached.
#[no_mangle]
pub unsafe extern "C" fn shmr_partition_attach_after(
    attachment: *mut shmr_attachment,
    registry: *const shmr_registry,
    earlier: u32,
    process: *const shmr_process,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(attachment, || {
            let registry = get(registry, Argument::Registry)?;
            Ok(registry.attach_after(incarnation(earlier)?, self::process(process)?)?)
        })
    }
}

/// shmr_partition_attach_or_take_over() - announce a partition, and wait until an earlier
///                                     incarnation of it that has not left is known to be gone
/// @attachment: to be opened
/// @registry: the registry
/// @number:   the partition's, from 1
/// @process:  shmr_process_this(), or NULL
/// @wait:     how to wait, and for how long
/// @liveness: who knows which partitions are gone; one that is silent is waited for
///
/// Return: as shmr_partition_attach(); SHMR_ATTACHED if the earlier incarnation is still alive when
///         @wait gives up.
#[no_mangle]
pub unsafe extern "C" fn shmr_partition_attach_or_take_over(
    attachment: *mut shmr_attachment,
    registry: *const shmr_registry,
    number: u8,
    process: *const shmr_process,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(attachment, || {
            let registry = get(registry, Argument::Registry)?;
            let process = self::process(process)?;
            let (mut wait, mut told) = (Waiting::by(wait)?, CLiveness::by(liveness)?);
            Ok(registry.attach_or_take_over(number, process, &mut wait, &mut told)?)
        })
    }
}

/// shmr_attachment_incarnation() - which incarnation of which partition this is
/// @attachment: an attachment
///
/// Return: one word, as all calls have incarnations: bits 0 to 7 the partition's number, bits 8 to
///         30 its incarnation; 0 if @attachment is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_attachment_incarnation(attachment: *const shmr_attachment) -> u32 {
    // SAFETY: the caller's.
    let attachment: Outcome<&Attachment<'_>> = unsafe { get(attachment, Argument::Attachment) };
    attachment.map_or(0, |attachment| attachment.incarnation().word())
}

/// shmr_attachment_beat() - show that the partition lives
/// @attachment: an attachment
///
/// Several times in the time after which peers take it for silent.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_REFORMATTED; SHMR_EVICTED, another has attached with this
/// number: what this incarnation held is others', and nothing was stored.
#[no_mangle]
pub unsafe extern "C" fn shmr_attachment_beat(attachment: *mut shmr_attachment) -> shmr_status {
    // SAFETY: the caller's.
    unsafe {
        with(attachment, |own| {
            own.beat().map_err(|evicted| lost(own, evicted))
        })
    }
}

/// shmr_attachment_leave() - leave the region
/// @attachment: closed by this
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_attachment_leave(attachment: *mut shmr_attachment) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { close(attachment) }
}

/// shmr_partition_look() - see what is known of a partition
/// @registry:  the registry
/// @number:    the partition's
/// @partition: where it goes
///
/// Only loads.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NO_SUCH_PARTITION; SHMR_CORRUPT, its slot holds no
/// incarnation of it.
#[no_mangle]
pub unsafe extern "C" fn shmr_partition_look(
    registry: *mut shmr_registry,
    number: u8,
    partition: *mut shmr_partition,
) -> shmr_status {
    let look = |registry: &mut shmem_registry::Registry<'static>| {
        // SAFETY: the caller's.
        let out: &mut MaybeUninit<_> = unsafe { place(partition, Argument::Partition) }?;
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
    // SAFETY: the caller's.
    unsafe { with(registry, look) }
}

/// shmr_process_this() - this process, as peers on the same kernel know it
///
/// Return: all 0 where /proc is not there.
#[cfg(feature = "linux")]
#[no_mangle]
pub extern "C" fn shmr_process_this() -> shmr_process {
    Process::this().into()
}
