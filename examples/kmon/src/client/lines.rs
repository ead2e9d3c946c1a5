//! An answer that is a stream of lines.

use anyhow::Context;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Runtime;

use crate::api::lines::{Line, Received};
use crate::interrupt::Interrupt;

/// The lines of a log on disk.
pub(crate) struct Lines {
    runtime: Runtime,
    body: Incoming,
    /// Bytes of lines that were not returned yet, from `start` on.
    received: Vec<u8>,
    start: usize,
    /// False if the newest output was not in the log at the beginning.
    pub(crate) is_written: bool,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    Line(Line),
    /// The server has no more lines, or ends.
    End,
    /// The server is gone.
    Broken,
    /// `^C` was pressed.
    Interrupted,
}

impl Lines {
    pub(super) fn new(runtime: Runtime, body: Incoming, is_written: bool) -> Self {
        Self {
            runtime,
            body,
            received: Vec::new(),
            start: 0,
            is_written,
        }
    }

    /// Returns true if the next call of [`Lines::next`] does not wait.
    pub(crate) fn has_next(&self) -> bool {
        self.received[self.start..].contains(&b'\n')
    }

    /// Waits for the next line.
    ///
    /// # Errors
    /// The server cannot read the log any further.
    pub(crate) fn next(&mut self, interrupt: &Interrupt) -> anyhow::Result<Next> {
        loop {
            if interrupt.is_set() {
                return Ok(Next::Interrupted);
            }
            if let Some(line) = self.take() {
                return match serde_json::from_slice(&line).context("the server's line")? {
                    Received::Line(line) => Ok(Next::Line(line)),
                    Received::Failure(failure) => Err(failure.error.into()),
                };
            }
            let Self { runtime, body, .. } = self;
            let frame = runtime.block_on(async {
                tokio::select! {
                    frame = body.frame() => Some(frame),
                    () = interrupt.wait() => None,
                }
            });
            match frame {
                None => return Ok(Next::Interrupted),
                Some(None) => return Ok(Next::End),
                Some(Some(Err(_))) => return Ok(Next::Broken),
                Some(Some(Ok(frame))) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    self.received.drain(..std::mem::take(&mut self.start));
                    self.received.extend_from_slice(&bytes);
                }
            }
        }
    }

    /// Takes a line that was received as a whole.
    fn take(&mut self) -> Option<Vec<u8>> {
        let rest = &self.received[self.start..];
        let len = rest.iter().position(|&byte| byte == b'\n')?;
        let line = rest[..len].to_vec();
        self.start += len + 1;
        Some(line)
    }
}
