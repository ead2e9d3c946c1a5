//! Alternatives that are not made for speed alone: queues with several ends, and the
//! kernel's pipes and sockets.

use std::hint::spin_loop;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use crate::race::race;
use crate::{check, room, stamp};

/// crossbeam's queue, which can have any number of ends.
pub fn array_queue<const N: usize>(count: u64) -> Duration {
    let queue = ArrayQueue::<[u8; N]>::new(room(N) / N);
    let mut sent = [0; N];
    race(
        || {
            for n in 0..count {
                stamp(&mut sent, n);
                while queue.push(sent).is_err() {
                    spin_loop();
                }
            }
        },
        || {
            for n in 0..count {
                let received = loop {
                    match queue.pop() {
                        Some(received) => break received,
                        None => spin_loop(),
                    }
                };
                check(&received, n);
            }
        },
    )
}

/// The standard library's channel.
pub fn channel<const N: usize>(count: u64) -> Duration {
    let (sender, receiver) = sync_channel::<[u8; N]>(room(N) / N);
    let mut sent = [0; N];
    race(
        move || {
            for n in 0..count {
                stamp(&mut sent, n);
                sender.send(sent).expect("the receiver exists");
            }
        },
        move || {
            for n in 0..count {
                check(&receiver.recv().expect("the sender exists"), n);
            }
        },
    )
}

/// Round trips through two pipes.
pub fn pipe_round_trip<const N: usize>(count: u64) -> Duration {
    let pipe = || std::io::pipe().expect("a pipe");
    let ((asked, question), (answered, answer)) = (pipe(), pipe());
    round_trip::<N, _, _>(count, (question, answered), (answer, asked))
}

/// Round trips through a pair of sockets.
pub fn socket_round_trip<const N: usize>(count: u64) -> Duration {
    let (here, there) = UnixStream::pair().expect("a pair of sockets");
    let again = |socket: &UnixStream| socket.try_clone().expect("a descriptor");
    let (near, far) = (again(&here), again(&there));
    round_trip::<N, _, _>(count, (here, near), (there, far))
}

fn round_trip<const N: usize, W: Write + Send, R: Read + Send>(
    count: u64,
    mut here: (W, R),
    mut there: (W, R),
) -> Duration {
    race(
        move || {
            let (mut sent, mut received) = ([0; N], [0; N]);
            for n in 0..count {
                stamp(&mut sent, n);
                here.0.write_all(&sent).expect("the peer reads");
                here.1.read_exact(&mut received).expect("the peer answers");
                check(&received, n);
            }
        },
        move || {
            let mut echo = [0; N];
            for _ in 0..count {
                there.1.read_exact(&mut echo).expect("the peer writes");
                there.0.write_all(&echo).expect("the peer reads");
            }
        },
    )
}
