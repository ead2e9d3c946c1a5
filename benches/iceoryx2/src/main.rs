//! The SDK beside iceoryx2, between two processes: calls, messages, opening by name.
//!
//! `cargo xtask bench --only iceoryx2`. The two take turns, so that whatever disturbs the
//! machine disturbs both; it reports and never fails on what it finds. `--rounds N`, `--json`.

mod ours;
mod theirs;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

/// What is timed, `count` times in a place, and what its peer process does.
type Here = fn(&str, u64) -> Result<Duration>;
type There = fn(&str, u64) -> Result<()>;

struct Side {
    here: Here,
    there: Option<There>,
}

struct Row {
    name: &'static str,
    ours: Side,
    peer: &'static str,
    theirs: Side,
    count: u64,
    target: f64,
}

const fn pair(here: Here, there: There) -> Side {
    let there = Some(there);
    Side { here, there }
}

const fn alone(here: Here) -> Side {
    Side { here, there: None }
}

const ROWS: [Row; 3] = [
    Row {
        name: "call 8 B",
        ours: pair(ours::call, ours::serve),
        peer: "request-response",
        theirs: pair(theirs::call, theirs::serve),
        count: 20_000,
        target: 0.20,
    },
    Row {
        name: "round trip 8 B",
        ours: pair(ours::round_trip, ours::echo),
        peer: "publish-subscribe",
        theirs: pair(theirs::round_trip, theirs::echo),
        count: 20_000,
        target: 0.30,
    },
    Row {
        name: "open by name",
        ours: alone(ours::open),
        peer: "service open",
        theirs: alone(theirs::open),
        count: 200,
        target: 0.05,
    },
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, row, side, place, count] = &arguments[..]
        && word == "there"
    {
        let row = &ROWS[row.parse::<usize>()?];
        let side = if side == "ours" {
            &row.ours
        } else {
            &row.theirs
        };
        pin(1);
        return side.there.context("this row has one process")?(place, count.parse()?);
    }
    let (mut rounds, mut is_json) = (15, false);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => is_json = true,
            "--rounds" => rounds = words.next().context("--rounds N")?.parse()?,
            "--bench" => {}
            other => bail!("`{other}`: there are --rounds N and --json"),
        }
    }
    pin(0);
    let mut lines = Vec::new();
    for (at, row) in ROWS.iter().enumerate() {
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            pairs.push((
                turn(at, "ours", &row.ours, row.count)?,
                turn(at, "theirs", &row.theirs, row.count)?,
            ));
        }
        lines.push((
            row,
            median(&pairs, |pair| pair.0),
            median(&pairs, |pair| pair.1),
            median(&pairs, |pair| pair.0 / pair.1),
        ));
    }
    if is_json {
        let rows: Vec<_> = lines
            .iter()
            .map(|(row, ours, theirs, ratio)| {
                json!({
                    "name": row.name, "ours_ns": ours, "peer": row.peer, "peer_ns": theirs,
                    "ratio": ratio, "target": row.target, "met": *ratio <= row.target,
                })
            })
            .collect();
        println!("{}", serde_json::Value::from(rows));
        return Ok(());
    }
    println!("two processes, {rounds} rounds; medians\n");
    println!(
        "{:<16} {:>9}  {:<18} {:>9} {:>6} {:>7}",
        "", "ns", "iceoryx2", "ns", "ratio", "target"
    );
    for (row, ours, theirs, ratio) in lines {
        let missed = if ratio <= row.target { "" } else { "  missed" };
        println!(
            "{:<16} {ours:>9.1}  {:<18} {theirs:>9.1} {ratio:>6.3} {:>7.2}{missed}",
            row.name, row.peer, row.target
        );
    }
    Ok(())
}

/// Nanoseconds each of `count` takes, with a fresh peer process where one is needed.
fn turn(row: usize, name: &str, side: &Side, count: u64) -> Result<f64> {
    let directory = tempfile::tempdir_in("/dev/shm").context("no /dev/shm")?;
    let place = directory.path().join("region");
    let place = place.to_str().context("a path that is text")?;
    let peer = match side.there {
        Some(_) => Some(start(row, name, place, count)?),
        None => None,
    };
    let time = (side.here)(place, count)?;
    if let Some(mut peer) = peer {
        let status = peer.wait().context("the peer process")?;
        if !status.success() {
            bail!("the peer process ended: {status}");
        }
    }
    Ok(time.as_nanos() as f64 / count as f64)
}

fn start(row: usize, side: &str, place: &str, count: u64) -> Result<Child> {
    let own = std::env::current_exe().context("no path of this program")?;
    let mut command = Command::new(own);
    command.args(["there", &row.to_string(), side, place, &count.to_string()]);
    command.spawn().context("cannot start the peer process")
}

fn median<T>(values: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(of).collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Calls `try_it` until it gives something, for a while.
fn until<T>(mut try_it: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(found) = try_it()? {
            return Ok(found);
        }
        std::thread::yield_now();
    }
    bail!("the peer process did not come")
}

/// Calls `try_it` again and again, as both sides here do for a message.
fn spin<T>(mut try_it: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(found) = try_it()? {
            return Ok(found);
        }
        std::hint::spin_loop();
    }
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("not pinned to core {core} ({error}): times will scatter");
    }
}
