//! Reads the activity of a process's threads from `/proc`.

use procfs::ProcResult;
use procfs::process::{Process, Task};

/// The activity of one thread since its start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thread {
    pub(crate) number: i32,
    pub(crate) name: String,
    /// Time on a processor, nanoseconds.
    pub(crate) run_ns: u64,
    /// How often it began to sleep, which is how often it was woken.
    pub(crate) sleeps: u64,
}

/// Returns the current threads of `process`.
pub(crate) fn of_process(process: i32) -> ProcResult<Vec<Thread>> {
    let tasks = Process::new(process)?.tasks()?;
    // A thread that has ended meanwhile is left out.
    Ok(tasks.filter_map(|task| one(&task.ok()?).ok()).collect())
}

/// Returns the threads `now` with their activity since `before`.
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

fn one(task: &Task) -> ProcResult<Thread> {
    let status = task.status()?;
    Ok(Thread {
        number: task.tid,
        name: status.name.replace(' ', "_"),
        run_ns: task.schedstat()?.sum_exec_runtime,
        sleeps: status.voluntary_ctxt_switches.unwrap_or(0),
    })
}
