//! A C and a Rust process that communicate over one region and are killed at random moments.
//!
//! Each produces into one ring and consumes from the other, by every call of the interface. It
//! writes results into two logs, in entries of four words that begin with its incarnation:
//!
//! | log    | entry                          | means                                  |
//! |--------|--------------------------------|----------------------------------------|
//! | `sent` | `SENT`, first, count           | these records of this incarnation were pushed |
//! |        | `CONSUMER_RESTARTED`           | the call reported that                 |
//! | `got`  | `START`                        | an incarnation started                 |
//! |        | `INTENT`, method               | it is about to pop, to peek or to drain |
//! |        | method, producer's incarnation, number | this record arrived            |
//! |        | `PRODUCER_RESTARTED`           | the call reported that                 |
//!
//! The logs are files, which outlive their writers. `verdict` compares the `sent` of one party with
//! the `got` of the other.

mod party;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::Ring;
use shmem_core::{Mapping, Region, Window};
use shmem_registry::{Geometry, Kind, Process, Registry, Request};

pub(crate) use party::party;
use verdict::Verdict;

use crate::{ensure, programs, trial, Outcome};

/// The argument by which this program runs as the party in Rust.
pub(crate) const PARTY: &str = "--party";

const SENT: u32 = 1;
const CONSUMER_RESTARTED: u32 = 2;

const START: u32 = 1;
const POPPED: u32 = 2;
const PEEKED: u32 = 3;
const DRAINED: u32 = 4;
const PRODUCER_RESTARTED: u32 = 5;
const INTENT: u32 = 6;

/// The longest record, and the most that are pushed together.
const LONGEST: usize = 400;
const BATCH: u32 = 5;

const CAPACITY: usize = 4096;
const REGION_LEN: usize = 64 * 1024;

/// Records that each party must receive at least.
const ENOUGH: usize = 4000;
/// For a whole test, which takes seconds, or a minute on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

pub(crate) fn trials() -> Vec<Trial> {
    let talk = |name: &str, build, kills| trial(name, move || talk(build, kills));
    vec![
        talk(
            "conversation::c_and_rust_receive_each_others_records",
            "gcc",
            0,
        ),
        talk(
            "conversation::killed_parties_lose_and_repeat_no_record",
            "gcc",
            60,
        ),
        talk(
            "conversation::killed_parties_lose_and_repeat_no_record_with_sanitizers",
            "clang-sanitized",
            30,
        ),
        trial(
            "conversation::lost_and_repeated_records_are_detected",
            verdict::detects_lost_and_repeated_records,
        ),
    ]
}

fn talk(build: &'static str, kills: u32) -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("region");
    let mapping = Mapping::file(&path, Some(REGION_LEN))?;
    let stop = format(mapping.window())?;
    let mut parties = [
        Party::c(build, directory.path(), &path)?,
        Party::rust(directory.path(), &path)?,
    ];
    let mut random = fastrand::Rng::with_seed(4711);
    let deadline = Instant::now() + DEADLINE;
    for party in &mut parties {
        party.start()?;
    }
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(random.u64(2..40)));
        let party = &mut parties[random.usize(..2)];
        if random.u32(..4) > 0 {
            party.wait_until_it_receives(deadline)?;
        }
        party.kill()?;
        party.start()?;
    }
    while parties.iter().any(|party| party.received() < ENOUGH) {
        ensure(Instant::now() < deadline, || "too slow".into())?;
        thread::sleep(Duration::from_millis(10));
        for party in &mut parties {
            party.check_running()?;
        }
    }
    stop.word(0).store(1, Relaxed);
    for party in &mut parties {
        party.finish(deadline)?;
    }
    let [c, rust] = parties;
    check_logs(&c, &rust, kills)?;
    check_logs(&rust, &c, kills)
}

/// Compares the records that one party sent with those that the other received.
fn check_logs(from: &Party, to: &Party, kills: u32) -> Outcome {
    let describe = |failed: String| format!("from {} to {}: {failed}", from.name, to.name);
    let verdict = Verdict::from_logs(&from.log("sent")?, &to.log("got")?).map_err(describe)?;
    ensure(verdict.records >= ENOUGH, || describe("few records".into()))?;
    if kills == 0 {
        let calm = Verdict {
            records: verdict.records,
            ..Verdict::default()
        };
        return ensure(verdict == calm, || describe(format!("{verdict:?}")));
    }
    // With this number of kills, both must have been reported at least once.
    ensure(
        verdict.producer_restarts > 0 && verdict.consumer_restarts > 0,
        || describe(format!("{verdict:?}")),
    )
}

/// Creates the region; returns the word that ends the conversation.
fn format(memory: Window<'_>) -> Outcome<Window<'_>> {
    let region = Region::format(memory).map_err(|error| error.to_string())?;
    let geometry = Geometry {
        segments: 8,
        partitions: 4,
        block_size: 128,
    };
    let registry = Registry::format(region, geometry).map_err(|error| error.to_string())?;
    let attachment = registry
        .attach_partition(3, Process::this())
        .map_err(|error| error.to_string())?;
    let create = |name, kind, len| {
        let request = Request::named(name, kind, len).map_err(|error| error.to_string())?;
        let made = registry.open_or_create(attachment.incarnation(), &request);
        made.map_err(|error| error.to_string())
    };
    for name in ["from-1", "from-2"] {
        create(name, Kind::RING, Ring::segment_len(CAPACITY))?;
    }
    Ok(create("stop", Kind::RAW, 4)?.window())
}

/// A process that is killed and started repeatedly.
struct Party {
    name: &'static str,
    words: Vec<std::ffi::OsString>,
    logs: PathBuf,
    child: Option<Child>,
    /// Records that its earlier incarnations received.
    received_before: usize,
}

impl Party {
    fn c(build: &'static str, directory: &Path, region: &Path) -> Outcome<Self> {
        let program = programs::party(build)?;
        Ok(Self::new("C", vec![program.into()], directory, region, "1"))
    }

    fn rust(directory: &Path, region: &Path) -> Outcome<Self> {
        let program = std::env::current_exe()?;
        let words = vec![program.into(), PARTY.into()];
        Ok(Self::new("Rust", words, directory, region, "2"))
    }

    fn new(
        name: &'static str,
        mut words: Vec<std::ffi::OsString>,
        directory: &Path,
        region: &Path,
        number: &str,
    ) -> Self {
        let logs = directory.join(name);
        words.extend([region.into(), logs.clone().into(), number.into()]);
        Self {
            name,
            words,
            logs,
            child: None,
            received_before: 0,
        }
    }

    fn start(&mut self) -> Outcome {
        self.received_before = self.received();
        let child = Command::new(&self.words[0])
            .args(&self.words[1..])
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Otherwise a party that starts slowly would always be killed before its first record.
    fn wait_until_it_receives(&mut self, deadline: Instant) -> Outcome {
        while self.received() <= self.received_before {
            ensure(Instant::now() < deadline, || "too slow".into())?;
            self.check_running()?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Kills it. It must not have ended before.
    fn kill(&mut self) -> Outcome {
        self.check_running()?;
        let child = self.child.as_mut().ok_or("it was started")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn check_running(&mut self) -> Outcome {
        let child = self.child.as_mut().ok_or("it was started")?;
        let ended = child.try_wait()?;
        ensure(ended.is_none(), || {
            format!("{} ended: {ended:?}", self.name)
        })
    }

    fn finish(&mut self, deadline: Instant) -> Outcome {
        let child = self.child.as_mut().ok_or("it was started")?;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                return ensure(status.success(), || format!("{}: {status}", self.name));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!("{} does not end", self.name).into())
    }

    /// Entries of a log.
    fn log(&self, name: &str) -> Outcome<Vec<[u32; 4]>> {
        let bytes = std::fs::read(self.logs.with_extension(name))?;
        Ok(entries(&bytes))
    }

    /// Returns the number of records that it has received so far.
    fn received(&self) -> usize {
        let entries = self.log("got").unwrap_or_default();
        let is_record = |entry: &&[u32; 4]| (POPPED..=DRAINED).contains(&entry[1]);
        entries.iter().filter(is_record).count()
    }
}

fn entries(bytes: &[u8]) -> Vec<[u32; 4]> {
    let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap_or_default());
    bytes
        .chunks_exact(16)
        .map(|entry| [0, 4, 8, 12].map(|at| word(&entry[at..at + 4])))
        .collect()
}

/// Kills the process when its test ends.
impl Drop for Party {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
