//! A console fed from a script: each line is sent when the instance waits for input.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::session::greeting;
use crate::instance::outbox::Order;
use crate::interrupt::Interrupt;
use crate::monitor::Instance;
use crate::script::{Front, Reported, print_error};
use crate::{terminal, text};

/// After this time without output, a line's command is presumed to have printed all.
const QUIET: Duration = Duration::from_millis(150);
/// How often the instance is asked whether it is idle.
const ASK: Duration = Duration::from_millis(20);

/// Sends the script's lines to `instance` until `kmexitconsole` or the script's end. Waits up to
/// `settle` for each line's command to end.
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
    let mut in_time = wait_and_report(instance, None, settle, interrupt)?;
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
                "instance {} does not accept input; the line was not sent",
                instance.number
            );
        }
        in_time &= wait_and_report(instance, Some(&line), settle, interrupt)?;
    }
    if !instance.shared.lock().log.last_line().is_empty() {
        terminal::write_stdout(b"\n")?;
    }
    if !in_time {
        bail!(Reported);
    }
    Ok(())
}

/// Returns an error if guestd was restarted: the lines were meant for its earlier shell.
fn require_same_shell(instance: &Instance, incarnation: Option<u32>) -> anyhow::Result<()> {
    instance.require_running()?;
    if instance.outbox.incarnation() != incarnation {
        let n = instance.number;
        bail!("guestd of instance {n} was restarted and has a new shell");
    }
    Ok(())
}

/// Shows output until the instance waits for input again. Reports a time-out and returns false.
fn wait_and_report(
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
        None => "its shell is not waiting for a command".into(),
    };
    print_error(&format!(
        "kmconsole: instance {}: {what} after {} s; --settle SECONDS waits longer",
        instance.number,
        settle.as_secs_f64()
    ));
    Ok(false)
}

/// Shows output until the instance waits for input again. Returns false if it does not within
/// `settle`.
fn wait_idle(instance: &Instance, settle: Duration, interrupt: &Interrupt) -> anyhow::Result<bool> {
    let deadline = Instant::now() + settle;
    let mut quiet_since = Instant::now();
    // Asked only after a pause: a shell that has read its line, but has not started a program yet,
    // would answer that it is idle.
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
        // A shell that has not shown its prompt yet is starting, not idle.
        if asked.is_none() && view.printed && quiet_since.elapsed() >= QUIET {
            let stream = view.new_stream();
            instance.outbox.put(Order::QueryIdle { stream });
            asked = Some(stream);
        }
    }
}

/// Returns whether the instance is idle, once it has answered this query.
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
