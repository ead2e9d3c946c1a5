//! The console: runs a login shell on a terminal, starts a new one when it ends, and sends its
//! output.
//!
//! - **K1** One thread, [`Console::run`], starts and reaps the shell, and reads the terminal unless
//!   the terminal is lent to the command loop. This thread may wait for room in the outlet; the
//!   other functions here never wait.
//! - **K2** `unsent` is set before output is read and cleared after it was sent. So if the terminal
//!   has no output and `unsent` is false afterwards, all was sent.
//! - **K3** A thread that reads the terminal holds the lock of its [`OutputBuffer`] until the bytes
//!   are sent or left in the buffer. So output is sent in the order in which it was printed.

use std::io;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use kmon_protocol::Event;
use kmon_protocol::link::EventSender;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, poll};

use crate::account::Account;
use crate::children::{Children, OwnChild, is_readable, reason, shell_status};
use crate::outlet::Outlet;
use crate::pty::{Pty, Size};
use crate::waker::Waker;

/// A shell that ran shorter than this is not replaced immediately.
const SHORT_RUN: Duration = Duration::from_secs(1);
/// Pause before the next shell after a short run or a failed start.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long the last output of a shell that ended may take to reach the master.
const LAST_OUTPUT: Duration = Duration::from_millis(20);
/// Reads of last output. They read more than a terminal holds, so only output of a background job
/// is left out.
const LAST_READS: usize = 64;
/// Time without input or output after which the shell counts as waiting: longer
/// than typed bytes take to the shell and the shell takes to start a program.
const QUIET: Duration = Duration::from_millis(100);
/// Where in the kernel a shell sleeps while it waits for a program: for its exit, for its output (a
/// command substitution), or for its signal.
const BUSY_WCHANS: [&str; 3] = ["do_wait", "pipe", "sigsuspend"];
/// What the kernel reports for a process that does not sleep, or if it never reports places.
const NO_WCHAN: &str = "0";
/// How long the session may take to end by itself at a halt.
const GRACE: Duration = Duration::from_millis(500);

/// One shell with its terminal.
pub(crate) struct Session {
    pub(crate) pty: Pty,
    shell: Pid,
    /// Counts the shells, so that input for one never reaches the next.
    pub(crate) number: u64,
    /// The kernel has reported a place where the shell slept; some kernels report none.
    kernel_reports_wchans: AtomicBool,
    /// The command loop reads the terminal.
    lent: AtomicBool,
    output: Mutex<OutputBuffer>,
}

/// Output between the terminal and the outlet.
struct OutputBuffer {
    buffer: Vec<u8>,
    /// Bytes that were read but not sent yet.
    held: usize,
    /// The shell has ended: only the console's own thread reads the rest.
    is_over: bool,
}

/// The console and its current shell.
pub(crate) struct Console {
    account: Account,
    children: Arc<Children>,
    outlet: Arc<Outlet>,
    state: Mutex<State>,
    unsent: AtomicBool,
    ending: AtomicBool,
    /// Wakes the console's thread after the terminal was lent or returned.
    handed: Waker,
}

struct State {
    size: Size,
    session: Option<Arc<Session>>,
    last_output: Instant,
}

impl Console {
    pub(crate) fn new(
        account: Account,
        children: Arc<Children>,
        outlet: Arc<Outlet>,
    ) -> io::Result<Self> {
        let state = State {
            size: Size::default(),
            session: None,
            last_output: Instant::now(),
        };
        Ok(Self {
            account,
            children,
            outlet,
            state: Mutex::new(state),
            unsent: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            handed: Waker::new()?,
        })
    }

    /// Runs one shell after another until [`Console::hang_up`].
    pub(crate) fn run(&self) {
        for number in 0.. {
            let started = Instant::now();
            match self.start(number) {
                Ok((session, shell)) => {
                    self.run_session(&session, &shell);
                    self.state().session = None;
                    let status = shell.reap().map_or(-1, shell_status);
                    if !self.is_ending() {
                        self.outlet.post(Event::ShellRestarted { status });
                    }
                }
                Err(error) => self.report_error(&error),
            }
            if self.is_ending() {
                return;
            }
            if started.elapsed() < SHORT_RUN {
                thread::sleep(BACK_OFF);
            }
        }
    }

    /// Sets the size of this terminal and of later ones.
    pub(crate) fn resize(&self, size: Size) {
        let mut state = self.state();
        state.size = size;
        if let Some(session) = &state.session
            && let Err(error) = session.pty.resize(size)
        {
            crate::log(format_args!("cannot resize the console: {error}"));
        }
    }

    /// Returns the session of the current shell, if one runs.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.state().session.clone()
    }

    /// Lends the terminal of the current shell to the command loop, if a shell runs.
    pub(crate) fn borrow(&self) -> Option<Arc<Session>> {
        let session = self.session()?;
        if !session.lent.swap(true, Ordering::AcqRel) {
            self.handed.wake();
        }
        Some(session)
    }

    /// Takes `session`'s terminal back from the command loop.
    pub(crate) fn take_back(&self, session: &Session) {
        session.lent.store(false, Ordering::Release);
        self.handed.wake();
    }

    /// Reads the lent terminal once and sends the output, without waiting for room.
    pub(crate) fn send_lent_output(&self, session: &Session) {
        // Not while the console's own thread has the lock: it may be waiting for room.
        if let Some(mut output) = session.try_output()
            && !output.is_over
        {
            self.read_and_send(session, &mut output, |event, len| {
                self.outlet.offer(event, len)
            });
        }
    }

    /// Returns true if the shell waits for a command and all its output was sent.
    pub(crate) fn is_idle(&self) -> bool {
        let Some(session) = self.session() else {
            return false;
        };
        session.is_waiting()
            && !session.pty.has_output()
            && !self.unsent.load(Ordering::Acquire)
            && self.state().last_output.elapsed() >= QUIET
    }

    /// Ends the shell and its programs, in little more than [`GRACE`].
    pub(crate) fn hang_up(&self) {
        self.ending.store(true, Ordering::Release);
        let Some(session) = self.session() else {
            return;
        };
        for pid in session.members() {
            let _ = kill(pid, Signal::SIGHUP);
            let _ = kill(pid, Signal::SIGCONT); // A stopped job would not receive SIGHUP.
        }
        let deadline = Instant::now() + GRACE;
        while self.session().is_some() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        if self.session().is_some() {
            let _ = killpg(session.shell, Signal::SIGKILL);
        }
    }

    fn start(&self, number: u64) -> io::Result<(Arc<Session>, OwnChild)> {
        let size = self.state().size;
        let pty = Pty::open(size)?;
        let mut command = self.account.login_shell();
        command
            .stdin(pty.terminal()?)
            .stdout(pty.terminal()?)
            .stderr(Stdio::from(pty.terminal()?));
        self.account.prepare(&mut command, || {
            rustix::process::setsid()?;
            Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
        });
        let shell = self.children.start(&mut command)?;
        let session = Arc::new(Session {
            pty,
            shell: shell.pid(),
            number,
            kernel_reports_wchans: AtomicBool::new(false),
            lent: AtomicBool::new(false),
            output: Mutex::new(OutputBuffer {
                buffer: vec![0; EventSender::MAX_BODY],
                held: 0,
                is_over: false,
            }),
        });
        let mut state = self.state();
        // The size may have changed while the shell was started. On an error it keeps the old size.
        let _ = session.pty.resize(state.size);
        state.session = Some(Arc::clone(&session));
        drop(state);
        Ok((session, shell))
    }

    fn run_session(&self, session: &Session, shell: &OwnChild) {
        let exit = shell.exit();
        let watched = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        loop {
            let is_own = !session.lent.load(Ordering::Acquire);
            if is_own && session.holds_output() {
                self.send_waiting(session);
            }
            let terminal = is_own.then(|| session.pty.master());
            let always = [exit.as_fd(), self.handed.as_fd()];
            let mut list: Vec<_> = always.into_iter().chain(terminal).map(watched).collect();
            let _ = poll(&mut list, None);
            let is_ready = |at| {
                let found: Option<&PollFd<'_>> = list.get(at);
                found.is_some_and(|found| !found.revents().is_empty())
            };
            let [ended, handed, readable] = [0, 1, 2].map(is_ready);
            if ended {
                break;
            }
            if handed {
                self.handed.take();
            }
            if readable {
                self.send_waiting(session);
            }
        }
        session.output().is_over = true;
        for _ in 0..LAST_READS {
            if !session.has_output_within(LAST_OUTPUT) || !self.send_waiting(session) {
                break;
            }
        }
    }

    /// Reads once and sends the output, waiting for room. Returns false if there was none.
    fn send_waiting(&self, session: &Session) -> bool {
        self.read_and_send(session, &mut session.output(), |event, len| {
            self.outlet.output(event, len);
            true
        })
    }

    /// Reads once, unless earlier bytes are not sent yet, and calls `send`, which returns whether
    /// it has sent them. Returns false if there was no output.
    fn read_and_send(
        &self,
        session: &Session,
        output: &mut OutputBuffer,
        send: impl FnOnce(&Event<'_>, usize) -> bool,
    ) -> bool {
        if output.held == 0 {
            self.unsent.store(true, Ordering::Release); // K2
            output.held = session.pty.read(&mut output.buffer).unwrap_or(0);
        }
        let len = output.held;
        if len > 0 {
            if !send(&Event::Output(&output.buffer[..len]), len) {
                return true; // K3
            }
            output.held = 0;
            self.state().last_output = Instant::now();
        }
        self.unsent.store(false, Ordering::Release);
        len > 0
    }

    fn report_error(&self, error: &io::Error) {
        let line = format!("cannot start the console's shell: {}", reason(error));
        crate::log(&line);
        let line = format!("guestd: {line}\r\n");
        self.outlet
            .output(&Event::Output(line.as_bytes()), line.len());
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Returns true if the command loop may read: not before earlier bytes are sent, not while the
    /// console's own thread has the lock, and not after the shell's end.
    pub(crate) fn is_readable_by_loop(&self) -> bool {
        let output = self.try_output();
        output.is_some_and(|output| output.held == 0 && !output.is_over)
    }

    /// Returns true if bytes were read but not sent yet.
    fn holds_output(&self) -> bool {
        self.output().held > 0
    }

    fn try_output(&self) -> Option<MutexGuard<'_, OutputBuffer>> {
        match self.output.try_lock() {
            Ok(output) => Some(output),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Returns true if there is output, read or not, or if some arrives within `timeout`.
    fn has_output_within(&self, timeout: Duration) -> bool {
        self.holds_output() || is_readable(self.pty.master(), Some(timeout))
    }

    fn output(&self) -> MutexGuard<'_, OutputBuffer> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if the shell is in the foreground, has read all input, and sleeps.
    fn is_waiting(&self) -> bool {
        self.pty.foreground() == Some(self.shell)
            && !self.pty.has_unread_input()
            && self.shell_sleeps().unwrap_or(true)
    }

    /// Returns true if the shell sleeps, but not to wait for a program that it started; `None` if
    /// `/proc` does not show this.
    fn shell_sleeps(&self) -> Option<bool> {
        let shell = Process::new(self.shell.as_raw()).ok()?;
        let sleeps = || Some(shell.status().ok()?.voluntary_ctxt_switches);
        // The place belongs to the current sleep only if no other sleep began meanwhile. A shell
        // that has just woken is in no place, and not waiting.
        let before = sleeps()?;
        let place = shell.wchan().ok()?;
        let asleep = shell.stat().ok()?.state == 'S';
        let busy = BUSY_WCHANS.iter().any(|busy| place.contains(busy));
        // A process that is about to sleep counts as sleeping, but has no place yet.
        let has_place = place != NO_WCHAN;
        let reports_places = self
            .kernel_reports_wchans
            .fetch_or(has_place, Ordering::Relaxed);
        Some(asleep && !busy && (has_place || !reports_places) && sleeps()? == before)
    }

    /// Returns every process of the session; without `/proc` only the shell.
    fn members(&self) -> Vec<Pid> {
        let mut members = vec![self.shell];
        for process in procfs::process::all_processes()
            .into_iter()
            .flatten()
            .flatten()
        {
            if process.pid != self.shell.as_raw()
                && process
                    .stat()
                    .is_ok_and(|stat| stat.session == self.shell.as_raw())
            {
                members.push(Pid::from_raw(process.pid));
            }
        }
        members
    }
}
