//! The SDK compared with iceoryx2, between two processes: calls, messages, opening by name.
//!
//! `cargo xtask bench --only iceoryx2`. The two alternate, so that a disturbance of the machine
//! affects both. It reports and never fails on its results. `--rounds N`, `--json`.

mod ours;
mod theirs;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

/// Measures `count` operations on a region at a path.
type Measured = fn(&str, u64) -> Result<Duration>;
/// Does the part of the peer process.
type Peer = fn(&str, u64) -> Result<()>;

struct Side {
    measured: Measured,
    peer: Option<Peer>,
}

struct Row {
    name: &'static str,
    ours: Side,
    peer: &'static str,
    theirs: Side,
    count: u64,
    target: f64,
}

const fn pair(measured: Measured, peer: Peer) -> Side {
    let peer = Some(peer);
    Side { measured, peer }
}

const fn alone(measured: Measured) -> Side {
    Side {
        measured,
        peer: None,
    }
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
        && word == "peer"
    {
        let row = &ROWS[row.parse::<usize>()?];
        let side = if side == "ours" {
            &row.ours
        } else {
            &row.theirs
        };
        pin(1);
        return side.peer.context("this row has one process")?(place, count.parse()?);
    }
    let (mut rounds, mut is_json) = (15, false);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => is_json = true,
            "--rounds" => rounds = words.next().context("--rounds N")?.parse()?,
            "--bench" => {}
            other => bail!("`{other}` is unknown: give --rounds N or --json"),
        }
    }
    pin(0);
    let mut lines = Vec::new();
    for (at, row) in ROWS.iter().enumerate() {
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            pairs.push((
                time_each(at, "ours", &row.ours, row.count)?,
                time_each(at, "theirs", &row.theirs, row.count)?,
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

/// Returns the nanoseconds of one of `count` operations, with a new peer process if one is needed.
fn time_each(row: usize, name: &str, side: &Side, count: u64) -> Result<f64> {
    let directory = tempfile::tempdir_in("/dev/shm").context("no /dev/shm")?;
    let place = directory.path().join("region");
    let place = place.to_str().context("a path that is text")?;
    let peer = match side.peer {
        Some(_) => Some(start(row, name, place, count)?),
        None => None,
    };
    let time = (side.measured)(place, count)?;
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
    command.args(["peer", &row.to_string(), side, place, &count.to_string()]);
    command.spawn().context("cannot start the peer process")
}

fn median<T>(values: &[T], value: impl Fn(&T) -> f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(value).collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Calls `attempt` until it returns a value, for at most 20 seconds.
fn until<T>(mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        std::thread::yield_now();
    }
    bail!("the peer process did not start in time")
}

/// Calls `attempt` until it returns a value, as both sides do to wait for a message.
fn spin<T>(mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(found) = attempt()? {
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
