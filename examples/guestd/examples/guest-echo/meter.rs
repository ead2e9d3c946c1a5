//! Reports the activity of this machine in a span of time, while some processes are stopped.
//!
//! The line `machine` has the span and the idle time, in microseconds, and the number of context
//! switches. Then each thread of the watched processes has a line `thread` with its process, name,
//! nanoseconds of processor time and wake-ups.

use std::io;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use procfs::{CurrentSI, KernelStats, ProcResult};
use rustix::process::{Pid, Signal, kill_process};

use crate::threads::{self, Thread};

/// Counters of the kernel. Waiting for a disk counts as idle.
struct Machine {
    idle_us: u64,
    switches: u64,
    at: Instant,
}

pub(crate) fn run(settle: &str, span: &str, stopped: &str, watched: &str) -> io::Result<()> {
    let stopped = Stopped::stop(&numbers(stopped)?)?;
    let watched = numbers(watched)?;
    thread::sleep(Duration::from_millis(number(settle)?));
    let before = Machine::now().map_err(io::Error::other)?;
    let threads_before = all(&watched)?;
    thread::sleep(Duration::from_millis(number(span)?));
    let after = Machine::now().map_err(io::Error::other)?;
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

fn all(processes: &[i32]) -> io::Result<Vec<(i32, Vec<Thread>)>> {
    let read = |&process| {
        Ok((
            process,
            threads::of_process(process).map_err(io::Error::other)?,
        ))
    };
    processes.iter().map(read).collect()
}

impl Machine {
    fn now() -> ProcResult<Self> {
        let kernel = KernelStats::current()?;
        let waiting = kernel.total.iowait_ms().unwrap_or(0);
        Ok(Self {
            idle_us: (kernel.total.idle_ms() + waiting) * 1000,
            switches: kernel.ctxt,
            at: Instant::now(),
        })
    }
}

/// Stopped processes, which continue when this is dropped.
struct Stopped(Vec<Pid>);

impl Stopped {
    fn stop(numbers: &[i32]) -> io::Result<Self> {
        let pid = |&number| Pid::from_raw(number);
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

/// Parses numbers separated by commas; `-` is an empty list.
fn numbers(words: &str) -> io::Result<Vec<i32>> {
    if words == "-" {
        return Ok(Vec::new());
    }
    words.split(',').map(number).collect()
}

fn number<T: FromStr>(word: &str) -> io::Result<T> {
    word.parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
