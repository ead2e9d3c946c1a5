//! What a look at a region came to; `--json` prints it as it stands here.
//!
//! `docs/inspect.md` has the keys and their units.

use serde::Serialize;
use shmem_core::Incarnation;

use crate::finding::Finding;

/// All that a look came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub place: String,
    pub source: Source,
    /// Where the region starts in the place.
    pub offset: u64,
    /// Bytes there are from there on.
    pub bytes: u64,
    pub header: Option<Header>,
    pub registry: Option<Table>,
    pub partitions: Vec<Partition>,
    pub segments: Vec<Segment>,
    pub unfinished: Vec<Unfinished>,
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
    pub sound: bool,
}

/// Whether others can change what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Mapped memory that others use.
    Live,
    /// A copy that was taken at some time.
    Dump,
}

/// The region's header, as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// As a number: `0x524d4853`.
    pub magic: String,
    pub version: u32,
    pub features: u32,
    pub generation: u32,
    pub length: u64,
}

/// The registry's tables, and how full they are.
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

/// Where the tables lie, bytes from the region's start.
#[derive(Clone, Debug, Serialize)]
pub struct Offsets {
    pub partitions: usize,
    pub index: usize,
    pub rows: usize,
    pub map: usize,
    pub blocks: usize,
}

/// An incarnation, and whether it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IncarnationView {
    pub partition: u8,
    pub incarnation: u32,
    /// Not known of a partition that never attached.
    pub over: Option<bool>,
}

impl IncarnationView {
    pub(crate) fn new(incarnation: Incarnation, over: Option<bool>) -> Self {
        Self {
            partition: incarnation.partition(),
            incarnation: incarnation.number(),
            over,
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
    /// Whether the heartbeat moved between two looks.
    pub moves: Option<bool>,
    pub process: Option<ProcessView>,
}

/// How a partition's kernel knows it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessView {
    pub number: u32,
    /// Whether it is of this kernel, and of the same namespace of processes; not
    /// asked of a dump.
    pub here: Option<bool>,
    /// Not known of one elsewhere.
    pub alive: Option<bool>,
}

/// A segment in the table.
#[derive(Clone, Debug, Serialize)]
pub struct Segment {
    pub row: usize,
    pub generation: u32,
    /// As a number of 16 digits: `0x00000000000000ff`.
    pub id: String,
    /// Empty if it was made without one.
    pub name: String,
    pub kind: String,
    pub kind_number: u32,
    pub offset: usize,
    pub length: u32,
    #[serde(flatten)]
    pub contents: Option<Contents>,
}

/// A row that somebody works on, or did until it died.
#[derive(Clone, Debug, Serialize)]
pub struct Unfinished {
    pub row: usize,
    pub generation: u32,
    pub name: String,
    pub owner: Option<IncarnationView>,
    /// How far its owner has come.
    pub state: &'static str,
}

/// What is in a segment, by its kind.
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
    /// Bytes of the unread records, headers and padding included.
    pub fill_bytes: u32,
    pub records: usize,
    /// Those of them that were pushed by or for an earlier incarnation.
    pub earlier: usize,
    /// `end`, `limit`, `moving` or `corrupt`.
    pub counted_to: &'static str,
    pub head: u32,
    pub given_back: u32,
    pub tail: u32,
    pub producer: Claim,
    pub consumer: Claim,
    pub discarded: u32,
    pub records_bell: Bell,
    pub space_bell: Bell,
    /// The first unread ones, as many as were asked for.
    pub unread: Vec<Record>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TypedRing {
    /// Bytes of a record; 0 if nobody has claimed an end.
    pub record_bytes: u32,
    /// Unread records.
    pub records: u16,
    pub position: u16,
    pub given_back: u16,
    pub tail: u16,
    pub producer: Claim,
    pub consumer: Claim,
    pub discarded: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Who has the end, or had it last.
    pub incarnation: Option<IncarnationView>,
    pub held: bool,
    pub epoch: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bell {
    pub armed: bool,
    pub rings: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub position: u32,
    pub bytes: usize,
    pub producer_epoch: u32,
    pub consumer_epoch: u32,
    /// The first bytes, two digits each.
    pub hex: String,
    /// The same as text, what is not printable escaped.
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
    /// The last call that went by the ring.
    pub started: u32,
}

/// The value that a lock protects.
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
    /// `None` if nobody has said.
    pub protects: Option<Protects>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Bakery {
    pub owner: Option<IncarnationView>,
    pub health: &'static str,
    pub colour: &'static str,
    pub tickets: Vec<Ticket>,
    /// As of a mutex.
    pub protects: Option<Protects>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Ticket {
    pub partition: u8,
    pub incarnation: Option<IncarnationView>,
    /// `None` while it is being drawn.
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
    /// Whether the writer is inside; else it waits.
    pub writing: bool,
    pub contended: bool,
    pub health: &'static str,
    pub readers: Vec<IncarnationView>,
    /// As of a mutex.
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
    /// The last phase it arrived at.
    pub arrived: u32,
    pub sleeps: bool,
}

/// What has to be kept of a look to hold the next one against it.
#[derive(Clone, Debug)]
pub struct Trace {
    generation: Option<u32>,
    /// Each partition's incarnation and heartbeat.
    heartbeats: Vec<(Option<IncarnationView>, u32)>,
    findings: Vec<Finding>,
    more_findings: u64,
}

impl Trace {
    /// Of a look by itself.
    pub fn of(report: &Report) -> Self {
        let heartbeat = |partition: &Partition| (partition.incarnation, partition.heartbeat);
        Self {
            generation: report.header.as_ref().map(|header| header.generation),
            heartbeats: report.partitions.iter().map(heartbeat).collect(),
            findings: report.findings.clone(),
            more_findings: report.more_findings,
        }
    }

    /// Whether it is of one incarnation of a region with `other`.
    pub fn is_of_same_region(&self, other: &Self) -> bool {
        self.generation == other.generation
    }
}

impl Report {
    /// Holds this look against an earlier one of the same region: heartbeats moved or
    /// not, and what looks wrong now but did not then was in motion.
    pub fn confirm(&mut self, earlier: &Trace) {
        for partition in &mut self.partitions {
            let same = |(incarnation, _): &&(Option<IncarnationView>, u32)| {
                *incarnation == partition.incarnation
            };
            let before = earlier.heartbeats.iter().find(same);
            partition.moves = before.map(|(_, heartbeat)| *heartbeat != partition.heartbeat);
        }
        // Where there were too many to keep, all may have been there.
        if earlier.more_findings == 0 {
            let seen = |finding: &Finding| earlier.findings.iter().any(|other| other.is(finding));
            self.findings.retain(seen);
            self.more_findings = 0;
        }
        self.sound = self.findings.is_empty();
    }
}
