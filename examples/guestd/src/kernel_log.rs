//! Sends the kernel's log to KMON, from its first line on.
//!
//! - **F1** A line is sent when the log ring has room; until then it waits in the kernel's own
//!   buffer. Lines that the kernel overwrites meanwhile are counted, and the next line carries the
//!   count.
//! - **F2** In one region no line of one boot is sent twice. After the region was formatted again,
//!   sending begins with the oldest line that the kernel still has.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use kmon_protocol::LinkError;
use kmon_protocol::link::KernelSender;
use rustix::event::{PollFd, PollFlags, poll};

use crate::children::reason;
use crate::kmsg::{self, Kmsg, Line};
use crate::waker::Waker;

/// Pauses between two attempts to send, doubled while there is no room.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// Sends the kernel's log to the log ring of the current region.
pub(crate) struct KernelLogSender {
    ring: Mutex<Ring>,
    /// Wakes the thread when the ring was replaced or removed.
    changed: Waker,
}

#[derive(Default)]
struct Ring {
    /// `None` while there is no ring.
    sender: Option<KernelSender<'static>>,
    /// Counts the rings.
    number: u64,
}

impl KernelLogSender {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            ring: Mutex::default(),
            changed: Waker::new()?,
        })
    }

    /// Sends lines to `sender` from now on. `None` if the region has no log ring.
    pub(crate) fn feed(&self, sender: Option<KernelSender<'static>>) {
        let mut ring = self.ring();
        ring.sender = sender;
        ring.number += 1;
        drop(ring);
        self.changed.wake();
    }

    /// Stops using the region.
    pub(crate) fn stop(&self) {
        self.feed(None);
    }

    /// Sends lines as long as the process runs and the log can be read.
    ///
    /// # Errors
    /// The reason why the log cannot be read.
    pub(crate) fn run(&self, open: impl Fn() -> io::Result<Kmsg>) -> Result<(), String> {
        let boot = kmsg::boot();
        let cannot = |error| format!("the kernel's log is not sent: {}", reason(&error));
        loop {
            match self.begin(boot) {
                Some((ring, next)) => {
                    let log = open().map_err(cannot)?;
                    self.send_lines(log, ring, next).map_err(cannot)?;
                }
                None => self.wait_for_change(None),
            }
        }
    }

    /// Returns the ring's number, and the number of the first line to send.
    fn begin(&self, boot: Option<[u8; 16]>) -> Option<(u64, u64)> {
        let mut ring = self.ring();
        let sender = ring.sender.as_mut()?;
        let next = boot.map_or(0, |boot| sender.resume(boot));
        Some((ring.number, next))
    }

    /// Sends the lines of the log, and new ones, until the ring is replaced.
    fn send_lines(&self, mut log: Kmsg, ring: u64, mut next: u64) -> io::Result<()> {
        loop {
            match log.next()? {
                Some(line) if line.sequence < next => {}
                Some(line) => {
                    if !self.deliver(ring, &line, next) {
                        return Ok(());
                    }
                    next = line.sequence.saturating_add(1);
                }
                None if self.ring().number != ring => return Ok(()),
                None => self.wait_for_change(Some(&log)),
            }
        }
    }

    /// Sends `line` as soon as there is room. Returns false if the ring was replaced.
    fn deliver(&self, ring: u64, line: &Line, next: u64) -> bool {
        let message = line.message(line.sequence - next);
        let mut pause = SHORTEST_PAUSE;
        loop {
            let mut now = self.ring();
            if now.number != ring {
                return false;
            }
            match now.sender.as_mut().map(|sender| sender.send(&message)) {
                Some(Ok(true)) => return true,
                Some(Ok(false)) => drop(now),
                Some(Err(error)) => {
                    now.sender = None;
                    log_failure(&error);
                    return false;
                }
                None => return false,
            }
            thread::sleep(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Waits for another ring, or for a line of `log`.
    fn wait_for_change(&self, log: Option<&Kmsg>) {
        let descriptors = [Some(self.changed.as_fd()), log.map(Kmsg::as_fd)];
        let watched = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut list: Vec<_> = descriptors.into_iter().flatten().map(watched).collect();
        let _ = poll(&mut list, None);
        // The caller checks the ring's number next, so no change is missed.
        self.changed.take();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs an error, unless the command loop notices it anyway.
fn log_failure(error: &LinkError) {
    if !matches!(error, LinkError::Formatted | LinkError::Evicted) {
        crate::log(format_args!(
            "the kernel's log is not sent any more: {error}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;
    use std::time::Instant;

    use kmon_protocol::link::{KernelReceiver, Waiting};
    use kmon_protocol::{DaemonLink, MonitorLink, Received, Settings};
    use shmem_core::Mapping;

    use super::*;

    /// A time-out for a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A region with KMON's end of its log ring.
    struct Region {
        memory: &'static Mapping,
        receiver: KernelReceiver<'static>,
    }

    impl Region {
        fn new() -> Self {
            let memory = Mapping::memfd("instance", MonitorLink::REGION_LEN).unwrap();
            Self::with_memory(Box::leak(Box::new(memory)))
        }

        fn with_memory(memory: &'static Mapping) -> Self {
            let settings = Settings {
                partition: 2,
                period_ms: 1000,
                name: "part2".into(),
            };
            let link = MonitorLink::create(memory.window(), &settings, Waiting::Poll).unwrap();
            let (.., kernel) = link.split();
            let receiver = kernel.unwrap();
            Self { memory, receiver }
        }

        /// Attaches as the next incarnation of the daemon.
        fn sender(&self) -> Option<KernelSender<'static>> {
            let link = DaemonLink::attach(self.memory.window(), Waiting::Poll).unwrap();
            let (.., kernel) = link.split();
            kernel
        }

        /// Returns the next `count` lines: number, how many lines before it are missing, text.
        fn receive(&mut self, count: usize) -> Vec<(u64, u32, String)> {
            let (mut heard, start) = (Vec::new(), Instant::now());
            while heard.len() < count {
                assert!(start.elapsed() < PATIENCE, "only {heard:?}");
                let taken = self
                    .receiver
                    .receive(Duration::from_millis(10), |_, received| {
                        if let Received::Message(line) = received {
                            let text = String::from_utf8_lossy(line.text).into_owned();
                            heard.push((line.sequence, line.lost, text));
                        }
                    });
                taken.unwrap();
            }
            heard
        }
    }

    /// A kernel's log with initial records, which each open reads from the start.
    struct Kernel {
        records: Vec<&'static str>,
        writer: Mutex<Option<UnixDatagram>>,
    }

    impl Kernel {
        fn with_records(records: &[&'static str]) -> Arc<Self> {
            Arc::new(Self {
                records: records.to_vec(),
                writer: Mutex::default(),
            })
        }

        fn open(&self) -> io::Result<Kmsg> {
            let (reader, writer) = UnixDatagram::pair()?;
            reader.set_nonblocking(true)?;
            for record in &self.records {
                writer.send(record.as_bytes())?;
            }
            *self.writer.lock().unwrap() = Some(writer);
            Ok(Kmsg::from_fd(reader.into()))
        }

        fn print(&self, record: &str) {
            let writer = self.writer.lock().unwrap();
            writer.as_ref().unwrap().send(record.as_bytes()).unwrap();
        }
    }

    /// A sender that runs for the rest of the test's process.
    fn start(kernel: &Arc<Kernel>) -> Arc<KernelLogSender> {
        let log = Arc::new(KernelLogSender::new().unwrap());
        let (runs, kernel) = (Arc::clone(&log), Arc::clone(kernel));
        thread::spawn(move || runs.run(|| kernel.open()));
        log
    }

    fn line(sequence: u64, lost: u32, text: &str) -> (u64, u32, String) {
        (sequence, lost, text.to_owned())
    }

    const HELD: [&str; 2] = ["5,3,10,-;three\n", "6,4,11,-;four\n KEY=value\n"];

    #[test]
    fn the_log_is_sent_from_its_oldest_line_with_counts_of_missing_lines() {
        let (mut region, kernel) = (Region::new(), Kernel::with_records(&HELD));
        start(&kernel).feed(region.sender());
        let expected = [line(3, 3, "three"), line(4, 0, "four")];
        assert_eq!(region.receive(2), expected);
        kernel.print("4,5,12,-;five\n");
        kernel.print("not a record");
        kernel.print("4,9,13,-;nine\n");
        let expected = [line(5, 0, "five"), line(9, 3, "nine")];
        assert_eq!(region.receive(2), expected);
    }

    #[test]
    fn the_next_incarnation_in_a_region_sends_only_new_lines() {
        let (mut region, kernel) = (Region::new(), Kernel::with_records(&HELD));
        let first = start(&kernel);
        first.feed(region.sender());
        region.receive(2);
        first.stop();
        // Each open of the kernel's log reads the same lines.
        let kernel = Kernel::with_records(&[HELD[0], HELD[1], "6,5,12,-;five\n"]);
        start(&kernel).feed(region.sender());
        assert_eq!(region.receive(1), [line(5, 0, "five")]);
    }

    #[test]
    fn another_region_gets_the_log_from_its_oldest_line() {
        let (mut region, kernel) = (Region::new(), Kernel::with_records(&HELD));
        let log = start(&kernel);
        log.feed(region.sender());
        region.receive(2);
        log.stop();
        let mut region = Region::with_memory(region.memory);
        log.feed(region.sender());
        assert_eq!(region.receive(2), [line(3, 3, "three"), line(4, 0, "four")]);
    }

    #[test]
    fn lines_wait_while_the_ring_is_full() {
        let (mut region, kernel) = (Region::new(), Kernel::with_records(&[]));
        start(&kernel).feed(region.sender());
        let start = Instant::now();
        while kernel.writer.lock().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE);
            thread::yield_now();
        }
        let text = "x".repeat(1000);
        let says = Arc::clone(&kernel);
        let writer = thread::spawn(move || {
            for sequence in 0..600 {
                says.print(&format!("6,{sequence},1,-;{text}\n"));
            }
        });
        let heard = region.receive(600);
        let numbers: Vec<_> = heard
            .iter()
            .map(|(sequence, lost, _)| (*sequence, *lost))
            .collect();
        assert!(
            numbers
                .into_iter()
                .eq((0..600).map(|sequence| (sequence, 0)))
        );
        writer.join().unwrap();
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_reported_in_one_line() {
        let region = Region::new();
        let log = KernelLogSender::new().unwrap();
        log.feed(region.sender());
        let error = log.run(|| Err(rustix::io::Errno::PERM.into())).unwrap_err();
        assert!(
            error.contains("not permitted") && !error.contains('\n'),
            "{error}"
        );
    }
}
