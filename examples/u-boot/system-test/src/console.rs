//! What a person types and sees at a serial console.
//!
//! Nothing is typed ahead: a command that looks for `^C` takes what it finds.
//! Nothing is awaited by the clock: each step waits for what it is to see.

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
use crate::process::Mortal;

/// What U-Boot's prompts end in.
const PROMPT: &str = "=> ";
const MALTA_PROMPT: &str = "malta # ";

/// The terminal of a program that has a serial console on it.
pub struct Console {
    keys: File,
    printed: Arc<Printed>,
    /// Bytes of it that were seen.
    seen: usize,
    /// Marks that were printed to find a prompt by.
    marks: u32,
    program: Mortal,
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
        // Each opened by itself: U-Boot's sandbox reads without waiting, and would lose
        // what it writes too fast if both were one.
        let terminal = ttyname(&pair.slave).unwrap();
        let end = || {
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            let end = rustix::fs::open(&terminal, flags, Mode::empty());
            Stdio::from(end.unwrap())
        };
        command.stdin(end()).stdout(end()).stderr(end());
        let program = Mortal::start(command);
        let printed = Arc::<Printed>::default();
        let (mut output, to) = (File::from(pair.master), Arc::clone(&printed));
        let keys = output.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // No more when nobody has the other end.
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                // They move the cursor, and a person sees none.
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

    /// Waits until `text` is printed behind what was seen before; what was printed
    /// in front of it. Lines end in `\n`.
    pub fn see(&mut self, text: &str) -> String {
        self.see_any(&[text]).1
    }

    /// The same for the first of several that comes; which it was.
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

    /// Waits for U-Boot's prompt; what was printed in front of it.
    pub fn prompt(&mut self) -> String {
        self.see_any(&[PROMPT, MALTA_PROMPT]).1
    }

    /// Waits for the prompt of U-Boot that starts.
    pub fn boot(&mut self) {
        let stop = "Hit any key to stop autoboot";
        if self.see_any(&[stop, PROMPT, MALTA_PROMPT]).0 == 0 {
            self.press(" ");
            self.prompt();
        }
    }

    /// Gives U-Boot a command at its prompt, and does not wait for its end.
    pub fn begin(&mut self, line: &str) {
        self.press(line);
        self.see(line);
        self.press("\r");
        self.see("\n");
    }

    /// Gives U-Boot a command at its prompt; what that printed.
    pub fn command(&mut self, line: &str) -> String {
        self.begin(line);
        self.prompt()
    }

    /// Waits for U-Boot's last prompt, after keys that a command may have taken or
    /// left to the prompt behind it.
    pub fn settle(&mut self) {
        self.prompt();
        self.marks += 1;
        // Another word than the one that is echoed, on a line without what is left.
        let line = format!("\x03echo ma''rk-{}\r", self.marks);
        self.press(&line);
        self.see(&format!("mark-{}\n", self.marks));
        self.prompt();
    }

    /// Fails unless `condition` holds, with all that was printed.
    #[track_caller]
    pub fn check(&self, condition: bool, what: &str) {
        assert!(condition, "not so: {what}; the console:\n{}", self.all());
    }

    /// All that was printed, with a mark where it was not seen yet.
    pub fn all(&self) -> String {
        transcript(&self.printed.so_far.lock().unwrap().bytes, self.seen)
    }

    /// Cuts its power.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Stops the program where it is, or lets it go on.
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
    fn what_is_printed_is_seen_in_its_order_and_once() {
        let mut console = shell("stty -echo; printf 'one => '; read x; printf \"$x two => \"");
        assert_eq!(console.prompt(), "one ");
        console.press("and\r");
        assert_eq!(console.see_any(&["two", "and"]), (1, String::new()));
        assert_eq!(console.prompt(), " two ");
    }

    #[test]
    fn what_is_not_printed_is_a_failure_with_all_that_was() {
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
