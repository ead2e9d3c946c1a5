//! Handles that are opened through a session.
//!
//! - **S1** They point to what is in the session's handle: that stays where it is while any of
//!   them is open.
//! - **S2** Each looks at every call whether the session is open at its address, and counts in
//!   it until it is closed.

use core::sync::atomic::Ordering::{Relaxed, Release};

use shmem_channel::Session;
use shmem_core::Incarnation;

use crate::handle::{get, open, with, Handle};
use crate::session::{shmr_session, Joined};
use crate::status::{shmr_status, Fault, Outcome};
use crate::word::Argument;

/// What is opened through a session, and its place there (S2).
pub(crate) struct OnSession<T> {
    inner: T,
    /// Dropped after `inner`, which uses the session.
    user: User,
}

/// One who is counted in a session until it is dropped.
struct User {
    session: *const shmr_session,
    /// Of the session: another one may be joined at the same address by now.
    incarnation: Incarnation,
}

impl User {
    /// # Safety
    ///
    /// As [`get`], and the session's handle stays in place for as long as this is used.
    unsafe fn new(session: *const shmr_session) -> Outcome<Self> {
        // SAFETY: the caller's.
        let joined: &'static Joined = unsafe { get(session, Argument::Session) }?;
        // Relaxed: who opens and who leaves are in one order already.
        joined.users.fetch_add(1, Relaxed);
        Ok(Self {
            session,
            incarnation: joined.session().incarnation(),
        })
    }

    fn joined(&self) -> Outcome<&'static Joined> {
        // SAFETY: as `new` demands.
        let joined: &'static Joined = unsafe { get(self.session, Argument::Session) }?;
        match joined.session().incarnation() == self.incarnation {
            true => Ok(joined),
            false => Err(Fault::invalid(Argument::Session)),
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Ok(joined) = self.joined() {
            // Release: pairs with the Acquire in `shmr_session_leave`.
            joined.users.fetch_sub(1, Release);
        }
    }
}

/// Opens a handle on a session.
///
/// # Safety
///
/// As [`open`], and a session that stays in place until the handle is closed.
pub(crate) unsafe fn open_on<H, T>(
    handle: *mut H,
    session: *const shmr_session,
    make: impl FnOnce(&'static Session<'static>) -> Outcome<T>,
) -> shmr_status
where
    H: Handle<Inner = OnSession<T>>,
{
    let make = || {
        // SAFETY: the caller's.
        let user = unsafe { User::new(session) }?;
        let inner = make(user.joined()?.session())?;
        Ok(OnSession { inner, user })
    };
    // SAFETY: the caller's.
    unsafe { open(handle, make) }
}

/// Works on what is in a handle on a session.
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
    // SAFETY: the caller's.
    unsafe {
        with(handle, |own| {
            let session = own.user.joined()?.session();
            work(&mut own.inner, session)
        })
    }
}

/// Asks what is in a handle on a session; what `otherwise` is if it cannot be asked.
///
/// # Safety
///
/// As [`get`], and as [`open_on`].
pub(crate) unsafe fn ask_open<H, T, A>(
    handle: *const H,
    otherwise: A,
    ask: impl FnOnce(&T) -> A,
) -> A
where
    H: Handle<Inner = OnSession<T>>,
    T: 'static,
{
    // SAFETY: the caller's.
    let own: Outcome<&OnSession<T>> = unsafe { get(handle, Argument::Handle) };
    match own {
        Ok(own) if own.user.joined().is_ok() => ask(&own.inner),
        _ => otherwise,
    }
}
