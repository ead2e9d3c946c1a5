//! The programs of `examples/` run as real processes, and print what their first comments say,
//! when the peer dies, too.
#![cfg(feature = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::OnceLock;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};
use std::{env, fs};

use shmem_channel::Session;
use shmem_core::ring::Ring;
use shmem_registry::Kind;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program of `examples/`, as it is now: cargo does not build them with every choice of tests.
fn program(name: &str) -> Command {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--examples", "--all-features"]);
        build.args(["--package", env!("CARGO_PKG_NAME")]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "they do not build");
        let test = env::current_exe().unwrap();
        test.ancestors().nth(2).unwrap().join("examples")
    });
    Command::new(directory.join(name))
}

/// Waits until `child` ends by itself.
fn end_of(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("process {} does not end", child.id());
        }
        sleep(Duration::from_millis(5));
    }
}

/// Why a program fails, as it says.
fn refusal(name: &str, args: &[&str]) -> String {
    let mut command = program(name);
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    end_of(&mut child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// One example, and the file that its processes share.
struct Example {
    name: &'static str,
    /// Its first comment, in one line.
    comment: String,
    directory: TempDir,
}

impl Example {
    fn new(name: &'static str, source: &str) -> Self {
        let comment = source.lines().map_while(|line| line.strip_prefix("//!"));
        Self {
            name,
            comment: numbers_hidden(&comment.collect::<String>()),
            directory: tempfile::tempdir_in("/dev/shm").unwrap(),
        }
    }

    fn file(&self) -> String {
        let file = self.directory.path().join(self.name);
        file.into_os_string().into_string().unwrap()
    }

    /// Starts a process; `FILE` in `args` is the file.
    fn start(&self, args: &[&str]) -> Process<'_> {
        let file = self.file();
        let args = args.iter().map(|arg| match *arg {
            "FILE" => &file,
            arg => arg,
        });
        let mut command = program(self.name);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (says, said) = channel();
        spawn(move || stdout.lines().try_for_each(|line| says.send(line.unwrap())));
        Process {
            example: self,
            child,
            said,
        }
    }

    /// Waits until so many lines lie in the ring of `stream`.
    fn wait_for_unread(&self, lines: usize) {
        let session = Session::join_file(self.file(), 3).unwrap();
        let segment = session.segment("lines", Kind::RING, Ring::segment_len(1 << 14));
        let ring = Ring::attach(segment.unwrap().window()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while ring.inspect(100).backlog.records < lines {
            assert!(Instant::now() < deadline, "nothing is sent");
            sleep(Duration::from_millis(10));
        }
    }
}

/// `text` with one figure for every number.
fn numbers_hidden(text: &str) -> String {
    let mut hidden = text.replace(|c: char| c.is_ascii_digit(), "0");
    while hidden.contains("00") {
        hidden = hidden.replace("00", "0");
    }
    hidden
}

/// A running process of an example, which is killed at the end of its test.
struct Process<'e> {
    example: &'e Example,
    child: Child,
    said: Receiver<String>,
}

impl Process<'_> {
    /// The next line that it prints, with the file's name as in the first comment, which has
    /// to have such a line.
    fn next(&self) -> String {
        let Example { name, comment, .. } = self.example;
        let line = self.said.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|error| panic!("{name} says nothing: {error}"));
        let line = line.replace(&self.example.file(), &format!("/dev/shm/{name}"));
        assert!(
            comment.contains(&numbers_hidden(&line)),
            "{name} says {line:?}, which its first comment does not have"
        );
        line
    }

    fn says(&self, line: &str) {
        assert_eq!(self.next(), line);
    }

    /// The number after `text` in the next line.
    fn says_number(&self, text: &str) -> u32 {
        let line = self.next();
        let number = line.strip_prefix(text).and_then(|rest| rest.parse().ok());
        number.unwrap_or_else(|| panic!("{line:?} is not {text:?} with a number"))
    }

    fn is_told(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends it by SIGKILL; returns what it printed and nobody has read.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.iter().collect()
    }

    fn ends(mut self) {
        assert!(end_of(&mut self.child).success());
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ping_tells_the_time_of_a_call() {
    let ping = Example::new("ping", include_str!("../examples/ping.rs"));
    let early = ping.start(&["call", "FILE"]);
    early.says("waiting for /dev/shm/ping");
    let server = ping.start(&["serve", "FILE"]);
    server.says("answering in /dev/shm/ping");
    assert!(early.next().starts_with("a round trip takes "));
    early.ends();
    let late = ping.start(&["call", "FILE"]);
    late.says("waiting for /dev/shm/ping");
    assert!(late.next().starts_with("a round trip takes "));
    late.ends();
    let second = refusal("ping", &["serve", &ping.file()]);
    assert!(second.contains("partition 1"), "{second}");
}

#[test]
fn rpc_goes_on_after_the_death_of_either_end() {
    let rpc = Example::new("rpc", include_str!("../examples/rpc.rs"));
    let mut client = rpc.start(&["ask", "FILE"]);
    client.says("waiting for /dev/shm/rpc");
    let server = rpc.start(&["serve", "FILE"]);
    server.says("answering in /dev/shm/rpc");
    client.is_told("12");
    client.says("12 squared is 144");

    server.kill();
    client.is_told("13");
    client.says("the server died before it answered");
    let server = rpc.start(&["serve", "FILE"]);
    server.says("answering in /dev/shm/rpc");
    client.is_told("14");
    client.says("the server was restarted: ask again");
    client.is_told("14");
    client.says("14 squared is 196");

    client.kill();
    let mut client = rpc.start(&["ask", "FILE"]);
    client.says("waiting for /dev/shm/rpc");
    client.is_told("15");
    client.says("15 squared is 225");
    server.says("another client");
    drop(client.child.stdin.take());
    client.ends();
}

#[test]
fn stream_goes_on_after_the_death_of_either_end_and_counts_what_was_lost() {
    let stream = Example::new("stream", include_str!("../examples/stream.rs"));
    let printer = stream.start(&["print", "FILE"]);
    printer.says("waiting for /dev/shm/stream");
    let sender = stream.start(&["send", "FILE"]);
    sender.says("sending into /dev/shm/stream");
    printer.says("line 1");
    printer.says("line 2");

    let printed = 2 + printer.kill().len() as u32;
    stream.wait_for_unread(2);
    let printer = stream.start(&["print", "FILE"]);
    printer.says("waiting for /dev/shm/stream");
    let lost = printer.says_number("lines lost: ");
    let next = printer.says_number("line ");
    // One more, if the printer died after it had received it.
    let missing = next - 1 - printed;
    assert!(
        lost >= 2 && (missing == lost || missing == lost + 1),
        "{missing} of {lost}"
    );
    sender.says("the printer was restarted");

    sender.kill();
    let sender = stream.start(&["send", "FILE"]);
    sender.says("sending into /dev/shm/stream");
    let mut line = printer.next();
    while line != "the sender was restarted" {
        assert!(line.starts_with("line "), "{line}");
        line = printer.next();
    }
    printer.says("line 1");
    printer.says("line 2");
}

#[test]
fn stream_prints_what_was_sent_before_there_was_a_printer() {
    let stream = Example::new("stream", include_str!("../examples/stream.rs"));
    let sender = stream.start(&["send", "FILE"]);
    sender.says("sending into /dev/shm/stream");
    stream.wait_for_unread(1);
    let printer = stream.start(&["print", "FILE"]);
    printer.says("waiting for /dev/shm/stream");
    printer.says("line 1");
}

#[test]
fn counter_survives_a_process_that_is_killed_while_it_holds_the_mutex() {
    let counter = Example::new("counter", include_str!("../examples/counter.rs"));
    let first = counter.start(&["FILE", "1"]);
    first.says("waiting for the mutex in /dev/shm/counter");
    first.says("locked, at 0: press Enter to count");
    let mut second = counter.start(&["FILE", "2"]);
    second.says("waiting for the mutex in /dev/shm/counter");
    first.kill();
    second.says("the last owner died while it changed the counts: they are repaired");
    second.says("locked, at 0: press Enter to count");
    second.is_told("");
    second.says("counted 1");
    second.ends();

    let mut first = counter.start(&["FILE", "1"]);
    first.says("waiting for the mutex in /dev/shm/counter");
    first.says("locked, at 1: press Enter to count");
    first.is_told("");
    first.says("counted 2");
    first.ends();
}

#[test]
fn counter_waits_for_the_partition_that_creates_its_region() {
    let counter = Example::new("counter", include_str!("../examples/counter.rs"));
    let mut early = counter.start(&["FILE", "2"]);
    early.says("waiting for the mutex in /dev/shm/counter");
    early.is_told("");
    let mut first = counter.start(&["FILE", "1"]);
    first.is_told("");
    let mut counted = [&early, &first].map(|process| loop {
        let line = process.next();
        if line.starts_with("counted ") {
            break line;
        }
    });
    counted.sort();
    assert_eq!(counted, ["counted 1", "counted 2"]);
}

#[test]
fn vendor_asks_its_hypervisor() {
    let vendor = Example::new("vendor", include_str!("../examples/vendor.rs"));
    let process = vendor.start(&[]);
    process.says("version 7.1");
    process.ends();
}

#[test]
fn programs_say_how_they_are_used() {
    for name in ["ping", "rpc", "stream", "counter"] {
        let usage = refusal(name, &[]);
        assert!(usage.starts_with(&format!("usage: {name} ")), "{usage}");
        assert_eq!(refusal(name, &["what?"]), usage);
    }
}

#[test]
fn programs_neither_wait_for_nor_write_over_a_file_that_holds_something_else() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = directory.path().join("letters");
    let letters = vec![b'x'; 1 << 20];
    fs::write(&path, &letters).unwrap();
    let file = path.to_str().unwrap();
    let runs = [
        ["ping", "serve", file],
        ["ping", "call", file],
        ["rpc", "serve", file],
        ["rpc", "ask", file],
        ["stream", "send", file],
        ["stream", "print", file],
        ["counter", file, "1"],
        ["counter", file, "2"],
    ];
    for [name, args @ ..] in runs {
        let why = refusal(name, &args);
        assert!(why.contains("not a region"), "{name}: {why}");
    }
    assert!(fs::read(&path).unwrap() == letters);
}
