//! One of two processes: answers in upper case. `server FILE`, then `client FILE WORD`.

use std::time::Duration;

use shmem_channel::{Error, Incoming, Session, FOREVER};

fn main() -> Result<(), Error> {
    let file = std::env::args().nth(1).expect("usage: server FILE");
    let session = Session::create_file(file, 1 << 20, 1)?;
    let mut server = session.server("upper case")?;
    let mut bytes = [0; 1024];
    loop {
        match server.recv(&mut bytes, FOREVER)? {
            Incoming::Call { call, len } => {
                bytes[..len].make_ascii_uppercase();
                match server.answer(call, &bytes[..len], Duration::from_secs(1)) {
                    Err(Error::PeerRestarted | Error::PeerGone) => println!("the client died"),
                    answered => answered?,
                }
            }
            Incoming::Message { len } => println!("{len} bytes that need no answer"),
            Incoming::PeerRestarted => println!("a new client"),
        }
    }
}
