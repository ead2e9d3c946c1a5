//! Contenders for all benches: each is a function from a number of messages to the time that they
//! took.
//!
//! A contender copies every message from a private buffer of the sender into a private buffer of
//! the receiver, numbers it, and checks the number on the other side, so that no contender is
//! measured with bytes that were never read. All waits spin.

pub mod call;
pub mod harness;
pub mod line;
pub mod locks;
pub mod lookup;
pub mod others;
pub mod ours;
pub mod pthread;
pub mod race;
pub mod ringbuf;
pub mod rtrb;
pub mod typed;

/// A contender: moves this many messages, returns the time that it took.
pub type Contender = fn(u64) -> std::time::Duration;

/// Returns the bytes of payload that every queue has room for.
pub const fn room(message: usize) -> usize {
    if message <= 64 { 64 << 10 } else { 256 << 10 }
}

/// Numbers a message.
#[inline(always)]
pub fn stamp(message: &mut [u8], number: u64) {
    message[..8].copy_from_slice(&number.to_ne_bytes());
}

/// Checks a message's number and lets the optimiser drop none of its bytes.
#[inline(always)]
pub fn check(message: &[u8], number: u64) {
    let found: [u8; 8] = message[..8].try_into().expect("8 bytes");
    assert_eq!(u64::from_ne_bytes(found), number, "a message was lost");
    std::hint::black_box(message);
}
