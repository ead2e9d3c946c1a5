//! One partition's membership of a region.
//!
//! What is opened through a session points to what is in its handle (`on_session`): there is
//! never a `&mut` to that, and it is dropped only when nothing is open.

use core::ffi::{c_int, c_void};
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Acquire;

use shmem_channel::{Session, SessionOptions, Waiter};
use shmem_core::{Incarnation, Liveness, PartitionState};
use shmem_registry::{Attachment, Geometry};

use crate::handle::with_shared;
use crate::handle::{close_if, get, handle, open, open_in_place, place, place_if_any, value};
use crate::liveness::{shmr_liveness, shmr_partition_state};
use crate::partition::incarnation;
use crate::platform::{shmr_platform, timeout, CPlatform};
use crate::region::window;
use crate::registry::{shmr_geometry, shmr_registry};
use crate::segment::{give, request, shmr_request, shmr_segment};
use crate::status::shmr_status::{
    SHMR_CONTENDED, SHMR_NOT_A_REGION, SHMR_NOT_FORMATTED, SHMR_OPEN, SHMR_REFORMATTED,
};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{fill, shmr_wait};
use crate::word::Argument;

/// struct shmr_session - one partition's membership of a region
/// @error: why the last call on it failed
///
/// What is opened through it points to it: it stays where it is until that is closed. Calls
/// on what was opened are refused with SHMR_EINVAL and the word "session" if the session is
/// no longer there. Several threads may open clients, servers, senders and receivers on one
/// session and use them, while another one beats; calls on the session itself are made by
/// one thread at a time.
#[repr(C)]
pub struct shmr_session {
    pub error: shmr_error,
    opaque: [u64; 48],
}

handle!(shmr_session, b"sess", Joined);

/// What is in a session's handle.
pub(crate) struct Joined {
    session: Session<'static>,
    /// Handles on this session that are open.
    pub(crate) users: AtomicU32,
    /// What `session` points to.
    platform: CPlatform,
}

impl Joined {
    pub(crate) fn session(&'static self) -> &'static Session<'static> {
        &self.session
    }
}

/// struct shmr_session_options - how a partition joins a region
/// @partition:           its number, from 1, which is its own by agreement
/// @without_rmw:         whether compare-and-swap does not work on this memory: nothing is
///                       created, every segment has to be there already
/// @take_over:           an incarnation of this partition that the caller knows to be gone,
///                       as it ended it itself or an operator said so; if it is alive, it is
///                       evicted. 0 for none
/// @patience:            nanoseconds to wait until an earlier incarnation of this partition
///                       is known to be gone; 0: it has to be known at once
/// @presume_gone_after:  nanoseconds after which an earlier incarnation whose heartbeat stands
///                       still during the wait is taken for gone: where nothing else tells,
///                       and there is one partition of this number by construction. One that
///                       was only slow is evicted by this. 0 for never
/// @geometry:            what shmr_session_create() gives the registry, or NULL for 64
///                       segments, 64 partitions and blocks of 128 bytes
///
/// Begin with zeroes and set @partition.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_session_options {
    pub partition: u8,
    pub without_rmw: bool,
    pub take_over: u32,
    pub patience: u64,
    pub presume_gone_after: u64,
    pub geometry: *const shmr_geometry,
}

/// Options in Rust's form.
///
/// # Safety
///
/// Null, or options whose geometry is null or one.
unsafe fn options(options: *const shmr_session_options) -> Outcome<SessionOptions> {
    // SAFETY: the caller's.
    let asked = unsafe { value(options, Argument::Options) }?;
    let mut own = SessionOptions::new(asked.partition).patience(timeout(asked.patience));
    if asked.without_rmw {
        own = own.without_read_modify_write();
    }
    if asked.presume_gone_after != 0 {
        own = own.presume_gone_after(timeout(asked.presume_gone_after));
    }
    if asked.take_over != 0 {
        let earlier = incarnation(asked.take_over)?;
        if earlier.partition() != asked.partition {
            return Err(Fault::invalid(Argument::Incarnation));
        }
        own = own.take_over(earlier);
    }
    if !asked.geometry.is_null() {
        // SAFETY: the caller's.
        own = own.geometry(Geometry::from(*unsafe {
            value(asked.geometry, Argument::Geometry)
        }?));
    }
    Ok(own)
}

/// Both ways to a session.
///
/// # Safety
///
/// As [`shmr_session_join`].
unsafe fn join(
    session: *mut shmr_session,
    memory: (*mut c_void, usize),
    asked: *const shmr_session_options,
    platform: *const shmr_platform,
    creates: bool,
) -> shmr_status {
    let init = |joined: *mut Joined| {
        // SAFETY: the caller's, here and below; written once, and stays there.
        unsafe {
            let window = window(memory.0, memory.1)?;
            let asked = options(asked)?;
            addr_of_mut!((*joined).platform).write(CPlatform::by(platform)?);
            addr_of_mut!((*joined).users).write(AtomicU32::new(0));
            let platform = &*addr_of!((*joined).platform);
            let joined = addr_of_mut!((*joined).session);
            joined.write(match creates {
                true => asked.create(window, platform)?,
                false => asked.join(window, platform)?,
            });
        }
        Ok(())
    };
    // SAFETY: the caller's.
    unsafe { open_in_place(session, init) }
}

/// shmr_session_create() - make memory a region with an empty registry, and join it
/// @session:  to be opened
/// @base:     first byte, a multiple of 8
/// @len:      bytes
/// @options:  who joins, and how
/// @platform: the caller's functions, copied
///
/// Zeroes the memory. One partition does this, which the platform or the operator names;
/// whoever used the memory before and has not ended is told SHMR_REFORMATTED at its next
/// call.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT; SHMR_NO_SUCH_PARTITION, the geometry has no
///         such partition; SHMR_REFORMATTED, another one did the same meanwhile.
#[no_mangle]
pub unsafe extern "C" fn shmr_session_create(
    session: *mut shmr_session,
    base: *mut c_void,
    len: usize,
    options: *const shmr_session_options,
    platform: *const shmr_platform,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { join(session, (base, len), options, platform, true) }
}

/// shmr_session_join() - join the region that another partition created
/// @session:  to be opened
/// @base:     first byte of the whole of it, a multiple of 8
/// @len:      bytes that are mapped; the region may be shorter
/// @options:  who joins, and how
/// @platform: the caller's functions, copied
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_A_REGION, SHMR_CONTENDED, SHMR_NOT_FORMATTED or
///         SHMR_REFORMATTED, it is not there yet: shmr_session_is_early(); SHMR_TOO_SHORT,
///         SHMR_LENGTH, SHMR_VERSION or SHMR_FEATURES, as shmr_region_attach();
///         SHMR_NO_SUCH_PARTITION; SHMR_ATTACHED, an earlier incarnation of this partition
///         is not known to be gone, and the error's value is that one; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_session_join(
    session: *mut shmr_session,
    base: *mut c_void,
    len: usize,
    options: *const shmr_session_options,
    platform: *const shmr_platform,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { join(session, (base, len), options, platform, false) }
}

/// shmr_session_is_early() - whether joining failed only because it came too early
/// @status: what shmr_session_join() said
///
/// Return: true if the region is not formatted yet, or not all of it: try again later.
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

/// shmr_session_beat() - show the others that this partition is alive
/// @session: a session
///
/// Where others go by its heartbeat: several times in the time after which they take it for
/// silent.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED or SHMR_REFORMATTED, nothing was stored, and
///         nothing of the region is to be used any more: leave, and join again.
#[no_mangle]
pub unsafe extern "C" fn shmr_session_beat(session: *mut shmr_session) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with_shared(session, |joined| Ok(joined.session.beat()?)) }
}

/// shmr_session_check() - whether this partition still has its place in the region
/// @session: a session
///
/// Only loads.
///
/// Return: as shmr_session_beat().
#[no_mangle]
pub unsafe extern "C" fn shmr_session_check(session: *mut shmr_session) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with_shared(session, |joined| Ok(joined.session.check()?)) }
}

/// shmr_session_incarnation() - which incarnation of which partition this is
/// @session: a session
///
/// Return: one word, as shmr_attachment_incarnation(); 0 if @session is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_session_incarnation(session: *const shmr_session) -> u32 {
    // SAFETY: the caller's.
    let joined: Outcome<&Joined> = unsafe { get(session, Argument::Session) };
    joined.map_or(0, |joined| joined.session.incarnation().word())
}

/// shmr_session_registry() - the region's registry, for calls that take one
/// @session:  a session
/// @registry: to be opened
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_session_registry(
    session: *const shmr_session,
    registry: *mut shmr_registry,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(registry, || {
            Ok(get(session, Argument::Session)?.session.registry())
        })
    }
}

/// shmr_session_open_or_create() - find a segment, or create it, zeroed
/// @session: a session
/// @request: what is wanted
/// @segment: where it goes
///
/// For snapshots, locks and memory of the program's own; rings and channels have calls that
/// do it. A segment that is not there yet needs compare-and-swap on this memory.
///
/// Return: as shmr_registry_open_or_create().
#[no_mangle]
pub unsafe extern "C" fn shmr_session_open_or_create(
    session: *mut shmr_session,
    request: *const shmr_request,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_shared(session, |joined| {
            place(segment, Argument::Segment)?;
            let request = self::request(request)?;
            let registry = joined.session().registry();
            give(
                segment,
                registry.open_or_create(attachment(joined)?, &request)?,
            )
        })
    }
}

/// shmr_session_remove() - remove a segment
/// @session: a session
/// @segment: what is removed
///
/// Return: as shmr_registry_remove().
#[no_mangle]
pub unsafe extern "C" fn shmr_session_remove(
    session: *mut shmr_session,
    segment: *const shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_shared(session, |joined| {
            let found = value(segment, Argument::Segment)?.found()?;
            let segment = found.ok_or(Fault::invalid(Argument::Segment))?;
            let registry = joined.session.registry();
            Ok(registry.remove(attachment(joined)?, &segment)?)
        })
    }
}

/// shmr_session_reap() - take back what partitions that are gone left half-made
/// @session: a session
/// @rows:    how many rows that were, or NULL
///
/// Return: as shmr_registry_reap().
#[no_mangle]
pub unsafe extern "C" fn shmr_session_reap(
    session: *mut shmr_session,
    rows: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_shared(session, |joined| {
            let rows = place_if_any(rows, Argument::Rows)?;
            let registry = joined.session.registry();
            let count = registry.reap(attachment(joined)?, &mut joined.session.liveness())?;
            if let Some(rows) = rows {
                rows.write(count);
            }
            Ok(())
        })
    }
}

/// In whose name the registry works, unless that one has lost its place.
fn attachment(joined: &'static Joined) -> Outcome<&'static Attachment<'static>> {
    joined.session.check()?;
    Ok(joined.session.attachment())
}

/// shmr_session_liveness() - what the session's platform knows, for calls on locks
/// @session: in place for as long as this is used
#[no_mangle]
pub extern "C" fn shmr_session_liveness(session: *const shmr_session) -> shmr_liveness {
    shmr_liveness {
        state: Some(session_state),
        context: session.cast_mut().cast(),
    }
}

unsafe extern "C" fn session_state(context: *mut c_void, incarnation: u32) -> c_int {
    // SAFETY: the session that `shmr_session_liveness` was given.
    let joined: Outcome<&Joined> =
        unsafe { get(context.cast::<shmr_session>(), Argument::Session) };
    let state = match (joined, Incarnation::from_word(incarnation)) {
        (Ok(joined), Some(incarnation)) => joined.session.liveness().state(incarnation),
        _ => PartitionState::Alive,
    };
    shmr_partition_state::from(state) as c_int
}

/// shmr_session_wait() - wait as the session's platform does, for calls on locks
/// @session: in place for as long as @wait is used
/// @wait:    to be filled in
/// @timeout: nanoseconds from now; SHMR_FOREVER is no limit
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_session_wait(
    session: *const shmr_session,
    wait: *mut shmr_wait,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's.
    let joined: Outcome<&'static Joined> = unsafe { get(session, Argument::Session) };
    match joined {
        Ok(joined) => {
            let timeout = self::timeout(timeout);
            // SAFETY: the caller's.
            unsafe { fill(wait, Waiter::new(&joined.platform, timeout)) }
        }
        Err(fault) => fault.status,
    }
}

/// shmr_session_leave() - leave the region
/// @session: closed by this
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_OPEN, handles on it are open, and the error's value is
///         how many: close them first.
#[no_mangle]
pub unsafe extern "C" fn shmr_session_leave(session: *mut shmr_session) -> shmr_status {
    // Acquire: pairs with the Release of those that are closed (`on_session`); nothing uses the
    // session any more.
    let unused = |joined: &Joined| match joined.users.load(Acquire) {
        0 => Ok(()),
        users => Err(Fault::with(SHMR_OPEN, users.into())),
    };
    // SAFETY: the caller's.
    unsafe { close_if(session, unused) }
}
