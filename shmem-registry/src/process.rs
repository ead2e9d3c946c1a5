//! Liveness on one kernel: whether a process still exists.
//!
//! A process is identified by its number, its start time, and the address of its program in its
//! memory. All three are read from `/proc`. The first two are valid only within one kernel, one PID
//! namespace and one time namespace, so these are hashed into `namespace_id`.

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

/// How often to check whether a process still runs the program that attached. Each check reads a
/// file of `/proc`.
const IMAGE_CHECK_INTERVAL: Duration = Duration::from_millis(20);

impl Process {
    /// Returns this process, as peers on the same kernel identify it; [`Process::UNKNOWN`] if
    /// `/proc` is not mounted, or shows another PID namespace.
    pub fn this() -> Self {
        let number = getpid();
        match (namespace_id(), read_stat(number)) {
            (Some(namespace_id), Some(found)) => Self {
                namespace_id,
                number: number.as_raw_nonzero().get().unsigned_abs(),
                start: found.start,
                image: found.image,
            },
            _ => Self::UNKNOWN,
        }
    }

    /// Returns true if this process has certainly ended, or runs another program now. Returns false
    /// for [`Process::UNKNOWN`], and for a process of another kernel or namespace.
    ///
    /// Each call reads everything again; [`Processes`] keeps what cannot change.
    pub fn has_ended(self) -> bool {
        match open_process(namespace_id(), self) {
            Some(ProcessState::Exists(descriptor)) => has_ended(&descriptor),
            Some(ProcessState::Gone) => true,
            Some(ProcessState::Foreign) | None => false,
        }
    }
}

/// Returns a number for this boot of this kernel and for this process's PID and time namespaces;
/// `None` if `/proc` does not show the processes of this namespace.
fn namespace_id() -> Option<u32> {
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

/// Returns true if `/proc` was mounted in our PID namespace. Then we have one number there, and it
/// is the one that we know.
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

/// Returns the 32-bit FNV-1a hash, or 1 if it is 0.
fn hash(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.max(1)
}

/// What `/proc` shows of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcStat {
    /// When it started, in the kernel's ticks, low 32 bits.
    start: u32,
    /// The hash of where its program lies in memory; 0 if we may not read that.
    image: u32,
}

fn read_stat(number: Pid) -> Option<ProcStat> {
    parse_stat(&fs::read(format!("/proc/{}/stat", number.as_raw_nonzero())).ok()?)
}

fn parse_stat(stat: &[u8]) -> Option<ProcStat> {
    // The name, in parentheses, may contain anything.
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
    // The first of them is field 3. `starttime` is field 22, `startcode` 26, `startstack` 28.
    let field = |number: usize| fields.get(number - 3).copied();
    let (code, stack) = (field(26)?, field(28)?);
    let mut addresses = [0; 16];
    addresses[..8].copy_from_slice(&code.to_le_bytes());
    addresses[8..].copy_from_slice(&stack.to_le_bytes());
    Some(ProcStat {
        start: field(22)? as u32,
        // The kernel shows 0 or 1 to a process that may not read the address.
        image: if stack <= 1 { 0 } else { hash(&addresses) },
    })
}

/// Reports processes of this kernel that attached with [`Process::this`] as gone as soon as they
/// have ended or run another program. For other partitions it reports only what their slots show.
pub struct Processes<'m> {
    registry: Registry<'m>,
    namespace_id: Option<u32>,
    watched: [Option<Watched>; SLOTS],
}

/// The most partitions that a registry has slots for.
const SLOTS: usize = 128;

/// A constant, because `Watched` is not `Copy` and fills an array.
const UNWATCHED: Option<Watched> = None;

/// An incarnation and its process.
struct Watched {
    incarnation: Incarnation,
    state: ProcessState,
    /// When its program was last checked.
    image_checked: Instant,
}

/// The facts about an incarnation's process that no longer change.
enum ProcessState {
    /// The process, by a descriptor that stays valid after it has ended.
    Exists(OwnedFd),
    /// The process belongs to another kernel or namespace, or is unknown.
    Foreign,
    Gone,
}

impl<'m> Processes<'m> {
    /// Returns a watcher of the processes that attached to `registry`.
    pub fn new(registry: Registry<'m>) -> Self {
        Self {
            registry,
            namespace_id: namespace_id(),
            watched: [UNWATCHED; SLOTS],
        }
    }
}

impl Liveness for Processes<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let Ok(slot) = self.registry.partition(incarnation.partition()) else {
            return PartitionState::Alive;
        };
        if let Some(state) = slot.state_of(incarnation) {
            return state;
        }
        let watched = &mut self.watched[usize::from(incarnation.partition() - 1) % SLOTS];
        if watched.as_ref().map(|watched| watched.incarnation) != Some(incarnation) {
            // A failure that can pass, such as too many open files, is not kept.
            let Some(state) = open_process(self.namespace_id, slot.process) else {
                return PartitionState::Alive;
            };
            *watched = Some(Watched {
                incarnation,
                state,
                image_checked: Instant::now(),
            });
        }
        let Some(watched) = watched else {
            return PartitionState::Alive;
        };
        if let ProcessState::Exists(descriptor) = &watched.state {
            let is_due = watched.image_checked.elapsed() >= IMAGE_CHECK_INTERVAL;
            let runs_another = is_due && {
                watched.image_checked = Instant::now();
                runs_another_program(slot.process)
            };
            if has_ended(descriptor) || runs_another {
                watched.state = ProcessState::Gone;
            }
        }
        PartitionState::from_is_gone(matches!(watched.state, ProcessState::Gone))
    }
}

/// Opens the process of a slot; returns `None` if its state cannot be found now.
fn open_process(namespace_id: Option<u32>, process: Process) -> Option<ProcessState> {
    let number = i32::try_from(process.number).ok().and_then(Pid::from_raw);
    let Some(number) = number.filter(|_| namespace_id == Some(process.namespace_id)) else {
        return Some(ProcessState::Foreign);
    };
    match pidfd_open(number, PidfdFlags::empty()) {
        // The number may belong to another process by now. As long as the descriptor's process has
        // not ended, `/proc` shows that process.
        Ok(descriptor) => match read_stat(number) {
            Some(found) if found.start != process.start => Some(ProcessState::Gone),
            Some(found) if found.is_another_image(process) => Some(ProcessState::Gone),
            Some(_) => Some(ProcessState::Exists(descriptor)),
            None => has_ended(&descriptor).then_some(ProcessState::Gone),
        },
        Err(Errno::SRCH) => Some(ProcessState::Gone),
        // A kernel before 5.3 has no process descriptors, or a filter forbids them.
        Err(Errno::NOSYS | Errno::PERM) => Some(ProcessState::Foreign),
        Err(_) => None,
    }
}

impl ProcStat {
    /// Returns true if the process certainly runs another program than the one that attached.
    fn is_another_image(&self, process: Process) -> bool {
        self.image != 0 && process.image != 0 && self.image != process.image
    }
}

/// Returns true if a process has replaced its program, and with it its mappings. The process
/// exists, but the partition is gone.
fn runs_another_program(process: Process) -> bool {
    let number = i32::try_from(process.number).ok().and_then(Pid::from_raw);
    let found = number.and_then(read_stat);
    found.is_some_and(|found| found.is_another_image(process))
}

/// Returns true if the process has ended: then its descriptor is readable.
fn has_ended(process: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    let no_wait = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&no_wait)).is_ok_and(|ready| ready != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_any_bytes_does_not_disturb_the_parser() {
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
    fn a_process_has_ended_if_it_was_killed_or_its_start_differs() {
        let own = Process::this();
        assert!(!own.has_ended());
        assert!(!Process::UNKNOWN.has_ended());
        let start = own.start.wrapping_add(1);
        let earlier = Process { start, ..own };
        assert!(
            earlier.has_ended(),
            "an earlier process with this number has ended"
        );
        let namespace_id = own.namespace_id ^ 1;
        let foreign = Process {
            namespace_id,
            ..earlier
        };
        assert!(!foreign.has_ended());

        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let number = child.id();
        let found = read_stat(Pid::from_raw(number as i32).unwrap()).unwrap();
        let process = Process {
            namespace_id: own.namespace_id,
            number,
            start: found.start,
            image: 0,
        };
        assert!(!process.has_ended());
        child.kill().unwrap();
        while !process.has_ended() {} // It has ended, though its parent has not waited for it.
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
