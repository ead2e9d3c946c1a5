//! The socket to which peers connect.
//!
//! - **N1** A server checks under a lock of the directory whether the socket is a living server's,
//!   removes it and binds it: of two servers that start, one finds the other.
//! - **N2** A server removes the name only while it is still the one that it bound.
//! - **N3** The socket listens only after its permissions allow only its owner to connect.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use crate::server::ServeError;

/// The number of connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// Time limit for another server to start in the same directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A listening socket. Dropping it removes its name.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode of the name that was bound (N2).
    identity: (u64, u64),
}

/// Creates a socket of type `kind` that neither blocks nor is inherited.
pub(crate) fn new_socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, kind, flags, None)
}

/// Returns `path` as an address, which has at most 107 bytes.
pub(crate) fn address(path: &Path) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(path)
}

impl Listener {
    pub(crate) fn bind(path: &Path) -> Result<Self, ServeError> {
        let failed = |what| move |error: io::Error| ServeError::system(what, path, error);
        let address = address(path).map_err(|error| match error {
            Errno::NAMETOOLONG => ServeError::Name(path.to_owned()),
            error => ServeError::system("use", path, error.into()),
        })?;
        let whole = std::path::absolute(path).map_err(failed("use"))?;
        let socket = new_socket(SocketType::STREAM).map_err(|e| failed("create")(e.into()))?;
        let _lock = lock_directory(&whole).map_err(failed("lock the directory of"))?; // N1
        remove_if_dead(path, &address)?;
        bind(&socket, &address).map_err(|e| failed("bind")(e.into()))?;
        let found = fs::symlink_metadata(&whole).map_err(failed("find"))?;
        let listener = Self {
            socket,
            path: whole,
            identity: (found.dev(), found.ino()),
        };
        // N3; an error from here on removes the name.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("guard"))?;
        listen(&listener.socket, BACKLOG).map_err(|e| failed("listen on")(e.into()))?;
        Ok(listener)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Without the lock, a newer server may take the name at any moment: leave it. The next
        // server removes it.
        let Ok(_lock) = lock_directory(&self.path) else {
            return;
        };
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Locks the directory of `path` until the descriptor is closed.
fn lock_directory(path: &Path) -> io::Result<OwnedFd> {
    let directory = path.parent().unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes `path` if it is the socket of a dead server.
fn remove_if_dead(path: &Path, address: &SocketAddrUnix) -> Result<(), ServeError> {
    let failed = |what| move |error: io::Error| ServeError::system(what, path, error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("check")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServeError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    // A datagram socket cannot connect to a stream socket. The error distinguishes a living
    // server, even before it listens, from a dead one, and the server notices nothing.
    let probe = new_socket(SocketType::DGRAM).map_err(|e| failed("create")(e.into()))?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed("remove the dead")),
        Ok(()) | Err(Errno::PROTOTYPE) => Err(ServeError::InUse(path.to_owned())),
        Err(error) => Err(failed("probe")(error.into())),
    }
}
