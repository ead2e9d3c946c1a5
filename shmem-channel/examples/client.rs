//! The other of two processes: asks, and prints the answer. `client FILE WORD`.

use std::time::Duration;

use shmem_channel::{Error, Session};

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(word)) = (args.next(), args.next()) else {
        panic!("usage: client FILE WORD");
    };
    let session = Session::join_file(file, 2)?;
    let mut client = session.client("upper case")?;
    let mut answer = [0; 1024];
    match client.call(word.as_bytes(), &mut answer, Duration::from_secs(5)) {
        Ok(len) => println!("{}", String::from_utf8_lossy(&answer[..len])),
        Err(Error::PeerGone) => println!("the server died before it answered"),
        Err(error) => return Err(error),
    }
    Ok(())
}
