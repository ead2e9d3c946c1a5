//! Tells what this machine did in a span of time, with some processes stopped meanwhile.
//!
//! One line says `machine` with the span and the time without work, in microseconds, and how
//! often the machine switched between tasks; then each thread of the watched processes has a
//! line, `thread` with its process, name, nanoseconds of processor time and wake-ups.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::threads::{self, Thread};

/// Microseconds of one of the kernel's ticks.
const TICK_US: u64 = 10_000;

/// What `/proc/stat` counts.
struct Machine {
    idle_us: u64,
    switches: u64,
    at: Instant,
}

pub(crate) fn run(settle: &str, span: &str, stopped: &str, watched: &str) -> io::Result<()> {
    let stopped = Stopped::stop(&numbers(stopped)?)?;
    let watched = numbers(watched)?;
    thread::sleep(Duration::from_millis(number(settle)?.into()));
    let before = Machine::now()?;
    let threads_before = all(&watched)?;
    thread::sleep(Duration::from_millis(number(span)?.into()));
    let after = Machine::now()?;
    let threads_after = all(&watched)?;
    drop(stopped);
    println!(
        "machine {} {} {}",
        (after.at - before.at).as_micros(),
        after.idle_us - before.idle_us,
        after.switches - before.switches
    );
    for (process, threads) in threads_after {
        let earlier = threads_before.iter().find(|(other, _)| *other == process);
        let earlier = earlier.map_or(&[][..], |(_, threads)| threads);
        for thread in threads::since(earlier, threads) {
            let Thread {
                name,
                run_ns,
                sleeps,
                ..
            } = thread;
            println!("thread {process} {name} {run_ns} {sleeps}");
        }
    }
    Ok(())
}

fn all(processes: &[u32]) -> io::Result<Vec<(u32, Vec<Thread>)>> {
    let of = |&process: &u32| Ok((process, threads::of(process)?));
    processes.iter().map(of).collect()
}

impl Machine {
    fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let fields = |name: &str| -> Vec<u64> {
            let mut lines = stat.lines().map(str::split_whitespace);
            let line = lines.find_map(|mut line| (line.next() == Some(name)).then_some(line));
            let words = line.into_iter().flatten();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        let (cpu, switches) = (fields("cpu"), fields("ctxt"));
        Ok(Self {
            // Idle, and waiting for a disk.
            idle_us: cpu.iter().skip(3).take(2).sum::<u64>() * TICK_US,
            switches: switches.first().copied().unwrap_or(0),
            at: Instant::now(),
        })
    }
}

/// Processes that stand still, and go on at the end of this.
struct Stopped(Vec<Pid>);

impl Stopped {
    fn stop(numbers: &[u32]) -> io::Result<Self> {
        let pid = |&number: &u32| Pid::from_raw(number.cast_signed());
        let pids = Self(numbers.iter().filter_map(pid).collect());
        for pid in &pids.0 {
            kill_process(*pid, Signal::STOP)?;
        }
        Ok(pids)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

/// Numbers with commas between them; `-` are none.
fn numbers(words: &str) -> io::Result<Vec<u32>> {
    if words == "-" {
        return Ok(Vec::new());
    }
    words.split(',').map(number).collect()
}

fn number(word: &str) -> io::Result<u32> {
    word.parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
