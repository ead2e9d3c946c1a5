//! A serial console, with a user's input and output.
//!
//! Nothing is typed ahead, because a command that checks for `^C` reads every typed byte.
//! No step waits for a fixed time: each waits for the text that it expects.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::unistd::ttyname;
use rustix::fs::{Mode, OFlags};

use crate::PATIENCE;
use crate::process::Process;

/// The ends of U-Boot's prompts.
const PROMPT: &str = "=> ";
const MALTA_PROMPT: &str = "malta # ";

/// A program and the terminal that its serial console is on.
pub struct Console {
    keys: File,
    printed: Arc<Printed>,
    /// Bytes of `printed` that were checked.
    seen: usize,
    /// Marks that were printed to find a prompt.
    marks: u32,
    program: Process,
}

#[derive(Default)]
struct Printed {
    so_far: Mutex<SoFar>,
    more: Condvar,
}

#[derive(Default)]
struct SoFar {
    bytes: Vec<u8>,
    ended: bool,
}

impl Console {
    /// Starts the program.
    pub fn start(mut command: Command) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).unwrap();
        // Each is opened separately: U-Boot's sandbox sets its input non-blocking, and would
        // lose output that it writes too fast if both were one.
        let terminal = ttyname(&pair.slave).unwrap();
        let end = || {
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            let end = rustix::fs::open(&terminal, flags, Mode::empty());
            Stdio::from(end.unwrap())
        };
        command.stdin(end()).stdout(end()).stderr(end());
        let program = Process::start(command);
        let printed = Arc::<Printed>::default();
        let (mut output, to) = (File::from(pair.master), Arc::clone(&printed));
        let keys = output.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails when no process has the other end open.
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                // Carriage returns only move the cursor.
                let seen = bytes[..len].iter().filter(|&&byte| byte != b'\r');
                to.so_far.lock().unwrap().bytes.extend(seen);
                to.more.notify_all();
            }
            to.so_far.lock().unwrap().ended = true;
            to.more.notify_all();
        });
        Self {
            keys,
            printed,
            seen: 0,
            marks: 0,
            program,
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is printed after the text that was checked before; returns the output
    /// before it. Lines end in `\n`.
    pub fn see(&mut self, text: &str) -> String {
        self.see_any(&[text]).1
    }

    /// Waits for the first of several texts; returns its index and the output before it.
    pub fn see_any(&mut self, texts: &[&str]) -> (usize, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut so_far = self.printed.so_far.lock().unwrap();
        loop {
            let new = &so_far.bytes[self.seen..];
            let places = texts.iter().enumerate();
            let found = places.filter_map(|(n, text)| Some((find(new, text)?, n, text.len())));
            if let Some((at, which, len)) = found.min() {
                let before = String::from_utf8_lossy(&new[..at]).into_owned();
                self.seen += at + len;
                return (which, before);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || so_far.ended {
                let why = if so_far.ended { "ended" } else { "waits" };
                let all = transcript(&so_far.bytes, self.seen);
                drop(so_far);
                panic!("no {texts:?}: the console {why}:\n{all}");
            }
            so_far = self.printed.more.wait_timeout(so_far, left).unwrap().0;
        }
    }

    /// Waits for U-Boot's prompt; returns the output before it.
    pub fn prompt(&mut self) -> String {
        self.see_any(&[PROMPT, MALTA_PROMPT]).1
    }

    /// Waits for the first prompt of U-Boot after its start.
    pub fn boot(&mut self) {
        let stop = "Hit any key to stop autoboot";
        if self.see_any(&[stop, PROMPT, MALTA_PROMPT]).0 == 0 {
            self.press(" ");
            self.prompt();
        }
    }

    /// Types a command at U-Boot's prompt, and does not wait for its end.
    pub fn begin(&mut self, line: &str) {
        self.press(line);
        self.see(line);
        self.press("\r");
        self.see("\n");
    }

    /// Types a command at U-Boot's prompt; returns its output.
    pub fn command(&mut self, line: &str) -> String {
        self.begin(line);
        self.prompt()
    }

    /// Waits for U-Boot's last prompt, after keys that either a command or the prompt after
    /// it has read.
    pub fn settle(&mut self) {
        self.prompt();
        self.marks += 1;
        // The printed mark differs from the echoed line, and `^C` clears the line first.
        let line = format!("\x03echo ma''rk-{}\r", self.marks);
        self.press(&line);
        self.see(&format!("mark-{}\n", self.marks));
        self.prompt();
    }

    /// Panics with all output unless `condition` is true.
    #[track_caller]
    pub fn check(&self, condition: bool, what: &str) {
        assert!(condition, "false: {what}; the console:\n{}", self.all());
    }

    /// Returns all output, with a mark where the checked part ends.
    pub fn all(&self) -> String {
        transcript(&self.printed.so_far.lock().unwrap().bytes, self.seen)
    }

    /// Cuts the program's power.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Stops or continues the program.
    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    let mut parts = bytes.windows(text.len());
    parts.position(|part| part == text.as_bytes())
}

fn transcript(bytes: &[u8], seen: usize) -> String {
    let (seen, unseen) = bytes.split_at(seen);
    let text = String::from_utf8_lossy;
    format!("{}<<seen up to here>>{}", text(seen), text(unseen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Console {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Console::start(command)
    }

    #[test]
    fn output_is_found_in_its_order_and_only_once() {
        let mut console = shell("stty -echo; printf 'one => '; read x; printf \"$x two => \"");
        assert_eq!(console.prompt(), "one ");
        console.press("and\r");
        assert_eq!(console.see_any(&["two", "and"]), (1, String::new()));
        assert_eq!(console.prompt(), " two ");
    }

    #[test]
    fn a_text_that_is_not_printed_is_a_failure_that_shows_all_output() {
        let mut console = shell("echo first; echo second");
        console.see("first");
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            console.see("third");
        }));
        let text = *failed.unwrap_err().downcast::<String>().unwrap();
        assert!(
            text.contains("no [\"third\"]: the console ended:\nfirst<<seen up to here>>\nsecond"),
            "{text}"
        );
    }
}
