//! A C and a Rust process that talk over one region, each killed at any moment.
//!
//! Each produces into one ring and consumes from the other, in every way that there
//! is. What it was told it writes into two logs, entries of four words that begin with
//! its incarnation:
//!
//! | log    | entry                          | means                                  |
//! |--------|--------------------------------|----------------------------------------|
//! | `sent` | `SENT`, first, count           | these records of this incarnation were pushed |
//! |        | `TOLD`                         | the consumer was restarted             |
//! | `got`  | `START`                        | an incarnation began                           |
//! |        | `INTENT`, way                  | it is about to pop, to peek or to drain |
//! |        | way, producer's incarnation, number   | this record came                       |
//! |        | `SEAM`                         | the producer was restarted             |
//!
//! The logs are files, so that they outlive their writers; `verdict` holds the `sent` of
//! one party against the `got` of the other.

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

/// The word by which this program is asked to be the party in Rust.
pub(crate) const PARTY: &str = "--party";

const SENT: u32 = 1;
const TOLD: u32 = 2;

const START: u32 = 1;
const POPPED: u32 = 2;
const PEEKED: u32 = 3;
const DRAINED: u32 = 4;
const SEAM: u32 = 5;
const INTENT: u32 = 6;

/// The longest record, and the most that are pushed together.
const LONGEST: usize = 400;
const BATCH: u32 = 5;

const CAPACITY: usize = 4096;
const REGION_LEN: usize = 64 * 1024;

/// Records that each party is to get, at the least.
const ENOUGH: usize = 4000;
/// For all of it: some seconds, and a minute on a machine that does much else.
const DEADLINE: Duration = Duration::from_secs(300);

pub(crate) fn trials() -> Vec<Trial> {
    let talk = |name: &str, build, kills| trial(name, move || talk(build, kills));
    vec![
        talk("conversation::c_and_rust_get_each_others_records", "gcc", 0),
        talk(
            "conversation::killed_parties_lose_and_repeat_no_record",
            "gcc",
            60,
        ),
        talk(
            "conversation::killed_parties_with_sanitizers",
            "clang-sanitized",
            30,
        ),
        trial(
            "conversation::what_is_lost_or_repeated_is_noticed",
            verdict::notices_what_is_wrong,
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
            party.wait_until_it_works(deadline)?;
        }
        party.kill()?;
        party.start()?;
    }
    while parties.iter().any(|party| party.got() < ENOUGH) {
        ensure(Instant::now() < deadline, || "too slow".into())?;
        thread::sleep(Duration::from_millis(10));
        for party in &mut parties {
            party.is_running()?;
        }
    }
    stop.word(0).store(1, Relaxed);
    for party in &mut parties {
        party.finish(deadline)?;
    }
    let [c, rust] = parties;
    judge(&c, &rust, kills)?;
    judge(&rust, &c, kills)
}

/// Holds what one sent against what the other got.
fn judge(from: &Party, to: &Party, kills: u32) -> Outcome {
    let told = |failed: String| format!("from {} to {}: {failed}", from.name, to.name);
    let verdict = Verdict::of(&from.log("sent")?, &to.log("got")?).map_err(told)?;
    ensure(verdict.records >= ENOUGH, || told("few records".into()))?;
    if kills == 0 {
        let calm = Verdict {
            records: verdict.records,
            ..Verdict::default()
        };
        return ensure(verdict == calm, || told(format!("{verdict:?}")));
    }
    // What must have happened at least once in so many kills.
    ensure(verdict.seams > 0 && verdict.told > 0, || {
        told(format!("{verdict:?}"))
    })
}

/// Makes the region; gives the word that ends the conversation.
fn format(memory: Window<'_>) -> Outcome<Window<'_>> {
    let region = Region::format(memory).map_err(|error| error.to_string())?;
    let geometry = Geometry {
        segments: 8,
        partitions: 4,
        block: 128,
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

/// A process that is started again and again.
struct Party {
    name: &'static str,
    words: Vec<std::ffi::OsString>,
    logs: PathBuf,
    child: Option<Child>,
    /// Records that its incarnations before got.
    had: usize,
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
            had: 0,
        }
    }

    fn start(&mut self) -> Outcome {
        self.had = self.got();
        let child = Command::new(&self.words[0])
            .args(&self.words[1..])
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Without this the slowest to start would die before it begins, always.
    fn wait_until_it_works(&mut self, deadline: Instant) -> Outcome {
        while self.got() <= self.had {
            ensure(Instant::now() < deadline, || "too slow".into())?;
            self.is_running()?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// It must not have ended by itself before.
    fn kill(&mut self) -> Outcome {
        self.is_running()?;
        let child = self.child.as_mut().ok_or("it was started")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn is_running(&mut self) -> Outcome {
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

    /// Records that came, so far.
    fn got(&self) -> usize {
        let entries = self.log("got").unwrap_or_default();
        let came = |entry: &&[u32; 4]| (POPPED..=DRAINED).contains(&entry[1]);
        entries.iter().filter(came).count()
    }
}

fn entries(bytes: &[u8]) -> Vec<[u32; 4]> {
    let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap_or_default());
    bytes
        .chunks_exact(16)
        .map(|entry| [0, 4, 8, 12].map(|at| word(&entry[at..at + 4])))
        .collect()
}

/// No process outlives its test.
impl Drop for Party {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
