//! The goals, each a ratio within one run: we and the peer take turns, so that
//! whatever disturbs the machine disturbs both.
//!
//! It reports and never fails. `--json` for machines; `--rounds N`.

use std::time::Duration;

use serde::Serialize;
use shmem_benches::{Contender, line, ours, ringbuf, rtrb};

struct Goal {
    /// The row of the table of goals, and what is compared.
    name: &'static str,
    /// Messages of one turn.
    count: u64,
    ours: Contender,
    peer: Contender,
    limit: f64,
}

#[derive(Serialize)]
struct Row {
    goal: &'static str,
    ours_ns: f64,
    peer_ns: f64,
    ratio: f64,
    /// Quartiles of the rounds' ratios.
    low: f64,
    high: f64,
    limit: f64,
    met: bool,
}

#[derive(Serialize)]
struct Summary {
    line_ns: f64,
    two_lines_ns: f64,
    rows: Vec<Row>,
}

const fn goal(
    name: &'static str,
    count: u64,
    ours: Contender,
    peer: Contender,
    limit: f64,
) -> Goal {
    Goal {
        name,
        count,
        ours,
        peer,
        limit,
    }
}

#[rustfmt::skip]
const GOALS: [Goal; 16] = [
    goal("2 round trip 64 B / rtrb", 10_000, ours::round_trip::<64>, rtrb::round_trip::<64>, 0.90),
    goal("2 round trip 8 B / rtrb", 10_000, ours::round_trip::<8>, rtrb::round_trip::<8>, 0.90),
    goal("3 8 B push / rtrb push", 300_000, ours::push_pop::<8>, rtrb::push_pop::<8>, 0.75),
    goal("3 8 B push / ringbuf slice", 300_000, ours::push_pop::<8>, ringbuf::slice::<8, 32>, 0.90),
    goal("3 8 B batch / ringbuf slice", 300_000, ours::batch::<8, 32>, ringbuf::slice::<8, 32>, 0.90),
    goal("4 64 B push / rtrb chunk x1", 150_000, ours::push_pop::<64>, rtrb::chunk::<64, 1>, 0.50),
    goal("4 64 B push / ringbuf slice", 150_000, ours::push_pop::<64>, ringbuf::slice::<64, 32>, 0.85),
    goal("4 64 B batch / ringbuf slice", 150_000, ours::batch::<64, 32>, ringbuf::slice::<64, 32>, 0.85),
    goal("4 64 B push / rtrb framed", 150_000, ours::push_pop::<64>, rtrb::framed::<64>, 0.60),
    goal("4 8 B push / rtrb framed", 150_000, ours::push_pop::<8>, rtrb::framed::<8>, 0.60),
    goal("5 4 KiB push / rtrb chunk x1", 15_000, ours::push_pop::<4096>, rtrb::chunk::<4096, 1>, 0.95),
    goal("5 4 KiB push / rtrb chunk x8", 15_000, ours::push_pop::<4096>, rtrb::chunk::<4096, 8>, 0.95),
    goal("5 4 KiB batch / rtrb chunk x8", 15_000, ours::batch::<4096, 8>, rtrb::chunk::<4096, 8>, 0.95),
    goal("- 4 KiB hand-over / 64 B", 30_000, ours::hand_over::<4096>, ours::hand_over::<64>, 1.50),
    goal("- one thread 64 B / rtrb", 300_000, ours::alone::<64>, rtrb::alone::<64>, 1.00),
    goal("- one thread 64 B / ringbuf", 300_000, ours::alone::<64>, ringbuf::alone::<64>, 1.00),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let rounds = value_of(&arguments, "--rounds");
    // A filter for criterion's benches, or their list, asks for something else.
    if has("--list") || (rounds.is_none() && arguments.iter().any(|a| !a.starts_with('-'))) {
        return;
    }
    let summary = if has("--test") {
        measure(1, 100)
    } else {
        measure(rounds.unwrap_or(25), 1)
    };
    if has("--json") {
        let text = serde_json::to_string_pretty(&summary).expect("numbers and words");
        println!("{text}");
    } else {
        print(&summary);
    }
}

fn value_of(arguments: &[String], flag: &str) -> Option<usize> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    arguments.get(at + 1)?.parse().ok()
}

/// Takes turns for so many rounds, each `shorter` times shorter than usual.
fn measure(rounds: usize, shorter: u64) -> Summary {
    let mut times: Vec<Vec<(f64, f64)>> = GOALS.iter().map(|_| Vec::new()).collect();
    let mut lines = Vec::new();
    for _ in 0..rounds.max(1) {
        lines.push((
            turn(line::one, 10_000 / shorter),
            turn(line::two, 10_000 / shorter),
        ));
        for (goal, times) in GOALS.iter().zip(&mut times) {
            let count = goal.count / shorter;
            times.push((turn(goal.ours, count), turn(goal.peer, count)));
        }
    }
    let rows = GOALS
        .iter()
        .zip(&times)
        .map(|(goal, times)| row(goal, times));
    Summary {
        line_ns: quantile(lines.iter().map(|turn| turn.0), 0.5),
        two_lines_ns: quantile(lines.iter().map(|turn| turn.1), 0.5),
        rows: rows.collect(),
    }
}

/// Nanoseconds per message.
fn turn(contender: Contender, count: u64) -> f64 {
    let time: Duration = contender(count);
    time.as_nanos() as f64 / count as f64
}

fn row(goal: &Goal, times: &[(f64, f64)]) -> Row {
    let ratios = || times.iter().map(|(ours, peer)| ours / peer);
    let ratio = quantile(ratios(), 0.5);
    Row {
        goal: goal.name,
        ours_ns: quantile(times.iter().map(|turn| turn.0), 0.5),
        peer_ns: quantile(times.iter().map(|turn| turn.1), 0.5),
        ratio,
        low: quantile(ratios(), 0.25),
        high: quantile(ratios(), 0.75),
        limit: goal.limit,
        met: ratio <= goal.limit,
    }
}

fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn print(summary: &Summary) {
    let (one, two) = (summary.line_ns, summary.two_lines_ns);
    println!("\na cache line to and fro: {one:.0} ns; two lines: {two:.0} ns");
    println!("medians; in brackets the quartiles of the ratio\n");
    println!(
        "{:<32} {:>8} {:>8} {:>6}  {:<13} {:>5}",
        "goal", "ours ns", "peer ns", "ratio", "", "goal"
    );
    for row in &summary.rows {
        let spread = format!("[{:.2}-{:.2}]", row.low, row.high);
        let met = if row.met { "" } else { "  missed" };
        println!(
            "{:<32} {:>8.1} {:>8.1} {:>6.2}  {:<13} {:>5.2}{met}",
            row.goal, row.ours_ns, row.peer_ns, row.ratio, spread, row.limit
        );
    }
}
