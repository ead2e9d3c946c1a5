//! A struct under a mutex. It survives a process that dies while it holds the mutex.
//!
//! ```text
//! $ cargo run -p shmem-channel --features linux --example counter -- /dev/shm/counter 1
//! waiting for the mutex in /dev/shm/counter
//! locked, at 0: press Enter to count
//!
//! $ cargo run -p shmem-channel --features linux --example counter -- /dev/shm/counter 2
//! waiting for the mutex in /dev/shm/counter
//! ```
//!
//! One command in each of two terminals; the number is the partition's. The second waits until
//! you press Enter in the first, which prints `counted 1`. It also waits while the first is
//! stopped. Or kill the first at that point with `kill -9` or Ctrl-C, and the second prints:
//!
//! ```text
//! the last owner died while it changed the counts: they are repaired
//! locked, at 0: press Enter to count
//! ```

use std::{error::Error, io};

use shmem_channel::{Session, FOREVER};
use shmem_sync::LockError;

/// The two numbers are equal unless a process is changing them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Counts {
    begun: u64,
    done: u64,
}

fn count(file: &str, number: u8) -> Result<(), Box<dyn Error>> {
    println!("waiting for the mutex in {file}");
    let session = match number {
        1 => Session::open_file(file, 1 << 20, 1)?,
        number => Session::join_file_within(file, number, FOREVER)?,
    };
    let mutex = session.mutex::<Counts>("counts")?;
    let mut counts = match mutex.lock(&mut session.waiter(FOREVER), &mut session.liveness()) {
        Ok(counts) => counts,
        Err(LockError::OwnerDied(mut counts)) => {
            counts.update(|counts| counts.begun = counts.done);
            counts.make_consistent(); // Without this, dropping the guard poisons the mutex.
            println!("the last owner died while it changed the counts: they are repaired");
            counts
        }
        Err(LockError::Failed(failure)) => return Err(failure.to_string().into()),
    };
    counts.update(|counts| counts.begun += 1);
    println!("locked, at {}: press Enter to count", counts.get().done);
    io::stdin().read_line(&mut String::new())?;
    counts.update(|counts| counts.done += 1);
    println!("counted {}", counts.get().done);
    Ok(counts.unlock()?)
}

fn main() {
    let mut args = std::env::args().skip(1);
    let done = match (args.next(), args.next().map(|number| number.parse())) {
        (Some(file), Some(Ok(number))) => count(&file, number),
        _ => Err("usage: counter FILE 1, and in another terminal counter FILE 2".into()),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(2);
    }
}
