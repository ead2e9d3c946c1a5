//! Guards: the only way to the bytes that a lock protects.
//!
//! - **G1** A guard exists only while its lock is acquired: it is made from an `Acquired`, and
//!   unlocks once, when it is dropped or unlocked.
//! - **G2** The window on the bytes leaves a guard only with the lifetime of a borrow of the guard;
//!   the borrow is exclusive if the window can write. So no window exists when the guard unlocks.
//! - **G3** A guard's window is never exchanged for another lock's: no `&mut` to it leaves the
//!   guard.

use core::marker::PhantomData;
use core::mem::{size_of, ManuallyDrop};

use bytemuck::Pod;
use shmem_core::mem::ReadWindow;
use shmem_core::Window;

use crate::error::NotHeld;
use crate::protected::Protected;
use crate::raw::RawBakeryMutex;
use crate::raw::RawMutex;
use crate::raw::RawRwLock;

/// The lock that a guard holds.
pub(crate) enum Held<'l, 'm> {
    Mutex(&'l RawMutex<'m>),
    Writer(&'l RawRwLock<'m>),
    Bakery(&'l mut RawBakeryMutex<'m>),
}

/// A [`Mutex`](crate::Mutex) or [`BakeryMutex`](crate::BakeryMutex) that is locked, or an
/// [`RwLock`](crate::RwLock) that is locked for writing. Dropping it unlocks the lock.
///
/// A guard from [`OwnerDied`](crate::LockError::OwnerDied) poisons the lock if it is unlocked
/// without [`make_consistent`](Guard::make_consistent).
///
/// # Examples
///
/// The value is not reached without the guard: not through a window that was kept,
///
/// ```compile_fail,E0505
/// # use shmem_sync::{Guard, NotHeld};
/// fn keep(mut guard: Guard<'_, '_, u64>) -> Result<(), NotHeld> {
///     let window = guard.window();
///     guard.unlock()?;
///     window.write(0, &[0; 8]);
///     Ok(())
/// }
/// ```
///
/// nor through a window that outlives the guard,
///
/// ```compile_fail,E0515
/// # use shmem_core::Window;
/// # use shmem_sync::Guard;
/// fn outlive<'m>(mut guard: Guard<'m, 'm, u64>) -> Window<'m> {
///     guard.window()
/// }
/// ```
///
/// nor through a guard that was unlocked.
///
/// ```compile_fail,E0382
/// # use shmem_sync::{Guard, NotHeld};
/// fn use_again(mut guard: Guard<'_, '_, u64>) -> Result<(), NotHeld> {
///     guard.unlock()?;
///     guard.set(1);
///     Ok(())
/// }
/// ```
#[must_use = "the lock is unlocked at once if the guard is dropped"]
pub struct Guard<'l, 'm, T: ?Sized> {
    held: Held<'l, 'm>,
    data: Window<'m>,
    value: PhantomData<T>,
}

impl<'l, 'm, T: Protected + ?Sized> Guard<'l, 'm, T> {
    /// Returns the guard of a lock that is acquired, and of the bytes that it protects.
    #[inline]
    pub(crate) fn new(held: Held<'l, 'm>, data: Window<'m>) -> Self {
        let value = PhantomData;
        Self { held, data, value }
    }
}

impl<T: Pod> Guard<'_, '_, T> {
    /// Returns a copy of the value.
    #[inline]
    pub fn get(&self) -> T {
        copy(self.data)
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&mut self, value: T) {
        self.data.write(0, bytemuck::bytes_of(&value));
    }

    /// Changes the value: `change` works on a private copy, which then replaces it.
    #[inline]
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.get();
        let result = change(&mut value);
        self.set(value);
        result
    }
}

impl<T: ?Sized> Guard<'_, '_, T> {
    /// Returns the protected bytes, while the guard is borrowed.
    pub fn window(&mut self) -> Window<'_> {
        self.data // G2
    }

    /// Declares that the data that a dead owner left is repaired. If this incarnation was treated
    /// as gone meanwhile, it changes nothing, and [`Guard::unlock`] reports it.
    pub fn make_consistent(&mut self) {
        let _ = match &mut self.held {
            // SAFETY: acquired, by G1; the caller states that it repaired the data.
            Held::Mutex(mutex) => unsafe { mutex.make_consistent() },
            // SAFETY: as above.
            Held::Writer(lock) => unsafe { lock.make_consistent() },
            // SAFETY: as above.
            Held::Bakery(mutex) => unsafe { mutex.make_consistent() },
        };
    }

    /// Unlocks the lock.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation was treated as gone and the lock was taken over: others held
    /// it meanwhile.
    #[inline]
    pub fn unlock(self) -> Result<(), NotHeld> {
        ManuallyDrop::new(self).release()
    }

    #[inline]
    fn release(&mut self) -> Result<(), NotHeld> {
        match &mut self.held {
            // SAFETY: acquired, and dropped or forgotten after this, by G1; no window is
            // left, by G2.
            Held::Mutex(mutex) => unsafe { mutex.unlock() },
            // SAFETY: as above.
            Held::Writer(lock) => unsafe { lock.unlock_write() },
            // SAFETY: as above.
            Held::Bakery(mutex) => unsafe { mutex.unlock() },
        }
    }
}

impl<T: ?Sized> Drop for Guard<'_, '_, T> {
    #[inline]
    fn drop(&mut self) {
        // To learn whether the lock was still held, call `unlock`.
        let _ = self.release();
    }
}

/// An [`RwLock`](crate::RwLock) that is locked for reading. Dropping it unlocks the lock.
///
/// # Examples
///
/// A reader cannot write.
///
/// ```compile_fail,E0599
/// # use shmem_sync::ReadGuard;
/// fn write(guard: &ReadGuard<'_, '_, u64>) {
///     guard.window().write(0, &[0; 8]);
/// }
/// ```
///
/// It cannot read after it has unlocked.
///
/// ```compile_fail,E0505
/// # use shmem_sync::{NotHeld, ReadGuard};
/// fn keep(guard: ReadGuard<'_, '_, u64>) -> Result<[u8; 8], NotHeld> {
///     let (window, mut bytes) = (guard.window(), [0; 8]);
///     guard.unlock()?;
///     window.read(0, &mut bytes);
///     Ok(bytes)
/// }
/// ```
#[must_use = "the lock is unlocked at once if the guard is dropped"]
pub struct ReadGuard<'l, 'm, T: ?Sized> {
    lock: &'l RawRwLock<'m>,
    /// The index of its reader word.
    place: usize,
    data: Window<'m>,
    value: PhantomData<T>,
}

impl<'l, 'm, T: Protected + ?Sized> ReadGuard<'l, 'm, T> {
    /// Returns the guard of a lock that is acquired for reading, and of the bytes that it protects.
    pub(crate) fn new(lock: &'l RawRwLock<'m>, place: usize, data: Window<'m>) -> Self {
        Self {
            lock,
            place,
            data,
            value: PhantomData,
        }
    }
}

impl<T: Pod> ReadGuard<'_, '_, T> {
    /// Returns a copy of the value.
    #[inline]
    pub fn get(&self) -> T {
        copy(self.data)
    }
}

impl<T: ?Sized> ReadGuard<'_, '_, T> {
    /// Returns the protected bytes for reading, while the guard is borrowed.
    pub fn window(&self) -> ReadWindow<'_> {
        self.data.into() // G2
    }

    /// Unlocks the lock.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation was treated as gone: what it read may be inconsistent.
    #[inline]
    pub fn unlock(self) -> Result<(), NotHeld> {
        ManuallyDrop::new(self).release()
    }

    #[inline]
    fn release(&mut self) -> Result<(), NotHeld> {
        // SAFETY: as for a `Guard`.
        unsafe { self.lock.unlock_read(self.place) }
    }
}

impl<T: ?Sized> Drop for ReadGuard<'_, '_, T> {
    #[inline]
    fn drop(&mut self) {
        // As for a `Guard`.
        let _ = self.release();
    }
}

#[inline]
fn copy<T: Pod>(data: Window<'_>) -> T {
    debug_assert!(data.len() >= size_of::<T>());
    let mut value = T::zeroed();
    data.read(0, bytemuck::bytes_of_mut(&mut value));
    value
}
