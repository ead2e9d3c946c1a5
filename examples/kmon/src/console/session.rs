//! A console on a terminal: two streams of bytes and a way out.
//!
//! - **S1** What is shown is marked as seen behind the write, byte for byte, so
//!   that the next console goes on where this one ended.
//! - **S2** The terminal is back to a prompt's state when the session ends: the
//!   modes that the instance's program has on are undone, and set again on return.
//! - **S3** What was typed at a shell that is gone is not typed at the next one,
//!   nor is the rest of a paste that a restart of guestd cut in two.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::SIGWINCH;

use super::filter::{Action, Filter};
use crate::instance::outbox::Order;
use crate::instance::shared::Shared;
use crate::instance::state::State;
use crate::monitor::Instance;
use crate::terminal::{self, Terminal};

/// The paper's words for "you are in instance N now".
pub(crate) fn greeting(number: u8) -> String {
    format!("## #kmconsole done, cmd_redirection={number}## #")
}

/// How long the second of two escape keys may take.
const PAUSE_MS: u16 = 400;
/// How long typed bytes wait for room before they are refused with a bell.
const PATIENCE: Duration = Duration::from_secs(1);
/// What comes without a longer pause than this is one piece, typed at one shell.
const PIECE: Duration = Duration::from_millis(50);
/// Bytes written to the terminal at once.
const CHUNK: usize = 16 * 1024;

/// Runs until the operator leaves or the instance is no longer there.
pub(crate) fn run(instance: &Instance, terminal: &mut Terminal, escape: u8) -> anyhow::Result<()> {
    let (wake, woken) = wakers()?;
    let resized = signal_hook::low_level::pipe::register(SIGWINCH, wake.try_clone()?)?;
    let pending = terminal.take_pending();
    let raw = terminal.raw(true)?;
    let typing = Typing {
        instance,
        filter: Filter::new(escape),
        typed_at: 0,
        incarnation: instance.outbox.incarnation(),
        last: Instant::now(),
    };
    let rest = enter(instance)
        .map_err(Into::into)
        .and_then(|()| redirect(typing, terminal, &pending, (&wake, &woken)));
    signal_hook::low_level::unregister(resized);
    leave(&instance.shared);
    drop(raw);
    terminal.leave_pending(&rest?);
    Ok(())
}

/// Both streams at once, until the way out; what was typed behind it.
fn redirect(
    mut typing: Typing<'_>,
    terminal: &Terminal,
    pending: &[u8],
    (mut wake, woken): (&UnixStream, &UnixStream),
) -> anyhow::Result<Vec<u8>> {
    let shared = &typing.instance.shared;
    let over = AtomicBool::new(false);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            show(shared, &over);
            ended.store(true, Ordering::Release);
            // A pipe that is full wakes as well.
            let _ = wake.write_all(b"x");
        });
        let rest = typing.run(terminal, pending, woken, &ended);
        {
            // Under the lock, so that `show` is before its look at it, or waits.
            let _view = shared.lock();
            over.store(true, Ordering::Relaxed);
        }
        shared.announce();
        rest
    })
}

/// A pipe whose reader never blocks and whose writer never waits.
fn wakers() -> anyhow::Result<(UnixStream, UnixStream)> {
    let (wake, woken) = UnixStream::pair().context("pipe")?;
    wake.set_nonblocking(true).context("pipe")?;
    woken.set_nonblocking(true).context("pipe")?;
    Ok((wake, woken))
}

/// Greets, and makes the terminal what the instance believes it is.
fn enter(instance: &Instance) -> io::Result<()> {
    let (modes, again, full_screen) = {
        let mut view = instance.shared.lock();
        view.attached = true;
        let modes = view.log.modes();
        let full_screen = modes.alternate();
        let again = if full_screen {
            Vec::new()
        } else {
            view.log.last_line()
        };
        (modes.redo(), again, full_screen)
    };
    let greeting = greeting(instance.number) + "\r\n";
    terminal::write_stdout(&[greeting.as_bytes(), &modes, &again].concat())?;
    if let Some((rows, columns)) = terminal::size() {
        if full_screen {
            // A change of size makes a full-screen program draw itself again.
            let rows = rows.saturating_sub(1).max(1);
            instance.outbox.put(Order::Resize { rows, columns });
        }
        instance.outbox.put(Order::Resize { rows, columns });
    }
    Ok(())
}

/// Leaves the terminal on a fresh line and in no mode of the instance's.
fn leave(shared: &Shared) {
    let (undo, fresh) = {
        let mut view = shared.lock();
        view.attached = false;
        (view.log.modes().undo(), view.log.last_line().is_empty())
    };
    shared.announce();
    let end: &[u8] = if fresh && undo.is_empty() {
        b""
    } else {
        b"\r\n"
    };
    // A terminal that is gone needs no order.
    let _ = terminal::write_stdout(&[&undo, b"\x1b[0m".as_slice(), b"\r", end].concat());
    terminal::remember_undo(Vec::new());
}

/// Shows output until `over`, or until the instance has ended and said all.
fn show(shared: &Shared, over: &AtomicBool) {
    loop {
        let mut view = shared.lock();
        while view.log.unseen() == 0 {
            if over.load(Ordering::Relaxed)
                || !matches!(
                    view.state,
                    State::Starting | State::Running | State::Restarting(_)
                )
            {
                return;
            }
            view = shared.wait(view, Duration::from_secs(1));
        }
        if over.load(Ordering::Relaxed) {
            return;
        }
        let skipped = view.untold_loss();
        let (from, bytes) = view.log.read(view.log.seen(), CHUNK);
        drop(view);
        let note = match skipped {
            0 => String::new(),
            skipped => format!("\r\n[kmon: {skipped} bytes were too many and are not shown]\r\n"),
        };
        if terminal::write_stdout(&[note.as_bytes(), &bytes].concat()).is_err() {
            return;
        }
        let mut view = shared.lock();
        view.log.mark_seen(from + bytes.len() as u64);
        terminal::remember_undo(view.log.modes().undo());
        drop(view);
        shared.announce();
    }
}

/// The operator's side of a session.
struct Typing<'a> {
    instance: &'a Instance,
    filter: Filter,
    /// The end of the output when something was typed last.
    typed_at: u64,
    /// The incarnation of guestd that it was typed for, and when that was.
    incarnation: Option<u32>,
    last: Instant,
}

impl Typing<'_> {
    /// Until the operator leaves or `ended`; what was typed behind the way out.
    fn run(
        &mut self,
        terminal: &Terminal,
        pending: &[u8],
        woken: &UnixStream,
        ended: &AtomicBool,
    ) -> anyhow::Result<Vec<u8>> {
        if let Some(rest) = self.take(pending)? {
            return Ok(rest);
        }
        loop {
            let pause = self.filter.awaits_pause();
            let timeout = if pause {
                PollTimeout::from(PAUSE_MS)
            } else {
                PollTimeout::NONE
            };
            let mut ready = [
                PollFd::new(terminal.input().as_fd(), PollFlags::POLLIN),
                PollFd::new(woken.as_fd(), PollFlags::POLLIN),
            ];
            let count = poll(&mut ready, timeout).unwrap_or(-1);
            if count == 0 {
                let actions = self.filter.pause();
                if self.act(actions)? {
                    return Ok(Vec::new());
                }
            }
            if count > 0 && ready[1].any() == Some(true) {
                drain(woken);
                self.tell_size();
                if ended.load(Ordering::Acquire) {
                    return self.end();
                }
            }
            if count > 0 && ready[0].any() == Some(true) {
                let bytes = terminal.input().read(4096)?;
                if bytes.is_empty() {
                    return self.end();
                }
                if let Some(rest) = self.take(&bytes)? {
                    return Ok(rest);
                }
            }
        }
    }

    /// Takes typed bytes; the rest behind the way out, if that is in them.
    fn take(&mut self, typed: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        let alternate = {
            let log = &self.instance.shared.lock().log;
            if log.line_start() > self.typed_at {
                self.filter.new_line();
            }
            self.typed_at = log.end();
            log.modes().alternate()
        };
        let (actions, used) = self.filter.type_bytes(typed, alternate);
        let left = self.act(actions)?;
        Ok(left.then(|| typed[used..].to_vec()))
    }

    fn end(&mut self) -> anyhow::Result<Vec<u8>> {
        let actions = self.filter.finish();
        self.act(actions)?;
        Ok(Vec::new())
    }

    /// Sends what was typed; false if it is not for whoever would get it (S3),
    /// or nobody takes it.
    fn send(&mut self, bytes: &[u8]) -> bool {
        let now = self.instance.outbox.incarnation();
        if self.last.elapsed() > PIECE && self.instance.shared.lock().log.incarnation_seen() {
            self.incarnation = now;
        }
        self.last = Instant::now();
        let for_it = now == self.incarnation;
        for_it && self.instance.outbox.put_input(bytes, now, PATIENCE)
    }

    /// Does what the filter says; whether it says to leave.
    fn act(&mut self, actions: Vec<Action>) -> anyhow::Result<bool> {
        for action in actions {
            match action {
                Action::Send(bytes) => {
                    if !self.send(&bytes) {
                        terminal::write_stdout(b"\x07")?;
                    }
                }
                Action::Echo(bytes) => terminal::write_stdout(&bytes)?,
                Action::Leave => return Ok(true),
            }
        }
        Ok(false)
    }

    fn tell_size(&self) {
        if let Some((rows, columns)) = terminal::size() {
            self.instance.outbox.put(Order::Resize { rows, columns });
        }
    }
}

fn drain(mut woken: &UnixStream) {
    let mut bytes = [0; 64];
    while matches!(woken.read(&mut bytes), Ok(1..)) {}
}
