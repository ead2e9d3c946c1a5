//! rtrb: fixed-size elements, whole chunks, and bytes with a length prefix.

use std::hint::spin_loop;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use rtrb::{Consumer, CopyToUninit, Producer, RingBuffer};

use crate::race::{pin, race};
use crate::{check, room, stamp};

fn ends<const N: usize>() -> (Producer<[u8; N]>, Consumer<[u8; N]>) {
    RingBuffer::new(room(N) / N)
}

#[inline(always)]
fn push<const N: usize>(producer: &mut Producer<[u8; N]>, message: &[u8; N]) {
    while producer.push(*message).is_err() {
        spin_loop();
    }
}

#[inline(always)]
fn pop<const N: usize>(consumer: &mut Consumer<[u8; N]>) -> [u8; N] {
    loop {
        match consumer.pop() {
            Ok(message) => return message,
            Err(_) => spin_loop(),
        }
    }
}

/// `push`, `pop`.
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

/// Chunks of `B` elements.
pub fn chunk<const N: usize, const B: usize>(count: u64) -> Duration {
    let (mut producer, mut consumer) = ends::<N>();
    race(
        move || {
            let (mut sent, mut n) = ([0; N], 0);
            while n < count {
                let len = B.min((count - n) as usize);
                let Ok(mut chunk) = producer.write_chunk_uninit(len) else {
                    spin_loop();
                    continue;
                };
                let (first, second) = chunk.as_mut_slices();
                for slot in first.iter_mut().chain(second) {
                    stamp(&mut sent, n);
                    slot.write(sent);
                    n += 1;
                }
                // SAFETY: every slot of the chunk was written.
                unsafe { chunk.commit_all() };
            }
        },
        move || {
            let (mut received, mut n) = ([0; N], 0);
            while n < count {
                let len = B.min((count - n) as usize);
                let Ok(chunk) = consumer.read_chunk(len) else {
                    spin_loop();
                    continue;
                };
                let (first, second) = chunk.as_slices();
                for slot in first.iter().chain(second) {
                    received.copy_from_slice(slot);
                    check(&received, n);
                    n += 1;
                }
                chunk.commit_all();
            }
        },
    )
}

/// Bytes with a length prefix, as rtrb's users send messages of any length.
pub fn framed<const N: usize>(count: u64) -> Duration {
    let (mut producer, mut consumer) = RingBuffer::<u8>::new(room(N));
    let (mut sent, mut received) = ([0; N], [0; N]);
    race(
        move || {
            for n in 0..count {
                stamp(&mut sent, n);
                while !push_frame(&mut producer, &sent) {
                    spin_loop();
                }
            }
        },
        move || {
            for n in 0..count {
                while !pop_frame(&mut consumer, &mut received) {
                    spin_loop();
                }
                check(&received, n);
            }
        },
    )
}

const PREFIX: usize = 4;

#[inline(always)]
fn push_frame(producer: &mut Producer<u8>, message: &[u8]) -> bool {
    let Ok(mut chunk) = producer.write_chunk_uninit(PREFIX + message.len()) else {
        return false;
    };
    let (first, second) = chunk.as_mut_slices();
    let prefix = (message.len() as u32).to_le_bytes();
    copy_in(first, second, 0, &prefix);
    copy_in(first, second, PREFIX, message);
    // SAFETY: prefix and message fill the chunk.
    unsafe { chunk.commit_all() };
    true
}

#[inline(always)]
fn pop_frame(consumer: &mut Consumer<u8>, message: &mut [u8]) -> bool {
    let mut prefix = [0; PREFIX];
    let Ok(chunk) = consumer.read_chunk(PREFIX) else {
        return false;
    };
    copy_out(chunk.as_slices(), 0, &mut prefix);
    let len = u32::from_le_bytes(prefix) as usize;
    let Ok(chunk) = consumer.read_chunk(PREFIX + len) else {
        return false;
    };
    copy_out(chunk.as_slices(), PREFIX, &mut message[..len]);
    chunk.commit_all();
    true
}

/// Copies to `at` in a chunk of two parts.
#[inline(always)]
fn copy_in(first: &mut [MaybeUninit<u8>], second: &mut [MaybeUninit<u8>], at: usize, bytes: &[u8]) {
    let front = first.len().saturating_sub(at).min(bytes.len());
    if front != 0 {
        bytes[..front].copy_to_uninit(&mut first[at..at + front]);
    }
    let rest = &bytes[front..];
    let start = (at + front).saturating_sub(first.len());
    if !rest.is_empty() {
        rest.copy_to_uninit(&mut second[start..start + rest.len()]);
    }
}

/// Copies from `at` in a chunk of two parts.
#[inline(always)]
fn copy_out((first, second): (&[u8], &[u8]), at: usize, bytes: &mut [u8]) {
    let front = first.len().saturating_sub(at).min(bytes.len());
    if front != 0 {
        bytes[..front].copy_from_slice(&first[at..at + front]);
    }
    let rest = &mut bytes[front..];
    let start = (at + front).saturating_sub(first.len());
    if !rest.is_empty() {
        rest.copy_from_slice(&second[start..start + rest.len()]);
    }
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
