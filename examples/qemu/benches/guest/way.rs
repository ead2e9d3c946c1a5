//! One way to a terminal in the guest, whatever it goes through.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::heard::Heard;

/// How long QEMU may take to make a socket.
const PATIENCE: Duration = Duration::from_secs(5);
/// What has not come when nothing came for so long is lost: QEMU drops what a virtio console
/// says while the other side of its socket is behind.
const SILENCE: Duration = Duration::from_secs(5);
/// Bytes of one read: as much as one event has.
const READ: usize = 16 << 10;

/// What becomes of a text.
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    /// Bytes that never came out.
    pub(crate) lost: usize,
}

/// Types into the terminal.
type Typing = dyn FnMut(&[u8]) -> Result<()>;

/// A terminal, with a program behind it that answers lines.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    send: Box<Typing>,
    heard: Arc<Heard>,
    /// The process that answers.
    pub(crate) answerer: i32,
}

impl Way {
    pub(crate) fn new(
        name: &'static str,
        heard: Arc<Heard>,
        send: impl FnMut(&[u8]) -> Result<()> + 'static,
    ) -> Self {
        Self {
            name,
            send: Box::new(send),
            heard,
            answerer: 0,
        }
    }

    /// A character device whose other side is a socket of QEMU.
    pub(crate) fn over_socket(name: &'static str, path: &Path) -> Result<Self> {
        let mut to = connect(path)?;
        let mut from = to.try_clone()?;
        let heard = Arc::new(Heard::default());
        let ears = Arc::clone(&heard);
        thread::spawn(move || {
            let mut buffer = vec![0; READ];
            loop {
                match from.read(&mut buffer) {
                    Ok(len @ 1..) => ears.note(|state| {
                        state.console.extend_from_slice(&buffer[..len]);
                        state.at = Some(Instant::now());
                    }),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    _ => return ears.note(|state| state.broken = Some("QEMU closed it".into())),
                }
            }
        });
        Ok(Self::new(
            name,
            heard,
            move |bytes| Ok(to.write_all(bytes)?),
        ))
    }

    /// Waits until the answering program serves, and asks who it is.
    pub(crate) fn meet(&mut self) -> Result<()> {
        self.heard.wait("answering program", |state| {
            let at = find(&state.console, b"serving\n")?;
            state.console.drain(..at + 8);
            Some(())
        })?;
        (self.send)(b"pid\n")?;
        let line = self.line("process number")?;
        let number = line.trim().parse();
        self.answerer = number.with_context(|| format!("{line:?} is no process number"))?;
        Ok(())
    }

    /// The time from a line to the last byte of its answer.
    pub(crate) fn round_trip(&mut self, line: &[u8]) -> Result<Duration> {
        let sent = Instant::now();
        (self.send)(line)?;
        let (answer, at) = self.take(line.len())?;
        ensure!(
            answer == line,
            "{}: another answer than the line",
            self.name
        );
        Ok(at - sent)
    }

    /// The time that `text` takes, in writes of `size` bytes.
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
            "{}: another text came out",
            self.name
        );
        Ok(Outcome {
            took: at - sent,
            lost: text.len() - received.len(),
        })
    }

    /// As much as comes of so many bytes, and when the last of them came.
    fn take_all(&self, len: usize) -> Result<(Vec<u8>, Instant)> {
        self.heard.wait("text", |state| {
            let at = state.at?;
            let is_over = state.console.len() >= len || at.elapsed() > SILENCE;
            is_over.then(|| (std::mem::take(&mut state.console), at))
        })
    }

    fn line(&self, what: &str) -> Result<String> {
        self.heard.wait(what, |state| {
            let at = find(&state.console, b"\n")?;
            let line: Vec<_> = state.console.drain(..=at).collect();
            Some(String::from_utf8_lossy(&line).into_owned())
        })
    }

    /// The next bytes, and when the last of them came.
    fn take(&self, len: usize) -> Result<(Vec<u8>, Instant)> {
        self.heard.wait("answer", |state| {
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
