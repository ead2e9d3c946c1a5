//! One terminal in the guest, over any device.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::transcript::Transcript;

/// Time limit for QEMU to create a socket.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time without output after which missing bytes count as lost. QEMU drops the output of a
/// virtio console while the reader of its socket is too slow.
const SILENCE: Duration = Duration::from_secs(5);
/// Bytes of one read: as many as one event holds.
const READ: usize = 16 << 10;

/// The result of sending a text.
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    /// Bytes that did not arrive.
    pub(crate) lost: usize,
}

/// Sends input to the terminal.
type Typing = dyn FnMut(&[u8]) -> Result<()>;

/// A terminal, with a program that answers lines.
pub(crate) struct Terminal {
    pub(crate) name: &'static str,
    send: Box<Typing>,
    transcript: Arc<Transcript>,
    /// The number of the process that answers.
    pub(crate) answerer: i32,
}

impl Terminal {
    pub(crate) fn new(
        name: &'static str,
        transcript: Arc<Transcript>,
        send: impl FnMut(&[u8]) -> Result<()> + 'static,
    ) -> Self {
        Self {
            name,
            send: Box::new(send),
            transcript,
            answerer: 0,
        }
    }

    /// Creates a terminal for a character device that QEMU connects to a socket.
    pub(crate) fn from_socket(name: &'static str, path: &Path) -> Result<Self> {
        let mut to = connect(path)?;
        let mut from = to.try_clone()?;
        let transcript = Arc::new(Transcript::default());
        let own = Arc::clone(&transcript);
        thread::spawn(move || {
            let mut buffer = vec![0; READ];
            loop {
                match from.read(&mut buffer) {
                    Ok(len @ 1..) => own.note(|state| {
                        state.console.extend_from_slice(&buffer[..len]);
                        state.at = Some(Instant::now());
                    }),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    _ => return own.note(|state| state.broken = Some("QEMU closed it".into())),
                }
            }
        });
        Ok(Self::new(name, transcript, move |bytes| {
            Ok(to.write_all(bytes)?)
        }))
    }

    /// Waits until the answering program is ready, and asks for its process number.
    pub(crate) fn wait_for_answerer(&mut self) -> Result<()> {
        self.transcript.wait("answering program", |state| {
            let at = find(&state.console, b"serving\n")?;
            state.console.drain(..at + 8);
            Some(())
        })?;
        (self.send)(b"pid\n")?;
        let line = self.line("process number")?;
        let number = line.trim().parse();
        self.answerer = number.with_context(|| format!("{line:?} is not a process number"))?;
        Ok(())
    }

    /// Measures the time from a line to the last byte of its answer.
    pub(crate) fn round_trip(&mut self, line: &[u8]) -> Result<Duration> {
        let sent = Instant::now();
        (self.send)(line)?;
        let (answer, at) = self.take(line.len())?;
        ensure!(
            answer == line,
            "{}: the answer differs from the line",
            self.name
        );
        Ok(at - sent)
    }

    /// Measures the time that `text` takes, in writes of `size` bytes.
    pub(crate) fn flood(&mut self, text: &[u8], size: usize) -> Result<Outcome> {
        (self.send)(format!("flood {} {size}\n", text.len()).as_bytes())?;
        let ready = self.line("ready")?;
        ensure!(ready == "ready\n", "{}: {ready:?} is not ready", self.name);
        let sent = Instant::now();
        (self.send)(b"go\n")?;
        let (received, at) = self.take_all(text.len())?;
        let is_whole = received.len() == text.len();
        ensure!(
            !is_whole || received == text,
            "{}: the text differs",
            self.name
        );
        Ok(Outcome {
            took: at - sent,
            lost: text.len() - received.len(),
        })
    }

    /// Takes up to `len` bytes. Returns them, and the time at which the last of them arrived.
    fn take_all(&self, len: usize) -> Result<(Vec<u8>, Instant)> {
        self.transcript.wait("text", |state| {
            let at = state.at?;
            let is_done = state.console.len() >= len || at.elapsed() > SILENCE;
            is_done.then(|| (std::mem::take(&mut state.console), at))
        })
    }

    fn line(&self, what: &str) -> Result<String> {
        self.transcript.wait(what, |state| {
            let at = find(&state.console, b"\n")?;
            let line: Vec<_> = state.console.drain(..=at).collect();
            Some(String::from_utf8_lossy(&line).into_owned())
        })
    }

    /// Takes the next `len` bytes. Returns them, and the time at which the last of them arrived.
    fn take(&self, len: usize) -> Result<(Vec<u8>, Instant)> {
        self.transcript.wait("answer", |state| {
            let at = state.at.filter(|_| state.console.len() >= len)?;
            Some((state.console.drain(..len).collect(), at))
        })
    }
}

fn connect(path: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(error) => {
                let path = path.display();
                return Err(error).with_context(|| format!("cannot connect to {path}"));
            }
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
