//! What the benches share: contenders, each a function from a number of
//! messages to the time they took.
//!
//! A contender moves every message from a private buffer of the sender's into a
//! private buffer of the receiver's, numbers it, and checks the number on the
//! other side, so that nobody is measured for bytes that nobody looked at. All
//! wait in the same way: they spin.

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

/// A contender: moves so many messages, returns the time it took.
pub type Contender = fn(u64) -> std::time::Duration;

/// Bytes of payload that a queue has room for, whoever made it.
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
