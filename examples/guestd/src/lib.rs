//! The guest daemon: what KMON talks to inside an instance.
//!
//! One thread, the command loop, takes commands and beats; it never waits for
//! anything but the next command. Whatever can wait (a shell that prints, a
//! command that runs, a result ring that is full) has a thread of its own.
//!
//! | module     | one purpose                                                     |
//! |------------|-----------------------------------------------------------------|
//! | [`cli`]    | the command line                                                |
//! | `attach`   | getting at the region, which KMON may still have to format      |
//! | `daemon`   | leaving the terminal and the parent behind                      |
//! | `service`  | the command loop                                                |
//! | `outlet`   | the result ring, shared: who waits, who drops                   |
//! | `console`  | the shell's life, and its output                                |
//! | `typist`   | the console's input                                             |
//! | `pty`      | one pseudo-terminal                                             |
//! | `exec`     | commands that run apart from the console                        |
//! | `account`  | whose shell it is, and what its programs find around them       |
//! | `children` | starting processes and burying them, orphans too                |
//! | `readings` | statistics from `/proc`                                         |
//! | `signals`  | being asked to stop                                             |

mod account;
mod attach;
mod children;
pub mod cli;
mod console;
mod daemon;
mod exec;
mod outlet;
mod pty;
mod readings;
mod service;
mod signals;
mod typist;

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context, Result};

use account::Account;
pub use cli::Args;
use daemon::Readiness;
use service::Service;

/// Runs the daemon until KMON or a signal ends it. Without `--foreground` the
/// process that called does not come back from here: it exits as soon as the
/// daemon it forked is attached, or waits for KMON.
///
/// # Errors
///
/// The region cannot be used, or KMON has not formatted it in time; the process
/// cannot become a daemon; KMON broke the protocol; another daemon has this one's place.
pub fn run(args: &Args) -> Result<()> {
    signals::reset().context("cannot reset the signal actions")?;
    let account = Account::of_this_user(args.shell.as_deref())?;
    let mapping = args.region.open().context("cannot use the region")?;
    // The daemon's threads use the region until the process ends.
    let mapping = Box::leak(Box::new(mapping));
    let mut readiness = if args.foreground {
        daemon::stay(args.log.as_deref())?;
        Readiness::unneeded()
    } else {
        daemon::init_daemon(args.log.as_deref())?
    };
    match Service::start(args, mapping.window(), account, &mut readiness) {
        Ok(Some((service, commands))) => {
            readiness.ready();
            service.run(commands)
        }
        Ok(None) => Ok(()),
        Err(error) => {
            readiness.failed(&error);
            Err(error)
        }
    }
}

/// Writes one line to standard error. A log that cannot be written stops nothing.
pub fn log(line: impl Display) {
    let _ = writeln!(io::stderr(), "guestd: {line}");
}
