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

/// QEMU's descriptor of what it prints to.
const OUTPUT: i32 = 2;
/// The most lines of it that are of use.
const LINES: usize = 20;

/// A QEMU that runs, or has run: started from here, or found again.
///
/// It goes on when this is dropped.
pub struct Machine {
    process: Arc<Process>,
    monitor: Monitor,
    output: Output,
    qmp: PathBuf,
}

/// By what a machine is found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    pub pid: i32,
    /// When the process started, in the kernel's ticks since the host's start.
    pub start: u64,
    /// The socket of QEMU's monitor.
    pub qmp: PathBuf,
    /// QEMU's descriptor of the region.
    pub region: i32,
}

impl Machine {
    pub(crate) fn of(process: Arc<Process>, qmp: &Path, output: Output) -> io::Result<Self> {
        // Whoever finds the machine again may be in another directory.
        let found = std::path::absolute(qmp)
            .and_then(|qmp| Ok((Monitor::of(&qmp, Arc::clone(&process))?, qmp)));
        let (monitor, qmp) = found.inspect_err(|_| process.kill())?;
        Ok(Self {
            process,
            monitor,
            output,
            qmp,
        })
    }

    /// Waits until QEMU has said what it is at; how it ended, if it has instead.
    pub(crate) fn wait_for_start(&self, patience: Duration) -> Option<End> {
        self.monitor.wait_for_start(patience);
        self.end()
    }

    /// By what it is found again.
    pub fn kept(&self) -> MachineRecord {
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
    pub fn find(kept: &MachineRecord) -> Result<(Self, OwnedFd), FindError> {
        let process = Process::find(kept.pid, Some(kept.start)).map_err(|_| FindError::Gone)?;
        let open = |number, options: &OpenOptions| match process.open(number, options) {
            Err(error) if !process.has_ended() => Err(FindError::Descriptor { number, error }),
            other => other.map_err(|_| FindError::Gone),
        };
        let region = open(kept.region, OpenOptions::new().read(true).write(true))?;
        let output = open(OUTPUT, OpenOptions::new().read(true))?;
        let monitor = Arc::new(process);
        let machine = Self {
            monitor: Monitor::of(&kept.qmp, Arc::clone(&monitor)).map_err(FindError::System)?,
            process: monitor,
            output: Output::of(output),
            qmp: kept.qmp.clone(),
        };
        Ok((machine, region.into()))
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// What it is at, as far as is known now.
    pub fn status(&self) -> Status {
        let end = self.end().map(Status::Ended);
        end.unwrap_or_else(|| self.monitor.status())
    }

    /// How it ended, once that is known and all that was said before.
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

    /// The next thing that has happened to it, if something has.
    pub fn poll_event(&self) -> Option<Event> {
        self.monitor.next_event()
    }

    /// Lets its processors stand still.
    ///
    /// # Errors
    ///
    /// [`QmpError`], as for each of the following, within two seconds a command.
    pub fn pause(&self) -> Result<(), QmpError> {
        self.tell("stop")
    }

    /// Lets them go on.
    pub fn resume(&self) -> Result<(), QmpError> {
        self.tell("cont")
    }

    /// Boots it anew: the region stays as it is. A machine that stood still runs then.
    pub fn reset(&self) -> Result<(), QmpError> {
        self.allow_reboot()?;
        self.tell("system_reset")?;
        self.tell("cont")
    }

    /// From here on a guest that resets itself boots anew. Before, it ends: a guest that
    /// panics at boot, and resets itself because of it, would do so for ever.
    pub fn allow_reboot(&self) -> Result<(), QmpError> {
        let arguments = json!({ "reboot": "reset" });
        self.monitor.execute("set-action", arguments).map(drop)
    }

    /// Presses its power button, which its guest obeys or not.
    pub fn power_down(&self) -> Result<(), QmpError> {
        self.tell("system_powerdown")
    }

    /// Switches it off: QEMU ends.
    pub fn quit(&self) -> Result<(), QmpError> {
        match self.tell("quit") {
            // It was fast.
            Err(QmpError::Unconnected) if self.process.has_ended() => Ok(()),
            other => other,
        }
    }

    /// Ends QEMU as nobody can refuse.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// The last lines that QEMU itself has printed: what was wrong, if it could not start.
    pub fn stderr_lines(&self) -> Vec<String> {
        let mut lines = self.output.lines();
        lines.split_off(lines.len().saturating_sub(LINES))
    }

    fn tell(&self, command: &'static str) -> Result<(), QmpError> {
        self.monitor.execute(command, Value::Null).map(drop)
    }
}

/// Why a machine was not found.
#[derive(Debug)]
pub enum FindError {
    /// Its process has ended.
    Gone,
    /// What it has open as this descriptor cannot be opened.
    Descriptor { number: i32, error: io::Error },
    /// This machine lacks something.
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
