//! A KMON that reads commands from a pipe.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Home, becomes_true, kill_servers, start_in};

/// A KMON that reads commands from a pipe.
pub(crate) struct Fed {
    run_dir: PathBuf,
    child: Child,
    commands: Option<ChildStdin>,
    printed: Arc<Mutex<Vec<u8>>>,
    errors: Arc<Mutex<Vec<u8>>>,
    /// Bytes of `printed` that were taken.
    taken: usize,
}

impl Fed {
    /// Starts KMON.
    pub(crate) fn start_in(home: &Home, arguments: &[&str]) -> Self {
        Self::new(home, start_in(home, arguments))
    }

    /// Starts `command`, which runs KMON in `home`.
    pub(crate) fn start_with(home: &Home, command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::new(home, command.stderr(Stdio::piped()).spawn().unwrap())
    }

    fn new(home: &Home, mut child: Child) -> Self {
        let (printed, errors) = (Arc::default(), Arc::default());
        collect(child.stdout.take().unwrap(), &printed);
        collect(child.stderr.take().unwrap(), &errors);
        Self {
            run_dir: home.run_dir(),
            commands: child.stdin.take(),
            child,
            printed,
            errors,
            taken: 0,
        }
    }

    /// Returns the process of this client.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command and does not wait.
    pub(crate) fn send(&mut self, line: &str) {
        let commands = self.commands.as_mut().unwrap();
        commands.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Runs a command, any but `kmlist --json`, and returns its output.
    pub(crate) fn ask(&mut self, line: &str) -> Vec<u8> {
        const MARK: &[u8] = b"{\"instances\":[";
        const KIND: &[u8] = b"\"kind\":";
        const LIST: usize = 64 * 1024;
        self.send(line);
        self.send("kmlist --json");
        let mut answer = Vec::new();
        let answered = becomes_true(|| {
            let printed = self.printed.lock().unwrap();
            let new = &printed[self.taken..];
            if !new.ends_with(b"\n") {
                return false;
            }
            // The list is short; an answer may have many megabytes.
            let from = new.len().saturating_sub(LIST);
            let position = |of: &[u8]| new[from..].windows(of.len()).rposition(|part| part == of);
            // The output of `kmmonitorall --json` begins like a list, but has no kind.
            let list = position(MARK).filter(|&mark| position(KIND) > Some(mark));
            answer = list.map_or(Vec::new(), |mark| new[..from + mark].to_vec());
            list.is_some()
        });
        assert!(answered, "{line}: no answer; {}", self.errors());
        self.taken = self.printed.lock().unwrap().len();
        answer
    }

    /// Returns the entry of instance `number` in `kmlist`.
    pub(crate) fn list(&mut self, number: u8) -> Value {
        self.ask("# nothing");
        let printed = self.printed.lock().unwrap();
        let list = printed
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next();
        let list: Value = serde_json::from_slice(list.unwrap()).unwrap();
        let instances = list["instances"].as_array().unwrap().clone();
        let wanted = instances.into_iter().find(|one| one["number"] == number);
        wanted.unwrap()
    }

    /// Waits until the entry of instance `number` satisfies `wanted`, and returns it.
    pub(crate) fn list_until(&mut self, number: u8, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = becomes_true(|| {
            last = self.list(number);
            wanted(&last)
        });
        assert!(found, "{last}; {}", self.errors());
        last
    }

    /// Waits until instance `number` runs, and returns the process of its guestd.
    pub(crate) fn daemon_pid(&mut self, number: u8) -> String {
        let ready = |one: &Value| one["state"] == "running" && one["pid"].is_number();
        self.list_until(number, ready)["pid"].to_string()
    }

    /// Returns all that was printed on standard error.
    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.errors.lock().unwrap()).into_owned()
    }

    /// Returns all that was printed on standard output.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().unwrap()).into_owned()
    }

    /// Waits until standard output contains `text`.
    pub(crate) fn see(&self, text: &str) {
        let seen = becomes_true(|| self.printed().contains(text));
        assert!(seen, "no {text:?}; {}", self.errors());
    }

    /// Waits until standard error contains `text`.
    pub(crate) fn see_error(&self, text: &str) {
        let seen = becomes_true(|| self.errors().contains(text));
        assert!(seen, "no {text:?} in {:?}", self.errors());
    }

    /// Kills this client, and then its server.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        kill_servers(&self.run_dir);
    }

    /// Runs the command that ends KMON, and returns the exit status.
    pub(crate) fn leave(mut self, command: &str) -> Option<i32> {
        self.send(command);
        self.wait()
    }

    /// Ends the input, waits for KMON's end and returns the exit status.
    pub(crate) fn wait(mut self) -> Option<i32> {
        drop(self.commands.take());
        let mut status = None;
        let ended = becomes_true(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "KMON does not end; {}", self.errors());
        status.unwrap().code()
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, to: &Arc<Mutex<Vec<u8>>>) {
    let to = Arc::clone(to);
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = from.read(&mut bytes) {
            to.lock().unwrap().extend_from_slice(&bytes[..len]);
        }
    });
}
