//! The result of an inspection; `--json` prints it in this form.
//!
//! `docs/inspect.md` has the keys and their units.

use serde::Serialize;
use shmem_core::Incarnation;

use crate::finding::Finding;

/// The result of an inspection.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub place: String,
    pub source: Source,
    /// The offset of the region in the place.
    pub offset: u64,
    /// Available bytes from there on.
    pub bytes: u64,
    pub header: Option<Header>,
    pub registry: Option<Table>,
    pub partitions: Vec<Partition>,
    pub segments: Vec<Segment>,
    pub unfinished: Vec<Unfinished>,
    pub findings: Vec<Finding>,
    /// The number of further findings.
    pub more_findings: u64,
    pub sound: bool,
}

/// Whether others can change the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Mapped memory that others use.
    Live,
    /// A copy from an earlier time.
    Dump,
}

/// The region's header, unchecked.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// In hexadecimal: `0x524d4853`.
    pub magic: String,
    pub version: u32,
    pub features: u32,
    pub generation: u32,
    pub length: u64,
}

/// The registry's tables, and how many entries are used.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    pub rows: usize,
    pub rows_used: usize,
    pub partitions: usize,
    pub block_bytes: usize,
    pub blocks: usize,
    pub blocks_free: usize,
    pub largest_free_run: usize,
    pub offsets: Offsets,
}

/// Offsets of the tables in bytes from the region's start.
#[derive(Clone, Debug, Serialize)]
pub struct Offsets {
    pub partitions: usize,
    pub index: usize,
    pub rows: usize,
    pub map: usize,
    pub blocks: usize,
}

/// An incarnation, and whether it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IncarnationView {
    pub partition: u8,
    pub incarnation: u32,
    /// `None` for a partition that never attached.
    pub gone: Option<bool>,
}

impl IncarnationView {
    pub(crate) fn new(incarnation: Incarnation, gone: Option<bool>) -> Self {
        Self {
            partition: incarnation.partition(),
            incarnation: incarnation.number(),
            gone,
        }
    }
}

/// A partition's slot.
#[derive(Clone, Debug, Serialize)]
pub struct Partition {
    pub number: u8,
    /// `None` if the slot holds no incarnation of it.
    pub incarnation: Option<IncarnationView>,
    pub attached: bool,
    pub heartbeat: u32,
    /// Whether the heartbeat moved between two inspections.
    pub moves: Option<bool>,
    pub process: Option<ProcessView>,
}

/// A partition's process.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessView {
    pub number: u32,
    /// Whether it runs on this kernel, in the same PID and time namespaces; `None` for a dump.
    pub on_this_kernel: Option<bool>,
    /// `None` for a process that does not run on this kernel.
    pub alive: Option<bool>,
}

/// A segment in the table.
#[derive(Clone, Debug, Serialize)]
pub struct Segment {
    pub row: usize,
    pub generation: u32,
    /// In hexadecimal, with 16 digits: `0x00000000000000ff`.
    pub id: String,
    /// Empty if the segment has no name.
    pub name: String,
    pub kind: String,
    pub kind_number: u32,
    pub offset: usize,
    pub length: u32,
    #[serde(flatten)]
    pub contents: Option<Contents>,
}

/// A row that a partition works on, or worked on until it died.
#[derive(Clone, Debug, Serialize)]
pub struct Unfinished {
    pub row: usize,
    pub generation: u32,
    pub name: String,
    pub owner: Option<IncarnationView>,
    /// What its owner has done.
    pub state: &'static str,
}

/// The content of a segment, by its kind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Contents {
    Ring(Ring),
    #[serde(rename = "typed_ring")]
    TypedRing(TypedRing),
    Snapshot(Snapshot),
    Mutex(Mutex),
    Bakery(Bakery),
    Semaphore(Semaphore),
    RwLock(RwLock),
    Barrier(Barrier),
    #[serde(rename = "call_line")]
    CallLine(CallLine),
}

#[derive(Clone, Debug, Serialize)]
pub struct Ring {
    pub capacity: usize,
    /// Bytes of the unread records, with headers and padding.
    pub fill_bytes: u32,
    pub records: usize,
    /// How many of them were pushed by or for an earlier incarnation.
    pub earlier: usize,
    /// `end`, `limit`, `moving` or `corrupt`.
    pub counted_to: &'static str,
    /// The position of the first unread record.
    pub position: u32,
    /// The position up to which the producer may reuse bytes.
    pub head: u32,
    pub tail: u32,
    pub producer: Claim,
    pub consumer: Claim,
    pub discarded: u32,
    pub records_bell: Bell,
    pub space_bell: Bell,
    /// The first unread records, up to the requested number.
    pub unread: Vec<Record>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TypedRing {
    /// Bytes of a record; 0 if no end was ever claimed.
    pub record_bytes: u32,
    /// Unread records.
    pub records: u16,
    pub position: u16,
    /// The position up to which the producer may reuse slots.
    pub head: u16,
    pub tail: u16,
    pub producer: Claim,
    pub consumer: Claim,
    pub discarded: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The holder of the end, or the last one.
    pub incarnation: Option<IncarnationView>,
    pub held: bool,
    pub epoch: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bell {
    pub armed: bool,
    pub ring_count: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub position: u32,
    pub bytes: usize,
    pub producer_epoch: u32,
    pub consumer_epoch: u32,
    /// The first bytes, with two digits each.
    pub hex: String,
    /// The same bytes as text, with escapes for what is not printable.
    pub text: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    pub sequence: u32,
    /// Bytes of the latest value, if there is one.
    pub bytes: Option<usize>,
}

#[derive(Clone, Debug, Serialize)]
pub struct CallLine {
    pub asked: u32,
    pub answered: u32,
    /// The number of the last call that used the ring.
    pub started: u32,
}

/// The value under a lock.
#[derive(Clone, Debug, Serialize)]
pub struct Protects {
    pub size: usize,
    pub align: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct Mutex {
    pub owner: Option<IncarnationView>,
    pub contended: bool,
    pub health: &'static str,
    /// `None` if no partition has declared what the lock protects.
    pub protects: Option<Protects>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Bakery {
    pub owner: Option<IncarnationView>,
    pub health: &'static str,
    pub colour: &'static str,
    pub tickets: Vec<Ticket>,
    /// As in a mutex.
    pub protects: Option<Protects>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Ticket {
    pub partition: u8,
    pub incarnation: Option<IncarnationView>,
    /// `None` while the ticket is being drawn.
    pub number: Option<u32>,
    pub colour: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct Semaphore {
    pub capacity: usize,
    pub permits: usize,
    pub free: usize,
    pub contended: bool,
    pub held: Vec<Held>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Held {
    pub incarnation: IncarnationView,
    pub permits: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct RwLock {
    pub writer: Option<IncarnationView>,
    /// True if the writer holds the lock; false if it waits.
    pub writing: bool,
    pub contended: bool,
    pub health: &'static str,
    pub readers: Vec<IncarnationView>,
    /// As in a mutex.
    pub protects: Option<Protects>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Barrier {
    pub phase: u32,
    pub parties: Vec<Party>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Party {
    pub partition: u8,
    pub incarnation: Option<IncarnationView>,
    /// The last phase at which it arrived.
    pub arrived: u32,
    pub sleeps: bool,
}

/// The part of a report that is compared with the next one.
#[derive(Clone, Debug)]
pub struct Trace {
    generation: Option<u32>,
    /// Each partition's incarnation and heartbeat.
    heartbeats: Vec<(Option<IncarnationView>, u32)>,
    findings: Vec<Finding>,
    more_findings: u64,
}

impl Trace {
    /// Takes it from a report.
    pub fn from_report(report: &Report) -> Self {
        let heartbeat = |partition: &Partition| (partition.incarnation, partition.heartbeat);
        Self {
            generation: report.header.as_ref().map(|header| header.generation),
            heartbeats: report.partitions.iter().map(heartbeat).collect(),
            findings: report.findings.clone(),
            more_findings: report.more_findings,
        }
    }

    /// Returns true if both are of the same region, without a format in between.
    pub fn is_same_region(&self, other: &Self) -> bool {
        self.generation == other.generation
    }
}

impl Report {
    /// Compares this report with an earlier one of the same region: sets whether heartbeats moved,
    /// and drops findings that the earlier one does not have, because those words were changing.
    pub fn confirm(&mut self, earlier: &Trace) {
        for partition in &mut self.partitions {
            let same = |(incarnation, _): &&(Option<IncarnationView>, u32)| {
                *incarnation == partition.incarnation
            };
            let before = earlier.heartbeats.iter().find(same);
            partition.moves = before.map(|(_, heartbeat)| *heartbeat != partition.heartbeat);
        }
        // If the earlier report dropped findings, all of these may have been among them.
        if earlier.more_findings == 0 {
            let seen = |finding: &Finding| {
                let mut others = earlier.findings.iter();
                others.any(|other| other.is_same_finding(finding))
            };
            self.findings.retain(seen);
            self.more_findings = 0;
        }
        self.sound = self.findings.is_empty();
    }
}
