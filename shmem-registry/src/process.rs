//! Liveness on one kernel: whether a process still exists.
//!
//! A process is known by its number, the tick it started at, and the place of its
//! program in its memory, all of which are read from `/proc`; the first two mean
//! something within one kernel, PID namespace and time namespace only, so these are
//! hashed into `space`.

use std::format;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use std::vec::Vec;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{getpid, pidfd_open, Pid, PidfdFlags};
use shmem_core::{Incarnation, Liveness, PartitionState};

use crate::memory::Registry;
use crate::partition::Process;

/// How often it is looked whether a process still runs the program that attached: a
/// file of `/proc` is read for it.
const LOOK_AT_IMAGE: Duration = Duration::from_millis(20);

impl Process {
    /// This process, as peers on the same kernel know it; [`Process::UNKNOWN`]
    /// where `/proc` is not there, or is of another PID namespace.
    pub fn this() -> Self {
        let number = getpid();
        match (space(), look_up(number)) {
            (Some(space), Some(found)) => Self {
                space,
                number: number.as_raw_nonzero().get().unsigned_abs(),
                start: found.start,
                image: found.image,
            },
            _ => Self::UNKNOWN,
        }
    }

    /// Whether this process has ended, or runs another program by now. False if that is not
    /// known: of [`Process::UNKNOWN`], and of a process of another kernel or namespace.
    ///
    /// Looks everything up at each call; [`Processes`] remembers.
    pub fn has_ended(self) -> bool {
        match open(space(), self) {
            Some(Known::Process(descriptor)) => has_ended(&descriptor),
            Some(Known::Gone) => true,
            Some(Known::Foreign) | None => false,
        }
    }
}

/// A number for this kernel's incarnation and this process's namespaces of processes and of
/// time; nothing where `/proc` does not speak of this namespace's processes.
fn space() -> Option<u32> {
    if !proc_is_ours()? {
        return None;
    }
    let mut bytes = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let pid = fs::read_link("/proc/self/ns/pid").ok()?;
    bytes.extend_from_slice(pid.as_os_str().as_encoded_bytes());
    // Kernels before 5.6 have no time namespaces.
    if let Ok(time) = fs::read_link("/proc/self/ns/time") {
        bytes.extend_from_slice(time.as_os_str().as_encoded_bytes());
    }
    Some(hash(&bytes))
}

/// Whether `/proc` was mounted in our PID namespace: then we have one number there,
/// and it is the one that we know.
fn proc_is_ours() -> Option<bool> {
    let status = fs::read("/proc/self/status").ok()?;
    let mut lines = status.split(|&byte| byte == b'\n');
    let numbers = lines.find_map(|line| line.strip_prefix(b"NSpid:"))?;
    let mut numbers = numbers
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|number| !number.is_empty());
    let own = format!("{}", getpid().as_raw_nonzero());
    Some(numbers.next() == Some(own.as_bytes()) && numbers.next().is_none())
}

/// 32-bit FNV-1a, and 1 for what hashes to 0.
fn hash(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.max(1)
}

/// What `/proc` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// When it started, in the kernel's ticks, low 32 bits.
    start: u32,
    /// Where its program lies, hashed; 0 if we may not know.
    image: u32,
}

fn look_up(number: Pid) -> Option<Found> {
    parse_stat(&fs::read(format!("/proc/{}/stat", number.as_raw_nonzero())).ok()?)
}

fn parse_stat(stat: &[u8]) -> Option<Found> {
    // The name, in brackets, may hold anything.
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields: Vec<u64> = stat[name_end + 1..]
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|field| !field.is_empty())
        // The state is a letter, and some fields have a sign.
        .map(|field| {
            let text = core::str::from_utf8(field).ok();
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        })
        .collect();
    // The first of them is field 3: `starttime` is 22, `startcode` 26, `startstack` 28.
    let field = |number: usize| fields.get(number - 3).copied();
    let (code, stack) = (field(26)?, field(28)?);
    let mut places = [0; 16];
    places[..8].copy_from_slice(&code.to_le_bytes());
    places[8..].copy_from_slice(&stack.to_le_bytes());
    Some(Found {
        start: field(22)? as u32,
        // The kernel says 0, or 1, to whom it does not say.
        image: if stack <= 1 { 0 } else { hash(&places) },
    })
}

/// Knows of processes of this kernel that attached with [`Process::this`], at once and
/// for certain, when they have ended or run another program by now; of others no more
/// than the slot says.
pub struct Processes<'m> {
    registry: Registry<'m>,
    space: Option<u32>,
    watched: [Option<Watched>; SLOTS],
}

/// The most partitions that a registry has slots for.
const SLOTS: usize = 128;

const NOBODY: Option<Watched> = None;

/// An incarnation and its process.
struct Watched {
    incarnation: Incarnation,
    state: Known,
    /// When its program was last looked at.
    looked: Instant,
}

/// What cannot change any more of an incarnation's process.
enum Known {
    /// While it exists, this descriptor is its.
    Process(OwnedFd),
    /// It is of another kernel or namespace, or nobody knows of which.
    Foreign,
    Gone,
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
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let Ok(slot) = self.registry.partition(incarnation.partition()) else {
            return PartitionState::Alive;
        };
        if let Some(state) = slot.knows_of(incarnation) {
            return state;
        }
        let watched = &mut self.watched[usize::from(incarnation.partition() - 1) % SLOTS];
        if watched.as_ref().map(|watched| watched.incarnation) != Some(incarnation) {
            // What may be otherwise in a moment is not kept: too many open files.
            let Some(state) = open(self.space, slot.process) else {
                return PartitionState::Alive;
            };
            *watched = Some(Watched {
                incarnation,
                state,
                looked: Instant::now(),
            });
        }
        let Some(watched) = watched else {
            return PartitionState::Alive;
        };
        if let Known::Process(descriptor) = &watched.state {
            let is_due = watched.looked.elapsed() >= LOOK_AT_IMAGE;
            let runs_another = is_due && {
                watched.looked = Instant::now();
                runs_another_program(slot.process)
            };
            if has_ended(descriptor) || runs_another {
                watched.state = Known::Gone;
            }
        }
        PartitionState::gone_if(matches!(watched.state, Known::Gone))
    }
}

/// Finds the process of a slot; nothing if it cannot be told now.
fn open(space: Option<u32>, process: Process) -> Option<Known> {
    let number = i32::try_from(process.number).ok().and_then(Pid::from_raw);
    let Some(number) = number.filter(|_| space == Some(process.space)) else {
        return Some(Known::Foreign);
    };
    match pidfd_open(number, PidfdFlags::empty()) {
        // The number may be another's by now; while the descriptor's process has
        // not ended, `/proc` speaks of that process.
        Ok(descriptor) => match look_up(number) {
            Some(found) if found.start != process.start => Some(Known::Gone),
            Some(found) if found.is_another_image(process) => Some(Known::Gone),
            Some(_) => Some(Known::Process(descriptor)),
            None => has_ended(&descriptor).then_some(Known::Gone),
        },
        Err(Errno::SRCH) => Some(Known::Gone),
        // A kernel without them, before 5.3, or a filter that forbids them.
        Err(Errno::NOSYS | Errno::PERM) => Some(Known::Foreign),
        Err(_) => None,
    }
}

impl Found {
    /// Whether it is known to run another program than the one that attached.
    fn is_another_image(&self, process: Process) -> bool {
        self.image != 0 && process.image != 0 && self.image != process.image
    }
}

/// Whether a process that exists has replaced its program, and with it its mappings:
/// the same process, but the partition is gone.
fn runs_another_program(process: Process) -> bool {
    let number = i32::try_from(process.number).ok().and_then(Pid::from_raw);
    let found = number.and_then(look_up);
    found.is_some_and(|found| found.is_another_image(process))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_bytes_does_not_hide_the_start() {
        let fields = "S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4711 10000 20 \
                      18446744073709551615 94000 95000 140000 0 0";
        for name in [&b"sh"[..], b"a) S 1 2 (b", b"\xc3", b"a b\n"] {
            let stat = [b"7 (", name, b") ", fields.as_bytes()].concat();
            let found = parse_stat(&stat).unwrap();
            assert_eq!(found.start, 4711);
            assert_ne!(found.image, 0);
        }
        assert_eq!(parse_stat(b"7 (sh S 1"), None);
        assert_eq!(parse_stat(b"7 (sh) S 1"), None);
    }

    #[test]
    fn a_process_has_ended_when_its_kernel_says_so() {
        let own = Process::this();
        assert!(!own.has_ended());
        assert!(!Process::UNKNOWN.has_ended());
        let start = own.start.wrapping_add(1);
        let earlier = Process { start, ..own };
        assert!(earlier.has_ended(), "an earlier one with this number");
        let space = own.space ^ 1;
        let foreign = Process { space, ..earlier };
        assert!(!foreign.has_ended());

        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let number = child.id();
        let found = look_up(Pid::from_raw(number as i32).unwrap()).unwrap();
        let process = Process {
            space: own.space,
            number,
            start: found.start,
            image: 0,
        };
        assert!(!process.has_ended());
        child.kill().unwrap();
        while !process.has_ended() {} // Its parent has not waited for it.
        child.wait().unwrap();
        assert!(process.has_ended());
    }

    #[test]
    fn an_image_that_the_kernel_does_not_show_is_unknown() {
        let hidden = "S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4711 10000 20 \
                      18446744073709551615 1 1 0 0 0";
        let stat = [b"7 (sh) ", hidden.as_bytes()].concat();
        assert_eq!(parse_stat(&stat).unwrap().image, 0);
    }
}
