//! The connection to QEMU, kept by a thread.
//!
//! - **Q1** Only the thread reads. It changes the state in the order of QEMU's messages, so
//!   that a caller that has the answer to a command sees the state after it.
//! - **Q2** No thread holds the state's lock while it waits for QEMU.
//! - **Q3** The thread ends with its [`Monitor`], or with the process.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::event::{Event, Off, Status};
use crate::process::Process;
use crate::qmp::{self, Lines, Message, QmpError};

/// Time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);
/// The largest number of unread events; the oldest are dropped.
const EVENTS: usize = 64;

pub(crate) struct Monitor(Arc<Shared>);

struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while a command is written.
    writer: Mutex<()>,
}

struct State {
    /// The [`Monitor`] was dropped.
    closed: bool,
    /// QEMU has ended, and all its messages were read.
    done: bool,
    stream: Option<Arc<UnixStream>>,
    status: Status,
    events: VecDeque<Event>,
    next: u64,
    /// Commands that a caller waits for, with their answers.
    answers: BTreeMap<u64, Option<Result<Value, String>>>,
}

impl Monitor {
    /// Starts the thread, which connects as soon as QEMU accepts.
    pub(crate) fn connect(path: &Path, process: Arc<Process>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            state: Mutex::new(State {
                closed: false,
                done: false,
                stream: None,
                status: Status::Starting,
                events: VecDeque::new(),
                next: 0,
                answers: BTreeMap::new(),
            }),
            changed: Condvar::new(),
            writer: Mutex::new(()),
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("qmp".to_owned());
        thread.spawn(move || own.keep(&process))?;
        Ok(Self(shared))
    }

    pub(crate) fn status(&self) -> Status {
        self.0.lock().status
    }

    /// Returns true if QEMU has ended, and all its messages were read.
    pub(crate) fn is_done(&self) -> bool {
        self.0.lock().done
    }

    pub(crate) fn next_event(&self) -> Option<Event> {
        self.0.lock().events.pop_front()
    }

    /// Waits until QEMU has reported its state, or has ended.
    pub(crate) fn wait_for_start(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.0.lock();
        while state.status == Status::Starting && !state.done {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.0.wait(state, left);
        }
    }

    /// Sends a command, and waits for its answer up to a deadline.
    pub(crate) fn execute(
        &self,
        command: &'static str,
        arguments: Value,
    ) -> Result<Value, QmpError> {
        let shared = &self.0;
        let deadline = Instant::now() + PATIENCE;
        let (stream, id) = {
            let mut state = shared.lock();
            // Before it reports its state, QEMU accepts no command.
            if state.status == Status::Starting {
                return Err(QmpError::Unconnected);
            }
            let stream = state.stream.clone().ok_or(QmpError::Unconnected)?;
            (stream, state.number(true))
        };
        let written = {
            let _alone = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            qmp::write(&stream, id, command, arguments)
        };
        let mut state = shared.lock();
        if written.is_err() {
            state.answers.remove(&id);
            // A part of the command may be written: the connection cannot be used any more.
            let _ = stream.shutdown(Shutdown::Both);
            return Err(QmpError::Silent { command });
        }
        loop {
            match state.answers.remove(&id) {
                Some(Some(Ok(value))) => return Ok(value),
                Some(Some(Err(reason))) => return Err(QmpError::Refused { command, reason }),
                Some(None) => {}
                None => return Err(QmpError::Unconnected),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(QmpError::Silent { command });
            }
            state.answers.insert(id, None);
            state = shared.wait(state, left);
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        if let Some(stream) = &state.stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Connects repeatedly, until the [`Monitor`] is dropped or QEMU ends.
    fn keep(&self, process: &Process) {
        while !process.has_ended() {
            // The reason why it broke does not matter: it is made again.
            let connected = UnixStream::connect(&self.path);
            let _ = connected.and_then(|stream| self.serve(&Arc::new(stream)));
            let mut state = self.lock();
            let was_connected = state.stream.take().is_some();
            state.answers.clear();
            if was_connected && !state.closed && !process.has_ended() {
                state.happened(Event::Lost);
            }
            self.changed.notify_all();
            if state.closed {
                return;
            }
            drop(self.wait(state, RETRY));
        }
        self.lock().done = true;
        self.changed.notify_all();
    }

    /// Reads QEMU's messages to the end of the connection.
    fn serve(&self, stream: &Arc<UnixStream>) -> io::Result<()> {
        let mut lines = Lines::new(stream.try_clone()?);
        {
            let mut state = self.lock();
            if state.closed {
                return Ok(());
            }
            state.stream = Some(Arc::clone(stream));
        }
        // QEMU's greeting, with its version.
        lines.next()?;
        let number = || self.lock().number(false);
        let first = number();
        qmp::write(stream, first, "qmp_capabilities", Value::Null)?;
        let asked = number();
        qmp::write(stream, asked, "query-status", Value::Null)?;
        loop {
            let message = lines.next()?;
            let mut state = self.lock();
            match message {
                Message::Answer(id, Ok(value)) if id == asked => {
                    state.status = parse_status(&value);
                }
                Message::Answer(id, answer) => {
                    // A caller that gave up has removed its entry.
                    if let Some(waiting) = state.answers.get_mut(&id) {
                        *waiting = Some(answer);
                    }
                }
                Message::Event(event) => state.happened(event),
                Message::Other => continue,
            }
            self.changed.notify_all();
        }
    }
}

impl State {
    /// Returns a number for a command; `awaited` if a caller waits for its answer.
    fn number(&mut self, awaited: bool) -> u64 {
        let id = self.next;
        self.next += 1;
        if awaited {
            self.answers.insert(id, None);
        }
        id
    }

    fn happened(&mut self, event: Event) {
        self.status = match (event, self.status) {
            // Until QEMU reports its state, an event does not determine it.
            (_, Status::Starting) => Status::Starting,
            (Event::Panicked, _) => Status::Panicked,
            (Event::Shutdown(off), _) => Status::Shutdown(off),
            (Event::Stopped, Status::Running) => Status::Paused,
            (Event::Resumed, _) => Status::Running,
            (_, status) => status,
        };
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// Parses the answer to `query-status`.
fn parse_status(value: &Value) -> Status {
    match value["status"].as_str().unwrap_or_default() {
        "running" => Status::Running,
        // `internal-error`: the processor cannot go on, and only a reset helps.
        "guest-panicked" | "internal-error" => Status::Panicked,
        "shutdown" => Status::Shutdown(Off::Host),
        _ => Status::Paused,
    }
}

#[cfg(test)]
mod tests;
