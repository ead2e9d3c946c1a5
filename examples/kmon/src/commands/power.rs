//! `kmload`, `kmhalt`, `kmreset`, `kmpause`, `kmresume`, `kmrm`: start, end, pause, continue and
//! remove instances.

use std::time::Duration;

use anyhow::bail;

use super::arguments::{HaltArgs, InstanceArgs, LoadArgs, ResetArgs};
use super::output::show_kernel;
use super::print::print;
use super::session::Session;
use crate::api::Done;
use crate::api::instances::{Halt, HaltAnswer, Halted, Load, Reset, Row};

/// How often the kernel's log is shown during a start.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn load(session: &mut Session, args: LoadArgs) -> anyhow::Result<()> {
    let path = match args.instance {
        Some(number) => format!("/v1/instances/{number}/load"),
        None => "/v1/instances".into(),
    };
    let load = Load {
        name: args.name,
        wait: false,
    };
    let row: Row = session.client.post(&path, &load)?;
    session.loaded.insert(row.number);
    await_start(session, &row, args.watch)
}

pub(super) fn reset(session: &Session, args: &ResetArgs) -> anyhow::Result<()> {
    let path = format!("/v1/instances/{}/reset", args.instance);
    let row: Row = session.client.post(&path, &Reset { wait: false })?;
    await_start(session, &row, args.watch)
}

/// Waits until the instance runs; if `watch`, prints its kernel's log meanwhile.
fn await_start(session: &Session, row: &Row, watch: bool) -> anyhow::Result<()> {
    let n = row.number;
    if watch {
        watch_start(session, n)?;
    } else if row.kind == "external" {
        return print(&format!("instance {n} is waiting for its guestd"));
    } else {
        let path = format!("/v1/instances/{n}?wait=true");
        if let Err(error) = session.client.get::<Row>(&path) {
            check_interrupt(session, n)?;
            return Err(error);
        }
    }
    print(&format!("instance {n} is running"))
}

fn watch_start(session: &Session, n: u8) -> anyhow::Result<()> {
    loop {
        let row: Row = session.client.get(&format!("/v1/instances/{n}"))?;
        show_kernel(session, n)?;
        match row.state.as_str() {
            // Its first statistics come after the lines of the boot.
            "running" if row.memory_total_kb.is_some() => return Ok(()),
            "running" | "starting" | "restarting" => {}
            state => bail!("instance {n} is not running ({state}); kmreset {n} tries again"),
        }
        session
            .interrupt
            .sleep_until(std::time::Instant::now() + TICK);
        check_interrupt(session, n)?;
    }
}

fn check_interrupt(session: &Session, n: u8) -> anyhow::Result<()> {
    if session.interrupt.is_set() {
        bail!("interrupted; instance {n} continues to start, see kmlist");
    }
    Ok(())
}

pub(super) fn halt(session: &Session, args: &HaltArgs) -> anyhow::Result<()> {
    let n = args.instance;
    let halt = Halt { force: args.force };
    let answer: HaltAnswer = session
        .client
        .post(&format!("/v1/instances/{n}/halt"), &halt)?;
    let more = match answer.how {
        Halted::Killed if args.force => "",
        Halted::Clean => "",
        Halted::PoweredDown => ": guestd did not end it, the power button did",
        Halted::Killed => ": it did not end in time and was killed",
        Halted::Released => ": KMON has released it; it continues without KMON",
    };
    print(&format!("instance {n} is halted{more}"))
}

pub(super) fn pause(session: &Session, args: &InstanceArgs) -> anyhow::Result<()> {
    let n = args.instance;
    let _: Done = session
        .client
        .post(&format!("/v1/instances/{n}/pause"), &Done {})?;
    print(&format!("instance {n} is paused"))
}

pub(super) fn resume(session: &Session, args: &InstanceArgs) -> anyhow::Result<()> {
    let n = args.instance;
    let _: Done = session
        .client
        .post(&format!("/v1/instances/{n}/resume"), &Done {})?;
    print(&format!("instance {n} continues"))
}

pub(super) fn remove(session: &Session, args: &InstanceArgs) -> anyhow::Result<()> {
    let n = args.instance;
    let _: Done = session.client.delete(&format!("/v1/instances/{n}"))?;
    print(&format!("instance {n} is removed"))
}
