//! Logs on disk: what instances and their kernels print, and KMON's notices, with times.
//!
//! | module       | one purpose                                                |
//! |--------------|------------------------------------------------------------|
//! | [`writer`]   | the thread that writes all logs                            |
//! | [`log`]      | one log of that thread: from its source to its files       |
//! | [`registry`] | the logs that are to be written                            |
//! | [`bell`]     | wakes the thread, and waits for it                         |
//! | [`query`]    | selects entries by time and text                           |
//! | [`reader`]   | reads a log's files in order, and follows them             |
//! | [`compress`] | compresses a complete file                                 |
//! | [`chain`]    | appends to a log's files, within their bound               |
//! | [`scan`]     | finds the state of a log in its files                      |
//! | [`files`]    | the names of a log's files                                 |
//! | [`disk`]     | the changes on the disk                                    |
//! | [`format`]   | the lines of a file                                        |
//! | [`escape`]   | writes any bytes as text                                   |
//! | [`stamp`]    | times                                                      |
//! | [`source`]   | what a log is written from                                 |
//! | [`name`]     | which log                                                  |
//! | [`settings`] | where logs are, and how much is kept                       |
//!
//! Who prints never waits for the disk: output stays where it is kept for the consoles, a bounded
//! buffer with positions, and the writing thread takes it from there. The files tell up to which
//! position it is written. So when KMON was killed, the next KMON appends what is missing, no byte
//! twice, and counts what was overwritten meanwhile.

mod bell;
mod chain;
mod compress;
mod disk;
mod escape;
mod files;
mod format;
mod log;
mod name;
mod query;
mod reader;
mod registry;
mod scan;
mod settings;
mod source;
mod stamp;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use bell::Bell;
use files::Files;
use reader::Reader;
use registry::Registry;
use writer::Writer;

pub(crate) use bell::Ringer;
pub(crate) use chain::Bound;
pub(crate) use name::LogName;
pub(crate) use query::{Entries, Query};
pub(crate) use reader::{Body, Entry};
pub(crate) use settings::Settings;
pub(crate) use source::{Extent, Source, new_id};
pub(crate) use stamp::Stamp;

/// How long a request to write everything may take, on a disk that works.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// The logs of all instances and of KMON.
pub(crate) struct DiskLogs {
    settings: Settings,
    registry: Arc<Registry>,
    bell: Arc<Bell>,
}

/// Accepts lines for KMON's own log.
#[derive(Clone)]
pub(crate) struct Noter {
    registry: Arc<Registry>,
    bell: Arc<Bell>,
}

impl Noter {
    /// Adds a line, which does not wait for the disk.
    pub(crate) fn note(&self, line: &str) {
        self.registry.notices().put(line);
        self.bell.ring(LogName::Kmon);
    }
}

impl DiskLogs {
    /// Starts the thread that writes the logs. It passes its problems to `report`, at most one line
    /// a minute.
    ///
    /// # Errors
    /// There is no thread.
    pub(crate) fn start(
        settings: Settings,
        report: impl Fn(String) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (registry, bell) = (Arc::new(Registry::new()), Arc::<Bell>::default());
        let writer = Writer::new(settings.clone(), Arc::clone(&registry), Box::new(report));
        let for_thread = Arc::clone(&bell);
        std::thread::Builder::new()
            .name("logs".into())
            .spawn(move || {
                writer.run(&for_thread);
                for_thread.note_stopped();
            })
            .context("cannot start a thread for the logs")?;
        Ok(Self {
            settings,
            registry,
            bell,
        })
    }

    /// Adds a log of `source`, which belongs to `owner`. The caller rings when the source has more.
    pub(crate) fn add(&self, name: LogName, owner: &str, source: Arc<dyn Source>) -> Ringer {
        self.registry.add(name, owner.to_owned(), source);
        let ringer = Ringer {
            bell: Arc::clone(&self.bell),
            name,
        };
        ringer.ring();
        ringer
    }

    /// Notes that instance `number` was removed, after a [`DiskLogs::flush`]. Its files stay.
    pub(crate) fn forget(&self, number: u8) {
        self.registry.forget(number);
        // The thread releases their sources.
        self.bell.ring(LogName::Output(number));
    }

    /// Returns what accepts lines for KMON's own log.
    pub(crate) fn noter(&self) -> Noter {
        Noter {
            registry: Arc::clone(&self.registry),
            bell: Arc::clone(&self.bell),
        }
    }

    /// Waits until everything that was printed is written, unfinished lines included. Returns false
    /// if that takes too long.
    pub(crate) fn flush(&self) -> bool {
        self.bell.flush(FLUSH_TIME)
    }

    /// Returns the entries of a log that `query` selects.
    pub(crate) fn entries(&self, name: LogName, query: Query) -> Entries {
        let files = Files::new(&self.settings.directory, &name.stem());
        let reader = Reader::new(files, query.since);
        // KMON's own log goes on over the runs of KMON. No output has the number 0.
        let output = match name {
            LogName::Kmon => None,
            _ => Some(self.registry.id(name).unwrap_or(0)),
        };
        Entries::new(reader, query, output)
    }

    /// Returns a receiver that each later write to any log wakes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }
}

impl Drop for DiskLogs {
    fn drop(&mut self) {
        self.bell.stop(FLUSH_TIME);
    }
}

/// Waits until something was written. Returns false if that takes too long.
#[cfg(test)]
pub(crate) fn has_written(news: &mut watch::Receiver<()>) -> bool {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap().block_on(async {
        let changed = tokio::time::timeout(FLUSH_TIME * 30, news.changed()).await;
        matches!(changed, Ok(Ok(())))
    })
}

#[cfg(test)]
mod tests;
