//! A console on a terminal.
//!
//! - **S1** Output is reported as shown after it was written, byte for byte, so that the next
//!   console continues where this one ended.
//! - **S2** When the session ends, the terminal is in the state of a prompt: the modes that the
//!   instance's program has set are reset, and set again on return.
//! - **S3** A console that closes by itself discards input up to an Enter.
//! - **S4** If the server dies, the console continues at its position with the next server.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::SIGWINCH;

use super::display::{Display, Shown};
use super::keyboard::{Keyboard, PAUSE, Typed};
use super::link::{Incoming, Link, Wanted, greeting};
use crate::api::console::{FromClient, FromServer, Mode, Start};
use crate::client::{Client, patience};
use crate::instance::modes::Modes;
use crate::terminal::{self, Terminal};

/// Typed bytes that may be under way to the instance.
const MAX_TYPED: u64 = 64 * 1024;
/// If more output than this waits at a `^C`, it is dropped.
const FLOOD: usize = 16 * 1024;
/// The pause before the next server is looked for again.
const RETRY: Duration = Duration::from_millis(100);

/// Runs until the operator leaves or the instance ends.
pub(crate) fn run(
    client: &Client,
    wanted: Wanted,
    terminal: &mut Terminal,
    escape: u8,
) -> anyhow::Result<()> {
    let link = Link::open(client, &wanted)?;
    let (wake, woken) = wakers()?;
    let resized = signal_hook::low_level::pipe::register(SIGWINCH, wake.try_clone()?)?;
    let pending = terminal.take_pending();
    let raw = terminal.raw(true)?;
    terminal::write_stdout(format!("{}\r\n", greeting(wanted.number)).as_bytes())?;
    let display = Display::default();
    let mut session = Session {
        client,
        mode: wanted.mode,
        wanted,
        link,
        display: &display,
        keyboard: Keyboard::new(escape),
        modes: Modes::default(),
        has_new_line: false,
        reported: None,
        size: terminal::size(),
        typed: 0,
        handled: 0,
        dropped: None,
        ended: None,
    };
    let rest = std::thread::scope(|scope| {
        scope.spawn(|| display.write_all(&wake));
        let rest = session.run(terminal, &pending, &woken);
        display.end();
        rest
    });
    signal_hook::low_level::unregister(resized);
    session.close();
    leave(&display.shown());
    drop(raw);
    terminal.leave_pending(&rest?);
    Ok(())
}

/// Makes a pipe of which neither end ever blocks.
fn wakers() -> anyhow::Result<(UnixStream, UnixStream)> {
    let (wake, woken) = UnixStream::pair().context("pipe")?;
    wake.set_nonblocking(true).context("pipe")?;
    woken.set_nonblocking(true).context("pipe")?;
    Ok((wake, woken))
}

/// Puts the terminal on a new line and resets the instance's modes.
fn leave(shown: &Shown) {
    let undo = shown.modes.undo();
    let end: &[u8] = match shown.is_inside_line || !undo.is_empty() {
        true => b"\r\n",
        false => b"",
    };
    // A terminal that is gone needs no reset.
    let _ = terminal::write_stdout(&[&undo, b"\x1b[0m".as_slice(), b"\r", end].concat());
    terminal::remember_undo(Vec::new());
}

struct Session<'a> {
    client: &'a Client,
    wanted: Wanted,
    link: Link,
    display: &'a Display,
    keyboard: Keyboard,
    /// The mode now: another client may have taken over.
    mode: Mode,
    /// The terminal modes after the output that was received.
    modes: Modes,
    /// The instance has begun a new line since the last key.
    has_new_line: bool,
    /// The position that was reported as shown.
    reported: Option<u64>,
    /// The terminal's size as it was sent.
    size: Option<(u16, u16)>,
    /// Typed bytes that were sent, and that were handled.
    typed: u64,
    handled: u64,
    /// Bytes dropped after a `^C`, until the server has skipped, too.
    dropped: Option<u64>,
    /// Why the console closes by itself.
    ended: Option<String>,
}

impl Session<'_> {
    /// Forwards input and output until the operator leaves or the output ends. Returns the input
    /// after that.
    fn run(
        &mut self,
        terminal: &Terminal,
        pending: &[u8],
        woken: &UnixStream,
    ) -> anyhow::Result<Vec<u8>> {
        if let Some(rest) = self.take(pending) {
            return Ok(rest);
        }
        loop {
            self.receive_all()?;
            self.report_shown();
            if let Some(why) = &self.ended
                && self.display.is_empty()
            {
                let number = self.wanted.number;
                let text = format!(
                    "\r\n## #instance {number}: {why}; press Enter to leave its console## #"
                );
                self.keyboard.await_enter(terminal, &text)?;
                return Ok(Vec::new());
            }
            let ready = self.wait(terminal, woken);
            if ready.is_woken {
                drain(woken);
                self.send_size();
            }
            if ready.has_paused {
                let typed = self.keyboard.pause();
                if self.act(typed) {
                    return Ok(Vec::new());
                }
            }
            if ready.has_input {
                let bytes = terminal.input().read(4096)?;
                if bytes.is_empty() {
                    let typed = self.keyboard.finish();
                    self.act(typed);
                    return Ok(Vec::new());
                }
                if let Some(rest) = self.take(&bytes) {
                    return Ok(rest);
                }
            }
        }
    }

    /// Waits for input, output or a change of the terminal's size.
    fn wait(&self, terminal: &Terminal, woken: &UnixStream) -> Ready {
        let timeout = match self.keyboard.awaits_pause() {
            true => PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::MAX),
            false => PollTimeout::NONE,
        };
        let has_room = self.typed - self.handled < MAX_TYPED;
        let input = if has_room {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        // The output has ended: only the terminal matters.
        let output = if self.ended.is_none() {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        let mut ready = [
            PollFd::new(terminal.input().as_fd(), input),
            PollFd::new(self.link.socket.as_fd(), output),
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
        ];
        let count = poll(&mut ready, timeout).unwrap_or(-1);
        let is_ready = |at: usize| count > 0 && ready[at].any() == Some(true);
        Ready {
            has_paused: count == 0,
            has_input: is_ready(0),
            is_woken: is_ready(2),
        }
    }

    /// Handles what the server has sent.
    fn receive_all(&mut self) -> anyhow::Result<()> {
        while self.ended.is_none() {
            match self.link.receive(Duration::ZERO)? {
                Incoming::Output(bytes, position) => self.take_output(&bytes, position),
                Incoming::Message(message) => self.take_message(message)?,
                Incoming::Nothing => return Ok(()),
                Incoming::Closed => self.reconnect(),
            }
        }
        Ok(())
    }

    fn take_output(&mut self, bytes: &[u8], position: Option<u64>) {
        if let Some(dropped) = &mut self.dropped {
            *dropped += bytes.len() as u64;
            return;
        }
        self.has_new_line |= bytes.contains(&b'\n');
        self.modes.feed(bytes);
        self.display.show(bytes, position);
    }

    fn take_message(&mut self, message: FromServer) -> anyhow::Result<()> {
        match message {
            FromServer::Missed(bytes) => {
                self.note(&format!("{bytes} bytes were dropped and are not shown"));
            }
            FromServer::Skipped(bytes) => {
                let dropped = self.dropped.take().unwrap_or(0);
                self.note(&format!("{} bytes were skipped", bytes + dropped));
            }
            FromServer::TakenBy(holder) => {
                self.mode = Mode::View;
                self.note(&format!(
                    "{} (process {}) has taken the console; you only watch now",
                    holder.user, holder.pid
                ));
            }
            FromServer::Typed(bytes) => self.handled = bytes.min(self.typed),
            FromServer::Refused(_) => self.display.show(b"\x07", None),
            FromServer::Ended(end) => {
                self.ended = Some(match end.detail {
                    Some(detail) => format!("{}: {detail}", end.state),
                    None => end.state,
                });
            }
            FromServer::Error(fault) => return Err(fault.into()),
            FromServer::Opened(_)
            | FromServer::At(_)
            | FromServer::Restarted(_)
            | FromServer::Idle(_) => {}
        }
        Ok(())
    }

    /// Shows a line of KMON's own.
    fn note(&self, what: &str) {
        self.display
            .show(format!("\r\n[kmon: {what}]\r\n").as_bytes(), None);
    }

    /// Continues with the next server (S4).
    fn reconnect(&mut self) {
        let begun = Instant::now();
        self.dropped = None;
        let received = self
            .link
            .position()
            .map_or(self.wanted.from, Start::Position);
        let wanted = Wanted {
            mode: self.mode,
            from: received,
            ..self.wanted.clone()
        };
        loop {
            match Link::open(self.client, &wanted) {
                Ok(link) => {
                    self.link = link;
                    (self.typed, self.handled) = (0, 0);
                    self.note("the server had ended; continuing with another one");
                    return;
                }
                // Its instances are being found.
                Err(error) if begun.elapsed() < patience(&error) => {
                    std::thread::sleep(RETRY);
                }
                Err(error) => {
                    self.ended = Some(format!("{error:#}"));
                    return;
                }
            }
        }
    }

    fn report_shown(&mut self) {
        let shown = self.display.shown().position;
        if let Some(position) = shown
            && shown > self.reported
            && self.ended.is_none()
        {
            self.reported = shown;
            self.link.send(&FromClient::Shown(position));
        }
    }

    /// Handles typed bytes. If they leave the console, returns the bytes after that.
    fn take(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if std::mem::take(&mut self.has_new_line) {
            self.keyboard.note_new_line();
        }
        let (typed, rest) = self.keyboard.take(bytes, self.modes.alternate());
        self.act(typed).then_some(rest)
    }

    /// Sends keys, and returns true if the operator leaves.
    fn act(&mut self, typed: Typed) -> bool {
        if !typed.echo.is_empty() {
            self.display.show(&typed.echo, None);
        }
        if !typed.keys.is_empty() {
            match self.mode {
                Mode::Write => self.send(&typed.keys),
                Mode::View => self.display.show(b"\x07", None),
            }
        }
        typed.leaves
    }

    fn send(&mut self, keys: &[u8]) {
        self.typed += keys.len() as u64;
        self.link.type_bytes(keys);
        if keys.contains(&0x03) && self.display.waiting() > FLOOD && self.dropped.is_none() {
            self.dropped = Some(self.display.drop_waiting() as u64);
            self.link.send(&FromClient::Skip(true));
        }
    }

    /// Sends the terminal's size if it has changed.
    fn send_size(&mut self) {
        let size = terminal::size();
        if size != self.size
            && let Some((rows, columns)) = size
        {
            self.size = size;
            self.link.send(&FromClient::Resize { rows, columns });
        }
    }

    /// Reports what was shown, and closes the connection.
    fn close(mut self) {
        self.report_shown();
        self.link.socket.close();
    }
}

/// What a wait has found.
struct Ready {
    has_paused: bool,
    has_input: bool,
    is_woken: bool,
}

fn drain(mut woken: &UnixStream) {
    let mut bytes = [0; 64];
    while matches!(woken.read(&mut bytes), Ok(1..)) {}
}
