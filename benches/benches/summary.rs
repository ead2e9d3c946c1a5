//! The goals, each a ratio within one run: we and the peer take turns, so that whatever
//! disturbs the machine disturbs both.
//!
//! A virtual machine's processors are moved by its host, and every figure with them. Before
//! and after each pair of turns two cache lines go to and fro: their time says where the two
//! processors are, pairs are sorted by it, and one whose place changed is left out.
//!
//! It reports and never fails. `--json` for machines; `--rounds N`.

use std::time::Duration;

use serde::Serialize;
use shmem_benches::{Contender, line, ours, ringbuf, rtrb};

struct Goal {
    /// The row of the table of goals; 0 if it is none.
    goal: u32,
    /// Messages of one turn.
    count: u64,
    name: &'static str,
    ours: Contender,
    peer: &'static str,
    theirs: Contender,
    /// The ratio that is aimed at.
    target: f64,
}

/// Where the two processors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    /// Two threads of one core.
    Sibling,
    /// Cores that share a cache.
    Near,
    Far,
}

impl Place {
    const ALL: [Self; 3] = [Self::Sibling, Self::Near, Self::Far];

    /// By the time, in nanoseconds, that two lines take to and fro.
    fn of(two_lines: f64) -> Self {
        match two_lines {
            ..85.0 => Self::Sibling,
            85.0..200.0 => Self::Near,
            _ => Self::Far,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sibling => "sibling threads",
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

/// One goal in one place.
#[derive(Serialize)]
struct Row {
    goal: u32,
    name: &'static str,
    place: Place,
    rounds: usize,
    ours_ns: f64,
    peer: &'static str,
    peer_ns: f64,
    ratio: f64,
    /// Quartiles of the rounds' ratios.
    low: f64,
    high: f64,
    target: f64,
    met: bool,
}

/// What both turns of a pair took, ns per message.
struct Pair {
    place: Place,
    ours: f64,
    theirs: f64,
}

const fn goal(
    (goal, count): (u32, u64),
    (name, ours): (&'static str, Contender),
    (peer, theirs): (&'static str, Contender),
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
    }
}

#[rustfmt::skip]
const GOALS: [Goal; 19] = [
    goal((2, 10_000), ("round trip 8 B", ours::round_trip::<8>), ("rtrb", rtrb::round_trip::<8>), 0.80),
    goal((2, 10_000), ("round trip 64 B", ours::round_trip::<64>), ("rtrb", rtrb::round_trip::<64>), 0.80),
    goal((3, 300_000), ("8 B push", ours::push_pop::<8>), ("rtrb push", rtrb::push_pop::<8>), 1.00),
    goal((0, 300_000), ("8 B push", ours::push_pop::<8>), ("ringbuf slice", ringbuf::slice::<8, 32>), 1.00),
    goal((0, 300_000), ("8 B batch", ours::batch::<8, 32>), ("ringbuf slice", ringbuf::slice::<8, 32>), 1.00),
    goal((0, 300_000), ("8 B push", ours::push_pop::<8>), ("rtrb framed", rtrb::framed::<8>), 0.50),
    goal((4, 150_000), ("64 B push", ours::push_pop::<64>), ("rtrb chunk of 1", rtrb::chunk::<64, 1>), 0.50),
    goal((4, 150_000), ("64 B push", ours::push_pop::<64>), ("ringbuf slice", ringbuf::slice::<64, 32>), 1.00),
    goal((4, 150_000), ("64 B push", ours::push_pop::<64>), ("rtrb framed", rtrb::framed::<64>), 0.50),
    goal((0, 150_000), ("64 B batch", ours::batch::<64, 32>), ("ringbuf slice", ringbuf::slice::<64, 32>), 1.00),
    goal((5, 15_000), ("4 KiB push", ours::push_pop::<4096>), ("rtrb chunk of 1", rtrb::chunk::<4096, 1>), 0.95),
    goal((5, 15_000), ("4 KiB push", ours::push_pop::<4096>), ("rtrb chunk of 8", rtrb::chunk::<4096, 8>), 0.95),
    goal((5, 15_000), ("4 KiB batch", ours::batch::<4096, 8>), ("rtrb chunk of 8", rtrb::chunk::<4096, 8>), 0.95),
    goal((5, 30_000), ("4 KiB handed over", ours::hand_over::<4096>), ("64 B, the same way", ours::hand_over::<64>), 1.50),
    goal((0, 300_000), ("8 B, one thread", ours::alone::<8>), ("rtrb", rtrb::alone::<8>), 1.00),
    goal((0, 300_000), ("64 B, one thread", ours::alone::<64>), ("rtrb", rtrb::alone::<64>), 1.00),
    goal((0, 300_000), ("64 B, one thread", ours::alone::<64>), ("ringbuf", ringbuf::alone::<64>), 1.00),
    goal((0, 10_000), ("round trip 8 B", ours::round_trip::<8>), ("two lines", line::two), 2.00),
    goal((0, 10_000), ("round trip 64 B", ours::round_trip::<64>), ("two lines", line::two), 2.00),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let rounds = value_of(&arguments, "--rounds");
    // A filter for criterion's benches, or their list, asks for something else.
    if has("--list") || (rounds.is_none() && arguments.iter().any(|a| !a.starts_with('-'))) {
        return;
    }
    let rows = if has("--test") {
        measure(1, 100)
    } else {
        measure(rounds.unwrap_or(25), 1)
    };
    if has("--json") {
        let text = serde_json::to_string_pretty(&rows).expect("numbers and words");
        println!("{text}");
    } else {
        print(&rows);
    }
}

fn value_of(arguments: &[String], flag: &str) -> Option<usize> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    arguments.get(at + 1)?.parse().ok()
}

/// Takes turns for so many rounds, each `shorter` times shorter than usual.
fn measure(rounds: usize, shorter: u64) -> Vec<Row> {
    let mut pairs: Vec<Vec<Pair>> = GOALS.iter().map(|_| Vec::new()).collect();
    let look = || Place::of(turn(line::two, 3_000 / shorter));
    let mut place = look();
    for _ in 0..rounds.max(1) {
        for (goal, pairs) in GOALS.iter().zip(&mut pairs) {
            let count = goal.count / shorter;
            let (ours, theirs) = (turn(goal.ours, count), turn(goal.theirs, count));
            let before = std::mem::replace(&mut place, look());
            if before == place || rounds <= 1 {
                pairs.push(Pair {
                    place,
                    ours,
                    theirs,
                });
            }
        }
    }
    let in_place = |place| {
        let goals = GOALS.iter().zip(&pairs);
        goals.filter_map(move |(goal, pairs)| row(goal, pairs, place))
    };
    Place::ALL.into_iter().flat_map(in_place).collect()
}

/// Nanoseconds per message.
fn turn(contender: Contender, count: u64) -> f64 {
    let time: Duration = contender(count);
    time.as_nanos() as f64 / count as f64
}

/// The medians in one place; `None` if the processors never were there.
fn row(goal: &Goal, pairs: &[Pair], place: Place) -> Option<Row> {
    let pairs: Vec<_> = pairs.iter().filter(|pair| pair.place == place).collect();
    if pairs.is_empty() {
        return None;
    }
    let median = |value: fn(&Pair) -> f64| quantile(pairs.iter().map(|pair| value(pair)), 0.5);
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
            "{:>4}  {:<18} {:>8}  {:<18} {:>8} {:>6}  {:<13} {:>6}",
            "goal", "", "ns", "peer", "ns", "ratio", "", "target"
        );
        for row in rows {
            let spread = format!("[{:.2}-{:.2}]", row.low, row.high);
            let goal = match row.goal {
                0 => "-".to_owned(),
                goal => goal.to_string(),
            };
            let met = if row.met { "" } else { "  missed" };
            println!(
                "{goal:>4}  {:<18} {:>8.1}  {:<18} {:>8.1} {:>6.2}  {spread:<13} {:>6.2}{met}",
                row.name, row.ours_ns, row.peer, row.peer_ns, row.ratio, row.target
            );
        }
    }
}
