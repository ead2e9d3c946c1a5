//! The guest daemon: what KMON talks to inside an instance.
//!
//! One thread, the command loop, takes commands and beats; it never waits for
//! anything but the next command, and passes on what the shell prints meanwhile. Whatever can wait
//! (a shell that starts, a command that runs, a result ring that is full) has a thread of its own.
//!
//! | module     | one purpose                                                     |
//! |------------|-----------------------------------------------------------------|
//! | [`cli`]    | the command line                                                |
//! | `attach`   | getting at the region, which KMON may still have to format      |
//! | `search`   | finding the region that was prepared for this machine           |
//! | `doorbell` | interrupts of the device that the region is in                  |
//! | `daemon`   | leaving the terminal and the parent behind                      |
//! | `service`  | the command loop                                                |
//! | `outlet`   | the result ring, shared: who waits, who drops                   |
//! | `console`  | the shell's incarnation, and its output                                |
//! | `console_pump`     | its output, read by the command loop                            |
//! | `typist`   | the console's input                                             |
//! | `pty`      | one pseudo-terminal                                             |
//! | `exec`     | commands that run apart from the console                        |
//! | `account`  | whose shell it is, and what its programs find around them       |
//! | `children` | starting processes and burying them, orphans too                |
//! | `readings` | statistics from `/proc`                                         |
//! | `feeder`   | the kernel's log, into the log ring                             |
//! | `kmsg`     | the kernel's log, a line at a time                              |
//! | `signals`  | being asked to stop                                             |
//! | `waker`    | waking a thread that waits for descriptors                      |
//! | `log`      | what the daemon has to say of itself                            |

mod account;
mod attach;
mod children;
pub mod cli;
mod console;
mod console_pump;
mod daemon;
mod doorbell;
mod exec;
mod feeder;
mod kmsg;
mod log;
mod outlet;
mod pty;
mod readings;
mod search;
mod service;
mod signals;
mod typist;
mod waker;

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use account::Account;
use attach::Attacher;
pub use cli::Args;
use daemon::Readiness;
pub use log::log;
use service::Service;

/// Runs the daemon until KMON or a signal ends it; then, if it was KMON and
/// `--on-halt` says so, a shell in its place. Without `--foreground` the
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
    // Before the process changes its directory and closes its descriptors.
    let attacher = Attacher::new(args)?;
    let mut readiness = if args.foreground {
        daemon::stay(args.log.as_deref())?;
        Readiness::unneeded()
    } else {
        daemon::init_daemon(args.log.as_deref())?
    };
    let halted = match Service::start(args, attacher, account.clone(), &mut readiness) {
        Ok(Some((service, commands))) => {
            readiness.ready();
            service.run(commands)?
        }
        Ok(None) => false,
        Err(error) => {
            readiness.failed(&error);
            return Err(error);
        }
    };
    match &args.on_halt {
        Some(command) if halted => Err(become_shell(&account, command)),
        _ => Ok(()),
    }
}

/// Lets a shell run `command` in this process's place; comes back if it cannot.
fn become_shell(account: &Account, command: &OsStr) -> anyhow::Error {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command);
    account.prepare(&mut shell, || Ok(()));
    let error = anyhow::Error::new(shell.exec());
    error.context(format!("cannot run {}", command.display()))
}
