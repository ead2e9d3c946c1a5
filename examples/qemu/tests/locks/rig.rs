//! Two guests and the host around one region, each told what to run.

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

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const REGION_LEN: u64 = 2 << 20;
/// The region in a guest that has it as reserved memory.
const RESERVED: &str = "mem:0x100000000+2M";

/// The host's program, which the guests have too.
fn tool() -> PathBuf {
    built("guest/cargo/x86_64-unknown-linux-gnu/release/shmem-contend")
}

/// A region that is prepared, and where its machines keep their sockets.
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
                let _ = to.send(Line::Said(line));
            }
        });
        let words = format!("host: {words}");
        Job::new(words, Rc::new(lines), Some(child))
    }

    /// Runs it, which takes no long time, and succeeds.
    pub(crate) fn run(&self, words: &str) -> Ended {
        self.host(words).succeed()
    }

    /// What `show` shows.
    pub(crate) fn shown(&self) -> Value {
        self.run("show").event("shown").clone()
    }

    /// Boots a machine with the region as this number's party.
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

/// What a program or a console has said.
enum Line {
    Said(String),
    /// The shell asks for a command.
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
                    let said = String::from_utf8_lossy(&line).trim().to_owned();
                    let _ = to.send(Line::Said(said));
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

    /// Waits for its shell, and makes the region's device answer.
    fn see_up(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(Line::Prompt) => break,
                Ok(Line::Said(_)) => {}
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
            // A shell that neither echoes nor edits.
            "exec sh -c 'stty -echo; while read -r line; do eval \"$line\"; done'",
        ] {
            self.type_in(line);
        }
    }

    /// Starts the program, as this guest's party.
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

    /// Boots it anew; whatever ran in it is over.
    pub(crate) fn reset(&self) {
        self.machine.pause().unwrap();
        while self.lines.try_recv().is_ok() {}
        self.machine.reset().unwrap();
        self.see_up();
    }
}

/// The program at work, somewhere.
pub(crate) struct Job {
    words: String,
    lines: Rc<Receiver<Line>>,
    /// On the host.
    child: Option<Child>,
    events: Vec<Value>,
}

/// What it has said, and its exit status.
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

    /// Takes the next line, and returns its exit status if it has ended.
    #[track_caller]
    fn next(&mut self) -> Option<i32> {
        let said = match self.lines.recv_timeout(PATIENCE) {
            Ok(Line::Said(said)) => said,
            Ok(Line::Prompt) => return None,
            Err(_) => match &mut self.child {
                Some(child) => return Some(child.wait().unwrap().code().unwrap_or(-1)),
                None => panic!("{} says nothing more; so far {:?}", self.words, self.events),
            },
        };
        if let Some(status) = said.strip_prefix("exit=") {
            return status.parse().ok();
        }
        self.events
            .extend(serde_json::from_str::<Value>(&said).ok());
        None
    }

    /// Waits until it says this.
    #[track_caller]
    pub(crate) fn see(&mut self, event: &str) -> Value {
        loop {
            let found = self.events.iter().find(|said| said["event"] == event);
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

    /// Whether it has said this by now.
    pub(crate) fn has_said(&mut self, event: &str) -> bool {
        while let Ok(line) = self.lines.try_recv() {
            if let Line::Said(said) = line {
                let (ended, events) = (said.starts_with("exit="), &self.events);
                assert!(!ended, "{} has ended: {events:?}", self.words);
                self.events
                    .extend(serde_json::from_str::<Value>(&said).ok());
            }
        }
        self.events.iter().any(|said| said["event"] == event)
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

    /// Waits for its end, which is a success.
    #[track_caller]
    pub(crate) fn succeed(self) -> Ended {
        let ended = self.end();
        assert_eq!(ended.status, 0, "{ended:?}");
        ended
    }

    /// Waits for its end with this status, another than success, and returns what it said.
    #[track_caller]
    pub(crate) fn fail(self, status: i32) -> String {
        let ended = self.end();
        assert_eq!(ended.status, status, "{ended:?}");
        ended.event("failed")["error"].as_str().unwrap().to_owned()
    }
}

impl Ended {
    pub(crate) fn says(&self, event: &str) -> bool {
        self.events.iter().any(|said| said["event"] == event)
    }

    pub(crate) fn says_of(&self, partition: u64, event: &str) -> bool {
        let mut of_it = self
            .events
            .iter()
            .filter(|said| said["partition"] == partition);
        of_it.any(|said| said["event"] == event)
    }

    #[track_caller]
    pub(crate) fn event(&self, event: &str) -> &Value {
        let found = self.events.iter().find(|said| said["event"] == event);
        found.unwrap_or_else(|| panic!("no {event}: {self:?}"))
    }
}
