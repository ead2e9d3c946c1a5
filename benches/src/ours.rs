//! Our ring, over a memfd, as its users have it.

use std::hint::spin_loop;
use std::time::Duration;

use shmem_core::Incarnation;
use shmem_core::Mapping;
use shmem_core::ring::{Consumer, OnRestart, PopError, Producer, PushError, Ring};

use crate::race::race;
use crate::{check, room, stamp};

/// Memory of one ring with room for messages of `message` bytes.
pub struct Memory(Mapping);

impl Memory {
    pub fn new(message: usize) -> Self {
        let len = Ring::segment_len(room(message));
        Self(Mapping::memfd("bench", len).expect("a memfd"))
    }

    /// Both ends of the ring.
    pub fn ends(&self) -> (Producer<'_>, Consumer<'_>) {
        let ring = Ring::attach(self.0.window()).expect("a segment of that length");
        let producer = ring
            .claim_producer(Incarnation::first(1))
            .expect("the end is free");
        (
            producer,
            ring.claim_consumer(Incarnation::first(2), OnRestart::Keep)
                .expect("the end is free"),
        )
    }
}

#[inline(always)]
pub fn push(producer: &mut Producer<'_>, message: &[u8]) {
    while let Err(error) = producer.push(message) {
        assert_eq!(error, PushError::Full);
        spin_loop();
    }
}

#[inline(always)]
pub fn pop(consumer: &mut Consumer<'_>, message: &mut [u8]) {
    while let Err(error) = consumer.pop(message) {
        assert_eq!(error, PopError::Empty);
        spin_loop();
    }
}

/// `push`, `pop`.
pub fn push_pop<const N: usize>(count: u64) -> Duration {
    let memory = Memory::new(N);
    let (mut producer, mut consumer) = memory.ends();
    let (mut sent, mut received) = ([0; N], [0; N]);
    race(
        move || {
            for n in 0..count {
                stamp(&mut sent, n);
                push(&mut producer, &sent);
            }
        },
        move || {
            for n in 0..count {
                pop(&mut consumer, &mut received);
                check(&received, n);
            }
        },
    )
}

/// Batches of `B` records, `drain`.
pub fn batch<const N: usize, const B: usize>(count: u64) -> Duration {
    let memory = Memory::new(N);
    let (mut producer, mut consumer) = memory.ends();
    race(
        move || {
            let (mut sent, mut n) = ([0; N], 0);
            while n < count {
                let end = count.min(n + B as u64);
                let mut batch = producer.batch();
                while n < end {
                    stamp(&mut sent, n);
                    if batch.push(&sent).is_err() {
                        spin_loop();
                        break;
                    }
                    n += 1;
                }
                batch.publish().expect("the end is ours");
            }
        },
        move || {
            let (mut received, mut n) = ([0; N], 0);
            while n < count {
                let drained = consumer.drain(B, |record| {
                    record.read(0, &mut received);
                    check(&received, n);
                    n += 1;
                    true
                });
                if drained.expect("an honest ring") == 0 {
                    spin_loop();
                }
            }
        },
    )
}

/// `reserve`, `write`, `commit`; `peek`, `read`, `release`.
pub fn in_place<const N: usize>(count: u64) -> Duration {
    by_parts::<N, N>(count)
}

/// The same, but only the first 8 bytes are written and read: the rest is handed over
/// without a copy.
pub fn hand_over<const N: usize>(count: u64) -> Duration {
    by_parts::<N, 8>(count)
}

/// Moves records of `N` bytes; the first `TOUCHED` of them are written and read.
fn by_parts<const N: usize, const TOUCHED: usize>(count: u64) -> Duration {
    let memory = Memory::new(N);
    let (mut producer, mut consumer) = memory.ends();
    let (mut sent, mut received) = ([0; TOUCHED], [0; TOUCHED]);
    race(
        move || {
            for n in 0..count {
                stamp(&mut sent, n);
                let mut reservation = loop {
                    match producer.reserve(N) {
                        Ok(reservation) => break reservation,
                        Err(_) => spin_loop(),
                    }
                };
                reservation.write(0, &sent);
                reservation.commit(N).expect("the end is ours");
            }
        },
        move || {
            for n in 0..count {
                while consumer.is_empty() {
                    spin_loop();
                }
                consumer.peek().expect("a record").read(0, &mut received);
                check(&received, n);
                consumer.release().expect("the end is ours");
            }
        },
    )
}

/// Round trips through two rings.
pub fn round_trip<const N: usize>(count: u64) -> Duration {
    let (there, back) = (Memory::new(N), Memory::new(N));
    let (mut question, mut asked) = there.ends();
    let (mut answer, mut answered) = back.ends();
    race(
        move || {
            let (mut sent, mut received) = ([0; N], [0; N]);
            for n in 0..count {
                stamp(&mut sent, n);
                push(&mut question, &sent);
                pop(&mut answered, &mut received);
                check(&received, n);
            }
        },
        move || {
            let mut echo = [0; N];
            for _ in 0..count {
                pop(&mut asked, &mut echo);
                push(&mut answer, &echo);
            }
        },
    )
}

/// Sent and received by one thread.
pub fn alone<const N: usize>(count: u64) -> Duration {
    let memory = Memory::new(N);
    let (mut producer, mut consumer) = memory.ends();
    let (mut sent, mut received) = ([0; N], [0; N]);
    crate::race::pin(0);
    let start = std::time::Instant::now();
    for n in 0..count {
        stamp(&mut sent, n);
        push(&mut producer, &sent);
        pop(&mut consumer, &mut received);
        check(&received, n);
    }
    start.elapsed()
}
