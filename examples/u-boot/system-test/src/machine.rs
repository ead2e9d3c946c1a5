//! One U-Boot with its instances, from power-on to power-off.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::Mapping;
use shmem_core::region::Place;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::board::Board;
use crate::console::Console;
use crate::guest::{self, Guest};
use crate::linux::{self, Linux};

/// The highest instance: there are 2 and 3.
const LAST: u8 = 3;

/// One U-Boot with memory for two instances.
pub struct Machine {
    pub board: Board,
    pub console: Console,
    /// Of the shell in an instance.
    prompt: fn(u8) -> String,
    directory: TempDir,
}

impl Machine {
    /// Powers it on, with memory that is zero, and waits for the prompt.
    pub fn start(board: Board) -> Self {
        // In memory: the guests and U-Boot write there all the time.
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

    /// The same for instances that are Linux machines.
    pub fn start_for_linux(board: Board) -> Self {
        let machine = Self::start(board);
        Self {
            prompt: linux::prompt,
            ..machine
        }
    }

    /// The same with both instances attached, and their daemons started.
    pub fn with_guests(board: Board) -> (Self, [Guest; 2]) {
        Self::start(board).attached_with(Self::guest)
    }

    /// The same with both instances attached, and Linux machines that run there.
    pub fn with_linux(board: Board) -> (Self, [Linux; 2]) {
        Self::start_for_linux(board).attached_with(Self::linux)
    }

    /// It with both instances attached, and `start` done for each.
    fn attached_with<T>(mut self, start: fn(&Self, u8) -> T) -> (Self, [T; 2]) {
        self.attach_all("");
        let guests = [2, 3].map(|number| start(&self, number));
        for number in [2, 3] {
            self.see_running(number);
        }
        (self, guests)
    }

    /// Makes instances of all the memory there is; what was printed.
    pub fn attach_all(&mut self, options: &str) -> String {
        let lines = self.board.attach_all(self.path(), LAST, options);
        lines
            .iter()
            .map(|line| self.console.command(line))
            .collect()
    }

    /// Leaves something in the shell of instance `number`, for [`Machine::find_traces`].
    pub fn leave_trace(&mut self, number: u8) {
        self.enter(number);
        self.shell(number, "kept=yes");
        self.escape();
    }

    /// Attaches KMON's second incarnation to both instances, which are as they were: they are in
    /// their first incarnation, and in `traced` the shell is the one that had the trace.
    pub fn find_traces(&mut self, traced: &[u8]) {
        let said = self.attach_all("");
        let again = said.matches("attached, KMON's incarnation 2").count();
        self.console
            .check(again == 2, "both in KMON's next incarnation");
        for number in [2, 3] {
            let line = self.see_running(number);
            self.console.check(
                incarnation(&line) == Some("1"),
                "the instance's first incarnation",
            );
        }
        for &number in traced {
            self.console.begin(&format!("kmconsole {number}"));
            self.console.see(&format!("cmd_redirection={number}"));
            let said = self.shell(number, "echo kept-$kept");
            self.console
                .check(said.contains("kept-yes"), "the same shell");
            self.escape();
        }
    }

    /// Starts an incarnation of the daemon of instance `number`.
    pub fn guest(&self, number: u8) -> Guest {
        Guest::start(&self.home(number), number, &self.place(number))
    }

    /// Switches the Linux machine of instance `number` on.
    pub fn linux(&self, number: u8) -> Linux {
        Linux::start(&self.home(number), number, &self.region(number))
    }

    /// Where the shell of instance `number` starts, if it runs here.
    pub fn home(&self, number: u8) -> PathBuf {
        self.path().join(format!("home{number}"))
    }

    /// Where its daemon finds its region.
    pub fn place(&self, number: u8) -> String {
        self.board.place(self.path(), number)
    }

    /// Cuts the power of U-Boot alone, and gives it back: its memory for instances
    /// keeps what it has.
    pub fn cycle_power(&mut self) {
        let command = self.board.power_on(self.path(), LAST);
        self.console.kill();
        self.console = Console::start(command);
        self.console.boot();
    }

    /// Waits until `kmlist` says that instance `number` is as `state` says; its line.
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
            let wish = format!("instance {number} is {state}");
            self.console.check(in_time, &wish);
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

    /// Types a line at the shell of instance `number`, in its console; what it printed.
    pub fn shell(&mut self, number: u8, line: &str) -> String {
        self.console.press(&format!("{line}\r"));
        self.console.see("\n");
        self.see_prompt(number)
    }

    /// Waits for the prompt of the shell of instance `number`; what came before it.
    pub fn see_prompt(&mut self, number: u8) -> String {
        self.console.see(&(self.prompt)(number))
    }

    /// Comes back from a console with the escape key.
    pub fn escape(&mut self) {
        self.console.press("\x1d");
        self.console.prompt();
    }

    /// The region of instance `number`, as its daemon maps it.
    pub fn region(&self, number: u8) -> Mapping {
        self.place(number).parse::<Place>().unwrap().open().unwrap()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// The incarnation in an instance's line of `kmlist`.
pub fn incarnation(line: &str) -> Option<&str> {
    line.split_whitespace().nth(2)
}
