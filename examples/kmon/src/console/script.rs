//! A console fed from a script: each line is typed when the instance waits for it.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::session::greeting;
use crate::instance::outbox::Order;
use crate::interrupt::Interrupt;
use crate::monitor::Instance;
use crate::script::{Front, Reported, say};
use crate::{terminal, text};

/// No output for so long, and the line has said what it has to say.
const QUIET: Duration = Duration::from_millis(150);
/// How often the instance is asked whether it is idle.
const ASK: Duration = Duration::from_millis(20);

/// Sends the script's lines to `instance` until `kmexitconsole` or the script's
/// end; waits up to `settle` for each line's end.
pub(crate) fn run(
    instance: &Instance,
    front: &mut Front,
    settle: Duration,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    instance.shared.lock().attached = true;
    let done = feed(instance, front, settle, interrupt);
    instance.shared.lock().attached = false;
    instance.shared.announce();
    done
}

fn feed(
    instance: &Instance,
    front: &mut Front,
    settle: Duration,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    terminal::write_stdout((greeting(instance.number) + "\n").as_bytes())?;
    let incarnation = instance.outbox.incarnation();
    let mut in_time = settled(instance, None, settle, interrupt)?;
    while let Some(line) = front.next_line() {
        let line = line?;
        if line.trim() == "kmexitconsole" {
            break;
        }
        let typed = format!("{line}\r");
        if !instance
            .outbox
            .put_input(typed.as_bytes(), incarnation, settle)
        {
            require_same_shell(instance, incarnation)?;
            bail!(
                "instance {} does not take input; the line was not sent",
                instance.number
            );
        }
        in_time &= settled(instance, Some(&line), settle, interrupt)?;
    }
    if !instance.shared.lock().log.last_line().is_empty() {
        terminal::write_stdout(b"\n")?;
    }
    if !in_time {
        bail!(Reported);
    }
    Ok(())
}

/// An error if guestd was restarted: the lines were meant for the shell that it had.
fn require_same_shell(instance: &Instance, incarnation: Option<u32>) -> anyhow::Result<()> {
    instance.require_running()?;
    if instance.outbox.incarnation() != incarnation {
        let n = instance.number;
        bail!("guestd of instance {n} was restarted; its shell is another one");
    }
    Ok(())
}

/// Shows output until the instance waits for input again; if it does not in
/// time, that is told, and false.
fn settled(
    instance: &Instance,
    line: Option<&str>,
    settle: Duration,
    interrupt: &Interrupt,
) -> anyhow::Result<bool> {
    if wait_idle(instance, settle, interrupt)? {
        return Ok(true);
    }
    let what = match line {
        Some(line) => format!("`{}` has not ended", text::brief(line)),
        None => "its shell does not wait for a command".into(),
    };
    say(&format!(
        "kmconsole: instance {}: {what} after {} s; --settle SECONDS waits longer",
        instance.number,
        settle.as_secs_f64()
    ));
    Ok(false)
}

/// Shows output until the instance waits for input again; false if it did not
/// before `settle` had passed.
fn wait_idle(instance: &Instance, settle: Duration, interrupt: &Interrupt) -> anyhow::Result<bool> {
    let deadline = Instant::now() + settle;
    let mut quiet_since = Instant::now();
    // Asked only behind a pause: a shell that has just read its line, but has
    // not started anything yet, would answer that it is idle.
    let mut asked = None;
    let incarnation = instance.outbox.incarnation();
    loop {
        if show_unseen(instance)? {
            quiet_since = Instant::now();
            asked = None;
        }
        require_same_shell(instance, incarnation)?;
        let answer = asked.and_then(|stream| answer_to(instance, stream));
        if answer == Some(true) || interrupt.is_set() {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        if answer == Some(false) {
            asked = None;
        }
        let view = instance.shared.lock();
        let mut view = instance.shared.wait(view, ASK);
        // A shell that has not even shown its prompt is not idle but starting.
        if asked.is_none() && view.printed && quiet_since.elapsed() >= QUIET {
            let stream = view.new_stream();
            instance.outbox.put(Order::QueryIdle { stream });
            asked = Some(stream);
        }
    }
}

/// Whether the instance is idle, once it has answered that query.
fn answer_to(instance: &Instance, stream: u32) -> Option<bool> {
    let (answered, idle) = instance.shared.lock().idle?;
    (answered == stream).then_some(idle)
}

fn show_unseen(instance: &Instance) -> anyhow::Result<bool> {
    let (from, bytes) = {
        let view = instance.shared.lock();
        view.log.read(view.log.seen(), usize::MAX)
    };
    terminal::write_stdout(&bytes)?;
    instance
        .shared
        .lock()
        .log
        .mark_seen(from + bytes.len() as u64);
    instance.shared.announce();
    Ok(!bytes.is_empty())
}
