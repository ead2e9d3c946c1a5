//! Any number of processes: each adds one under a robust mutex. `counter FILE NUMBER`.

use shmem_channel::{Session, FOREVER};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Counts {
    begun: u64,
    done: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().collect();
    let session = Session::join_file(&args[1], args[2].parse()?)?;
    let mutex = session.mutex::<Counts>("counts")?;
    let locked = mutex.lock(&mut session.wait(FOREVER), &mut session.liveness());
    let mut guard = locked.or_else(|error| match error {
        shmem_sync::LockError::OwnerDied(mut guard) => {
            guard.update(|counts| counts.begun = counts.done); // It died in between.
            guard.make_consistent();
            Ok(guard)
        }
        shmem_sync::LockError::Failed(failure) => Err(failure.to_string()),
    })?;
    guard.update(|counts| counts.begun += 1);
    guard.update(|counts| counts.done += 1);
    println!("{}", guard.get().done);
    Ok(guard.unlock()?)
}
