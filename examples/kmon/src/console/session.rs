//! A console on a terminal.
//!
//! - **S1** Output is marked as seen after it was written, byte for byte, so that the next console
//!   continues where this one ended.
//! - **S2** When the session ends, the terminal is in the state of a prompt: the modes that the
//!   instance's program has set are reset, and set again on return.
//! - **S3** Input for a shell that is gone is not sent to the next one, nor is the rest of a paste
//!   that a restart of guestd interrupts.
//! - **S4** A console that closes by itself discards input up to an Enter, so that input for the
//!   instance does not become a command of KMON.

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

/// Returns the greeting of the paper for instance `number`.
pub(crate) fn greeting(number: u8) -> String {
    format!("## #kmconsole done, cmd_redirection={number}## #")
}

/// How long the second of two escape keys may take.
const PAUSE_MS: u16 = 400;
/// After this time without input, a paste is complete.
const AFTER_ENTER_MS: u16 = 100;
/// How long typed bytes wait for room before they are refused with a bell.
const PATIENCE: Duration = Duration::from_secs(1);
/// Input without a longer pause than this is one piece, for one shell.
const PIECE: Duration = Duration::from_millis(50);
/// Bytes written to the terminal at once.
const CHUNK: usize = 16 * 1024;

/// Runs until the operator leaves or the instance ends.
pub(crate) fn run(instance: &Instance, terminal: &mut Terminal, escape: u8) -> anyhow::Result<()> {
    let (wake, woken) = wakers()?;
    let resized = signal_hook::low_level::pipe::register(SIGWINCH, wake.try_clone()?)?;
    let pending = terminal.take_pending();
    let raw = terminal.raw(true)?;
    let typing = InputSide {
        instance,
        filter: Filter::new(escape),
        escape,
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

/// Forwards input and output until the operator leaves. Returns the input after that.
fn redirect(
    mut typing: InputSide<'_>,
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
            // A full pipe wakes the reader, too.
            let _ = wake.write_all(b"x");
        });
        let rest = typing.run(terminal, pending, woken, &ended);
        {
            // Under the lock: `show` either has not checked `over` yet, or waits.
            let _view = shared.lock();
            over.store(true, Ordering::Relaxed);
        }
        shared.announce();
        rest
    })
}

/// Makes a pipe of which neither end ever blocks.
fn wakers() -> anyhow::Result<(UnixStream, UnixStream)> {
    let (wake, woken) = UnixStream::pair().context("pipe")?;
    wake.set_nonblocking(true).context("pipe")?;
    woken.set_nonblocking(true).context("pipe")?;
    Ok((wake, woken))
}

/// Prints the greeting, and sets the terminal's modes and size as the instance expects them.
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
        instance.shared.lock().terminal = Some((rows, columns));
        if full_screen {
            // A change of size makes a full-screen program draw itself again.
            let rows = rows.saturating_sub(1).max(1);
            instance.outbox.put(Order::Resize { rows, columns });
        }
        instance.outbox.put(Order::Resize { rows, columns });
    }
    Ok(())
}

/// Puts the terminal on a new line and resets the instance's modes.
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
    // A terminal that is gone needs no reset.
    let _ = terminal::write_stdout(&[&undo, b"\x1b[0m".as_slice(), b"\r", end].concat());
    terminal::remember_undo(Vec::new());
}

/// Shows output until `over` is set, or until the instance has ended and all is shown.
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
        let skipped = view.take_unreported_loss();
        let (from, bytes) = view.log.read(view.log.seen(), CHUNK);
        drop(view);
        let note = match skipped {
            0 => String::new(),
            skipped => format!("\r\n[kmon: {skipped} bytes were dropped and are not shown]\r\n"),
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

/// The input side of a session.
struct InputSide<'a> {
    instance: &'a Instance,
    filter: Filter,
    escape: u8,
    /// The end of the output at the last input.
    typed_at: u64,
    /// The incarnation of guestd for which the last input was, and its time.
    incarnation: Option<u32>,
    last: Instant,
}

impl InputSide<'_> {
    /// Forwards input until the operator leaves or `ended` is set. Returns the input after that.
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
                self.send_size();
                if ended.load(Ordering::Acquire) {
                    let left = self.end()?;
                    self.await_enter(terminal)?;
                    return Ok(left);
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

    /// Handles typed bytes. If they leave the console, returns the bytes after that.
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

    /// Discards input up to an Enter, and the input in one piece with it (S4).
    fn await_enter(&self, terminal: &Terminal) -> anyhow::Result<()> {
        let state = self.instance.shared.lock().state.to_string();
        let number = self.instance.number;
        let text =
            format!("\r\n## #instance {number}: {state}; press Enter to leave its console## #");
        terminal::write_stdout(text.as_bytes())?;
        let mut timeout = PollTimeout::NONE;
        loop {
            let mut ready = [PollFd::new(terminal.input().as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, timeout) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(_) => continue, // Interrupted.
            }
            let typed = terminal.input().read(4096)?;
            if typed.is_empty() {
                return Ok(()); // The terminal is gone.
            }
            // ^C, ^D and the escape key leave, too.
            let keys = [b'\r', b'\n', 0x03, 0x04, self.escape];
            let leaves = |byte: &u8| keys.contains(byte);
            if typed.iter().any(leaves) {
                timeout = PollTimeout::from(AFTER_ENTER_MS);
            }
        }
    }

    /// Sends input. Returns false if it was meant for an earlier shell (S3), or there is no room.
    fn send(&mut self, bytes: &[u8]) -> bool {
        let now = self.instance.outbox.incarnation();
        if self.last.elapsed() > PIECE && self.instance.shared.lock().log.incarnation_seen() {
            self.incarnation = now;
        }
        self.last = Instant::now();
        let for_it = now == self.incarnation;
        for_it && self.instance.outbox.put_input(bytes, now, PATIENCE)
    }

    /// Applies the filter's actions. Returns true if one is to leave.
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

    fn send_size(&self) {
        if let Some((rows, columns)) = terminal::size() {
            self.instance.shared.lock().terminal = Some((rows, columns));
            self.instance.outbox.put(Order::Resize { rows, columns });
        }
    }
}

fn drain(mut woken: &UnixStream) {
    let mut bytes = [0; 64];
    while matches!(woken.read(&mut bytes), Ok(1..)) {}
}
