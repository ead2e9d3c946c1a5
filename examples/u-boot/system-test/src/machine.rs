//! One U-Boot with its instances, from power-on to power-off.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::Mapping;
use shmem_core::region::MemorySource;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::board::Board;
use crate::console::Console;
use crate::guest::{self, Guest};
use crate::linux::{self, Linux};

/// The highest instance; the instances are 2 and 3.
const LAST: u8 = 3;

/// One U-Boot with memory for two instances.
pub struct Machine {
    pub board: Board,
    pub console: Console,
    /// Returns the prompt of the shell in an instance.
    prompt: fn(u8) -> String,
    directory: TempDir,
}

impl Machine {
    /// Powers U-Boot on, with memory that is all zero, and waits for the prompt.
    pub fn start(board: Board) -> Self {
        // In a memory file system: the guests and U-Boot write there all the time.
        let shared = Path::new("/dev/shm");
        let directory = if shared.is_dir() {
            tempfile::tempdir_in(shared)
        } else {
            tempfile::tempdir()
        };
        let directory = directory.unwrap();
        board.make_memory(directory.path(), LAST);
        let mut console = Console::start(board.power_on(directory.path(), LAST));
        console.boot();
        Self {
            board,
            console,
            prompt: guest::prompt,
            directory,
        }
    }

    /// Like [`Machine::start`], for instances that are Linux machines.
    pub fn start_for_linux(board: Board) -> Self {
        let machine = Self::start(board);
        Self {
            prompt: linux::prompt,
            ..machine
        }
    }

    /// Starts U-Boot, attaches both instances and starts their daemons.
    pub fn with_guests(board: Board) -> (Self, [Guest; 2]) {
        Self::start(board).attached_with(Self::guest)
    }

    /// Starts U-Boot, attaches both instances and starts their Linux machines.
    pub fn with_linux(board: Board) -> (Self, [Linux; 2]) {
        Self::start_for_linux(board).attached_with(Self::linux)
    }

    /// Attaches both instances, and calls `start` for each.
    fn attached_with<T>(mut self, start: fn(&Self, u8) -> T) -> (Self, [T; 2]) {
        self.attach_all("");
        let guests = [2, 3].map(|number| start(&self, number));
        for number in [2, 3] {
            self.see_running(number);
        }
        (self, guests)
    }

    /// Makes instances of all the memory; returns the output.
    pub fn attach_all(&mut self, options: &str) -> String {
        let lines = self.board.attach_all(self.path(), LAST, options);
        lines
            .iter()
            .map(|line| self.console.command(line))
            .collect()
    }

    /// Sets a variable in the shell of instance `number`, for [`Machine::find_traces`].
    pub fn leave_trace(&mut self, number: u8) {
        self.enter(number);
        self.shell(number, "trace=yes");
        self.escape();
    }

    /// Attaches KMON's second incarnation to both instances. Checks that both instances are still
    /// in their first incarnation, and that the shells in `traced` still have the trace.
    pub fn find_traces(&mut self, traced: &[u8]) {
        let output = self.attach_all("");
        let again = output.matches("attached, KMON's incarnation 2").count();
        self.console
            .check(again == 2, "both are attached to KMON's next incarnation");
        for number in [2, 3] {
            let line = self.see_running(number);
            self.console.check(
                incarnation(&line) == Some("1"),
                "the instance is in its first incarnation",
            );
        }
        for &number in traced {
            self.console.begin(&format!("kmconsole {number}"));
            self.console.see(&format!("cmd_redirection={number}"));
            let output = self.shell(number, "echo trace-$trace");
            self.console
                .check(output.contains("trace-yes"), "the shell is the same");
            self.escape();
        }
    }

    /// Starts an incarnation of the daemon of instance `number`.
    pub fn guest(&self, number: u8) -> Guest {
        Guest::start(&self.home(number), number, &self.place(number))
    }

    /// Starts the Linux machine of instance `number`.
    pub fn linux(&self, number: u8) -> Linux {
        Linux::start(&self.home(number), number, &self.region(number))
    }

    /// Returns the first directory of the shell of instance `number`, if it runs here.
    pub fn home(&self, number: u8) -> PathBuf {
        self.path().join(format!("home{number}"))
    }

    /// Returns where its daemon finds its region.
    pub fn place(&self, number: u8) -> String {
        self.board.place(self.path(), number)
    }

    /// Cuts the power of U-Boot alone, and powers it on again: the instances' memory keeps
    /// its contents.
    pub fn cycle_power(&mut self) {
        let command = self.board.power_on(self.path(), LAST);
        self.console.kill();
        self.console = Console::start(command);
        self.console.boot();
    }

    /// Waits until `kmlist` shows `state` for instance `number`; returns its line.
    pub fn see_state(&mut self, number: u8, state: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = self.console.command("kmlist");
            let mut lines = list.lines();
            let own = number.to_string();
            let line = lines.find(|line| line.split_whitespace().next() == Some(&own));
            if let Some(line) = line.filter(|line| line.contains(state)) {
                return line.to_owned();
            }
            let in_time = Instant::now() < deadline;
            let expected = format!("instance {number} is {state}");
            self.console.check(in_time, &expected);
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn see_running(&mut self, number: u8) -> String {
        self.see_state(number, "running")
    }

    /// Enters the console of instance `number`, and waits for its shell.
    pub fn enter(&mut self, number: u8) {
        self.console.begin(&format!("kmconsole {number}"));
        self.console.see(&format!("cmd_redirection={number}"));
        self.see_prompt(number);
    }

    /// Types a line at the shell of instance `number`, in its console; returns the output.
    pub fn shell(&mut self, number: u8, line: &str) -> String {
        self.console.press(&format!("{line}\r"));
        self.console.see("\n");
        self.see_prompt(number)
    }

    /// Waits for the prompt of the shell of instance `number`; returns the output before it.
    pub fn see_prompt(&mut self, number: u8) -> String {
        self.console.see(&(self.prompt)(number))
    }

    /// Leaves a console with the escape key.
    pub fn escape(&mut self) {
        self.console.press("\x1d");
        self.console.prompt();
    }

    /// Maps the region of instance `number` as its daemon does.
    pub fn region(&self, number: u8) -> Mapping {
        self.place(number)
            .parse::<MemorySource>()
            .unwrap()
            .open()
            .unwrap()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Returns the incarnation in an instance's line of `kmlist`.
pub fn incarnation(line: &str) -> Option<&str> {
    line.split_whitespace().nth(2)
}
