//! `kmload`, `kmhalt`, `kmreset`, `kmpause`, `kmresume`: start, end, pause and continue instances.

use std::time::Instant;

use super::line::{HaltArgs, InstanceArgs, LoadArgs, ResetArgs};
use super::output::show_kernel;
use super::print::print;
use super::session::Session;
use crate::monitor::Halted;

pub(super) fn load(session: &mut Session, args: LoadArgs) -> anyhow::Result<()> {
    let monitor = &mut session.monitor;
    let number = match args.instance {
        Some(number) => {
            monitor.load(number, args.name)?;
            number
        }
        None => {
            let number = monitor.add(args.name)?;
            monitor.start(number)?;
            number
        }
    };
    await_start(session, number, args.watch)
}

pub(super) fn reset(session: &mut Session, args: &ResetArgs) -> anyhow::Result<()> {
    session.monitor.start(args.instance)?;
    await_start(session, args.instance, args.watch)
}

/// Waits until instance `number` runs; if `watch`, prints its kernel's log meanwhile.
fn await_start(session: &Session, number: u8, watch: bool) -> anyhow::Result<()> {
    let instance = session.monitor.instance(number)?;
    if !watch && !instance.is_awaited() {
        return print(&format!("instance {number} is waiting for its guestd"));
    }
    instance.wait_running(Instant::now(), watch, &session.interrupt, || {
        if watch { show_kernel(instance) } else { Ok(()) }
    })?;
    print(&format!("instance {number} is running"))
}

pub(super) fn halt(session: &mut Session, args: &HaltArgs) -> anyhow::Result<()> {
    let n = args.instance;
    print(&match session.monitor.halt(n, args.force)? {
        Halted::Killed if args.force => format!("instance {n} is halted"),
        Halted::Clean => format!("instance {n} is halted"),
        Halted::PoweredDown => {
            format!("instance {n} is halted: guestd did not end it, the power button did")
        }
        Halted::Killed => format!("instance {n} is halted: it did not end in time and was killed"),
        Halted::Released => {
            format!("instance {n} is halted: KMON has released it; it continues without KMON")
        }
    })
}

pub(super) fn pause(session: &Session, args: &InstanceArgs) -> anyhow::Result<()> {
    session.monitor.pause(args.instance)?;
    print(&format!("instance {} is paused", args.instance))
}

pub(super) fn resume(session: &Session, args: &InstanceArgs) -> anyhow::Result<()> {
    session.monitor.resume(args.instance)?;
    print(&format!("instance {} continues", args.instance))
}
