//! `kmload`, `kmhalt`, `kmreset`, `kmpause`, `kmresume`, `kmrm`: start, end, pause, continue and
//! remove instances.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;

use super::arguments::{HaltArgs, InstancesArgs, LoadArgs, ResetArgs};
use super::output::show_kernel;
use super::print::print;
use super::selection::{Selection, Target};
use super::session::Session;
use super::several::{AT_ONCE, each};
use crate::api::Done;
use crate::api::instances::{Halt, HaltAnswer, Halted, Load, Reset, Row};

/// How often the kernel's log is shown during a start.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn load(session: &mut Session, args: &LoadArgs) -> anyhow::Result<()> {
    let load = Load {
        name: args.name.clone(),
        wait: false,
    };
    if args.instances.is_empty() {
        let row: Row = session.client.post("/v1/instances", &load)?;
        session.loaded.insert(row.number);
        return await_start(session, &row, args.watch);
    }
    let targets = session.choose(&args.instances, |row| !row.is_alive())?;
    if targets.len() > 1 && args.name.is_some() {
        bail!("--name can only name one instance");
    }
    require_one_to_watch(&targets, args.watch)?;
    let loaded = Mutex::new(Vec::new());
    let done = each(&targets, AT_ONCE, |target| {
        let path = format!("/v1/instances/{}/load", target.number);
        let row: Row = session.client.post(&path, &load)?;
        let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.push(row.number);
        drop(loaded);
        await_start(session, &row, args.watch)
    });
    let loaded = loaded.into_inner().unwrap_or_else(PoisonError::into_inner);
    session.loaded.extend(loaded);
    done
}

pub(super) fn reset(session: &Session, args: &ResetArgs) -> anyhow::Result<()> {
    let targets = session.choose(&args.instances, Row::is_alive)?;
    require_one_to_watch(&targets, args.watch)?;
    each(&targets, AT_ONCE, |target| {
        let path = format!("/v1/instances/{}/reset", target.number);
        let row: Row = session.client.post(&path, &Reset { wait: false })?;
        await_start(session, &row, args.watch)
    })
}

fn require_one_to_watch(targets: &[Target], watch: bool) -> anyhow::Result<()> {
    if watch && targets.len() > 1 {
        bail!("--watch can only show one instance");
    }
    Ok(())
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
    let halt = Halt { force: args.force };
    let targets = session.choose(&args.instances, Row::is_alive)?;
    each(&targets, AT_ONCE, |target| {
        let n = target.number;
        let path = format!("/v1/instances/{n}/halt");
        let answer: HaltAnswer = session.client.post(&path, &halt)?;
        let how = match answer.how {
            Halted::Killed if args.force => "halted",
            Halted::Clean => "halted",
            Halted::PoweredDown => {
                "halted: guestd did not halt it, so KMON pressed its power button"
            }
            Halted::Killed => "halted: it did not end in time and was killed",
            Halted::Released => "released: it continues without KMON",
        };
        print(&format!("instance {n} is {how}"))
    })
}

pub(super) fn pause(session: &Session, args: &InstancesArgs) -> anyhow::Result<()> {
    let suits = |row: &Row| row.kind == "qemu" && row.is_alive() && row.state != "paused";
    post_to_each(session, &args.instances, suits, ("pause", "is paused"))
}

pub(super) fn resume(session: &Session, args: &InstancesArgs) -> anyhow::Result<()> {
    let suits = |row: &Row| row.state == "paused";
    post_to_each(session, &args.instances, suits, ("resume", "continues"))
}

fn post_to_each(
    session: &Session,
    instances: &[Selection],
    suits: impl Fn(&Row) -> bool,
    (what, done): (&str, &str),
) -> anyhow::Result<()> {
    let targets = session.choose(instances, suits)?;
    each(&targets, AT_ONCE, |target| {
        let n = target.number;
        let path = format!("/v1/instances/{n}/{what}");
        let _: Done = session.client.post(&path, &Done {})?;
        print(&format!("instance {n} {done}"))
    })
}

pub(super) fn remove(session: &Session, args: &InstancesArgs) -> anyhow::Result<()> {
    let targets = session.choose(&args.instances, |row| row.state == "halted")?;
    each(&targets, AT_ONCE, |target| {
        let n = target.number;
        let _: Done = session.client.delete(&format!("/v1/instances/{n}"))?;
        print(&format!("instance {n} is removed"))
    })
}
