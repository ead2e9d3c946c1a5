//! Our ring of records of one type, over a memfd, as its users have it.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use bytemuck::{AnyBitPattern, NoUninit};
use shmem_core::typed_ring::{
    OnRestart, PopError, PushError, TypedConsumer, TypedProducer, TypedRing,
};
use shmem_core::{Incarnation, Mapping};

use crate::race::{pin, race};
use crate::{check, room, stamp};

/// The type of the messages: any number of bytes.
pub trait Message: NoUninit + AnyBitPattern + Send {}
impl<T: NoUninit + AnyBitPattern + Send> Message for T {}

/// Memory of one ring of messages of `N` bytes.
struct Memory<const N: usize>(Mapping);

impl<const N: usize> Memory<N>
where
    [u8; N]: Message,
{
    fn new() -> Self {
        let len = TypedRing::<[u8; N]>::segment_len(room(N) / N);
        Self(Mapping::memfd("bench", len).expect("a memfd"))
    }

    fn ends(&self) -> (TypedProducer<'_, [u8; N]>, TypedConsumer<'_, [u8; N]>) {
        let ring = TypedRing::attach(self.0.window()).expect("a segment of that length");
        let producer = ring
            .claim_producer(Incarnation::first(1))
            .expect("the end is free");
        let consumer = ring.claim_consumer(Incarnation::first(2), OnRestart::Keep);
        (producer, consumer.expect("the end is free"))
    }
}

#[inline(always)]
fn push<T: Message>(producer: &mut TypedProducer<'_, T>, message: &T) {
    while let Err(error) = producer.push(message) {
        assert_eq!(error, PushError::Full);
        spin_loop();
    }
}

#[inline(always)]
fn pop<T: Message>(consumer: &mut TypedConsumer<'_, T>, message: &mut T) {
    while let Err(error) = consumer.pop_into(message) {
        assert_eq!(error, PopError::Empty);
        spin_loop();
    }
}

/// `push`, `pop_into`.
pub fn push_pop<const N: usize>(count: u64) -> Duration
where
    [u8; N]: Message,
{
    let memory = Memory::<N>::new();
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

/// `push_slice`, `pop_slice` of up to `B` messages.
pub fn slice<const N: usize, const B: usize>(count: u64) -> Duration
where
    [u8; N]: Message,
{
    let memory = Memory::<N>::new();
    let (mut producer, mut consumer) = memory.ends();
    race(
        move || {
            let (mut sent, mut n) = ([[0; N]; B], 0);
            while n < count {
                let len = B.min((count - n) as usize);
                for (slot, number) in sent[..len].iter_mut().zip(n..) {
                    stamp(slot, number);
                }
                match producer.push_slice(&sent[..len]) {
                    Ok(pushed) => n += pushed as u64,
                    Err(error) => assert_eq!(error, PushError::Full),
                }
            }
        },
        move || {
            let (mut received, mut n) = ([[0; N]; B], 0);
            while n < count {
                let popped = consumer.pop_slice(&mut received).expect("an honest ring");
                if popped == 0 {
                    spin_loop();
                }
                for message in &received[..popped] {
                    check(message, n);
                    n += 1;
                }
            }
        },
    )
}

/// Round trips through two rings.
pub fn round_trip<const N: usize>(count: u64) -> Duration
where
    [u8; N]: Message,
{
    let (there, back) = (Memory::<N>::new(), Memory::<N>::new());
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
pub fn alone<const N: usize>(count: u64) -> Duration
where
    [u8; N]: Message,
{
    let memory = Memory::<N>::new();
    let (mut producer, mut consumer) = memory.ends();
    let (mut sent, mut received) = ([0; N], [0; N]);
    pin(0);
    let start = Instant::now();
    for n in 0..count {
        stamp(&mut sent, n);
        push(&mut producer, &sent);
        pop(&mut consumer, &mut received);
        check(&received, n);
    }
    start.elapsed()
}
