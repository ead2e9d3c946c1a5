//! Two processes: one asks, the other answers. Start `answers serve`, then `answers WORD`.

use std::time::Duration;

use shmem_channel::{Error, Incoming, Session, FOREVER};

fn main() -> Result<(), Error> {
    let (word, region) = (
        std::env::args().nth(1).unwrap_or_default(),
        "/dev/shm/answers",
    );
    let mut bytes = [0; 1024];
    if word == "serve" {
        let session = Session::create_file(region, 1 << 20, 1)?;
        let mut server = session.server("upper case")?;
        loop {
            match server.recv(&mut bytes, FOREVER)? {
                Incoming::Call { call, len } => {
                    bytes[..len].make_ascii_uppercase();
                    match server.answer(call, &bytes[..len], Duration::from_secs(1)) {
                        Ok(()) | Err(Error::PeerRestarted | Error::PeerGone) => {}
                        Err(error) => return Err(error),
                    }
                }
                Incoming::Message { .. } => {}
                Incoming::PeerRestarted => println!("another client"),
            }
        }
    }
    let session = Session::join_file(region, 2)?;
    match session
        .client("upper case")?
        .call(word.as_bytes(), &mut bytes, Duration::from_secs(5))
    {
        Ok(len) => println!("{}", String::from_utf8_lossy(&bytes[..len])),
        Err(Error::PeerGone) => println!("the server died before it answered"),
        Err(error) => return Err(error),
    }
    Ok(())
}
