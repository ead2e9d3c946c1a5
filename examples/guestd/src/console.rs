//! The console: a login shell on a terminal, its output, and a new one when it ends.
//!
//! - **K1** One thread, [`Console::run`], starts the shell and buries it, and reads the terminal
//!   unless it is lent to the command loop. It may wait for room in the outlet; the others here
//!   never do.
//! - **K2** `unsent` is set before output is read and cleared after it was sent,
//!   so "no output in the terminal, then `unsent` false" means that all was sent.
//! - **K3** Whoever reads the terminal has its [`Passage`] until what was read is sent, or is
//!   left there: it leaves in the order in which it was printed.

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

/// A shell that lived shorter than this is not replaced at once.
const SHORT_INCARNATION: Duration = Duration::from_secs(1);
/// Wait before the next shell after a short incarnation or a failed start.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long the last output of a shell that ended may take from its side of the terminal to ours.
const LAST_OUTPUT: Duration = Duration::from_millis(20);
/// Reads of last output; more than a terminal holds, so only a background job prints on.
const LAST_READS: usize = 64;
/// Time without input or output after which the shell counts as waiting: longer
/// than typed bytes take to the shell and the shell takes to start a program.
const QUIET: Duration = Duration::from_millis(100);
/// Where in the kernel a shell sleeps that awaits a program it started: for its
/// exit, for its output (a command substitution), for its signal.
const BUSY_PLACES: [&str; 3] = ["do_wait", "pipe", "sigsuspend"];
/// What the kernel tells of a process that does not sleep, and where it tells no place.
const NO_PLACE: &str = "0";
/// Time that the session has to end by itself at a halt.
const GRACE: Duration = Duration::from_millis(500);

/// One shell with its terminal.
pub(crate) struct Session {
    pub(crate) pty: Pty,
    shell: Pid,
    /// Counts the shells, so that input for one never reaches the next.
    pub(crate) number: u64,
    /// Whether the kernel has told a place where the shell slept: some tell none.
    tells_places: AtomicBool,
    /// Whether the command loop reads the terminal.
    lent: AtomicBool,
    passage: Mutex<Passage>,
}

/// Output between the terminal and the outlet.
struct Passage {
    buffer: Vec<u8>,
    /// Bytes that were read and not sent yet.
    held: usize,
    /// The shell has ended: what is left is for the console's own thread.
    is_over: bool,
}

/// The console's shell, whichever it is now.
pub(crate) struct Console {
    account: Account,
    children: Arc<Children>,
    outlet: Arc<Outlet>,
    state: Mutex<State>,
    unsent: AtomicBool,
    ending: AtomicBool,
    /// Wakes the console's thread: the terminal was lent, or given back.
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

    /// Runs one shell after the other until [`Console::hang_up`].
    pub(crate) fn run(&self) {
        for number in 0.. {
            let started = Instant::now();
            match self.start(number) {
                Ok((session, shell)) => {
                    self.pass_output(&session, &shell);
                    self.state().session = None;
                    let status = shell.bury().map_or(-1, shell_status);
                    if !self.is_ending() {
                        self.outlet.post(Event::ShellRestarted { status });
                    }
                }
                Err(error) => self.complain(&error),
            }
            if self.is_ending() {
                return;
            }
            if started.elapsed() < SHORT_INCARNATION {
                thread::sleep(BACK_OFF);
            }
        }
    }

    /// Sets the size of this terminal and of those to come.
    pub(crate) fn resize(&self, size: Size) {
        let mut state = self.state();
        state.size = size;
        if let Some(session) = &state.session
            && let Err(error) = session.pty.resize(size)
        {
            crate::log(format_args!("cannot resize the console: {error}"));
        }
    }

    /// The shell that input goes to, if one runs.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.state().session.clone()
    }

    /// Lends the terminal of the shell that runs, if one does, to who calls.
    pub(crate) fn borrow(&self) -> Option<Arc<Session>> {
        let session = self.session()?;
        if !session.lent.swap(true, Ordering::AcqRel) {
            self.handed.wake();
        }
        Some(session)
    }

    /// Ends the console_pump of `session`'s terminal.
    pub(crate) fn give_back(&self, session: &Session) {
        session.lent.store(false, Ordering::Release);
        self.handed.wake();
    }

    /// Reads the lent terminal once and sends that, without waiting for room.
    pub(crate) fn pass_lent(&self, session: &Session) {
        // Not while the console's own thread is at it, which may be waiting.
        if let Some(mut passage) = session.try_passage()
            && !passage.is_over
        {
            self.pass(session, &mut passage, |event, len| {
                self.outlet.offer(event, len)
            });
        }
    }

    /// Whether the shell waits for a command and all that it printed was sent.
    pub(crate) fn is_idle(&self) -> bool {
        let Some(session) = self.session() else {
            return false;
        };
        session.is_waiting()
            && !session.pty.has_output()
            && !self.unsent.load(Ordering::Acquire)
            && self.state().last_output.elapsed() >= QUIET
    }

    /// Ends the shell and what it started, in at most a little over [`GRACE`].
    pub(crate) fn hang_up(&self) {
        self.ending.store(true, Ordering::Release);
        let Some(session) = self.session() else {
            return;
        };
        for pid in session.members() {
            let _ = kill(pid, Signal::SIGHUP);
            let _ = kill(pid, Signal::SIGCONT); // a stopped job would not see it
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
            tells_places: AtomicBool::new(false),
            lent: AtomicBool::new(false),
            passage: Mutex::new(Passage {
                buffer: vec![0; EventSender::MAX_BODY],
                held: 0,
                is_over: false,
            }),
        });
        let mut state = self.state();
        // A new size may have come while the shell was being started. At worst
        // the shell has the old one.
        let _ = session.pty.resize(state.size);
        state.session = Some(Arc::clone(&session));
        drop(state);
        Ok((session, shell))
    }

    fn pass_output(&self, session: &Session, shell: &OwnChild) {
        let exit = shell.exit();
        let watched = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        loop {
            let is_own = !session.lent.load(Ordering::Acquire);
            if is_own && session.holds_output() {
                self.pass_waiting(session);
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
                self.pass_waiting(session);
            }
        }
        session.passage().is_over = true;
        for _ in 0..LAST_READS {
            if !session.has_output_within(LAST_OUTPUT) || !self.pass_waiting(session) {
                break;
            }
        }
    }

    /// Reads once and sends that, waiting for room; false if there was nothing.
    fn pass_waiting(&self, session: &Session) -> bool {
        self.pass(session, &mut session.passage(), |event, len| {
            self.outlet.output(event, len);
            true
        })
    }

    /// Reads once, unless what was read before has still to be sent, and lets `send` send it,
    /// which says whether it did; false if there was nothing.
    fn pass(
        &self,
        session: &Session,
        passage: &mut Passage,
        send: impl FnOnce(&Event<'_>, usize) -> bool,
    ) -> bool {
        if passage.held == 0 {
            self.unsent.store(true, Ordering::Release); // K2
            passage.held = session.pty.read(&mut passage.buffer).unwrap_or(0);
        }
        let len = passage.held;
        if len > 0 {
            if !send(&Event::Output(&passage.buffer[..len]), len) {
                return true; // K3
            }
            passage.held = 0;
            self.state().last_output = Instant::now();
        }
        self.unsent.store(false, Ordering::Release);
        len > 0
    }

    fn complain(&self, error: &io::Error) {
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
    /// Whether the loop may read on: not before what was read has left, not while the console's
    /// own thread is at it, and not behind the shell's end.
    pub(crate) fn is_lendable(&self) -> bool {
        let passage = self.try_passage();
        passage.is_some_and(|passage| passage.held == 0 && !passage.is_over)
    }

    /// Whether output that was read has still to be sent.
    fn holds_output(&self) -> bool {
        self.passage().held > 0
    }

    fn try_passage(&self) -> Option<MutexGuard<'_, Passage>> {
        match self.passage.try_lock() {
            Ok(passage) => Some(passage),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether there is output, read or not, or comes within `timeout`.
    fn has_output_within(&self, timeout: Duration) -> bool {
        self.holds_output() || is_readable(self.pty.master(), Some(timeout))
    }

    fn passage(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shell itself is in the foreground, has read all input, and sleeps.
    fn is_waiting(&self) -> bool {
        self.pty.foreground() == Some(self.shell)
            && !self.pty.has_unread_input()
            && self.shell_sleeps().unwrap_or(true)
    }

    /// Whether it sleeps, other than for a program that it started; none where
    /// `/proc` does not tell.
    fn shell_sleeps(&self) -> Option<bool> {
        let shell = Process::new(self.shell.as_raw()).ok()?;
        let sleeps = || Some(shell.status().ok()?.voluntary_ctxt_switches);
        // The place is that of the sleep it is in only if no sleep began
        // meanwhile: a shell that has just woken is in none, and not waiting.
        let before = sleeps()?;
        let place = shell.wchan().ok()?;
        let asleep = shell.stat().ok()?.state == 'S';
        let busy = BUSY_PLACES.iter().any(|busy| place.contains(busy));
        // One that is about to sleep counts as asleep, and is in no place yet.
        let is_told = place != NO_PLACE;
        let tells = self.tells_places.fetch_or(is_told, Ordering::Relaxed);
        Some(asleep && !busy && (is_told || !tells) && sleeps()? == before)
    }

    /// Every process of the session; without `/proc` the shell at least.
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
