//! The namespaces that make processes an instance.
//!
//! The kernel may refuse each of them; the instance then shares this machine's. A namespace that
//! was refused is not set up either, because that would change this machine.

use std::fmt;
use std::fs;
use std::mem;
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{self, CloneFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{Group, getegid, geteuid, sethostname};

/// One kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Namespace {
    Mounts,
    Hostname,
    Network,
    Processes,
}

impl Namespace {
    const ALL: [Self; 4] = [Self::Mounts, Self::Hostname, Self::Network, Self::Processes];

    /// Returns its name on a command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Mounts => "mounts",
            Self::Hostname => "hostname",
            Self::Network => "network",
            Self::Processes => "processes",
        }
    }

    fn flag(self) -> CloneFlags {
        match self {
            Self::Mounts => CloneFlags::CLONE_NEWNS,
            Self::Hostname => CloneFlags::CLONE_NEWUTS,
            Self::Network => CloneFlags::CLONE_NEWNET,
            Self::Processes => CloneFlags::CLONE_NEWPID,
        }
    }
}

/// A step that the kernel refused.
#[derive(Debug)]
pub(super) struct Refused {
    what: &'static str,
    error: Errno,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.error.desc();
        let what = self.what;
        write!(
            f,
            "it has no {what} of its own ({reason}) and uses those of this machine"
        )
    }
}

/// Leaves KMON's namespaces; the next child is process 1 of the new ones. Returns which were
/// granted, and which were refused.
pub(super) fn unshare() -> (Vec<Namespace>, Vec<Refused>) {
    let mut refused = Vec::new();
    if !geteuid().is_root()
        && let Err(error) = become_root_of_a_user_namespace()
    {
        let what = "users";
        refused.push(Refused { what, error });
    }
    let mut granted = Vec::new();
    for own in Namespace::ALL {
        match sched::unshare(own.flag()) {
            Ok(()) => granted.push(own),
            Err(error) => refused.push(Refused {
                what: own.word(),
                error,
            }),
        }
    }
    (granted, refused)
}

/// Without privileges, only a user namespace gives the right to make the others.
fn become_root_of_a_user_namespace() -> Result<(), Errno> {
    let (user, group) = (geteuid(), getegid());
    sched::unshare(CloneFlags::CLONE_NEWUSER)?;
    let files = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ];
    for (file, line) in files {
        fs::write(file, line)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    }
    Ok(())
}

/// Sets up the granted namespaces as a machine with this host name.
pub(super) fn set_up(granted: &[Namespace], hostname: &str) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut note = |what, result: nix::Result<()>| {
        if let Err(error) = result {
            refused.push(Refused { what, error });
        }
    };
    let has = |own| granted.contains(&own);
    if has(Namespace::Hostname) {
        note("host name", sethostname(hostname));
    }
    if has(Namespace::Mounts) {
        note("mounts", make_mounts_private());
        note("terminals", mount_terminals());
        if has(Namespace::Processes) {
            note("/proc", mount_proc());
        }
    }
    if has(Namespace::Network) {
        note("loopback interface", bring_up_loopback());
    }
    refused
}

fn make_mounts_private() -> nix::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
}

fn mount_proc() -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
}

/// Mounts pseudo-terminals of its own: `/dev/ptmx` uses the `pts/ptmx` in the same directory.
fn mount_terminals() -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let attempt = |options: &str| {
        let kind = Some("devpts");
        mount(kind, "/dev/pts", kind, flags, Some(options))
    };
    let options = "newinstance,ptmxmode=0666,mode=0620";
    // A user namespace cannot use a group that it does not contain.
    match Group::from_name("tty") {
        Ok(Some(tty)) => {
            attempt(&format!("{options},gid={}", tty.gid)).or_else(|_| attempt(options))
        }
        _ => attempt(options),
    }
}

nix::ioctl_read_bad!(interface_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

fn bring_up_loopback() -> nix::Result<()> {
    let any = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: all zeroes is a value of `ifreq`, which is integers and arrays of them.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo\0") {
        *to = from.cast_signed();
    }
    // SAFETY: the descriptor is open, and `request` is the `ifreq` that the call fills.
    unsafe { interface_flags(any.as_raw_fd(), &raw mut request) }?;
    let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: the call above has filled this field of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: the descriptor is open, and `request` is a whole `ifreq`.
    unsafe { set_interface_flags(any.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Marks every descriptor from `first` on, so that no program started from here gets it.
pub(super) fn close_on_exec_from(first: libc::c_uint) -> anyhow::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: this only sets flags of descriptors; none is closed under its owner.
    let done = unsafe { libc::close_range(first, libc::c_uint::MAX, flags) };
    Errno::result(done).context("close_range")?;
    Ok(())
}
