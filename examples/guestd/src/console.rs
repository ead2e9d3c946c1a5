//! The console: a login shell on a terminal, its output, and a new one when it ends.
//!
//! - **K1** One thread, [`Console::run`], starts the shell, reads the terminal and
//!   buries the shell. It may wait for the outlet; the others here never do.
//! - **K2** `unsent` is set before output is read and cleared after it was sent,
//!   so "no output in the terminal, then `unsent` false" means that all was sent.

use std::io;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// A shell that lived shorter than this is not replaced at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// Wait before the next shell after a short life or a failed start.
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
}

/// The console's shell, whichever it is now.
pub(crate) struct Console {
    account: Account,
    children: Arc<Children>,
    outlet: Arc<Outlet>,
    state: Mutex<State>,
    unsent: AtomicBool,
    ending: AtomicBool,
}

struct State {
    size: Size,
    session: Option<Arc<Session>>,
    last_output: Instant,
}

impl Console {
    pub(crate) fn new(account: Account, children: Arc<Children>, outlet: Arc<Outlet>) -> Self {
        let state = State {
            size: Size::default(),
            session: None,
            last_output: Instant::now(),
        };
        Self {
            account,
            children,
            outlet,
            state: Mutex::new(state),
            unsent: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        }
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
            if started.elapsed() < SHORT_LIFE {
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
        let mut buffer = vec![0; EventSender::MAX_BODY];
        let exit = shell.exit();
        loop {
            let mut list = [
                PollFd::from_borrowed_fd(session.pty.master(), PollFlags::IN),
                PollFd::from_borrowed_fd(exit.as_fd(), PollFlags::IN),
            ];
            let _ = poll(&mut list, None);
            let (readable, ended) = (!list[0].revents().is_empty(), !list[1].revents().is_empty());
            if ended {
                break;
            }
            if readable {
                self.pass_once(session, &mut buffer);
            }
        }
        for _ in 0..LAST_READS {
            if !is_readable(session.pty.master(), Some(LAST_OUTPUT))
                || !self.pass_once(session, &mut buffer)
            {
                break;
            }
        }
    }

    /// Reads once and sends it; false if there was nothing.
    fn pass_once(&self, session: &Session, buffer: &mut [u8]) -> bool {
        self.unsent.store(true, Ordering::Release); // K2
        let len = session.pty.read(buffer).unwrap_or(0);
        if len > 0 {
            self.outlet.output(&Event::Output(&buffer[..len]), len);
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
