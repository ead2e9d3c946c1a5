//! Where the output of a command goes.

use std::io::{IsTerminal, Write};

use anyhow::Context;

use crate::api::exec::{STDERR, STDOUT};
use crate::instance::modes::Modes;
use crate::{terminal, text};

/// Bytes of standard output and of standard error that `--json` keeps, each.
const MAX_JSON: usize = 64 * 1024 * 1024;
/// Bytes written at once, so that `^C` acts soon at a slow terminal.
const PIECE: usize = 4096;
/// A longer line is cut, so that an instance cannot fill KMON's memory with one line.
const MAX_LINE: usize = 16 * 1024;

/// Where the output goes.
pub(super) struct Output {
    sink: Sink,
    /// Bytes that were not shown after a `^C`.
    pub(super) skipped: u64,
}

enum Sink {
    /// Standard output and standard error, byte for byte.
    Raw(Undo),
    /// The same, line by line, each after a label.
    Labelled(Lines),
    Collected(Collected),
}

/// Its destructor resets the modes of the operator's terminal that the output has set, also after
/// a command that was killed inside an editor.
#[derive(Default)]
struct Undo(Modes);

/// The parts of lines that have arrived so far.
struct Lines {
    label: String,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Output that is collected for `--json`.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) out: Vec<u8>,
    pub(super) err: Vec<u8>,
    pub(super) dropped: u64,
}

impl Output {
    pub(super) fn raw() -> Self {
        Self::new(Sink::Raw(Undo::default()))
    }

    pub(super) fn labelled(label: &str) -> Self {
        let label = label.to_owned();
        let (out, err) = Default::default();
        Self::new(Sink::Labelled(Lines { label, out, err }))
    }

    pub(super) fn collected() -> Self {
        Self::new(Sink::Collected(Collected::default()))
    }

    fn new(sink: Sink) -> Self {
        Self { sink, skipped: 0 }
    }

    /// Passes on a message with output. What would be shown after `is_stopped` is skipped.
    pub(super) fn pass_on(
        &mut self,
        message: &[u8],
        is_stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<()> {
        let Some((&stream, bytes)) = message.split_first() else {
            return Ok(());
        };
        if let Sink::Collected(collected) = &mut self.sink {
            collected.add(stream, bytes);
            return Ok(());
        }
        for piece in bytes.chunks(PIECE) {
            if is_stopped() {
                self.skipped += piece.len() as u64;
                continue;
            }
            match &mut self.sink {
                Sink::Raw(undo) => undo.show(stream, piece)?,
                Sink::Labelled(lines) => lines.show(stream, piece)?,
                Sink::Collected(_) => {}
            }
        }
        Ok(())
    }

    /// Shows what has arrived of the last lines. Returns what was collected.
    pub(super) fn finish(self) -> anyhow::Result<Option<Collected>> {
        match self.sink {
            Sink::Raw(_) => Ok(None),
            Sink::Labelled(mut lines) => lines.finish().map(|()| None),
            Sink::Collected(collected) => Ok(Some(collected)),
        }
    }
}

impl Undo {
    fn show(&mut self, stream: u8, bytes: &[u8]) -> anyhow::Result<()> {
        if is_terminal(stream) {
            self.0.feed(bytes);
            terminal::remember_undo(self.0.undo());
        }
        write(stream, bytes)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let undo = self.0.undo();
        if !undo.is_empty() {
            // A terminal that is gone needs no reset.
            let _ = terminal::write_stdout(&undo);
        }
        terminal::remember_undo(Vec::new());
    }
}

impl Lines {
    fn show(&mut self, stream: u8, bytes: &[u8]) -> anyhow::Result<()> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line = self.of(stream);
            line.extend_from_slice(part);
            if part.ends_with(b"\n") || line.len() >= MAX_LINE {
                self.show_line(stream)?;
            }
        }
        Ok(())
    }

    /// Shows a whole line at once: other instances print, too.
    fn show_line(&mut self, stream: u8) -> anyhow::Result<()> {
        let mut line = std::mem::take(self.of(stream));
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if is_terminal(stream) {
            line = text::without_escapes(&line).into_bytes();
        }
        write(
            stream,
            &[self.label.as_bytes(), b": ", &line, b"\n"].concat(),
        )
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        for stream in [STDOUT, STDERR] {
            if !self.of(stream).is_empty() {
                self.show_line(stream)?;
            }
        }
        Ok(())
    }

    fn of(&mut self, stream: u8) -> &mut Vec<u8> {
        match stream {
            STDERR => &mut self.err,
            _ => &mut self.out,
        }
    }
}

impl Collected {
    fn add(&mut self, stream: u8, bytes: &[u8]) {
        let to = match stream {
            STDERR => &mut self.err,
            _ => &mut self.out,
        };
        if to.len() + bytes.len() > MAX_JSON {
            self.dropped += bytes.len() as u64;
        } else {
            to.extend_from_slice(bytes);
        }
    }
}

fn is_terminal(stream: u8) -> bool {
    match stream {
        STDERR => std::io::stderr().is_terminal(),
        _ => std::io::stdout().is_terminal(),
    }
}

fn write(stream: u8, bytes: &[u8]) -> anyhow::Result<()> {
    if stream == STDERR {
        return std::io::stderr().write_all(bytes).context("standard error");
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).context("standard output")?;
    stdout.flush().context("standard output")
}
