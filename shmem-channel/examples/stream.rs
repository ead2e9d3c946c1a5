//! Lines from one process to another, either of which can die and come back.
//!
//! ```text
//! $ cargo run -p shmem-channel --features linux --example stream -- send /dev/shm/stream
//! sending into /dev/shm/stream
//!
//! $ cargo run -p shmem-channel --features linux --example stream -- print /dev/shm/stream
//! waiting for /dev/shm/stream
//! line 1
//! line 2
//! ```
//!
//! One command in each of two terminals, in any order. Kill the second with `kill -9` or
//! Ctrl-C, and start it again: the first says `the printer was restarted`, and the second counts
//! and skips what was sent meanwhile:
//!
//! ```text
//! lines lost: 3
//! line 6
//! ```
//!
//! Kill and start the first, and the second says `the sender was restarted`, and what was
//! lost, if anything. A line is lost and not counted if the printer dies between receiving it
//! and printing it.

use std::{error::Error as AnyError, thread::sleep, time::Duration};

use shmem_channel::{Error, OnRestart, Received, Session, FOREVER};

fn send(file: &str) -> Result<(), Box<dyn AnyError>> {
    let session = Session::open_file(file, 1 << 20, 1)?;
    let mut sender = session.sender("lines", 1 << 14)?;
    println!("sending into {file}");
    let mut number = 1;
    loop {
        match sender.send(format!("line {number}").as_bytes(), FOREVER) {
            Ok(()) => number += 1,
            // In both cases nothing was sent: the same line is next.
            Err(Error::PeerRestarted) => println!("the printer was restarted"),
            Err(Error::PeerGone) => println!("the printer died, and the ring is full"),
            Err(error) => return Err(error.into()),
        }
        sleep(Duration::from_millis(500));
    }
}

fn print(file: &str) -> Result<(), Box<dyn AnyError>> {
    println!("waiting for {file}");
    let session = Session::join_file_within(file, 2, FOREVER)?;
    // Old lines are of no use here. `OnRestart::Keep` would print what was sent meanwhile.
    let mut receiver = session.receiver("lines", 1 << 14, OnRestart::Discard)?;
    let (mut line, mut lost) = ([0; 64], receiver.discarded());
    loop {
        let received = receiver.recv(&mut line, FOREVER)?;
        // `discarded` includes what earlier receivers discarded.
        if receiver.discarded() != lost {
            println!("lines lost: {}", receiver.discarded().wrapping_sub(lost));
            lost = receiver.discarded();
        }
        match received {
            Received::Message(len) => println!("{}", String::from_utf8_lossy(&line[..len])),
            Received::PeerRestarted => println!("the sender was restarted"),
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let done = match (args.next().as_deref(), args.next()) {
        (Some("send"), Some(file)) => send(&file),
        (Some("print"), Some(file)) => print(&file),
        _ => Err("usage: stream send FILE, and in another terminal stream print FILE".into()),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(2);
    }
}
