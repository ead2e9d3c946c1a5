//! Sets the length of a file once, and reserves its blocks.
//!
//! The blocks are reserved before the length is set, so that no process maps bytes without
//! blocks. If several processes create one file, one of them sets the length, under a lock. If a
//! file system cannot reserve blocks, zeroes are written and the file grows: it begins with
//! [`UNFINISHED`] until it is complete.

use std::borrow::ToOwned;
use std::format;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{fallocate, flock, fstat, ftruncate, FallocateFlags, FlockOperation as Flock};
use rustix::io::{pread, pwrite, retry_on_intr, Errno};
use rustix::process::{getrlimit, Resource};

use super::map_error::MapError;

/// The first bytes of a file while zeroes are written to it: no region begins so.
const UNFINISHED: &[u8; 8] = b"unmade\r\n";

/// How long another process may take to create the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Sets the length of an empty file to `len`, and reserves its blocks. Of a file with that
/// length it only reserves missing blocks. Errors call the file `what`.
pub(super) fn set_length(fd: &OwnedFd, len: usize, what: &str) -> Result<(), MapError> {
    let error = |errno| MapError::new(what, errno);
    // A file that was created here has its blocks if it has the length.
    if length(fd).map_err(error)? == len && !is_unfinished(fd) {
        return reserve_rest(fd, len).map_err(error);
    }
    lock(fd).map_err(|errno| match errno {
        Errno::WOULDBLOCK => MapError {
            why: "another process keeps it locked".to_owned(),
            hint: "; find it with lslocks",
            ..error(errno)
        },
        errno => error(errno),
    })?;
    let found = match is_unfinished(fd) {
        // The process that created it has died: otherwise it would have the lock.
        true => ftruncate(fd, 0).map(|()| 0),
        false => length(fd),
    };
    let done = match found {
        Ok(0) => reserve(fd, len).map_err(error),
        Ok(found) if found == len => reserve_rest(fd, len).map_err(error),
        Ok(found) => Err(MapError {
            why: format!("it has {found} bytes already, not {len}"),
            hint: "; give the length that it has, or remove the file first",
            ..error(Errno::EXIST)
        }),
        Err(errno) => Err(error(errno)),
    };
    // If it fails, closing the descriptor releases the lock.
    let _ = flock(fd, Flock::Unlock);
    done
}

/// Reserves the blocks of an empty file, then sets its length. On failure the file has neither.
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
        // Frees the blocks that were reserved.
        let _ = ftruncate(fd, 0);
    }
    done
}

/// Reserves the blocks that a file from another program may lack. If the file system cannot
/// reserve them, does nothing: another process may be using the file, so zeroes cannot be written.
fn reserve_rest(fd: &OwnedFd, len: usize) -> Result<(), Errno> {
    match allocate(fd, len) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        done => done,
    }
}

/// Reserves the blocks of `len` bytes without changing the length.
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

/// Returns true if a process is writing zeroes to the file, or died while it did.
pub(super) fn is_unfinished(fd: &OwnedFd) -> bool {
    let mut front = [0; UNFINISHED.len()];
    // A file that can be mapped but not read is device memory, which no process creates.
    let len = retry_on_intr(|| pread(fd, &mut front, 0)).unwrap_or(0);
    len == front.len() && front == *UNFINISHED
}

fn lock(fd: &OwnedFd) -> Result<(), Errno> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
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
    fn an_unreadable_file_is_not_unfinished() {
        // Like a PCI device's memory in sysfs: reading it is an I/O error.
        let fd = OwnedFd::from(File::open("/proc/self/mem").unwrap());
        assert_eq!(pread(&fd, &mut [0; 8], 0), Err(Errno::IO));
        assert!(!is_unfinished(&fd));
    }
}
