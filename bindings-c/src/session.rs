//! One partition's membership of a region.
//!
//! Handles that are opened through a session point into its handle (`on_session`). So there is
//! never a `&mut` to the session's state, and it is dropped only when no handle on it is open.

use core::ffi::{c_int, c_void};
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Acquire;

use shmem_channel::{Session, SessionOptions, Waiter};
use shmem_core::{Incarnation, Liveness, PartitionState};
use shmem_registry::{Attachment, Geometry};

use crate::handle::with_shared;
use crate::handle::{close_if, get, handle, open, open_in_place, optional_output, output, value};
use crate::liveness::{shmr_liveness, shmr_partition_state};
use crate::partition::incarnation;
use crate::platform::{shmr_platform, timeout, CPlatform};
use crate::region::window;
use crate::registry::{shmr_geometry, shmr_registry};
use crate::segment::{request, shmr_request, shmr_segment, write_segment};
use crate::status::shmr_status::{
    SHMR_CONTENDED, SHMR_NOT_A_REGION, SHMR_NOT_FORMATTED, SHMR_OPEN, SHMR_REFORMATTED,
};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{fill, shmr_wait};
use crate::word::Argument;

/// struct shmr_session - one partition's membership of a region
/// @error: why the last call on it failed
///
/// Handles that are opened through a session point to it: it must not move while any of them is
/// open. If it was moved or overwritten, calls on them return SHMR_EINVAL with the word "session".
///
/// While one thread makes calls on the session (shmr_session_beat(), for example), others may open
/// clients, servers, senders and receivers on it and use them. Two threads must not make such calls
/// on the session at once.
#[repr(C)]
pub struct shmr_session {
    pub error: shmr_error,
    opaque: [u64; 48],
}

handle!(shmr_session, b"sess", SessionState);

/// The state in a session's handle.
pub(crate) struct SessionState {
    session: Session<'static>,
    /// The number of open handles on this session.
    pub(crate) users: AtomicU32,
    /// The platform that `session` refers to.
    platform: CPlatform,
}

impl SessionState {
    pub(crate) fn session(&'static self) -> &'static Session<'static> {
        &self.session
    }
}

/// struct shmr_session_options - how a partition joins a region
/// @partition:          its number, from 1; by agreement it belongs to this partition
/// @without_rmw:        true for memory without compare-and-swap: nothing is created, and every
///                      segment must already exist
/// @take_over:          an incarnation of this partition that the caller knows to be gone, because
///                      the caller ended it or an operator said so; 0 for none. If it is alive, it
///                      is evicted
/// @wait_for_earlier:   nanoseconds to wait until an earlier incarnation of this partition is known
///                      to be gone; 0: do not wait
/// @presume_gone_after: nanoseconds after which an earlier incarnation is presumed gone if its
///                      heartbeat stands still during @wait_for_earlier, which must be longer;
///                      0 for never. For platforms that have no other way to know, and where
///                      only one partition can have this number. An earlier incarnation that was
///                      only slow is evicted
/// @geometry:           the registry's geometry for shmr_session_create(), or NULL for 64 segments,
///                      64 partitions and blocks of 128 bytes
///
/// Start with zeroes and set @partition.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_session_options {
    pub partition: u8,
    pub without_rmw: bool,
    pub take_over: u32,
    pub wait_for_earlier: u64,
    pub presume_gone_after: u64,
    pub geometry: *const shmr_geometry,
}

/// Converts options.
///
/// # Safety
///
/// Null, or options whose geometry is null or valid.
unsafe fn options(options: *const shmr_session_options) -> Outcome<SessionOptions> {
    // SAFETY: guaranteed by the caller.
    let given = unsafe { value(options, Argument::Options) }?;
    let mut own = SessionOptions::new(given.partition);
    own = own.wait_for_earlier(timeout(given.wait_for_earlier));
    if given.without_rmw {
        own = own.without_read_modify_write();
    }
    if given.presume_gone_after != 0 {
        own = own.presume_gone_after(timeout(given.presume_gone_after));
    }
    if given.take_over != 0 {
        let earlier = incarnation(given.take_over)?;
        if earlier.partition() != given.partition {
            return Err(Fault::invalid(Argument::Incarnation));
        }
        own = own.take_over(earlier);
    }
    if !given.geometry.is_null() {
        // SAFETY: guaranteed by the caller.
        own = own.geometry(Geometry::from(*unsafe {
            value(given.geometry, Argument::Geometry)
        }?));
    }
    Ok(own)
}

/// Creates a region and joins it, or joins an existing one.
///
/// # Safety
///
/// As [`shmr_session_join`].
unsafe fn join(
    session: *mut shmr_session,
    memory: (*mut c_void, usize),
    given: *const shmr_session_options,
    platform: *const shmr_platform,
    create: bool,
) -> shmr_status {
    let init = |joined: *mut SessionState| {
        // SAFETY: guaranteed by the caller, here and below; written once, and not moved.
        unsafe {
            let window = window(memory.0, memory.1)?;
            let given = options(given)?;
            addr_of_mut!((*joined).platform).write(CPlatform::from_ptr(platform)?);
            addr_of_mut!((*joined).users).write(AtomicU32::new(0));
            let platform = &*addr_of!((*joined).platform);
            let joined = addr_of_mut!((*joined).session);
            joined.write(match create {
                true => given.create(window, platform)?,
                false => given.join(window, platform)?,
            });
        }
        Ok(())
    };
    // SAFETY: guaranteed by the caller.
    unsafe { open_in_place(session, init) }
}

/// shmr_session_create() - make memory a region with an empty registry, and join it
/// @session:  to be opened
/// @base:     first byte, a multiple of 8
/// @len:      number of bytes
/// @options:  how to join
/// @platform: the caller's functions; copied
///
/// Zeroes the memory. Exactly one partition does this; the platform or the operator chooses it. A
/// session that still uses the memory returns SHMR_REFORMATTED from its next call, and so do the
/// clients, servers, senders and receivers that were opened on it. Locks and snapshots do not
/// notice it.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the region does not fit, and the error's value is the memory's length. Use
///   more memory, or a smaller geometry.
/// * SHMR_NO_SUCH_PARTITION: the geometry does not have this partition, and the error's value is
///   the number of partitions that it has. Use a larger geometry, or a smaller partition number.
/// * SHMR_REFORMATTED: another partition created the region at the same time. Join instead.
/// * SHMR_EINVAL, SHMR_OPEN
#[no_mangle]
pub unsafe extern "C" fn shmr_session_create(
    session: *mut shmr_session,
    base: *mut c_void,
    len: usize,
    options: *const shmr_session_options,
    platform: *const shmr_platform,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { join(session, (base, len), options, platform, true) }
}

/// shmr_session_join() - join the region that another partition created
/// @session:  to be opened
/// @base:     first byte of the whole region, a multiple of 8
/// @len:      number of bytes that are mapped; the region may be shorter
/// @options:  how to join
/// @platform: the caller's functions; copied
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_A_REGION, SHMR_CONTENDED, SHMR_NOT_FORMATTED, SHMR_REFORMATTED: the region is not
///   ready yet (shmr_session_is_early()). Try again later, or check the address.
/// * SHMR_TOO_SHORT, SHMR_LENGTH, SHMR_OTHER_LAYOUT_VERSION, SHMR_FEATURES: the region is unusable;
///   see shmr_region_attach()
/// * SHMR_NO_SUCH_PARTITION: the region does not have this partition, and the error's value is the
///   number of partitions that it has. Use another number.
/// * SHMR_ATTACHED: an earlier incarnation of this partition is not known to be gone, and the
///   error's value is that incarnation. Set a longer wait_for_earlier, or use take_over.
/// * SHMR_EINVAL, SHMR_OPEN, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_session_join(
    session: *mut shmr_session,
    base: *mut c_void,
    len: usize,
    options: *const shmr_session_options,
    platform: *const shmr_platform,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { join(session, (base, len), options, platform, false) }
}

/// shmr_session_is_early() - whether joining failed only because the region is not ready yet
/// @status: the status that shmr_session_join() returned
///
/// Return: true if the region is not formatted yet, or not completely: try again later.
#[no_mangle]
pub extern "C" fn shmr_session_is_early(status: c_int) -> bool {
    [
        SHMR_NOT_A_REGION,
        SHMR_CONTENDED,
        SHMR_NOT_FORMATTED,
        SHMR_REFORMATTED,
    ]
    .iter()
    .any(|&early| early as c_int == status)
}

/// shmr_session_beat() - show the other partitions that this one is alive
/// @session: a session
///
/// If peers watch the heartbeat of this partition, call it several times within the limit after
/// which they report the partition as silent.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EVICTED, SHMR_REFORMATTED: nothing was stored, and this partition must not use the region
///   any more. Leave, and join again.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_session_beat(session: *mut shmr_session) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with_shared(session, |joined| Ok(joined.session.beat()?)) }
}

/// shmr_session_check() - check that this partition still has its slot, and the region its format
/// @session: a session
///
/// Only loads.
///
/// Return: the statuses of shmr_session_beat().
#[no_mangle]
pub unsafe extern "C" fn shmr_session_check(session: *mut shmr_session) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with_shared(session, |joined| Ok(joined.session.check()?)) }
}

/// shmr_session_incarnation() - the incarnation of this partition
/// @session: a session
///
/// Return: one word, as shmr_attachment_incarnation() describes it; 0 if @session is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_session_incarnation(session: *const shmr_session) -> u32 {
    // SAFETY: guaranteed by the caller.
    let joined: Outcome<&SessionState> = unsafe { get(session, Argument::Session) };
    joined.map_or(0, |joined| joined.session.incarnation().word())
}

/// shmr_session_registry() - open the region's registry, for calls that take one
/// @session:  a session
/// @registry: to be opened
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_session_registry(
    session: *const shmr_session,
    registry: *mut shmr_registry,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(registry, || {
            Ok(get(session, Argument::Session)?.session.registry())
        })
    }
}

/// shmr_session_open_or_create() - find a segment, or create it, zeroed
/// @session: a session
/// @request: which segment
/// @segment: set to the segment
///
/// For snapshots, locks and the program's own memory; the open calls of rings and channels create
/// what they need. Creating a segment needs compare-and-swap on this memory.
///
/// Return: the statuses of shmr_registry_open_or_create().
#[no_mangle]
pub unsafe extern "C" fn shmr_session_open_or_create(
    session: *mut shmr_session,
    request: *const shmr_request,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_shared(session, |joined| {
            output(segment, Argument::Segment)?;
            let request = self::request(request)?;
            let registry = joined.session().registry();
            write_segment(
                segment,
                registry.open_or_create(attachment(joined)?, &request)?,
            )
        })
    }
}

/// shmr_session_remove() - remove a segment
/// @session: a session
/// @segment: the segment
///
/// No partition may use the segment any more: its bytes are reused.
///
/// Return: the statuses of shmr_registry_remove().
#[no_mangle]
pub unsafe extern "C" fn shmr_session_remove(
    session: *mut shmr_session,
    segment: *const shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_shared(session, |joined| {
            let found = value(segment, Argument::Segment)?.registered()?;
            let segment = found.ok_or(Fault::invalid(Argument::Segment))?;
            let registry = joined.session.registry();
            Ok(registry.remove(attachment(joined)?, &segment)?)
        })
    }
}

/// shmr_session_reap() - free rows and blocks that dead partitions left half-created or
/// half-removed
/// @session: a session
/// @rows:    set to the number of rows that were freed; or NULL
///
/// Return: the statuses of shmr_registry_reap().
#[no_mangle]
pub unsafe extern "C" fn shmr_session_reap(
    session: *mut shmr_session,
    rows: *mut usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_shared(session, |joined| {
            let rows = optional_output(rows, Argument::Rows)?;
            let registry = joined.session.registry();
            let count = registry.reap(attachment(joined)?, &mut joined.session.liveness())?;
            if let Some(rows) = rows {
                rows.write(count);
            }
            Ok(())
        })
    }
}

/// Returns the attachment for calls on the registry, unless this partition lost its place.
fn attachment(joined: &'static SessionState) -> Outcome<&'static Attachment<'static>> {
    joined.session.check()?;
    Ok(joined.session.attachment())
}

/// shmr_session_liveness() - what the session's platform knows about partitions, for calls on locks
/// @session: a session, which must not move while the result is used
///
/// Return: a liveness that refers to @session.
#[no_mangle]
pub extern "C" fn shmr_session_liveness(session: *const shmr_session) -> shmr_liveness {
    shmr_liveness {
        state: Some(session_state),
        context: session.cast_mut().cast(),
    }
}

unsafe extern "C" fn session_state(context: *mut c_void, incarnation: u32) -> c_int {
    // SAFETY: the session that `shmr_session_liveness` was given.
    let joined: Outcome<&SessionState> =
        unsafe { get(context.cast::<shmr_session>(), Argument::Session) };
    let state = match (joined, Incarnation::from_word(incarnation)) {
        (Ok(joined), Some(incarnation)) => joined.session.liveness().state(incarnation),
        _ => PartitionState::Alive,
    };
    shmr_partition_state::from(state) as c_int
}

/// shmr_wait_session() - wait as the session's platform does, for calls on locks
/// @wait:    to be filled in
/// @session: a session, which must not move while @wait is used
/// @timeout: nanoseconds from now; SHMR_FOREVER is no limit. The other waits take
///           milliseconds
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_session(
    wait: *mut shmr_wait,
    session: *const shmr_session,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    let joined: Outcome<&'static SessionState> = unsafe { get(session, Argument::Session) };
    match joined {
        Ok(joined) => {
            let timeout = self::timeout(timeout);
            // SAFETY: guaranteed by the caller.
            unsafe { fill(wait, Waiter::new(&joined.platform, timeout)) }
        }
        Err(fault) => fault.status(),
    }
}

/// shmr_session_leave() - leave the region
/// @session: the session to close
///
/// Return:
/// * SHMR_OK
/// * SHMR_OPEN: handles on @session are open, and the error's value is their number. Close them
///   first.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_session_leave(session: *mut shmr_session) -> shmr_status {
    // Acquire: pairs with the Release in `SessionUser::drop`; after it no handle uses the session.
    let unused = |joined: &SessionState| match joined.users.load(Acquire) {
        0 => Ok(()),
        users => Err(Fault::with(SHMR_OPEN, users.into())),
    };
    // SAFETY: guaranteed by the caller.
    unsafe { close_if(session, unused) }
}
