//! A machine that runs, and its end.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command_line::REGION;
use crate::event::{End, Event, Status};
use crate::monitor::Monitor;
use crate::output::Output;
use crate::process::Process;
use crate::qmp::QmpError;

/// The number of the descriptor to which QEMU prints.
const OUTPUT: i32 = 2;
/// The largest number of its lines to return.
const LINES: usize = 20;

/// A QEMU that runs or has run: started by this process, or found again.
///
/// Dropping it does not end QEMU.
pub struct Machine {
    process: Arc<Process>,
    monitor: Monitor,
    output: Output,
    qmp: PathBuf,
}

/// The data by which a machine is found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    pub pid: i32,
    /// The start of the process in the kernel's ticks since the host's start.
    pub start: u64,
    /// The socket of QEMU's monitor.
    pub qmp: PathBuf,
    /// QEMU's descriptor of the region.
    pub region: i32,
}

impl Machine {
    pub(crate) fn new(process: Arc<Process>, qmp: &Path, output: Output) -> io::Result<Self> {
        // The process that finds the machine again may be in another directory.
        let found = std::path::absolute(qmp)
            .and_then(|qmp| Ok((Monitor::connect(&qmp, Arc::clone(&process))?, qmp)));
        let (monitor, qmp) = found.inspect_err(|_| process.kill())?;
        Ok(Self {
            process,
            monitor,
            output,
            qmp,
        })
    }

    /// Waits until QEMU has reported its state. Returns how it ended, if it ended instead.
    pub(crate) fn wait_for_start(&self, patience: Duration) -> Option<End> {
        self.monitor.wait_for_start(patience);
        self.end()
    }

    /// Returns the data by which it is found again.
    pub fn record(&self) -> MachineRecord {
        MachineRecord {
            pid: self.process.pid(),
            start: self.process.start(),
            qmp: self.qmp.clone(),
            region: REGION,
        }
    }

    /// Finds a machine that still runs, and its region.
    ///
    /// # Errors
    ///
    /// [`FindError::Gone`] if it has ended.
    pub fn find(record: &MachineRecord) -> Result<(Self, OwnedFd), FindError> {
        let process = Process::find(record.pid, Some(record.start)).map_err(|_| FindError::Gone)?;
        let open = |number, options: &OpenOptions| match process.open(number, options) {
            Err(error) if !process.has_ended() => Err(FindError::Descriptor { number, error }),
            other => other.map_err(|_| FindError::Gone),
        };
        let region = open(record.region, OpenOptions::new().read(true).write(true))?;
        let output = open(OUTPUT, OpenOptions::new().read(true))?;
        let monitor = Arc::new(process);
        let machine = Self {
            monitor: Monitor::connect(&record.qmp, Arc::clone(&monitor))
                .map_err(FindError::System)?,
            process: monitor,
            output: Output::from_file(output),
            qmp: record.qmp.clone(),
        };
        Ok((machine, region.into()))
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Returns the last known state.
    pub fn status(&self) -> Status {
        let end = self.end().map(Status::Ended);
        end.unwrap_or_else(|| self.monitor.status())
    }

    /// Returns how it ended, after all its messages were read.
    fn end(&self) -> Option<End> {
        if !self.monitor.is_done() {
            return None;
        }
        if !self.process.has_ended() {
            return None;
        }
        let end = End::from(self.process.reap());
        Some(match (end, self.monitor.status()) {
            (End::Code(0) | End::Unknown, Status::Shutdown(off)) => End::Off(off),
            _ => end,
        })
    }

    /// Returns the next event, if there is one.
    pub fn poll_event(&self) -> Option<Event> {
        self.monitor.next_event()
    }

    /// Stops its processors.
    ///
    /// # Errors
    ///
    /// [`QmpError`], as for each of the following methods, after at most two seconds a command.
    pub fn pause(&self) -> Result<(), QmpError> {
        self.execute("stop")
    }

    /// Lets its processors go on.
    pub fn resume(&self) -> Result<(), QmpError> {
        self.execute("cont")
    }

    /// Boots it again; the region is not changed. A paused machine runs afterwards.
    pub fn reset(&self) -> Result<(), QmpError> {
        self.allow_reboot()?;
        self.execute("system_reset")?;
        self.execute("cont")
    }

    /// Allows its guest to boot again after it resets itself; before this call, the machine ends
    /// then. Otherwise a guest that panics at boot would reset itself again and again.
    pub fn allow_reboot(&self) -> Result<(), QmpError> {
        let arguments = json!({ "reboot": "reset" });
        self.monitor.execute("set-action", arguments).map(drop)
    }

    /// Presses its power button, which its guest may ignore.
    pub fn power_down(&self) -> Result<(), QmpError> {
        self.execute("system_powerdown")
    }

    /// Switches it off, which ends QEMU.
    pub fn quit(&self) -> Result<(), QmpError> {
        match self.execute("quit") {
            // QEMU ended before it answered.
            Err(QmpError::Unconnected) if self.process.has_ended() => Ok(()),
            other => other,
        }
    }

    /// Kills QEMU.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Returns the last lines that QEMU itself has printed: the error if it could not start.
    pub fn stderr_lines(&self) -> Vec<String> {
        let mut lines = self.output.lines();
        lines.split_off(lines.len().saturating_sub(LINES))
    }

    fn execute(&self, command: &'static str) -> Result<(), QmpError> {
        self.monitor.execute(command, Value::Null).map(drop)
    }
}

/// The reason why a machine was not found.
#[derive(Debug)]
pub enum FindError {
    /// Its process has ended.
    Gone,
    /// The file of this descriptor cannot be opened.
    Descriptor { number: i32, error: io::Error },
    /// A system call failed.
    System(io::Error),
}

impl fmt::Display for FindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => out.write_str("QEMU has ended"),
            Self::Descriptor { number, error } => {
                write!(out, "cannot open descriptor {number} of QEMU: {error}")
            }
            Self::System(error) => write!(out, "cannot watch QEMU: {error}"),
        }
    }
}

impl std::error::Error for FindError {}
