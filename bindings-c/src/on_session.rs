//! Handles that are opened through a session.
//!
//! - **S1** They point to the state in the session's handle, which does not move while any of them
//!   is open.
//! - **S2** Each of them checks in every call that the session is open at its address. Each is
//!   counted in the session until it is closed.

use core::mem::MaybeUninit;
use core::ptr::addr_of_mut;
use core::sync::atomic::Ordering::{Relaxed, Release};

use shmem_channel::Session;
use shmem_core::Incarnation;

use crate::handle::{get, open_in_place, with, Handle};
use crate::session::{shmr_session, SessionState};
use crate::status::{shmr_status, Fault, Outcome};
use crate::word::Argument;

/// A value that is opened through a session, and its count there (S2).
pub(crate) struct OnSession<T> {
    inner: T,
    /// Dropped after `inner`, which uses the session.
    user: SessionUser,
}

/// A handle that is counted in a session until it is dropped.
struct SessionUser {
    session: *const shmr_session,
    /// The session's incarnation: another session may have been opened at the same address.
    incarnation: Incarnation,
}

impl SessionUser {
    fn session_state(&self) -> Outcome<&'static SessionState> {
        // SAFETY: as `open_on` demands.
        let joined: &'static SessionState = unsafe { get(self.session, Argument::Session) }?;
        match joined.session().incarnation() == self.incarnation {
            true => Ok(joined),
            false => Err(Fault::invalid(Argument::Session)),
        }
    }
}

impl Drop for SessionUser {
    fn drop(&mut self) {
        if let Ok(joined) = self.session_state() {
            // Release: pairs with the Acquire in `shmr_session_leave`.
            joined.users.fetch_sub(1, Release);
        }
    }
}

/// Opens a handle through a session: `make` writes the value in its final place, or fails.
///
/// # Safety
///
/// As [`open`], and a session that does not move until the handle is closed.
pub(crate) unsafe fn open_on<H, T>(
    handle: *mut H,
    session: *const shmr_session,
    make: impl FnOnce(&'static Session<'static>, &mut MaybeUninit<T>) -> Outcome,
) -> shmr_status
where
    H: Handle<Inner = OnSession<T>>,
{
    // SAFETY: guaranteed by the caller. `make` writes a whole value, or fails.
    unsafe {
        open_in_place(handle, |own: *mut OnSession<T>| {
            let joined: &'static SessionState = get(session, Argument::Session)?;
            // Relaxed: the caller orders opening a handle and leaving the session.
            joined.users.fetch_add(1, Relaxed);
            let made = make(
                joined.session(),
                &mut *addr_of_mut!((*own).inner).cast::<MaybeUninit<T>>(),
            );
            match made {
                Ok(()) => addr_of_mut!((*own).user).write(SessionUser {
                    session,
                    incarnation: joined.session().incarnation(),
                }),
                // Release: as in `SessionUser::drop`.
                Err(_) => drop(joined.users.fetch_sub(1, Release)),
            }
            made
        })
    }
}

/// Calls `work` with the value of a handle on a session.
///
/// # Safety
///
/// As [`with`], and as [`open_on`].
#[inline(always)]
pub(crate) unsafe fn with_open<H, T>(
    handle: *mut H,
    work: impl FnOnce(&mut T, &'static Session<'static>) -> Outcome,
) -> shmr_status
where
    H: Handle<Inner = OnSession<T>>,
{
    // SAFETY: guaranteed by the caller.
    unsafe {
        with(handle, |own| {
            let session = own.user.session_state()?.session();
            work(&mut own.inner, session)
        })
    }
}

/// Returns what `read` returns for the value of a handle on a session; `otherwise` if the handle or
/// its session is not open.
///
/// # Safety
///
/// As [`get`], and as [`open_on`].
pub(crate) unsafe fn query<H, T, A>(handle: *const H, otherwise: A, read: impl FnOnce(&T) -> A) -> A
where
    H: Handle<Inner = OnSession<T>>,
    T: 'static,
{
    // SAFETY: guaranteed by the caller.
    let own: Outcome<&OnSession<T>> = unsafe { get(handle, Argument::Handle) };
    match own {
        Ok(own) if own.user.session_state().is_ok() => read(&own.inner),
        _ => otherwise,
    }
}
