//! KMON's side of one instance: starts the daemon, stores the heartbeat, and collects events.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command as Program, Output, Stdio};
use std::time::{Duration, Instant};

use kmon_protocol::link::{CommandSender, EventReceiver, KernelReceiver, RELEASE_TIME, Waiting};
use kmon_protocol::{Command, Ending, Event, MonitorLink, Received, Sent, Settings, Stats};
use rustix::io::{FdFlags, fcntl_setfd};
use shmem_core::Mapping;

use crate::POLLS;
use crate::files::Copied;

/// A time-out for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Plain shells, which read no start-up files of the user.
pub(crate) const SH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells/sh");
pub(crate) const BASH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells/bash");

/// The output and the ending of one exec.
#[derive(Default, Debug)]
pub(crate) struct Ran {
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    pub(crate) ending: Option<Ending>,
    /// Events after `Ended`; there must be none.
    pub(crate) late: usize,
}

/// The events of the instance so far.
#[derive(Default)]
pub(crate) struct Seen {
    /// The number of the daemon's incarnation, once it has greeted.
    pub(crate) incarnation: Option<u32>,
    /// How often another incarnation of the daemon followed.
    pub(crate) restarts_seen: usize,
    /// Commands that the daemon has discarded.
    pub(crate) discarded: u32,
    pub(crate) goodbye: bool,
    pub(crate) console: Vec<u8>,
    pub(crate) runs: HashMap<u32, Ran>,
    pub(crate) idle: Vec<(u32, bool)>,
    pub(crate) restarts: Vec<i32>,
    pub(crate) dropped: u64,
    pub(crate) copies: HashMap<u32, Copied>,
}

impl Seen {
    pub(crate) fn note(&mut self, received: Received<Event<'_>>) {
        let Received::Message(event) = received else {
            self.restarts_seen += 1;
            return;
        };
        match event {
            Event::Hello { incarnation, .. } => self.incarnation = Some(incarnation),
            Event::Goodbye => self.goodbye = true,
            Event::Output(bytes) => self.console.extend_from_slice(bytes),
            Event::Stdout { stream, bytes } => self.run(stream).out.extend_from_slice(bytes),
            Event::Stderr { stream, bytes } => self.run(stream).err.extend_from_slice(bytes),
            Event::Ended { stream, ending } => self.run(stream).ending = Some(ending),
            Event::Idle { stream, idle } => self.idle.push((stream, idle)),
            Event::ShellRestarted { status } => self.restarts.push(status),
            Event::Dropped { bytes } => self.dropped = bytes,
            Event::Discarded { commands } => self.discarded += commands,
            Event::Transfer { stream, report } => {
                self.copies.entry(stream).or_default().note(report);
            }
        }
    }

    pub(crate) fn run(&mut self, stream: u32) -> &mut Ran {
        let run = self.runs.entry(stream).or_default();
        run.late += usize::from(run.ending.is_some());
        run
    }

    pub(crate) fn has_printed(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.console
            .windows(text.len())
            .any(|window| window == text)
    }
}

/// A region, KMON's ends of it, and the daemon.
pub(crate) struct Instance {
    pub(crate) memory: &'static Mapping,
    pub(crate) commands: CommandSender<'static>,
    pub(crate) events: EventReceiver<'static>,
    pub(crate) kernel: Option<KernelReceiver<'static>>,
    pub(crate) seen: Seen,
    pub(crate) daemon: Option<Child>,
}

impl Instance {
    /// Creates a region without a daemon.
    pub(crate) fn empty() -> Self {
        Self::with_memory(memory())
    }

    /// Creates a region in `memory` without a daemon.
    pub(crate) fn with_memory(memory: &'static Mapping) -> Self {
        let link = MonitorLink::create(memory.window(), &settings(), waiting());
        let (commands, events, kernel) = link.unwrap().split();
        Self {
            memory,
            commands,
            events,
            kernel,
            seen: Seen::default(),
            daemon: None,
        }
    }

    /// Starts the daemon in the foreground with `shell` on its console.
    pub(crate) fn with_shell(shell: &str) -> Self {
        let mut instance = Self::empty();
        instance.run_daemon(shell);
        instance.until("hello", |seen| seen.incarnation.is_some());
        instance
    }

    /// Starts another incarnation of the daemon.
    pub(crate) fn run_daemon(&mut self, shell: &str) {
        let mut program = self.guestd(["--foreground", "--shell", shell]);
        self.daemon = Some(program.stderr(Stdio::piped()).spawn().unwrap());
    }

    /// Kills the daemon.
    pub(crate) fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Replaces KMON by a new incarnation.
    pub(crate) fn restart_kmon(&mut self) {
        // A killed process releases nothing; its heartbeat stops.
        let link = MonitorLink::attach(self.memory.window(), &settings(), waiting());
        (self.commands, self.events, self.kernel) = link.unwrap().split();
        self.seen.incarnation = None;
    }

    pub(crate) fn start() -> Self {
        Self::with_shell(SH)
    }

    /// Returns the daemon's command with this region, which it inherits.
    pub(crate) fn guestd<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Program {
        guestd(self.memory, arguments)
    }

    /// Formats the region again as KMON does while the daemon runs.
    pub(crate) fn format_again(mut self) -> Self {
        let (memory, daemon) = (self.memory, self.daemon.take());
        // The ends of the old region must not be used after this.
        drop(self);
        memory.window().write(0, &[0; 4]);
        std::thread::sleep(RELEASE_TIME);
        let mut instance = Self::with_memory(memory);
        instance.daemon = daemon;
        instance
    }

    pub(crate) fn send(&mut self, command: Command<'_>) {
        assert_eq!(self.try_to_send(&command), Sent::Whole);
    }

    /// Sends `command` to the incarnation of the daemon that has greeted last.
    pub(crate) fn try_to_send(&mut self, command: &Command<'_>) -> Sent {
        let incarnation = self.seen.incarnation.unwrap_or(1);
        match self.commands.send(command, incarnation).unwrap() {
            Sent::Restarted => self.commands.send(command, incarnation).unwrap(),
            sent => sent,
        }
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.send(Command::Input(text.as_bytes()));
    }

    pub(crate) fn exec(&mut self, stream: u32, timeout_ms: u32, arguments: &[&str]) {
        let arguments = arguments
            .iter()
            .map(|argument| argument.as_bytes())
            .collect();
        self.send(Command::Exec {
            stream,
            timeout_ms,
            arguments,
        });
    }

    /// Runs a shell line to its end.
    pub(crate) fn run(&mut self, stream: u32, line: &str) -> &Ran {
        self.exec(stream, 0, &["sh", "-c", line]);
        self.ended(stream)
    }

    /// Waits for the end of `stream`, and a little longer for events that must not follow.
    pub(crate) fn ended(&mut self, stream: u32) -> &Ran {
        self.until("the end of a command", |seen| {
            seen.run(stream).ending.is_some()
        });
        self.listen(Duration::from_millis(50));
        let run = &self.seen.runs[&stream];
        // `run` above was called once more.
        assert!(run.late <= 1, "{} events after Ended", run.late - 1);
        run
    }

    /// Asks whether the console is idle.
    pub(crate) fn is_idle(&mut self, stream: u32) -> bool {
        self.send(Command::QueryIdle { stream });
        self.until("an answer", |seen| {
            seen.idle.iter().any(|&(asked, _)| asked == stream)
        });
        self.seen
            .idle
            .iter()
            .rev()
            .find(|(asked, _)| *asked == stream)
            .unwrap()
            .1
    }

    /// Receives events until `done` returns true.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Seen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&mut self.seen) {
            self.take();
            let console = &self.seen.console;
            let console = String::from_utf8_lossy(&console[console.len().saturating_sub(500)..]);
            assert!(
                Instant::now() < deadline,
                "no {what}; the console shows {console:?}"
            );
        }
    }

    pub(crate) fn until_printed(&mut self, text: &str) {
        self.until(text, |seen| seen.has_printed(text));
    }

    /// Waits for the daemon's next heartbeat, without receiving events or storing KMON's heartbeat.
    pub(crate) fn wait_for_beat(&self) {
        let (beat, deadline) = (self.events.peer_beat(), Instant::now() + PATIENCE);
        while self.events.peer_beat() == beat {
            assert!(Instant::now() < deadline, "the daemon has no heartbeat");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Receives events for this time.
    pub(crate) fn listen(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.take();
        }
    }

    pub(crate) fn take(&mut self) {
        self.events.beat().unwrap();
        let Self { events, seen, .. } = self;
        events
            .receive(Duration::from_millis(10), |_, received| seen.note(received))
            .unwrap();
    }

    /// Waits until the statistics satisfy `wanted`, and returns them.
    pub(crate) fn stats(&mut self, wanted: impl Fn(&Stats) -> bool) -> Stats {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.events.stats();
            if let Some(stats) = stats.as_ref().filter(|stats| wanted(stats)) {
                return stats.clone();
            }
            assert!(Instant::now() < deadline, "no such statistics: {stats:?}");
            self.take();
        }
    }

    /// Waits for the daemon to end by itself.
    pub(crate) fn output(mut self) -> (Output, Seen) {
        let mut daemon = self.daemon.take().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while daemon.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the daemon does not end");
            self.take();
        }
        self.listen(Duration::from_millis(20));
        (
            daemon.wait_with_output().unwrap(),
            std::mem::take(&mut self.seen),
        )
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Allocates memory for a region.
pub(crate) fn memory() -> &'static Mapping {
    let memory = Mapping::memfd("instance", MonitorLink::REGION_LEN).unwrap();
    Box::leak(Box::new(memory))
}

/// Returns the daemon's command with `memory`, which it inherits.
pub(crate) fn guestd<A: AsRef<OsStr>>(
    memory: &'static Mapping,
    arguments: impl IntoIterator<Item = A>,
) -> Program {
    let region = memory.as_fd().as_raw_fd();
    let mut program = Program::new(env!("CARGO_BIN_EXE_guestd"));
    program
        .arg("--region")
        .arg(format!("fd:{region}"))
        .args(POLLS.then_some("--poll"))
        .args(arguments)
        .stdin(Stdio::null());
    inherit(&mut program, memory);
    program
}

/// Returns the command that runs `program` through a shell `script`, with `memory`.
pub(crate) fn through_shell(script: &str, program: &Program, memory: &'static Mapping) -> Program {
    let mut shell = Program::new("sh");
    shell
        .args(["-c", script])
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null());
    inherit(&mut shell, memory);
    shell
}

fn inherit(program: &mut Program, memory: &'static Mapping) {
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { program.pre_exec(move || Ok(fcntl_setfd(memory.as_fd(), FdFlags::empty())?)) };
}

fn waiting() -> Waiting {
    if POLLS { Waiting::Poll } else { Waiting::Futex }
}

fn settings() -> Settings {
    Settings {
        partition: 2,
        period_ms: 100,
        name: "part2".into(),
    }
}

/// Waits for a file that a program in the instance writes, and reads it.
pub(crate) fn await_file(path: &std::path::Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => return text,
            _ => assert!(Instant::now() < deadline, "no {}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns true if a process runs and is not a zombie.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}
