//! What a process's threads have done, by `/proc`.

use std::fs;
use std::io;

/// One thread, from its start on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thread {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Time on a processor, nanoseconds.
    pub(crate) run_ns: u64,
    /// How often it went to sleep by itself: as often it was woken.
    pub(crate) sleeps: u64,
}

/// The threads of `process` now.
pub(crate) fn of(process: u32) -> io::Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        // One that has ended meanwhile has nothing to tell.
        threads.extend(number.and_then(|number| one(process, number).ok()));
    }
    Ok(threads)
}

/// What `now` has done since `before`, a thread each that was there then.
pub(crate) fn since(before: &[Thread], now: Vec<Thread>) -> Vec<Thread> {
    let mut threads = now;
    for thread in &mut threads {
        let earlier = before
            .iter()
            .find(|earlier| earlier.number == thread.number);
        let (run_ns, sleeps) = earlier.map_or((0, 0), |earlier| (earlier.run_ns, earlier.sleeps));
        thread.run_ns -= run_ns.min(thread.run_ns);
        thread.sleeps -= sleeps.min(thread.sleeps);
    }
    threads
}

fn one(process: u32, number: u32) -> io::Result<Thread> {
    let read = |name| fs::read_to_string(format!("/proc/{process}/task/{number}/{name}"));
    let first = |text: &str| {
        text.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
    };
    let status = read("status")?;
    let sleeps = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(Thread {
        number,
        name: read("comm")?.trim().replace(' ', "_"),
        run_ns: first(&read("schedstat")?).unwrap_or(0),
        sleeps: sleeps.and_then(first).unwrap_or(0),
    })
}
