//! A hypervisor vendor's platform: memory at a pointer, a kick, an interrupt.
//!
//! ```text
//! $ cargo run -p shmem-channel --example vendor
//! version 7.1
//! ```
//!
//! One command in one terminal: two threads play the hypervisor and its guest, so that the
//! program runs anywhere. The `Platform` below is all that the library needs of a machine.

use std::{mem::size_of_val, ptr::NonNull, thread, time::Duration, time::Instant};

use shmem_channel::{Error, Incoming, Platform, Session, WakeReason};
use shmem_core::{primitive::AtomicU32, Window};

/// What the vendor gives each side: a clock, and a line to the other side.
struct Vendor {
    boot: Instant,
    peer: thread::Thread,
}

impl Platform for Vendor {
    fn now(&self) -> Duration {
        self.boot.elapsed()
    }
    fn sleep(&self, _: &AtomicU32, _: u32, longest: Duration) {
        // Halts until the interrupt arrives. Returns at once if it already has.
        thread::park_timeout(longest);
    }
    fn wake(&self, _: &AtomicU32, _: WakeReason) {
        self.peer.unpark(); // The kick. It reaches the peer as an interrupt.
    }
}

fn guest(memory: Window<'_>, vendor: &Vendor) -> Result<(), Error> {
    let session = loop {
        match Session::join(memory, 2, vendor) {
            Err(error) if error.is_early() => thread::yield_now(), // Not created yet.
            joined => break joined?,
        }
    };
    let (mut client, mut answer) = (session.client("version")?, [0; 64]);
    let len = client.call(b"version?", &mut answer, Duration::from_secs(5))?;
    println!("version {}", String::from_utf8_lossy(&answer[..len]));
    Ok(())
}

fn main() -> Result<(), Error> {
    let reserved: &mut [u64] = vec![0; 1 << 14].leak();
    let (len, base) = (size_of_val(reserved), NonNull::from(reserved).cast());
    // SAFETY: `len` bytes are mapped until the program ends, and only the region uses them.
    let memory = unsafe { Window::from_raw(base, len) }.expect("aligned to 8 bytes");
    let (boot, host) = (Instant::now(), thread::current());
    let running = thread::spawn(move || guest(memory, &Vendor { boot, peer: host }));
    let peer = running.thread().clone();
    let vendor = Vendor { boot, peer };
    let session = Session::create(memory, 1, &vendor)?;
    let mut server = session.server("version")?;
    if let Incoming::Call { call, .. } = server.recv(&mut [0; 64], Duration::from_secs(5))? {
        server.answer(call, b"7.1", Duration::from_secs(1))?;
    }
    running.join().expect("the guest does not panic")
}
