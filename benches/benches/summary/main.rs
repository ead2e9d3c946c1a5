//! The goals, each a ratio within one run: the SDK and the other library alternate, so that a
//! disturbance of the machine affects both.
//!
//! The host of a virtual machine moves its processors, and every figure changes with that. Before
//! and after each pair of measurements two cache lines go back and forth. Their time shows how
//! far apart the two processors are; pairs are sorted by it, and a pair during which it changed
//! is left out.
//!
//! It reports and never fails on its results. `--json` prints JSON; `--rounds N`; `--row TEXT`
//! measures only the rows whose name contains TEXT; `--write DIRECTORY` writes `summary.json` and
//! `summary.svg` there.

mod chart;
mod row;

use std::path::Path;
use std::time::Duration;

use row::{Place, Row};
use shmem_benches::locks::{
    Mutex, ParkingLot, RobustMutex, Semaphore, StdMutex, SystemSemaphore, alone, contended,
};
use shmem_benches::{Contender, call, line, lookup, others, ours, ringbuf, rtrb, typed};

struct Goal {
    /// Number of the goal; 0 for a comparison without a goal.
    goal: u32,
    /// Messages of one measurement.
    count: u64,
    name: &'static str,
    ours: Contender,
    peer: &'static str,
    theirs: Contender,
    /// The ratio that is the goal.
    target: f64,
    /// Measures the best that the machine can do.
    limit: Option<Contender>,
}

/// The times of a round, in ns per message.
struct Pair {
    place: Place,
    ours: f64,
    theirs: f64,
    limit: Option<f64>,
}

/// A name and the contender that it names.
type Named = (&'static str, Contender);

const fn goal(
    (goal, count): (u32, u64),
    (name, ours): Named,
    (peer, theirs): Named,
    target: f64,
) -> Goal {
    Goal {
        goal,
        count,
        name,
        ours,
        peer,
        theirs,
        target,
        limit: None,
    }
}

impl Goal {
    const fn limit(self, limit: Contender) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }
}

/// The recommended number of spins where the peer runs on another core.
const SPINS: u32 = 100;

const CALL_8: Named = ("call 8 B", call::call::<8>);
const TRIP_8: Named = ("round trip 8 B", ours::round_trip::<8>);
const TRIP_64: Named = ("round trip 64 B", ours::round_trip::<64>);
const PUSH_8: Named = ("8 B push", ours::push_pop::<8>);
const BATCH_8: Named = ("8 B batch", ours::batch::<8, 32>);
const PUSH_64: Named = ("64 B push", ours::push_pop::<64>);
const BATCH_64: Named = ("64 B batch", ours::batch::<64, 32>);
const PUSH_4K: Named = ("4 KiB push", ours::push_pop::<4096>);
const BATCH_4K: Named = ("4 KiB batch", ours::batch::<4096, 8>);
const TYPED_8: Named = ("8 B typed push", typed::push_pop::<8>);
const SLICE_8: Named = ("8 B typed slice", typed::slice::<8, 32>);
const TYPED_64: Named = ("64 B typed push", typed::push_pop::<64>);
const SLICE_64: Named = ("64 B typed slice", typed::slice::<64, 32>);
const ALONE: Named = ("mutex, alone", alone::<Mutex<0>>);
const CONTENDED: Named = ("mutex, contended", contended::<Mutex<SPINS>>);

#[rustfmt::skip]
const GOALS: [Goal; 44] = [
    goal((1, 10_000), CALL_8, ("rtrb pair", rtrb::round_trip::<8>), 0.60).limit(line::one),
    goal((2, 10_000), TRIP_8, ("rtrb", rtrb::round_trip::<8>), 0.80).limit(line::two),
    goal((2, 10_000), TRIP_64, ("rtrb", rtrb::round_trip::<64>), 0.80).limit(line::two),
    goal((0, 1_000), TRIP_64, ("pipe", others::pipe_round_trip::<64>), 0.10),
    goal((0, 1_000), TRIP_64, ("Unix socket", others::socket_round_trip::<64>), 0.10),
    goal((3, 300_000), PUSH_8, ("rtrb push", rtrb::push_pop::<8>), 1.00),
    goal((0, 300_000), PUSH_8, ("ringbuf slice", ringbuf::slice::<8, 32>), 1.00),
    goal((0, 300_000), BATCH_8, ("ringbuf slice", ringbuf::slice::<8, 32>), 1.00),
    goal((0, 300_000), PUSH_8, ("rtrb framed", rtrb::framed::<8>), 0.50),
    goal((0, 100_000), PUSH_8, ("ArrayQueue", others::array_queue::<8>), 1.00),
    goal((0, 100_000), PUSH_8, ("std channel", others::channel::<8>), 1.00),
    goal((4, 150_000), PUSH_64, ("rtrb chunk of 1", rtrb::chunk::<64, 1>), 0.50),
    goal((4, 150_000), PUSH_64, ("ringbuf slice", ringbuf::slice::<64, 32>), 1.00),
    goal((4, 150_000), PUSH_64, ("rtrb framed", rtrb::framed::<64>), 0.50),
    goal((0, 150_000), BATCH_64, ("ringbuf slice", ringbuf::slice::<64, 32>), 1.00),
    goal((0, 100_000), PUSH_64, ("ArrayQueue", others::array_queue::<64>), 1.00),
    goal((0, 100_000), PUSH_64, ("std channel", others::channel::<64>), 1.00),
    goal((5, 15_000), PUSH_4K, ("rtrb chunk of 1", rtrb::chunk::<4096, 1>), 0.95),
    goal((5, 15_000), PUSH_4K, ("rtrb chunk of 8", rtrb::chunk::<4096, 8>), 0.95),
    goal((5, 15_000), BATCH_4K, ("rtrb chunk of 8", rtrb::chunk::<4096, 8>), 0.95),
    goal((5, 30_000), ("4 KiB handed over", ours::hand_over::<4096>), ("64 B, the same way", ours::hand_over::<64>), 1.50),
    goal((8, 300_000), TYPED_8, ("rtrb push", rtrb::push_pop::<8>), 0.75),
    goal((8, 300_000), SLICE_8, ("ringbuf slice", ringbuf::slice::<8, 32>), 0.60),
    goal((0, 300_000), SLICE_8, ("rtrb chunk of 32", rtrb::chunk::<8, 32>), 1.00),
    goal((8, 150_000), TYPED_64, ("ringbuf slice", ringbuf::slice::<64, 32>), 0.85),
    goal((8, 150_000), SLICE_64, ("ringbuf slice", ringbuf::slice::<64, 32>), 0.85),
    goal((0, 10_000), ("typed trip 8 B", typed::round_trip::<8>), ("rtrb", rtrb::round_trip::<8>), 1.00),
    goal((0, 10_000), ("typed trip 64 B", typed::round_trip::<64>), ("rtrb", rtrb::round_trip::<64>), 1.00),
    goal((0, 300_000), ("8 B typed, alone", typed::alone::<8>), ("rtrb", rtrb::alone::<8>), 1.00),
    goal((0, 300_000), ("64 B typed, alone", typed::alone::<64>), ("rtrb", rtrb::alone::<64>), 1.00),
    goal((6, 300_000), ALONE, ("pthread robust", alone::<RobustMutex>), 0.70).limit(line::exchanged),
    goal((6, 300_000), ALONE, ("std mutex", alone::<StdMutex>), 1.10).limit(line::exchanged),
    goal((6, 500_000), CONTENDED, ("parking_lot", contended::<ParkingLot>), 1.00),
    goal((0, 500_000), CONTENDED, ("pthread robust", contended::<RobustMutex>), 1.00),
    goal((0, 500_000), CONTENDED, ("std mutex", contended::<StdMutex>), 1.00),
    goal((6, 300_000), ("semaphore, alone", alone::<Semaphore<0>>), ("sem_t", alone::<SystemSemaphore>), 0.75).limit(line::exchanged),
    goal((0, 500_000), ("sem., contended", contended::<Semaphore<SPINS>>), ("sem_t", contended::<SystemSemaphore>), 1.00),
    goal((7, 300_000), ("lookup in 16", lookup::ours::<16>), ("HashMap", lookup::map::<16>), 1.00),
    goal((7, 300_000), ("lookup in 1,000", lookup::ours::<1000>), ("HashMap", lookup::map::<1000>), 1.00),
    goal((7, 100_000), ("lookup in 65,536", lookup::ours::<65_536>), ("HashMap", lookup::map::<65_536>), 1.00),
    goal((0, 300_000), ("8 B, one thread", ours::alone::<8>), ("rtrb", rtrb::alone::<8>), 1.00),
    goal((0, 300_000), ("64 B, one thread", ours::alone::<64>), ("rtrb", rtrb::alone::<64>), 1.00),
    goal((0, 300_000), ("64 B, one thread", ours::alone::<64>), ("ringbuf", ringbuf::alone::<64>), 1.00),
    goal((0, 300_000), ("8 B, one thread", ours::alone::<8>), ("ringbuf", ringbuf::alone::<8>), 1.00),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let rounds = argument_value(&arguments, "--rounds").and_then(|rounds| rounds.parse().ok());
    let directory = argument_value(&arguments, "--write");
    let wanted = argument_value(&arguments, "--row");
    // Arguments such as a filter or `--list` are for criterion's benches, and not for this one.
    let is_filtered = rounds.is_none() && directory.is_none() && wanted.is_none();
    if has("--list") || (is_filtered && arguments.iter().any(|a| !a.starts_with('-'))) {
        return;
    }
    let wanted: &str = wanted.map_or("", |wanted| wanted);
    let goals = GOALS.iter().filter(|goal| goal.name.contains(wanted));
    let rows = if has("--test") {
        measure(&goals.collect::<Vec<_>>(), 1, 100)
    } else {
        measure(&goals.collect::<Vec<_>>(), rounds.unwrap_or(25), 1)
    };
    let text = serde_json::to_string_pretty(&rows).expect("numbers and words");
    if has("--json") {
        println!("{text}");
    } else {
        print(&rows);
    }
    if let Some(directory) = directory
        && let Err(error) = write(Path::new(directory), &text, &rows)
    {
        eprintln!("cannot write to {directory}: {error}");
        std::process::exit(1);
    }
}

fn argument_value<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    Some(arguments.get(at + 1)?)
}

fn write(directory: &Path, json: &str, rows: &[Row]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("summary.json"), json)?;
    std::fs::write(directory.join("summary.svg"), chart::svg(rows))
}

/// Alternates for `rounds` rounds, each `shorter` times shorter than usual.
fn measure(goals: &[&Goal], rounds: usize, shorter: u64) -> Vec<Row> {
    let mut pairs: Vec<Vec<Pair>> = goals.iter().map(|_| Vec::new()).collect();
    let find_place = || Place::from_time(time_per_message(line::two, 3_000 / shorter));
    let mut place = find_place();
    for _ in 0..rounds.max(1) {
        for (goal, pairs) in goals.iter().zip(&mut pairs) {
            let count = goal.count / shorter;
            let ours = time_per_message(goal.ours, count);
            let theirs = time_per_message(goal.theirs, count);
            let limit = goal.limit.map(|limit| time_per_message(limit, count));
            let before = std::mem::replace(&mut place, find_place());
            if before == place || rounds <= 1 {
                pairs.push(Pair {
                    place,
                    ours,
                    theirs,
                    limit,
                });
            }
        }
    }
    let in_place = |place| {
        let goals = goals.iter().zip(&pairs);
        goals.filter_map(move |(goal, pairs)| row(goal, pairs, place))
    };
    Place::ALL.into_iter().flat_map(in_place).collect()
}

/// Returns nanoseconds per message.
fn time_per_message(contender: Contender, count: u64) -> f64 {
    let time: Duration = contender(count);
    time.as_nanos() as f64 / count as f64
}

/// Returns the medians in one place; `None` if the processors were never there.
fn row(goal: &Goal, pairs: &[Pair], place: Place) -> Option<Row> {
    let pairs: Vec<_> = pairs.iter().filter(|pair| pair.place == place).collect();
    if pairs.is_empty() {
        return None;
    }
    let median = |value: fn(&Pair) -> f64| quantile(pairs.iter().map(|pair| value(pair)), 0.5);
    let limits: Vec<f64> = pairs.iter().filter_map(|pair| pair.limit).collect();
    let ratios = |part| quantile(pairs.iter().map(|pair| pair.ours / pair.theirs), part);
    let ratio = ratios(0.5);
    Some(Row {
        goal: goal.goal,
        name: goal.name,
        place,
        rounds: pairs.len(),
        ours_ns: median(|pair| pair.ours),
        peer: goal.peer,
        peer_ns: median(|pair| pair.theirs),
        limit_ns: (!limits.is_empty()).then(|| quantile(limits.into_iter(), 0.5)),
        ratio,
        low: ratios(0.25),
        high: ratios(0.75),
        target: goal.target,
        met: ratio <= goal.target,
    })
}

fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn print(rows: &[Row]) {
    for place in Place::ALL {
        let mut rows = rows.iter().filter(|row| row.place == place).peekable();
        let Some(first) = rows.peek() else {
            continue;
        };
        println!("\n{}, about {} rounds", place.name(), first.rounds);
        println!("medians; in brackets the quartiles of the ratio\n");
        println!(
            "{:>4}  {:<18} {:>8}  {:<18} {:>8} {:>6}  {:<13} {:>6} {:>8}",
            "goal", "", "ns", "other", "ns", "ratio", "", "target", "limit"
        );
        for row in rows {
            let spread = format!("[{:.2}-{:.2}]", row.low, row.high);
            let goal = match row.goal {
                0 => "-".to_owned(),
                goal => goal.to_string(),
            };
            let met = if row.met { "" } else { "  missed" };
            let limit = row.limit_ns.map(|limit| format!("{limit:.1}"));
            println!(
                "{goal:>4}  {:<18} {:>8.1}  {:<18} {:>8.1} {:>6.2}  {spread:<13} {:>6.2} {:>8}{met}",
                row.name,
                row.ours_ns,
                row.peer,
                row.peer_ns,
                row.ratio,
                row.target,
                limit.unwrap_or_default()
            );
        }
    }
}
