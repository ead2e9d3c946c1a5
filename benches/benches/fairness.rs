//! How fairly locks serve the parties that wait: the mean wait, the longest wait, and whether all
//! parties acquire the lock equally often.
//!
//! Each lock waits as it is meant to: ours that ring use the futex after a short spin, the
//! bakery yields. They are compared with `std::sync::Mutex`. All run for the same time, which
//! is long for a scheduler. With equal counts instead, the fastest lock would finish before
//! the second party wakes up. It reports and never fails.

use std::sync::{Barrier, Mutex as StdMutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::{Incarnation, Mapping, Window};
use shmem_sync::{AssumeAlive, BakeryMutex, Futex, FutexBell, Mutex, RwLock, Semaphore, SpinYield};

/// Bytes that a lock protects, all of which its owner reads and writes.
const DATA: usize = 64;

/// Checks before the first sleep.
const SPINS: u32 = 100;

/// The waits of one party.
#[derive(Clone, Copy, Default)]
struct Tally {
    acquisitions: u64,
    waited: Duration,
    longest: Duration,
}

/// Measures a lock with this many parties, for this time.
type Contender = fn(u8, Duration) -> Vec<Tally>;

const LOCKS: [(&str, Contender); 5] = [
    ("std::sync::Mutex", std_mutex),
    ("Mutex", mutex),
    ("RwLock, writers", rwlock),
    ("Semaphore of 1", semaphore),
    ("BakeryMutex", bakery),
];

const PARTIES: [u8; 3] = [2, 4, 8];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // Arguments such as a filter or `--list` are for criterion's benches, and not for this one.
    if has("--list") || arguments.iter().any(|a| !a.starts_with('-')) {
        return;
    }
    let (rounds, time) = if has("--test") {
        (1, Duration::from_millis(1))
    } else {
        (5, Duration::from_millis(200))
    };
    let mut rows = Vec::new();
    rows.resize_with(PARTIES.len() * LOCKS.len(), Vec::new);
    for _ in 0..rounds {
        let mut cells = rows.iter_mut();
        for parties in PARTIES {
            for (_, contender) in LOCKS {
                let cell = cells.next().expect("one for each");
                cell.push(Row::new(&contender(parties, time), time));
            }
        }
    }
    print(&rows);
}

/// The figures of a run; times in nanoseconds.
struct Row {
    /// From one acquisition to the next, by any party.
    each: f64,
    mean: f64,
    longest: f64,
    /// The fewest acquisitions of a party, divided by the most.
    share: f64,
}

impl Row {
    fn new(tallies: &[Tally], time: Duration) -> Self {
        let acquisitions = || tallies.iter().map(|tally| tally.acquisitions);
        let waited: Duration = tallies.iter().map(|tally| tally.waited).sum();
        let longest = tallies.iter().map(|tally| tally.longest).max();
        let fewest = acquisitions().min().unwrap_or_default();
        let most = acquisitions().max().unwrap_or_default();
        let all = acquisitions().sum::<u64>() as f64;
        Self {
            each: nanoseconds(time) / all,
            mean: nanoseconds(waited) / all,
            longest: nanoseconds(longest.unwrap_or_default()),
            share: fewest as f64 / most as f64,
        }
    }
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos() as f64
}

fn print(rows: &[Vec<Row>]) {
    println!("\nmedians of {} rounds; waits in µs\n", rows[0].len());
    println!(
        "{:<17} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "lock", "parties", "ns each", "mean", "longest", "l. / mean", "min / max"
    );
    let mut cells = rows.iter();
    for parties in PARTIES {
        for (name, _) in LOCKS {
            let runs = cells.next().expect("one for each");
            let median = |value: fn(&Row) -> f64| median(runs.iter().map(value));
            println!(
                "{name:<17} {parties:>7} {:>9.0} {:>9.2} {:>9.0} {:>9.0} {:>9.2}",
                median(|row| row.each),
                median(|row| row.mean / 1_000.0),
                median(|row| row.longest / 1_000.0),
                median(|row| row.longest / row.mean),
                median(|row| row.share),
            );
        }
        println!();
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn memory(len: usize) -> Mapping {
    Mapping::memfd("fairness", len).expect("a memfd")
}

/// What is done with the protected bytes.
type Inside<'a> = dyn FnMut(Window<'_>) + 'a;

/// Makes each party acquire the lock repeatedly for `time`.
///
/// `party` returns, for an incarnation, a function that acquires the lock, calls its argument with
/// the protected bytes, and releases the lock.
fn contend<P>(parties: u8, time: Duration, party: impl Fn(Incarnation) -> P + Sync) -> Vec<Tally>
where
    P: FnMut(&mut Inside<'_>),
{
    let start = Barrier::new(parties.into());
    // The same time for all: a party that starts late or runs alone has no contention.
    let begin = OnceLock::new();
    let (party, start, begin) = (&party, &start, &begin);
    thread::scope(|scope| {
        let run = |number| {
            let mut with_lock = party(Incarnation::first(number));
            let mut tally = Tally::default();
            start.wait();
            let begin = *begin.get_or_init(|| Instant::now() + time / 10);
            loop {
                let acquired = acquire_once(&mut with_lock, &mut tally);
                if acquired < begin {
                    tally = Tally::default();
                } else if acquired - begin > time {
                    return tally;
                }
            }
        };
        let threads: Vec<_> = (1..=parties)
            .map(|number| scope.spawn(move || run(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no party panics"))
            .collect()
    })
}

/// Acquires the lock once; returns the time of the acquisition.
fn acquire_once(with_lock: &mut impl FnMut(&mut Inside<'_>), tally: &mut Tally) -> Instant {
    let start = Instant::now();
    let mut acquired = start;
    with_lock(&mut |data: Window<'_>| {
        acquired = Instant::now();
        let mut line = [0; DATA];
        data.read(0, &mut line);
        line[0] = line[0].wrapping_add(1);
        data.write(0, &line);
    });
    let waited = acquired - start;
    tally.acquisitions += 1;
    tally.waited += waited;
    tally.longest = tally.longest.max(waited);
    acquired
}

fn futex() -> Futex {
    Futex::forever().spin_first(SPINS)
}

fn std_mutex(parties: u8, time: Duration) -> Vec<Tally> {
    let memory = memory(DATA);
    let lock = &StdMutex::new(memory.window());
    contend(parties, time, |_| {
        move |inside: &mut Inside<'_>| {
            inside(*lock.lock().expect("no party panics"));
        }
    })
}

fn mutex(parties: u8, time: Duration) -> Vec<Tally> {
    let memory = memory(Mutex::<[u8; DATA]>::SEGMENT_LEN);
    contend(parties, time, |incarnation| {
        let lock = Mutex::<[u8; DATA]>::attach(memory.window(), incarnation, &FutexBell)
            .expect("long enough");
        move |inside: &mut Inside<'_>| {
            let mut guard = lock
                .lock(&mut futex(), &mut AssumeAlive)
                .expect("no party dies");
            inside(guard.window());
        }
    })
}

fn rwlock(parties: u8, time: Duration) -> Vec<Tally> {
    let memory = memory(RwLock::<[u8; DATA]>::SEGMENT_LEN);
    contend(parties, time, |incarnation| {
        let lock = RwLock::<[u8; DATA]>::attach(memory.window(), incarnation, &FutexBell)
            .expect("long enough");
        move |inside: &mut Inside<'_>| {
            let mut guard = lock
                .write(&mut futex(), &mut AssumeAlive)
                .expect("no party dies");
            inside(guard.window());
        }
    })
}

fn semaphore(parties: u8, time: Duration) -> Vec<Tally> {
    let len = Semaphore::segment_len(2);
    let memory = memory(len + DATA);
    let part = |offset, len| memory.window().sub(offset, len).expect("long enough");
    let (segment, data) = (part(0, len), part(len, DATA));
    let attach = |incarnation| {
        Semaphore::attach(segment, incarnation, &FutexBell).expect("room for two permits")
    };
    attach(Incarnation::first(1)).add(1).expect("room for one");
    contend(parties, time, |incarnation| {
        let lock = attach(incarnation);
        move |inside: &mut Inside<'_>| {
            let permit = lock
                .acquire(&mut futex(), &mut AssumeAlive)
                .expect("no party dies");
            inside(data);
            drop(permit);
        }
    })
}

fn bakery(parties: u8, time: Duration) -> Vec<Tally> {
    let memory = memory(BakeryMutex::<[u8; DATA]>::SEGMENT_LEN);
    contend(parties, time, |incarnation| {
        // SAFETY: each party has an incarnation of its own, and one handle.
        let lock =
            unsafe { BakeryMutex::<[u8; DATA]>::attach(memory.window(), incarnation, parties) };
        let mut lock = lock.expect("room for all parties");
        move |inside: &mut Inside<'_>| {
            let mut wait = SpinYield::forever();
            let mut guard = lock
                .lock(&mut wait, &mut AssumeAlive)
                .expect("no party dies");
            inside(guard.window());
        }
    })
}
