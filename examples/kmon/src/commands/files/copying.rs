//! What `kmput` and `kmget` have in common: the instance, the progress, and the errors.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kmon_protocol::transfer::{Digest, Failure};

use super::remote::Remote;
use super::summary::{CopiedFile, Summary, hex};
use crate::api::instances::Row;
use crate::commands::arguments::CopyOptions;
use crate::commands::selection::Target;
use crate::commands::session::Session;
use crate::commands::several::each;
use crate::instance::transfer::TransferError;
use crate::text;

/// Bytes that are copied at once.
pub(super) const CHUNK: usize = 256 << 10;
/// How often the progress is drawn.
const DRAWS_PER_SECOND: u8 = 10;

/// The copies of one command.
pub(super) struct Copying<'a> {
    pub(super) remote: Remote<'a>,
    pub(super) stop: &'a dyn Fn() -> bool,
    pub(super) options: &'a CopyOptions,
    pub(super) summary: Summary,
}

/// Runs the copies of a command for each instance, and prints what was copied.
pub(super) fn run(
    session: &Session,
    options: &CopyOptions,
    copy: impl Fn(&mut Copying<'_>, &Target) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    let instances = std::slice::from_ref(&options.instances);
    let targets = session.choose(instances, Row::is_alive)?;
    // One after the other: each can use all of the disk and the processors.
    each(&targets, 1, |target| {
        if session.interrupt.is_set() {
            bail!("interrupted; nothing was copied");
        }
        let stop = || session.interrupt.is_set();
        let mut copying = Copying {
            remote: Remote::open(&session.client, target.number, &stop)?,
            stop: &stop,
            options,
            summary: Summary::new(target),
        };
        let done = copy(&mut copying, target);
        if done.is_err() {
            copying.remote.cancel();
        }
        copying.summary.print(options.json, done.as_ref().err())?;
        done
    })
}

impl Copying<'_> {
    /// Notes that a file was copied.
    pub(super) fn note_file(&mut self, from: &str, to: &str, copied: &WholeFile) {
        self.summary.files.push(CopiedFile {
            from: from.to_owned(),
            to: to.to_owned(),
            bytes: copied.size,
            resumed_at: copied.resumed_at,
            mode: format!("{:04o}", copied.mode),
            sha256: hex(&copied.digest),
        });
    }

    /// Reports something in a directory that is neither a file nor a directory.
    pub(super) fn skip(&mut self, name: String) {
        // Without standard error only the summary reports it.
        let _ = writeln!(
            std::io::stderr(),
            "{}: not copied, because it is not a file or directory",
            text::escaped(&name)
        );
        self.summary.skipped.push(name);
    }

    pub(super) fn require_recursive(&self, name: &str) -> anyhow::Result<()> {
        match self.options.recursive {
            true => Ok(()),
            false => Err(anyhow!("{name} is a directory; -r copies directories")),
        }
    }
}

/// A file that was copied.
pub(super) struct WholeFile {
    pub(super) size: u64,
    pub(super) resumed_at: u64,
    pub(super) mode: u32,
    pub(super) digest: Digest,
}

/// The progress of a file. Its destructor removes it from the terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    size: u64,
}

impl Progress {
    /// Shows the progress of a file.
    pub(super) fn new(options: &CopyOptions, name: &str, size: u64) -> Self {
        let target = match options.json {
            true => ProgressDrawTarget::hidden(),
            // Hidden unless it is a terminal.
            false => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
        };
        let bar = ProgressBar::with_draw_target(Some(size), target);
        let style = "{wide_msg} {bar:20} {bytes:>11} {binary_bytes_per_sec:>13} {eta:>4}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(text::escaped(name));
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar, size }
    }

    /// Begins after the bytes that an earlier copy left.
    pub(super) fn begin(&self, position: u64) {
        self.bar.set_position(position);
        self.bar.reset_eta();
    }

    pub(super) fn advance(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// Converts an error: one of an interrupted copy says how to continue.
    pub(super) fn failed(&self, error: impl Into<TransferError>) -> anyhow::Error {
        let error = error.into();
        if error.failure == Failure::Cancelled {
            return anyhow!(
                "interrupted after {} of {}; the same command continues there",
                text::bytes(self.bar.position()),
                text::bytes(self.size)
            );
        }
        let is_resumable = matches!(error.failure, Failure::Other | Failure::NoSpace);
        match is_resumable && self.bar.position() > 0 {
            true => anyhow!("{error}; the same command continues the copy"),
            false => error.into(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns a local path for a person to read.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
