//! The guest daemon, with which KMON communicates inside an instance.
//!
//! One thread, the command loop, receives commands and stores the heartbeat. It waits only for the
//! next command, and meanwhile sends the shell's output. Work that can wait (starting a shell,
//! running a command, a full result ring) has threads of its own.
//!
//! | module     | one purpose                                                     |
//! |------------|-----------------------------------------------------------------|
//! | [`cli`]    | the command line                                                |
//! | `attach`   | waits for the region and attaches to it                         |
//! | `search`   | finds the region that was prepared for this machine             |
//! | `doorbell` | interrupts of the device that contains the region               |
//! | `daemon`   | makes the process a daemon                                      |
//! | `service`  | the command loop                                                |
//! | `outlet`   | shares the result ring among threads                            |
//! | `console`  | runs the console's shell and sends its output                   |
//! | `console_pump` | reads the console's output in the command loop              |
//! | `console_input` | writes input to the console's terminal                     |
//! | `pty`      | one pseudo-terminal                                             |
//! | `exec`     | runs commands separately from the console                       |
//! | `transfer` | copies files                                                    |
//! | `account`  | the user, and the environment of its programs                   |
//! | `children` | starts and reaps processes, including orphans                   |
//! | `readings` | statistics from `/proc`                                         |
//! | `kernel_log` | sends the kernel's log to KMON                                |
//! | `kmsg`     | reads the kernel's log                                          |
//! | `signals`  | receives the signals that stop the daemon                       |
//! | `waker`    | wakes a thread that waits for descriptors                       |
//! | `log`      | the daemon's own messages                                       |

mod account;
mod attach;
mod children;
pub mod cli;
mod console;
mod console_input;
mod console_pump;
mod daemon;
mod doorbell;
mod exec;
mod kernel_log;
mod kmsg;
mod log;
mod outlet;
mod pty;
mod readings;
mod search;
mod service;
mod signals;
mod transfer;
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

/// Runs the daemon until KMON or a signal ends it. Without `--foreground`, this does not return in
/// the calling process: that exits as soon as the daemon is attached or waits for KMON. If KMON
/// ends the daemon, a shell that runs the command of `--on-halt`, if there is one, replaces the
/// process.
///
/// # Errors
///
/// The region cannot be used, or KMON has not formatted it in time; the process cannot become a
/// daemon; KMON broke the protocol; another daemon has attached in place of this one.
pub fn run(args: &Args) -> Result<()> {
    signals::reset().context("cannot reset the signal actions")?;
    let account = Account::current(args.shell.as_deref())?;
    // Before the process changes its directory and closes its descriptors.
    let attacher = Attacher::new(args)?;
    let mut readiness = if args.foreground {
        daemon::stay_in_foreground(args.log.as_deref())?;
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

/// Replaces this process by a shell that runs `command`. Returns only on an error.
fn become_shell(account: &Account, command: &OsStr) -> anyhow::Error {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command);
    account.prepare(&mut shell, || Ok(()));
    let error = anyhow::Error::new(shell.exec());
    error.context(format!("cannot run {}", command.display()))
}
