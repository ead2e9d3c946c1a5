//! ringbuf: single elements and slices.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::race::{pin, race};
use crate::{check, room, stamp};

fn ends<const N: usize>() -> (HeapProd<[u8; N]>, HeapCons<[u8; N]>) {
    HeapRb::new(room(N) / N).split()
}

#[inline(always)]
fn push<const N: usize>(producer: &mut HeapProd<[u8; N]>, message: &[u8; N]) {
    while producer.try_push(*message).is_err() {
        spin_loop();
    }
}

#[inline(always)]
fn pop<const N: usize>(consumer: &mut HeapCons<[u8; N]>) -> [u8; N] {
    loop {
        match consumer.try_pop() {
            Some(message) => return message,
            None => spin_loop(),
        }
    }
}

/// `try_push`, `try_pop`.
pub fn push_pop<const N: usize>(count: u64) -> Duration {
    let (mut producer, mut consumer) = ends::<N>();
    let mut sent = [0; N];
    race(
        move || {
            for n in 0..count {
                stamp(&mut sent, n);
                push(&mut producer, &sent);
            }
        },
        move || {
            for n in 0..count {
                check(&pop(&mut consumer), n);
            }
        },
    )
}

/// `push_slice`, `pop_slice` of up to `B` elements.
pub fn slice<const N: usize, const B: usize>(count: u64) -> Duration {
    let (mut producer, mut consumer) = ends::<N>();
    race(
        move || {
            let (mut sent, mut n) = ([[0; N]; B], 0);
            while n < count {
                let len = B.min((count - n) as usize);
                for (slot, number) in sent[..len].iter_mut().zip(n..) {
                    stamp(slot, number);
                }
                let pushed = producer.push_slice(&sent[..len]);
                if pushed == 0 {
                    spin_loop();
                }
                n += pushed as u64;
            }
        },
        move || {
            let (mut received, mut n) = ([[0; N]; B], 0);
            while n < count {
                let popped = consumer.pop_slice(&mut received);
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

/// Round trips through two queues.
pub fn round_trip<const N: usize>(count: u64) -> Duration {
    let (mut question, mut asked) = ends::<N>();
    let (mut answer, mut answered) = ends::<N>();
    race(
        move || {
            let mut sent = [0; N];
            for n in 0..count {
                stamp(&mut sent, n);
                push(&mut question, &sent);
                check(&pop(&mut answered), n);
            }
        },
        move || {
            for _ in 0..count {
                let echo = pop(&mut asked);
                push(&mut answer, &echo);
            }
        },
    )
}

/// Sent and received by one thread.
pub fn alone<const N: usize>(count: u64) -> Duration {
    let (mut producer, mut consumer) = ends::<N>();
    let mut sent = [0; N];
    pin(0);
    let start = Instant::now();
    for n in 0..count {
        stamp(&mut sent, n);
        push(&mut producer, &sent);
        check(&pop(&mut consumer), n);
    }
    start.elapsed()
}
