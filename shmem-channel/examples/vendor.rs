//! A hypervisor vendor's side: a pointer, a length, a kick and an interrupt. `main` plays the
//! hypervisor, so that the program runs anywhere.

use std::sync::atomic::AtomicU64;
use std::{ptr::NonNull, thread, time::Duration, time::Instant};

use shmem_channel::{Error, Incoming, Platform, Reason, Session};
use shmem_core::{primitive::AtomicU32, Window};

/// What the vendor's kernel offers: a clock, a wait for the interrupt, a kick of the peer.
struct Vendor(Instant, thread::Thread);

impl Platform for Vendor {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
    fn sleep(&self, _: &AtomicU32, _: u32, longest: Duration) {
        thread::park_timeout(longest); // Until the peer's kick arrives as an interrupt.
    }
    fn wake(&self, _: &AtomicU32, _: Reason) {
        self.1.unpark(); // The kick: a hypercall.
    }
}

/// Asks partition 1 for its version, over the memory that the hypervisor reserved.
fn ask(memory: Window<'_>, vendor: &Vendor) -> Result<String, Error> {
    let session = loop {
        match Session::join(memory, 2, vendor) {
            Err(error) if Session::is_early(&error) => thread::yield_now(), // Not formatted yet.
            joined => break joined?,
        }
    };
    let mut answer = [0; 64];
    let mut client = session.client("version")?;
    let len = client.call(b"version?", &mut answer, Duration::from_secs(5))?;
    Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
}

fn main() -> Result<(), Error> {
    static RESERVED: [AtomicU64; 1 << 14] = [const { AtomicU64::new(0) }; 1 << 14];
    let (base, len) = (NonNull::from(&RESERVED).cast(), size_of_val(&RESERVED));
    // SAFETY: so many bytes, for ever, and nobody else uses them.
    let memory = unsafe { Window::from_raw(base, len) }.expect("aligned to 8 bytes");
    let (began, hypervisor) = (Instant::now(), thread::current());
    let guest = thread::spawn(move || ask(memory, &Vendor(began, hypervisor)));
    let platform = Vendor(began, guest.thread().clone());
    let session = Session::create(memory, 1, &platform)?;
    let mut server = session.server("version")?;
    match server.recv(&mut [0; 64], Duration::from_secs(5))? {
        Incoming::Call { call, .. } => server.answer(call, b"7.1", Duration::from_secs(1))?,
        other => println!("{other:?}"),
    }
    println!("{}", guest.join().expect("the guest ran")?);
    Ok(())
}
