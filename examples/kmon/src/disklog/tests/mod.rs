//! Logs as a whole: output through a source, the files and a reader.

mod bounds;
mod deaths;
mod queries;
mod threads;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::chain::Bound;
use super::log::{Left, Log};
use super::name::LogName;
use super::query::{Entries, Query};
use super::reader::{Body, Entry, Reader};
use super::source::{Extent, Source};
use super::stamp::Stamp;
use super::{Files, new_id};

const NAME: LogName = LogName::Output(2);
const NOON: i64 = 1_796_040_000_000;

/// Output of which the newest bytes are kept.
struct Ring {
    id: u64,
    capacity: usize,
    /// The position of the first byte, and the bytes.
    kept: Mutex<(u64, Vec<u8>)>,
    dropped: Mutex<u64>,
}

impl Ring {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            id: new_id(),
            capacity,
            kept: Mutex::default(),
            dropped: Mutex::default(),
        })
    }

    fn print(&self, output: &[u8]) {
        let mut kept = self.kept.lock().unwrap();
        kept.1.extend_from_slice(output);
        let excess = kept.1.len().saturating_sub(self.capacity);
        kept.1.drain(..excess);
        kept.0 += excess as u64;
    }
}

impl Source for Ring {
    fn id(&self) -> u64 {
        self.id
    }

    fn extent(&self) -> Extent {
        let kept = self.kept.lock().unwrap();
        Extent {
            start: kept.0,
            end: kept.0 + kept.1.len() as u64,
            dropped: *self.dropped.lock().unwrap(),
        }
    }

    fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        let kept = self.kept.lock().unwrap();
        let from = position.clamp(kept.0, kept.0 + kept.1.len() as u64);
        let bytes = &kept.1[(from - kept.0) as usize..];
        (from, bytes[..bytes.len().min(max)].to_vec())
    }
}

/// A log in a temporary directory, with its own clock.
struct Case {
    home: tempfile::TempDir,
    bound: Bound,
    ring: Arc<Ring>,
    log: Log,
    millis: i64,
}

impl Case {
    fn new(size: u64, count: u64, compress: bool) -> Self {
        let ring = Ring::new(1 << 20);
        Self {
            home: tempfile::tempdir().unwrap(),
            bound: Bound {
                size,
                count,
                compress,
            },
            log: Log::new(NAME, "instance 2 (web)".into(), ring.clone()),
            ring,
            millis: NOON,
        }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn now(&self) -> Stamp {
        Stamp::from_millis(self.millis)
    }

    /// Another KMON takes up the same output.
    fn restart(&mut self) {
        self.log = Log::new(NAME, "instance 2 (web)".into(), self.ring.clone());
    }

    /// Another instance gets the number.
    fn replace(&mut self, owner: &str) {
        self.ring = Ring::new(1 << 20);
        self.log = Log::new(NAME, owner.into(), self.ring.clone());
    }

    fn write(&mut self) -> std::io::Result<Left> {
        let now = self.now();
        self.log.note_arrival(now);
        self.log.write(self.home.path(), self.bound, now, false)
    }

    fn print(&mut self, output: &str) {
        self.ring.print(output.as_bytes());
        self.write().unwrap();
    }

    /// Writes all that is left, unfinished lines included.
    fn finish(&mut self) {
        let now = self.now();
        self.log.note_arrival(now);
        self.log
            .write(self.home.path(), self.bound, now, true)
            .unwrap();
    }

    fn compress_all(&mut self) {
        while self.log.compress() {}
    }

    fn entries(&self, query: Query) -> Entries {
        let files = Files::new(self.path(), &NAME.stem());
        let reader = Reader::new(files, query.since);
        Entries::new(reader, query, Some(self.ring.id))
    }

    fn all(&self, query: Query) -> Vec<Entry> {
        let mut entries = self.entries(query);
        let mut all: Vec<_> = std::iter::from_fn(|| entries.next().unwrap()).collect();
        all.extend(entries.finish());
        all
    }

    /// Returns the current file.
    fn current(&self) -> String {
        fs::read_to_string(self.path().join(NAME.stem())).unwrap()
    }

    /// Returns the names and the lengths of all files.
    fn files(&self) -> Vec<(String, u64)> {
        let listing = fs::read_dir(self.path()).unwrap();
        let mut files: Vec<_> = listing
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, entry.metadata().unwrap().len())
            })
            .collect();
        files.sort();
        files
    }

    #[track_caller]
    fn assert_bound(&self) {
        let files = self.files();
        let total: u64 = files.iter().map(|(_, len)| len).sum();
        let Bound { size, count, .. } = self.bound;
        assert!(total <= size * count, "{total} bytes: {files:?}");
        let whole = files.iter().filter(|(name, _)| !name.ends_with(".part"));
        // A file exists twice between the end of its compression and its removal.
        let twice = |(name, _): &&(String, u64)| {
            !files
                .iter()
                .any(|(other, _)| *other == format!("{name}.gz"))
        };
        assert!(whole.filter(twice).count() as u64 <= count, "{files:?}");
    }
}

/// Returns the texts of entries, with a mark where a line continues or bytes are missing.
fn texts(entries: &[Entry]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let texts = entries.iter().filter_map(|entry| match &entry.body {
        Body::Line(bytes) => Some(text(bytes)),
        Body::Part(bytes) => Some(text(bytes) + "+"),
        Body::Missed(count) => Some(format!("missed {count}")),
        Body::Dropped(count) => Some(format!("dropped {count}")),
        Body::Begin(_) => None,
    });
    texts.collect()
}

/// Asserts that the entries are the output `all` from the first entry on, each byte once, with
/// times that do not go back. Returns how many bytes are missing before the first entry.
#[track_caller]
fn assert_exact(entries: &[Entry], all: &[u8]) -> u64 {
    let mut position = entries.first().map_or(0, |first| first.position);
    let first = position;
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(entry.position, position, "{entry:?}");
        assert!(at == 0 || entries[at - 1].time <= entry.time, "{entry:?}");
        let there = &all[entry.position as usize..entry.end as usize];
        let (bytes, end) = match &entry.body {
            Body::Line(bytes) => (bytes, &there[bytes.len()..]),
            Body::Part(bytes) => (bytes, &there[bytes.len()..]),
            Body::Begin(_) => continue,
            Body::Missed(_) | Body::Dropped(_) => panic!("{entry:?}"),
        };
        assert!(there.starts_with(bytes), "{entry:?}");
        match entry.body {
            Body::Part(_) => assert!(end.is_empty()),
            _ => assert!(end == b"\n" || end == b"\r\n"),
        }
        position = entry.end;
    }
    assert_eq!(position as usize, all.len());
    first
}
