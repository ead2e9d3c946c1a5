//! Locks acquired and released, by one thread and by two, compared with the locks that a
//! process would otherwise use. For the ratios, our lock and the other one alternate.

use std::time::Duration;

use shmem_benches::locks::{
    Mutex, ParkingLot, RobustMutex, RwLock, Semaphore, StdMutex, SystemSemaphore, alone, contended,
};
use shmem_benches::{Contender, harness};

/// The recommended number of spins where the peer runs on another core.
const SPINS: u32 = 100;

const ALONE: [(&str, Contender); 8] = [
    ("ours", alone::<Mutex<0>>),
    ("std", alone::<StdMutex>),
    ("parking_lot", alone::<ParkingLot>),
    ("pthread robust", alone::<RobustMutex>),
    ("ours semaphore", alone::<Semaphore<0>>),
    ("sem_t", alone::<SystemSemaphore>),
    ("ours rwlock read", alone::<RwLock<false>>),
    ("ours rwlock write", alone::<RwLock<true>>),
];

const CONTENDED: [(&str, Contender); 8] = [
    ("ours", contended::<Mutex<SPINS>>),
    ("ours, no spin", contended::<Mutex<0>>),
    ("std", contended::<StdMutex>),
    ("parking_lot", contended::<ParkingLot>),
    ("pthread robust", contended::<RobustMutex>),
    ("ours semaphore", contended::<Semaphore<SPINS>>),
    ("ours semaphore, no spin", contended::<Semaphore<0>>),
    ("sem_t", contended::<SystemSemaphore>),
];

/// A name, the acquisitions of one round, our lock, the other one, and the goal if there is
/// one.
type Pair = (&'static str, u64, Contender, Contender, Option<f64>);

#[rustfmt::skip]
const PAIRS: [Pair; 9] = [
    ("alone / pthread robust", 300_000, alone::<Mutex<0>>, alone::<RobustMutex>, Some(0.70)),
    ("alone / std", 300_000, alone::<Mutex<0>>, alone::<StdMutex>, Some(1.10)),
    ("alone / parking_lot", 300_000, alone::<Mutex<0>>, alone::<ParkingLot>, None),
    ("contended / pthread robust", 500_000, contended::<Mutex<SPINS>>, contended::<RobustMutex>, Some(1.00)),
    ("contended, no spin / pthread robust", 500_000, contended::<Mutex<0>>, contended::<RobustMutex>, None),
    ("contended / std", 500_000, contended::<Mutex<SPINS>>, contended::<StdMutex>, None),
    ("contended / parking_lot", 500_000, contended::<Mutex<SPINS>>, contended::<ParkingLot>, None),
    ("semaphore alone / sem_t", 300_000, alone::<Semaphore<0>>, alone::<SystemSemaphore>, Some(0.75)),
    ("semaphore contended / sem_t", 500_000, contended::<Semaphore<SPINS>>, contended::<SystemSemaphore>, None),
];

fn main() {
    let mut criterion = harness::criterion();
    for (name, contenders) in [("lock alone", &ALONE), ("lock contended", &CONTENDED)] {
        let mut group = harness::group(&mut criterion, name);
        for (name, contender) in contenders {
            group.bench_function(*name, |bencher| bencher.iter_custom(contender));
        }
        group.finish();
    }
    criterion.final_summary();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // Arguments such as a filter or `--list` are for criterion's benches, and not for this part.
    if !has("--list") && arguments.iter().all(|argument| argument.starts_with('-')) {
        let (rounds, shorter) = if has("--test") { (1, 100) } else { (25, 1) };
        PAIRS.iter().for_each(|pair| compare(pair, rounds, shorter));
    }
}

/// Alternates for `rounds` rounds, each `shorter` times shorter than usual.
fn compare((name, count, ours, peer, goal): &Pair, rounds: usize, shorter: u64) {
    let count = count / shorter;
    let measure = |contender: &Contender| {
        let time: Duration = contender(count);
        time.as_nanos() as f64 / count as f64
    };
    let times: Vec<(f64, f64)> = (0..rounds)
        .map(|_| (measure(ours), measure(peer)))
        .collect();
    let ratio = |part| quantile(times.iter().map(|(ours, peer)| ours / peer), part);
    let ours = quantile(times.iter().map(|pair| pair.0), 0.5);
    let peer = quantile(times.iter().map(|pair| pair.1), 0.5);
    let (low, middle, high) = (ratio(0.25), ratio(0.5), ratio(0.75));
    let goal = match goal {
        Some(goal) if middle > *goal => format!("{goal:.2}  missed"),
        Some(goal) => format!("{goal:.2}"),
        None => "-".to_owned(),
    };
    println!(
        "{name:<36} {ours:>7.1} / {peer:>7.1} ns = {middle:.2} [{low:.2}-{high:.2}]  goal {goal}"
    );
}

fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}
