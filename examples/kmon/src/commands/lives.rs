//! `kmload`, `kmhalt`, `kmreset`: how instances begin and end.

use super::line::{HaltArgs, InstanceArgs, LoadArgs};
use super::{Session, print};

pub(super) fn load(session: &mut Session, args: LoadArgs) -> anyhow::Result<()> {
    let monitor = &mut session.monitor;
    let number = match args.instance {
        Some(number) => {
            monitor.load(number, args.name)?;
            number
        }
        None => {
            let number = monitor.add(args.name, None)?;
            monitor.start(number)?;
            number
        }
    };
    monitor.wait_running(number)?;
    print(&format!("instance {number} runs"))
}

pub(super) fn halt(session: &mut Session, args: &HaltArgs) -> anyhow::Result<()> {
    session.monitor.halt(args.instance, args.force)?;
    print(&format!("instance {} is halted", args.instance))
}

pub(super) fn reset(session: &mut Session, args: &InstanceArgs) -> anyhow::Result<()> {
    session.monitor.start(args.instance)?;
    session.monitor.wait_running(args.instance)?;
    print(&format!("instance {} runs", args.instance))
}
