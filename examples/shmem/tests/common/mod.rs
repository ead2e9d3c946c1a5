//! A sample region as partitions leave it, and the real program to inspect it.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use shmem_core::call::{self, CallLine};
use shmem_core::doorbell::NoDoorbell;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::snapshot::{self, Writer};
use shmem_core::{Incarnation, Mapping, Region, Window};
use shmem_registry::{Attachment, Geometry, Kind, Process, Registry, Request};
use shmem_sync::{AssumeAlive, BakeryMutex, Barrier, Mutex, RwLock, Semaphore};
use tempfile::TempDir;

/// Bytes of the sample region.
pub(crate) const LEN: usize = 64 << 10;

/// A region in a file, with all kinds of segments. A monitor, partition 1, and its instance,
/// partition 2, use it.
pub(crate) struct Sample {
    directory: TempDir,
    memory: Mapping,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let memory = Mapping::file(&directory.path().join("region"), Some(LEN)).unwrap();
        let region = Region::format(memory.window()).unwrap();
        let geometry = Geometry {
            segments: 16,
            partitions: 8,
            block_size: 128,
        };
        Registry::format(region, geometry).unwrap();
        let sample = Self { directory, memory };
        sample.fill();
        sample
    }

    fn fill(&self) {
        let registry = self.registry();
        let monitor = registry.attach_partition(1, Process::UNKNOWN).unwrap();
        let instance = registry.attach_partition(2, Process::UNKNOWN).unwrap();
        let (one, two) = (monitor.incarnation(), instance.incarnation());
        self.fill_rings(one, two);
        self.fill_locks(one, two);
        // Both stay attached.
        std::mem::forget((monitor, instance));
    }

    fn fill_rings(&self, one: Incarnation, two: Incarnation) {
        let command = self.segment("kmon.command", Kind::RING, Ring::segment_len(1024));
        let command = Ring::attach(command).unwrap();
        let mut producer = command.claim_producer(one).unwrap();
        let mut consumer = command.claim_consumer(two, OnRestart::Discard).unwrap();
        for line in ["cd /tmp", "uname -a\n", "ls"] {
            producer.push(line.as_bytes()).unwrap();
        }
        consumer.pop(&mut [0; 16]).unwrap();
        let result = self.segment("kmon.result", Kind::RING, Ring::segment_len(4096));
        let result = Ring::attach(result).unwrap();
        let results = result.claim_producer(two).unwrap();
        // Released, unlike the other ends.
        drop(result.claim_consumer(one, OnRestart::Keep).unwrap());
        std::mem::forget((producer, consumer, results));

        let stats = self.segment("kmon.stats", Kind::SNAPSHOT, snapshot::segment_len(500));
        let mut writer = Writer::attach(stats).unwrap();
        writer.write(&[7; 300]).unwrap();
    }

    fn fill_locks(&self, one: Incarnation, two: Incarnation) {
        let window = self.segment("jobs", Kind::MUTEX, Mutex::<[u64; 8]>::SEGMENT_LEN);
        let jobs = Mutex::<[u64; 8]>::attach(window, one, &NoDoorbell).unwrap();
        std::mem::forget(jobs.try_lock(&mut AssumeAlive).unwrap());

        let window = self.segment("bus", Kind::BAKERY, BakeryMutex::<[u64; 8]>::SEGMENT_LEN);
        // SAFETY: the only handle of its incarnation.
        let mut bus = unsafe { BakeryMutex::<[u64; 8]>::attach(window, two, 64) }.unwrap();
        std::mem::forget(bus.try_lock(&mut AssumeAlive).unwrap());

        let window = self.segment("pool", Kind::SEMAPHORE, Semaphore::segment_len(8));
        let pool = Semaphore::attach(window, one, &NoDoorbell).unwrap();
        pool.add(3).unwrap();
        std::mem::forget(pool.try_acquire(&mut AssumeAlive).unwrap());

        let window = self.segment("map", Kind::RWLOCK, RwLock::<[u64; 8]>::SEGMENT_LEN);
        let map = RwLock::<[u64; 8]>::attach(window, two, &NoDoorbell).unwrap();
        std::mem::forget(map.try_read(&mut AssumeAlive).unwrap());

        let window = self.segment("start", Kind::BARRIER, Barrier::segment_len(4));
        // SAFETY: the only handle of its incarnation.
        let mut start = unsafe { Barrier::attach(window, one, 2, &NoDoorbell) }.unwrap();
        start.try_wait(&mut AssumeAlive).unwrap();

        let line = self.segment("demo.call", Kind::CALL_LINE, call::SEGMENT_LEN);
        let line = CallLine::attach(line).unwrap();
        line.start_elsewhere(1);
        line.ask(7, b"uname");
        line.answer(7, b"Linux");
        line.ask(8, b"uptime");
    }

    pub(crate) fn registry(&self) -> Registry<'_> {
        let region = Region::attach(self.window()).unwrap();
        Registry::attach(region).unwrap()
    }

    /// Returns the segment with this name, and creates it if necessary.
    pub(crate) fn segment(&self, name: &str, kind: Kind, len: usize) -> Window<'_> {
        let request = Request::named(name, kind, len).unwrap();
        let segment = self
            .registry()
            .open_or_create(Incarnation::first(1), &request);
        segment.unwrap().window()
    }

    pub(crate) fn window(&self) -> Window<'_> {
        self.memory.window()
    }

    /// Stores a word at an offset from the region's start.
    pub(crate) fn store(&self, at: usize, value: u32) {
        self.window().word(at).store(value, Relaxed);
    }

    pub(crate) fn load(&self, at: usize) -> u32 {
        self.window().word(at).load(Relaxed)
    }

    /// Returns the offset of the segment with this name.
    pub(crate) fn offset(&self, name: &str) -> usize {
        let id = shmem_registry::Id::from_name(name);
        self.registry().lookup(id).unwrap().offset()
    }

    /// Returns the offset of a row's word: 0 `owner`, 4 `state`, 8 `next`, and so on.
    pub(crate) fn row(&self, name: &str, word: usize) -> usize {
        let tables = self.registry().tables();
        let rows: Vec<_> = self.registry().rows().collect();
        let row = rows.iter().position(|row| row.name.as_str() == name);
        tables.rows + row.unwrap() * 64 + word
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file that holds the region.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory().join("region")
    }

    /// The place of the file as live memory.
    pub(crate) fn live(&self) -> String {
        format!("file:{}", self.file().display())
    }

    /// Copies the current bytes to another file.
    pub(crate) fn dump(&self) -> PathBuf {
        let path = self.directory().join("dump");
        std::fs::copy(self.file(), &path).unwrap();
        path
    }

    pub(crate) fn attachment(&self, partition: u8) -> Attachment<'_> {
        let process = Process::this();
        self.registry()
            .attach_partition(partition, process)
            .unwrap()
    }
}

/// Runs `shmem` with these arguments.
pub(crate) fn shmem<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmem"));
    command.args(arguments).output().unwrap()
}

/// Returns the output of `shmem inspect` of a place, and its exit status.
pub(crate) fn inspect(place: impl AsRef<std::ffi::OsStr>) -> (String, i32) {
    let output = shmem(["inspect".as_ref(), place.as_ref()]);
    (text(&output.stdout), output.status.code().unwrap())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns the lines with findings.
pub(crate) fn findings(text: &str) -> Vec<&str> {
    let found = |line: &&str| line.starts_with("damaged: ") || line.starts_with("left: ");
    text.lines().filter(found).collect()
}
