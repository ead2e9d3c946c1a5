//! Tells KMON the kernel's log, from its first line on.
//!
//! - **F1** A line leaves when the log ring has room: until then it waits in the
//!   kernel's own buffer. What the kernel overwrites meanwhile is counted, and told
//!   with the next line.
//! - **F2** In one region no line of one boot is told twice; in a region that was formatted anew
//!   the telling begins again with the oldest line that the kernel still has.

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

/// Pauses between two looks for room, doubled as long as there is none.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// Feeds the log ring of the region that there is.
pub(crate) struct Feeder {
    ring: Mutex<Ring>,
    /// Wakes the thread when there is another ring, or none any more.
    changed: Waker,
}

#[derive(Default)]
struct Ring {
    /// Nothing while there is none.
    sender: Option<KernelSender<'static>>,
    /// Counts the rings.
    number: u64,
}

impl Feeder {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            ring: Mutex::default(),
            changed: Waker::new()?,
        })
    }

    /// From now on lines go to `sender`; to nobody if the region has no log ring.
    pub(crate) fn feed(&self, sender: Option<KernelSender<'static>>) {
        let mut ring = self.ring();
        ring.sender = sender;
        ring.number += 1;
        drop(ring);
        self.changed.wake();
    }

    /// Uses the region no more.
    pub(crate) fn stop(&self) {
        self.feed(None);
    }

    /// Feeds for as long as the process lives and its log can be read.
    ///
    /// # Errors
    ///
    /// Why the log cannot be read.
    pub(crate) fn run(&self, open: impl Fn() -> io::Result<Kmsg>) -> Result<(), String> {
        let boot = kmsg::boot();
        let cannot = |error| format!("the kernel's log is not told: {}", reason(&error));
        loop {
            match self.begin(boot) {
                Some((ring, next)) => {
                    let log = open().map_err(cannot)?;
                    self.tell(log, ring, next).map_err(cannot)?;
                }
                None => self.await_news(None),
            }
        }
    }

    /// The ring's number, and that of the first line that it is to get.
    fn begin(&self, boot: Option<[u8; 16]>) -> Option<(u64, u64)> {
        let mut ring = self.ring();
        let sender = ring.sender.as_mut()?;
        let next = boot.map_or(0, |boot| sender.resume(boot));
        Some((ring.number, next))
    }

    /// Tells what is in the log, and what comes, until there is another ring.
    fn tell(&self, mut log: Kmsg, ring: u64, mut next: u64) -> io::Result<()> {
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
                None => self.await_news(Some(&log)),
            }
        }
    }

    /// Tells `line` as soon as there is room; false if the ring is `ring` no more.
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
                    complain(&error);
                    return false;
                }
                None => return false,
            }
            thread::sleep(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Waits for another ring, or a line of `log`.
    fn await_news(&self, log: Option<&Kmsg>) {
        let descriptors = [Some(self.changed.as_fd()), log.map(Kmsg::as_fd)];
        let watched = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut list: Vec<_> = descriptors.into_iter().flatten().map(watched).collect();
        let _ = poll(&mut list, None);
        // Whoever calls looks at the ring's number next, so nothing is missed.
        self.changed.take();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the region's own end the command loop learns by itself.
fn complain(error: &LinkError) {
    if !matches!(error, LinkError::Formatted | LinkError::Evicted) {
        crate::log(format_args!("the kernel's log is told no more: {error}"));
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

    /// Longer than anything here takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A region with KMON's end of its log ring.
    struct Region {
        memory: &'static Mapping,
        hears: KernelReceiver<'static>,
    }

    impl Region {
        fn new() -> Self {
            let memory = Mapping::memfd("instance", MonitorLink::REGION_LEN).unwrap();
            Self::over(Box::leak(Box::new(memory)))
        }

        fn over(memory: &'static Mapping) -> Self {
            let settings = Settings {
                partition: 2,
                period_ms: 1000,
                name: "part2".into(),
            };
            let link = MonitorLink::create(memory.window(), &settings, Waiting::Poll).unwrap();
            let (.., kernel) = link.split();
            let hears = kernel.unwrap();
            Self { memory, hears }
        }

        /// As the next incarnation of the daemon.
        fn sender(&self) -> Option<KernelSender<'static>> {
            let link = DaemonLink::attach(self.memory.window(), Waiting::Poll).unwrap();
            let (.., kernel) = link.split();
            kernel
        }

        /// The next `count` lines: number, how many are missing in front, text.
        fn hear(&mut self, count: usize) -> Vec<(u64, u32, String)> {
            let (mut heard, start) = (Vec::new(), Instant::now());
            while heard.len() < count {
                assert!(start.elapsed() < PATIENCE, "only {heard:?}");
                let taken = self
                    .hears
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

    /// A kernel's log: what it holds from the start, for each who opens it.
    struct Kernel {
        holds: Vec<&'static str>,
        writer: Mutex<Option<UnixDatagram>>,
    }

    impl Kernel {
        fn holding(holds: &[&'static str]) -> Arc<Self> {
            Arc::new(Self {
                holds: holds.to_vec(),
                writer: Mutex::default(),
            })
        }

        fn open(&self) -> io::Result<Kmsg> {
            let (reader, writer) = UnixDatagram::pair()?;
            reader.set_nonblocking(true)?;
            for record in &self.holds {
                writer.send(record.as_bytes())?;
            }
            *self.writer.lock().unwrap() = Some(writer);
            Ok(Kmsg::over(reader.into()))
        }

        fn says(&self, record: &str) {
            let writer = self.writer.lock().unwrap();
            writer.as_ref().unwrap().send(record.as_bytes()).unwrap();
        }
    }

    /// A feeder that runs for the rest of the test's process.
    fn feeder(kernel: &Arc<Kernel>) -> Arc<Feeder> {
        let feeder = Arc::new(Feeder::new().unwrap());
        let (runs, kernel) = (Arc::clone(&feeder), Arc::clone(kernel));
        thread::spawn(move || runs.run(|| kernel.open()));
        feeder
    }

    fn line(sequence: u64, lost: u32, text: &str) -> (u64, u32, String) {
        (sequence, lost, text.to_owned())
    }

    const HELD: [&str; 2] = ["5,3,10,-;three\n", "6,4,11,-;four\n KEY=value\n"];

    #[test]
    fn the_log_is_told_from_its_oldest_line_with_what_is_missing() {
        let (mut region, kernel) = (Region::new(), Kernel::holding(&HELD));
        feeder(&kernel).feed(region.sender());
        let expected = [line(3, 3, "three"), line(4, 0, "four")];
        assert_eq!(region.hear(2), expected);
        kernel.says("4,5,12,-;five\n");
        kernel.says("not a record");
        kernel.says("4,9,13,-;nine\n");
        let expected = [line(5, 0, "five"), line(9, 3, "nine")];
        assert_eq!(region.hear(2), expected);
    }

    #[test]
    fn the_next_incarnation_in_a_region_tells_only_what_is_new() {
        let (mut region, kernel) = (Region::new(), Kernel::holding(&HELD));
        let first = feeder(&kernel);
        first.feed(region.sender());
        region.hear(2);
        first.stop();
        // The kernel says the same again to each who opens its log.
        let kernel = Kernel::holding(&[HELD[0], HELD[1], "6,5,12,-;five\n"]);
        feeder(&kernel).feed(region.sender());
        assert_eq!(region.hear(1), [line(5, 0, "five")]);
    }

    #[test]
    fn another_region_gets_the_log_from_its_oldest_line() {
        let (mut region, kernel) = (Region::new(), Kernel::holding(&HELD));
        let feeder = feeder(&kernel);
        feeder.feed(region.sender());
        region.hear(2);
        feeder.stop();
        let mut region = Region::over(region.memory);
        feeder.feed(region.sender());
        assert_eq!(region.hear(2), [line(3, 3, "three"), line(4, 0, "four")]);
    }

    #[test]
    fn a_log_that_the_ring_cannot_hold_waits_for_room() {
        let (mut region, kernel) = (Region::new(), Kernel::holding(&[]));
        feeder(&kernel).feed(region.sender());
        let start = Instant::now();
        while kernel.writer.lock().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE);
            thread::yield_now();
        }
        let text = "x".repeat(1000);
        let says = Arc::clone(&kernel);
        let writer = thread::spawn(move || {
            for sequence in 0..600 {
                says.says(&format!("6,{sequence},1,-;{text}\n"));
            }
        });
        let heard = region.hear(600);
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
    fn a_log_that_cannot_be_opened_is_one_line() {
        let region = Region::new();
        let feeder = Feeder::new().unwrap();
        feeder.feed(region.sender());
        let said = feeder
            .run(|| Err(rustix::io::Errno::PERM.into()))
            .unwrap_err();
        assert!(
            said.contains("not permitted") && !said.contains('\n'),
            "{said}"
        );
    }
}
