//! Servers, programs and raw clients for tests.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead, BufReader, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use ivshmem_server::{Change, Client, Event, Limits, Running, Server};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use shmem_core::Mapping;
use tempfile::TempDir;

/// Time limit of each wait on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The length of the memory of every server.
pub(crate) const MEMORY: usize = 64 * 1024;

/// A server on a thread, in a directory of its own.
pub(crate) struct Served {
    pub(crate) home: TempDir,
    running: Option<Running>,
    events: Receiver<Event>,
    pub(crate) vectors: u16,
}

/// Starts a server.
pub(crate) fn serve(vectors: u16, peers: u16) -> Served {
    let home = tempfile::tempdir().unwrap();
    let (running, events) = start(&home.path().join("socket"), vectors, peers);
    let running = Some(running);
    Served {
        home,
        running,
        events,
        vectors,
    }
}

fn start(path: &Path, vectors: u16, peers: u16) -> (Running, Receiver<Event>) {
    let memory = Mapping::memfd("served", MEMORY).unwrap();
    let memory = memory.as_fd().try_clone_to_owned().unwrap();
    let server = Server::bind(path, memory, Limits { vectors, peers }).unwrap();
    let (sender, events) = mpsc::channel();
    let report = move |event| sender.send(event).unwrap_or(());
    (server.spawn(report).unwrap(), events)
}

impl Served {
    pub(crate) fn path(&self) -> PathBuf {
        self.home.path().join("socket")
    }

    /// Connects a client of the library.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.path(), self.vectors, PATIENCE).unwrap()
    }

    /// Connects a raw client.
    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(&self.path())
    }

    /// Waits for the first event for which `pick` returns a value.
    pub(crate) fn event<T>(&self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("no such event");
            if let Some(found) = pick(event) {
                return found;
            }
        }
    }

    /// Waits until the server reports that `id` has left. Returns the reason.
    pub(crate) fn left(&self, id: u16) -> String {
        self.event(|event| match event {
            Event::Left { peer, why } if peer == id => Some(why.to_string()),
            _ => None,
        })
    }

    pub(crate) fn stop(&mut self) {
        self.running.take().unwrap().stop().unwrap();
    }
}

/// A client that receives every byte and every descriptor unchanged.
pub(crate) struct Raw(pub(crate) UnixStream);

impl Raw {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Returns the next message, or `None` at the end.
    pub(crate) fn next(&mut self) -> Option<(i64, Option<OwnedFd>)> {
        let mut bytes = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            let mut whole = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut whole, &mut control, RecvFlags::empty()) {
                Ok(got) => break got.bytes,
                Err(Errno::CONNRESET) => break 0,
                // `recvmsg` with a timeout is not restarted after a signal.
                Err(Errno::INTR) => {}
                Err(error) => panic!("{error}"),
            }
        };
        if got == 0 {
            return None;
        }
        assert_eq!(got, 8, "a message is 8 bytes");
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        assert!(descriptors.len() <= 1, "a message has one descriptor");
        Some((i64::from_le_bytes(bytes), descriptors.pop()))
    }

    /// Returns the numbers of the next `count` messages, and whether each has a descriptor.
    pub(crate) fn numbers(&mut self, count: usize) -> Vec<(i64, bool)> {
        let next = |_| {
            let (number, descriptor) = self.next().expect("the server goes on");
            (number, descriptor.is_some())
        };
        (0..count).map(next).collect()
    }
}

/// Waits until `descriptor` is readable.
pub(crate) fn wait_readable(descriptor: &impl AsFd) {
    let timeout = Timespec {
        tv_sec: PATIENCE.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    loop {
        let mut event = [PollFd::new(descriptor, PollFlags::IN)];
        match poll(&mut event, Some(&timeout)) {
            Ok(1) => return,
            Err(Errno::INTR) => {}
            other => panic!("not readable: {other:?}"),
        }
    }
}

/// Returns true if it is readable now.
pub(crate) fn is_readable(descriptor: &impl AsFd) -> bool {
    let now = Timespec::default();
    let mut event = [PollFd::new(descriptor, PollFlags::IN)];
    poll(&mut event, Some(&now)) == Ok(1)
}

/// Waits for an eventfd and reads it. Returns the number of rings.
pub(crate) fn take_rings(bell: &impl AsFd) -> u64 {
    wait_readable(bell);
    let mut count = [0; 8];
    rustix::io::read(bell, &mut count).unwrap();
    u64::from_ne_bytes(count)
}

/// Returns a change as a word for comparisons.
pub(crate) fn word(change: &Change) -> String {
    match change {
        Change::Joined(id) => format!("+{id}"),
        Change::Left(id) => format!("-{id}"),
        Change::Lost(_) => "lost".to_owned(),
    }
}

/// Waits for `count` changes.
pub(crate) fn changes(client: &mut Client, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < count {
        wait_readable(client);
        words.extend(client.update().iter().map(word));
    }
    words
}

/// A program of this package and its output; dropping it kills it.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts the server in the foreground.
    pub(crate) fn server(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ivshmem-server"));
        command.arg("--foreground").args(arguments);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let output = child.stderr.take().unwrap();
        Self::from_child(child, output)
    }

    /// Starts a peer process.
    pub(crate) fn peer(socket: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ivshmem-peer"));
        command.arg("--socket").arg(socket).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        Self::from_child(child, output)
    }

    fn from_child(child: Child, output: impl std::io::Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that contains `part`.
    pub(crate) fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let seen = &mut self.seen;
            let line = line.unwrap_or_else(|_| panic!("no line with {part:?} in {seen:#?}"));
            seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Closes its standard input and waits for its end.
    pub(crate) fn finish(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes bytes that no client sends.
pub(crate) fn send_garbage(stream: &mut UnixStream) {
    // Ignored: the server may close the connection before all is written.
    let _ = stream.write_all(&[0xa5; 100]);
}

/// Repeats `check` until it is true, for conditions without a notification.
pub(crate) fn wait_until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::yield_now();
    }
}

/// Sends a message as a server does.
pub(crate) fn pass_on(stream: &UnixStream, number: i64, descriptor: Option<&OwnedFd>) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let bytes = number.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.iter().map(|one| one.as_fd()).collect();
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let whole = [std::io::IoSlice::new(&bytes)];
    sendmsg(stream, &whole, &mut control, SendFlags::empty()).unwrap();
}
