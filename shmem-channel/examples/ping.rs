//! How long a short call takes between two processes: the median of ten thousand.
//!
//! ```text
//! $ cargo run --release -p shmem-channel --features linux --example ping -- serve /dev/shm/ping
//! answering in /dev/shm/ping
//!
//! $ cargo run --release -p shmem-channel --features linux --example ping -- call /dev/shm/ping
//! waiting for /dev/shm/ping
//! a round trip takes 410 ns
//! ```
//!
//! One command in each of two terminals, in any order. Ctrl-C ends the first.

use std::error::Error;
use std::time::{Duration, Instant};

use shmem_channel::{Incoming, Session, FOREVER};

/// Answers every call with the bytes of its command.
fn serve(file: &str) -> Result<(), Box<dyn Error>> {
    let session = Session::open_file(file, 1 << 20, 1)?;
    let mut server = session.server("ping")?;
    println!("answering in {file}");
    let mut bytes = [0; 64];
    loop {
        if let Incoming::Call { call, len } = server.recv(&mut bytes, FOREVER)? {
            // It fails if the client died meanwhile, which is no reason to stop.
            let _ = server.answer(call, &bytes[..len], Duration::ZERO);
        }
    }
}

fn call(file: &str) -> Result<(), Box<dyn Error>> {
    println!("waiting for {file}");
    let session = Session::join_file_within(file, 2, FOREVER)?;
    let mut client = session.client("ping")?;
    let mut times = [Duration::ZERO; 10_000];
    for time in &mut times {
        let start = Instant::now();
        client.call(b"ping", &mut [0; 64], Duration::from_secs(5))?;
        *time = start.elapsed();
    }
    times.sort_unstable();
    println!(
        "a round trip takes {} ns",
        times[times.len() / 2].as_nanos()
    );
    Ok(())
}

fn main() {
    let mut args = std::env::args().skip(1);
    let done = match (args.next().as_deref(), args.next()) {
        (Some("serve"), Some(file)) => serve(&file),
        (Some("call"), Some(file)) => call(&file),
        _ => Err("usage: ping serve FILE, and in another terminal ping call FILE".into()),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(2);
    }
}
