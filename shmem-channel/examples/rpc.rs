//! Requests and answers between two processes, either of which can die.
//!
//! ```text
//! $ cargo run -p shmem-channel --features linux --example rpc -- serve /dev/shm/rpc
//! answering in /dev/shm/rpc
//!
//! $ cargo run -p shmem-channel --features linux --example rpc -- ask /dev/shm/rpc
//! waiting for /dev/shm/rpc
//! 12
//! 12 squared is 144
//! ```
//!
//! One command in each of two terminals, in any order; type numbers into the second. Then kill
//! the first with `kill -9` or Ctrl-C, type a number, start it again, and type two more:
//!
//! ```text
//! 13
//! the server died before it answered
//! 14
//! the server was restarted: ask again
//! 14
//! 14 squared is 196
//! ```
//!
//! Do the same to the second: at the first number from the new one the server says
//! `another client`.

use std::{error::Error as AnyError, io, time::Duration};

use shmem_channel::{Error, Incoming, Session, FOREVER};

/// Partition 1 creates the region, or finds it again, and answers.
fn serve(file: &str) -> Result<(), Box<dyn AnyError>> {
    // A server that was restarted continues in the same region: clients need not join again.
    let session = Session::open_file(file, 1 << 20, 1)?;
    let mut server = session.server("square")?;
    println!("answering in {file}");
    let mut number = [0; 8];
    loop {
        match server.recv(&mut number, FOREVER)? {
            Incoming::Call { call, len: 8 } => {
                let square = u64::from_ne_bytes(number).saturating_pow(2).to_ne_bytes();
                if let Err(error) = server.answer(call, &square, Duration::from_secs(1)) {
                    println!("not answered: {error}"); // The client died meanwhile.
                }
            }
            Incoming::PeerRestarted => println!("another client"),
            other => println!("not a number: {other:?}"),
        }
    }
}

/// Partition 2 joins the region, and asks for the square of each number that is typed.
fn ask(file: &str) -> Result<(), Box<dyn AnyError>> {
    println!("waiting for {file}");
    let session = Session::join_file_within(file, 2, FOREVER)?;
    let mut client = session.client("square")?;
    for line in io::stdin().lines() {
        let number: u64 = line?.trim().parse().map_err(|_| "that is not a number")?;
        match client.call_typed::<u64, u64>(&number, Duration::from_secs(5)) {
            Ok(square) => println!("{number} squared is {square}"),
            // It is unknown whether a dead server carried out the command. Asking twice for a
            // square is harmless; for other commands, first find out whether it was carried out.
            Err(Error::PeerGone) => println!("the server died before it answered"),
            Err(Error::PeerRestarted) => println!("the server was restarted: ask again"),
            Err(Error::AnswerLost) => println!("the server was restarted before it answered"),
            Err(Error::TimedOut) => println!("the server did not answer within 5 s"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn main() {
    let mut args = std::env::args().skip(1);
    let done = match (args.next().as_deref(), args.next()) {
        (Some("serve"), Some(file)) => serve(&file),
        (Some("ask"), Some(file)) => ask(&file),
        _ => Err("usage: rpc serve FILE, and in another terminal rpc ask FILE".into()),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(2);
    }
}
