//! The guest's part of the measurements (`cargo xtask bench --only guest`).
//!
//! | arguments                               | effect                                               |
//! |-----------------------------------------|------------------------------------------------------|
//! | `line [DEVICE]`                         | answers lines on a terminal, by default its own      |
//! | `meter SETTLE SPAN STOPPED WATCHED`     | reports the guest's activity in a span of time       |

mod line;
mod meter;
mod text;
mod threads;

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["line"] => line::serve_own(),
        ["line", device] => line::serve_device(device),
        ["meter", settle, span, stopped, watched] => meter::run(settle, span, stopped, watched),
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest-echo: {error}");
            ExitCode::FAILURE
        }
    }
}
