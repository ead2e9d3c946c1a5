//! How a file gets its length, once, with the blocks for it.
//!
//! The blocks come before the length, so that nobody maps what is not there; of
//! several that make one file, one sets the length, under a lock. Where a file system
//! cannot reserve blocks, zeroes are written, and the file grows: it begins with
//! [`UNFINISHED`] until all are there.

use std::borrow::ToOwned;
use std::format;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{fallocate, flock, fstat, ftruncate, FallocateFlags, FlockOperation as Flock};
use rustix::io::{pread, pwrite, retry_on_intr, Errno};
use rustix::process::{getrlimit, Resource};

use super::map_error::MapError;

/// What a file begins with while zeroes are written to it: no region does.
const UNFINISHED: &[u8; 8] = b"unmade\r\n";

/// How long others may take to make the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives an empty file `len` bytes; makes sure of the blocks of one that has as many.
/// Errors call it `what`.
pub(super) fn give_length(fd: &OwnedFd, len: usize, what: &str) -> Result<(), MapError> {
    let error = |errno| MapError::new(what, errno);
    // Who has the length has the blocks, if it was made here.
    if length(fd).map_err(error)? == len && !is_unfinished(fd) {
        return reserve_rest(fd, len).map_err(error);
    }
    lock(fd).map_err(|errno| match errno {
        Errno::WOULDBLOCK => MapError {
            why: "another process keeps it locked".to_owned(),
            hint: "; see which one does (lslocks)",
            ..error(errno)
        },
        errno => error(errno),
    })?;
    let found = match is_unfinished(fd) {
        // Whoever made it has died: it would have the lock.
        true => ftruncate(fd, 0).map(|()| 0),
        false => length(fd),
    };
    let done = match found {
        Ok(0) => reserve(fd, len).map_err(error),
        Ok(found) if found == len => reserve_rest(fd, len).map_err(error),
        Ok(found) => Err(MapError {
            why: format!("it has {found} bytes already, not {len}"),
            hint: "; ask for as many, or remove it first",
            ..error(Errno::EXIST)
        }),
        Err(errno) => Err(error(errno)),
    };
    // What fails here is released when the descriptor is closed.
    let _ = flock(fd, Flock::Unlock);
    done
}

/// Gives an empty file its blocks, then its length; neither if that fails.
fn reserve(fd: &OwnedFd, len: usize) -> Result<(), Errno> {
    if len as u64 > getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX) {
        return Err(Errno::FBIG); // The kernel would send a signal.
    }
    let made = match allocate(fd, len) {
        Err(Errno::OPNOTSUPP) => write_zeroes(fd, len),
        made => made,
    };
    let done = made.and_then(|()| ftruncate(fd, len as u64));
    if done.is_err() {
        // The blocks that there were.
        let _ = ftruncate(fd, 0);
    }
    done
}

/// The blocks that a file made by others may lack. Where a file system reserves none,
/// they cannot be written either: somebody may be using the file.
fn reserve_rest(fd: &OwnedFd, len: usize) -> Result<(), Errno> {
    match allocate(fd, len) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        done => done,
    }
}

/// Reserves the blocks of `len` bytes, and leaves the length as it is.
pub(super) fn allocate(fd: &OwnedFd, len: usize) -> Result<(), Errno> {
    let flags = FallocateFlags::KEEP_SIZE;
    retry_on_intr(|| fallocate(fd, flags, 0, len as u64))
}

fn write_zeroes(fd: &OwnedFd, len: usize) -> Result<(), Errno> {
    const ZEROES: [u8; 1 << 14] = [0; 1 << 14];
    let front = UNFINISHED.len();
    write_all(fd, 0, UNFINISHED)?;
    ftruncate(fd, front as u64)?;
    let mut at = front;
    while at < len {
        let part = ZEROES.len().min(len - at);
        write_all(fd, at, &ZEROES[..part])?;
        at += part;
    }
    write_all(fd, 0, &ZEROES[..front])
}

fn write_all(fd: &OwnedFd, mut at: usize, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = retry_on_intr(|| pwrite(fd, bytes, at as u64))?;
        at += written;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Whether zeroes are being written to the file, or were by a process that died.
pub(super) fn is_unfinished(fd: &OwnedFd) -> bool {
    let mut front = [0; UNFINISHED.len()];
    // What can be mapped and not read is a device's memory, which nobody makes.
    let len = retry_on_intr(|| pread(fd, &mut front, 0)).unwrap_or(0);
    len == front.len() && front == *UNFINISHED
}

fn lock(fd: &OwnedFd) -> Result<(), Errno> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match flock(fd, Flock::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

pub(super) fn length(fd: &OwnedFd) -> Result<usize, Errno> {
    usize::try_from(fstat(fd)?.st_size).map_err(|_| Errno::OVERFLOW)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_can_be_mapped_and_not_read_is_not_unfinished() {
        // As a PCI device's memory in sysfs: reading it is an I/O error.
        let fd = OwnedFd::from(File::open("/proc/self/mem").unwrap());
        assert_eq!(pread(&fd, &mut [0; 8], 0), Err(Errno::IO));
        assert!(!is_unfinished(&fd));
    }
}
