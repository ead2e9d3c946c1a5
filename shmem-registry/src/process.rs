//! Liveness on one kernel: whether a process still exists.

use std::format;
use std::fs;
use std::os::fd::OwnedFd;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{getpid, pidfd_open, Pid, PidfdFlags};
use shmem_core::Life;
use shmem_sync::Liveness;

use crate::partition::Process;
use crate::table::Registry;

impl Process {
    /// This process, as peers on the same kernel know it; [`Process::UNKNOWN`]
    /// where `/proc` is not there.
    pub fn this() -> Self {
        let number = getpid();
        let space = space();
        let start = start_of(number);
        match (space, start) {
            (Some(space), Some(start)) => Self {
                space,
                number: number.as_raw_nonzero().get().unsigned_abs(),
                start,
            },
            _ => Self::UNKNOWN,
        }
    }
}

/// A number for this kernel's life and this process's namespace of processes.
fn space() -> Option<u32> {
    let kernel = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let bytes = kernel
        .iter()
        .chain(namespace.as_os_str().as_encoded_bytes());
    // 32-bit FNV-1a.
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    Some(hash.max(1))
}

/// When a process started, in the kernel's ticks, low 32 bits.
fn start_of(number: Pid) -> Option<u32> {
    let path = format!("/proc/{}/stat", number.as_raw_nonzero());
    let stat = fs::read_to_string(path).ok()?;
    // The name, in brackets, may hold anything; `starttime` is field 22.
    let fields = stat.get(stat.rfind(')')? + 1..)?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(ticks as u32)
}

/// Takes a life for over that another has followed, that has left, or whose
/// process has ended. At once and for certain, for processes of this kernel that
/// attached with [`Process::this`]; of others it knows no more than the slot says.
pub struct Processes<'m> {
    registry: Registry<'m>,
    space: Option<u32>,
    watched: [Option<Watched>; SLOTS],
}

/// The most partitions that a registry has slots for.
const SLOTS: usize = 128;

const NOBODY: Option<Watched> = None;

/// A life and the descriptor of its process; none if that cannot be watched.
struct Watched {
    life: Life,
    process: Option<OwnedFd>,
}

impl<'m> Processes<'m> {
    /// Watches the processes that attached to `registry`.
    pub fn new(registry: Registry<'m>) -> Self {
        Self {
            registry,
            space: space(),
            watched: [NOBODY; SLOTS],
        }
    }
}

impl Liveness for Processes<'_> {
    fn is_over(&mut self, life: Life) -> bool {
        let Ok(slot) = self.registry.partition(life.partition()) else {
            return true;
        };
        if slot.life != Some(life) || !slot.attached {
            return true;
        }
        let watched = &mut self.watched[usize::from(life.partition() - 1) % SLOTS];
        if watched.as_ref().map(|watched| watched.life) != Some(life) {
            let process = match open(self.space, slot.process) {
                Opened::Process(process) => Some(process),
                Opened::Unknown => None,
                Opened::Gone => return true,
            };
            *watched = Some(Watched { life, process });
        }
        let process = watched
            .as_ref()
            .and_then(|watched| watched.process.as_ref());
        process.is_some_and(has_ended)
    }
}

enum Opened {
    Process(OwnedFd),
    Unknown,
    Gone,
}

fn open(space: Option<u32>, process: Process) -> Opened {
    let number = i32::try_from(process.number).ok().and_then(Pid::from_raw);
    let Some(number) = number.filter(|_| space == Some(process.space)) else {
        return Opened::Unknown;
    };
    match pidfd_open(number, PidfdFlags::empty()) {
        // The number may be another's by now; while the descriptor's process has
        // not ended, `/proc` speaks of that process.
        Ok(descriptor) => match start_of(number) {
            Some(start) if start == process.start => Opened::Process(descriptor),
            Some(_) => Opened::Gone,
            None if has_ended(&descriptor) => Opened::Gone,
            None => Opened::Unknown,
        },
        Err(Errno::SRCH) => Opened::Gone,
        Err(_) => Opened::Unknown,
    }
}

/// A process's descriptor is readable once it has ended.
fn has_ended(process: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready != 0)
}
