//! The thread that writes all logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::bell::{Bell, Rung};
use super::disk;
use super::log::{Left, Log};
use super::name::LogName;
use super::registry::{Change, Registry};
use super::settings::Settings;
use super::stamp::Stamp;

/// How long a KMON that is just ending may take to release its lock.
const LOCK_TIME: Duration = Duration::from_millis(500);
/// How long to wait after an error.
const RETRY: Duration = Duration::from_secs(5);
/// How long after a notice about an error there is no other one.
const QUIET: Duration = Duration::from_secs(60);

/// Reports an error, or its end, in one line.
pub(super) type Report = Box<dyn Fn(String) + Send>;

/// The state of the thread.
pub(super) struct Writer {
    settings: Settings,
    registry: Arc<Registry>,
    report: Report,
    logs: BTreeMap<LogName, Log>,
    /// Logs with output that may not be written yet.
    dirty: BTreeSet<LogName>,
    /// When unfinished lines are due.
    due: BTreeMap<LogName, Instant>,
    lock: Option<File>,
    trouble: Option<Trouble>,
    last_notice: Option<Instant>,
}

/// Errors since the last success.
struct Trouble {
    retry: Instant,
    is_reported: bool,
}

impl Writer {
    pub(super) fn new(settings: Settings, registry: Arc<Registry>, report: Report) -> Self {
        Self {
            settings,
            registry,
            report,
            logs: BTreeMap::new(),
            dirty: BTreeSet::new(),
            due: BTreeMap::new(),
            lock: None,
            trouble: None,
            last_notice: None,
        }
    }

    /// Writes logs until it is stopped.
    pub(super) fn run(mut self, bell: &Bell) {
        let mut can_compress = true;
        loop {
            let deadline = if can_compress {
                Some(Instant::now())
            } else {
                self.deadline()
            };
            let rung = bell.wait(deadline);
            let stop = rung.stop;
            if self.handle(rung, bell) {
                can_compress = self.settings.bound.compress;
            } else if can_compress {
                can_compress = self.logs.values_mut().any(Log::compress);
            }
            if stop {
                return;
            }
        }
    }

    /// Returns when there is something to do although nobody rings.
    fn deadline(&self) -> Option<Instant> {
        let retry = self.trouble.as_ref().filter(|_| !self.dirty.is_empty());
        let due = self.due.values().min().filter(|_| self.trouble.is_none());
        retry.map(|trouble| trouble.retry).or(due.copied())
    }

    /// Does what was requested and is due. Returns true if something was written.
    fn handle(&mut self, rung: Rung, bell: &Bell) -> bool {
        let force = rung.flushes.is_some() || rung.stop;
        self.find_logs();
        let now = Stamp::now();
        for name in &rung.dirty {
            if let Some(log) = self.logs.get_mut(name) {
                log.note_arrival(now);
            }
        }
        self.dirty.extend(rung.dirty);
        let instant = Instant::now();
        let due = self.due.extract_if(.., |_, due| *due <= instant);
        self.dirty.extend(due.map(|(name, _)| name));
        if force {
            self.dirty.extend(self.logs.keys());
        }
        let is_early = |trouble: &Trouble| trouble.retry > instant && !force;
        let wrote = !self.trouble.as_ref().is_some_and(is_early) && self.write_dirty(now, force);
        if wrote {
            bell.note_write();
        }
        if let Some(flushes) = rung.flushes {
            bell.note_flush(flushes);
        }
        wrote
    }

    /// Takes up logs that were added, and releases those of removed instances.
    fn find_logs(&mut self) {
        for change in self.registry.take_changes() {
            match change {
                Change::Added(added) => {
                    let log = Log::new(added.name, added.owner, added.source);
                    self.due.remove(&added.name);
                    self.logs.insert(added.name, log);
                    // The output that an earlier KMON did not write.
                    self.dirty.insert(added.name);
                }
                Change::Forgotten(number) => {
                    self.logs.retain(|name, _| !name.is_of(number));
                    self.due.retain(|name, _| !name.is_of(number));
                    self.dirty.retain(|name| !name.is_of(number));
                }
            }
        }
    }

    /// Writes the logs with new output. Returns true if something was written.
    fn write_dirty(&mut self, now: Stamp, force: bool) -> bool {
        let mut wrote = false;
        if let Err(error) = self.require_lock() {
            self.fail(&error);
            return false;
        }
        let Settings { directory, bound } = &self.settings;
        let mut failed = None;
        for name in std::mem::take(&mut self.dirty) {
            let Some(log) = self.logs.get_mut(&name) else {
                continue;
            };
            match log.write(directory, *bound, now, force) {
                Ok(Left {
                    wrote: some,
                    due_in,
                }) => {
                    wrote |= some;
                    match due_in {
                        Some(due_in) => self.due.insert(name, Instant::now() + due_in),
                        None => self.due.remove(&name),
                    };
                    if name == LogName::Kmon {
                        self.registry.notices().release(log.position());
                    }
                }
                Err(error) => {
                    self.dirty.insert(name);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) => self.fail(&error),
            None => self.succeed(),
        }
        wrote
    }

    /// Locks the directory against another KMON.
    fn require_lock(&mut self) -> io::Result<()> {
        let path = self.settings.directory.join("lock");
        if self.lock.is_some() && path.exists() {
            return Ok(());
        }
        disk::create_directory(&self.settings.directory)?;
        let lock = disk::open(&path).or_else(|_| disk::create(&path))?;
        let deadline = Instant::now() + LOCK_TIME;
        while let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(error.into());
            }
            if self.trouble.is_some() || Instant::now() > deadline {
                return Err(io::Error::other("another KMON writes there"));
            }
            std::thread::sleep(LOCK_TIME / 50);
        }
        self.lock = Some(lock);
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        let was_reported = self
            .trouble
            .as_ref()
            .is_some_and(|trouble| trouble.is_reported);
        let may_report = self.last_notice.is_none_or(|last| last.elapsed() >= QUIET);
        let reports = !was_reported && may_report;
        self.trouble = Some(Trouble {
            retry: Instant::now() + RETRY,
            is_reported: was_reported || reports,
        });
        if reports {
            self.last_notice = Some(Instant::now());
            let directory = self.settings.directory.display();
            (self.report)(format!(
                "logs cannot be written to {directory}: {error}; KMON continues without them and \
                 tries again"
            ));
        }
    }

    fn succeed(&mut self) {
        let trouble = self.trouble.take();
        if trouble.is_some_and(|trouble| trouble.is_reported) {
            let directory = self.settings.directory.display();
            (self.report)(format!("logs are written to {directory} again"));
        }
    }
}
