//! Two guests and the host with one region, and the commands that they run.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use kmon_qemu::{Accelerator, Boot, Machine, Plan, Transport};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::built;

/// Longer than any test takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const REGION_LEN: u64 = 2 << 20;
/// The place of the region in a guest with reserved memory.
const RESERVED: &str = "mem:0x100000000+2M";

/// Returns the host's program, which the guests also have.
fn tool() -> PathBuf {
    built("guest/cargo/x86_64-unknown-linux-gnu/release/shmem-contend")
}

/// A prepared region, and the directory of its machines' sockets.
pub(crate) struct Arena {
    home: TempDir,
    file: File,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = File::create_new(home.path().join("region")).unwrap();
        file.set_len(REGION_LEN).unwrap();
        let arena = Self { home, file };
        arena.run("prepare --permits 2");
        arena
    }

    /// Starts the program on the host.
    pub(crate) fn host(&self, words: &str) -> Job {
        let region = format!("file:{}", self.home.path().join("region").display());
        let mut child = Command::new(tool())
            .args(["--json", "--region", &region])
            .args(words.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(io::Result::ok) {
                let _ = to.send(Line::Text(line));
            }
        });
        let words = format!("host: {words}");
        Job::new(words, Rc::new(lines), Some(child))
    }

    /// Runs a short command on the host, which must succeed.
    pub(crate) fn run(&self, words: &str) -> Ended {
        self.host(words).succeed()
    }

    /// Returns the output of `show`.
    pub(crate) fn shown(&self) -> Value {
        self.run("show").event("shown").clone()
    }

    /// Boots a machine with the region, as the party `number`.
    pub(crate) fn guest(&self, number: u8, transport: Transport, extra: &[&str]) -> Guest {
        let console = self.home.path().join(format!("console{number}"));
        let serial = format!(
            "socket,id=console,path={},server=on,wait=off",
            console.display()
        );
        let mut words = vec!["-chardev".to_owned(), serial];
        words.extend(["-device", "isa-serial,chardev=console"].map(str::to_owned));
        words.extend(extra.iter().map(|&word| word.to_owned()));
        let place = match transport {
            Transport::Reserved => RESERVED,
            _ => "pci:$device/resource2",
        };
        let plan = Plan {
            name: format!("guest{number}"),
            memory_mib: 96,
            vcpus: 1,
            boot: Boot::Kernel {
                kernel: built("guest/kernel/vmlinuz"),
                initrd: Some(built("guest/initramfs.cpio")),
            },
            transport,
            accelerator: Accelerator::Tcg,
            qmp: self.home.path().join(format!("qmp{number}")),
            program: "qemu-system-x86_64".into(),
            append: "rdinit=/bin/sh console=ttyS0 quiet loglevel=0".to_owned(),
            extra: words,
        };
        let machine = plan.start(self.file.as_fd()).unwrap();
        let console = UnixStream::connect(console).unwrap();
        let (to, lines) = channel();
        let from = console.try_clone().unwrap();
        thread::spawn(move || listen(from, &to));
        let guest = Guest {
            number,
            machine,
            console: RefCell::new(console),
            lines: Rc::new(lines),
            place,
        };
        guest.see_up();
        guest
    }
}

/// Output of a program or of a console.
enum Line {
    Text(String),
    /// The shell is ready for a command.
    Prompt,
}

/// Passes on the lines of a console until it is closed.
fn listen(mut console: UnixStream, to: &Sender<Line>) {
    let mut line = Vec::new();
    let mut bytes = [0; 1024];
    while let Ok(len @ 1..) = console.read(&mut bytes) {
        for &byte in &bytes[..len] {
            match byte {
                b'\n' => {
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    let _ = to.send(Line::Text(text));
                    line.clear();
                }
                byte => line.push(byte),
            }
            if line.ends_with(b"/ # ") {
                let _ = to.send(Line::Prompt);
            }
        }
    }
}

/// A machine that is killed at the end of its test.
pub(crate) struct Guest {
    number: u8,
    pub(crate) machine: Machine,
    console: RefCell<UnixStream>,
    lines: Rc<Receiver<Line>>,
    place: &'static str,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.machine.kill();
    }
}

impl Guest {
    fn type_in(&self, line: &str) {
        let mut console = self.console.borrow_mut();
        console.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for its shell, and enables the region's device.
    fn see_up(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(Line::Prompt) => break,
                Ok(Line::Text(_)) => {}
                Err(_) => panic!(
                    "guest {} did not boot: {:?}",
                    self.number,
                    self.machine.stderr_lines()
                ),
            }
        }
        for line in [
            "mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev",
            "for file in $(grep -l 0x1110 /sys/bus/pci/devices/*/device); do \
             export device=${file%/device}; echo 1 > $device/enable; done",
            // A shell without echo and editing.
            "exec sh -c 'stty -echo; while read -r line; do eval \"$line\"; done'",
        ] {
            self.type_in(line);
        }
    }

    /// Starts the program as this guest's party.
    pub(crate) fn start(&self, words: &str) -> Job {
        let number = self.number;
        let line = format!(
            "shmem-contend --json --region {} {words} --as {number} < /dev/null; echo \"exit=$?\"",
            self.place
        );
        self.type_in(&line);
        let words = format!("guest {number}: {words}");
        Job::new(words, Rc::clone(&self.lines), None)
    }

    /// Boots it again; all that ran in it has ended.
    pub(crate) fn reset(&self) {
        self.machine.pause().unwrap();
        while self.lines.try_recv().is_ok() {}
        self.machine.reset().unwrap();
        self.see_up();
    }
}

/// A running program, on the host or in a guest.
pub(crate) struct Job {
    words: String,
    lines: Rc<Receiver<Line>>,
    /// The process, on the host.
    child: Option<Child>,
    events: Vec<Value>,
}

/// The events and the exit status of a program.
#[derive(Debug)]
#[expect(dead_code, reason = "a failed assertion shows all of it")]
pub(crate) struct Ended {
    words: String,
    pub(crate) status: i32,
    pub(crate) events: Vec<Value>,
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Job {
    fn new(words: String, lines: Rc<Receiver<Line>>, child: Option<Child>) -> Self {
        Self {
            words,
            lines,
            child,
            events: Vec::new(),
        }
    }

    /// Takes the next line. Returns the exit status if the program has ended.
    #[track_caller]
    fn next(&mut self) -> Option<i32> {
        let text = match self.lines.recv_timeout(PATIENCE) {
            Ok(Line::Text(text)) => text,
            Ok(Line::Prompt) => return None,
            Err(_) => match &mut self.child {
                Some(child) => return Some(child.wait().unwrap().code().unwrap_or(-1)),
                None => panic!(
                    "{} prints nothing more; so far {:?}",
                    self.words, self.events
                ),
            },
        };
        if let Some(status) = text.strip_prefix("exit=") {
            return status.parse().ok();
        }
        self.events
            .extend(serde_json::from_str::<Value>(&text).ok());
        None
    }

    /// Waits until it reports this event.
    #[track_caller]
    pub(crate) fn see(&mut self, event: &str) -> Value {
        loop {
            let found = self.events.iter().find(|found| found["event"] == event);
            if let Some(found) = found {
                return found.clone();
            }
            let ended = self.next();
            assert_eq!(
                ended, None,
                "{}: no {event} in {:?}",
                self.words, self.events
            );
        }
    }

    /// Returns true if it has reported this event.
    pub(crate) fn has_reported(&mut self, event: &str) -> bool {
        while let Ok(line) = self.lines.try_recv() {
            if let Line::Text(text) = line {
                let (ended, events) = (text.starts_with("exit="), &self.events);
                assert!(!ended, "{} has ended: {events:?}", self.words);
                self.events
                    .extend(serde_json::from_str::<Value>(&text).ok());
            }
        }
        self.events.iter().any(|found| found["event"] == event)
    }

    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        loop {
            if let Some(status) = self.next() {
                return Ended {
                    words: self.words.clone(),
                    status,
                    events: std::mem::take(&mut self.events),
                };
            }
        }
    }

    /// Waits for its end, which must be a success.
    #[track_caller]
    pub(crate) fn succeed(self) -> Ended {
        let ended = self.end();
        assert_eq!(ended.status, 0, "{ended:?}");
        ended
    }

    /// Waits for its end, which must be a failure with this status. Returns its error.
    #[track_caller]
    pub(crate) fn fail(self, status: i32) -> String {
        let ended = self.end();
        assert_eq!(ended.status, status, "{ended:?}");
        ended.event("failed")["error"].as_str().unwrap().to_owned()
    }
}

impl Ended {
    pub(crate) fn says(&self, event: &str) -> bool {
        self.events.iter().any(|found| found["event"] == event)
    }

    pub(crate) fn reports_of(&self, partition: u64, event: &str) -> bool {
        let mut of_partition = self
            .events
            .iter()
            .filter(|found| found["partition"] == partition);
        of_partition.any(|found| found["event"] == event)
    }

    #[track_caller]
    pub(crate) fn event(&self, event: &str) -> &Value {
        let found = self.events.iter().find(|found| found["event"] == event);
        found.unwrap_or_else(|| panic!("no {event}: {self:?}"))
    }
}
