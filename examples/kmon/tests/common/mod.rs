//! KMON as its operator has it: the real program on a real pseudo-terminal.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The prompt of `/bin/sh` in an instance.
pub(crate) const SHELL_PROMPT: &str = "inside$ ";
const PROMPT: &str = "KMON# ";

/// The guest daemon: named by `GUESTD`, or beside KMON, built if it is not there.
pub(crate) fn guestd() -> &'static Path {
    static GUESTD: OnceLock<PathBuf> = OnceLock::new();
    GUESTD.get_or_init(|| {
        if let Some(path) = std::env::var_os("GUESTD") {
            return path.into();
        }
        let path = Path::new(env!("CARGO_BIN_EXE_kmon")).with_file_name("guestd");
        if !path.exists() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--package", "guestd"]);
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            assert!(build.status().unwrap().success(), "guestd does not build");
        }
        path
    })
}

/// A directory with a configuration whose instances have plain shells, and a run
/// directory of its own. What is recorded there is killed in the end.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where KMON keeps what it leaves for the next one.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path().join("run")
    }

    /// The first processes of the instances that are recorded, alive or not.
    pub(crate) fn recorded(&self) -> Vec<i32> {
        let Ok(files) = std::fs::read_dir(self.run_dir()) else {
            return Vec::new();
        };
        let pid = |file: PathBuf| {
            let record: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
            i32::try_from(record["body"]["process"]["pid"].as_i64()?).ok()
        };
        files.filter_map(|file| pid(file.ok()?.path())).collect()
    }

    /// Those of them that run.
    pub(crate) fn running(&self) -> Vec<i32> {
        let recorded = self.recorded().into_iter();
        recorded.filter(|&pid| is_instance(pid)).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for pid in self.running() {
            let pid = pid.to_string();
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }
}

/// Whether `pid` is the first process of an instance, and runs.
fn is_instance(pid: i32) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let word = b"\0instance-init\0";
    command.windows(word.len()).any(|part| part == word)
}

/// Makes such a directory.
pub(crate) fn home() -> Home {
    let home = tempfile::tempdir().unwrap();
    // What a person's start-up files do, and how long it takes, is no matter here.
    let shell = home.path().join("shell");
    let plain = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells/sh");
    std::os::unix::fs::symlink(plain, &shell).unwrap();
    let config = format!("[kmon]\nperiod = 0.3\nshell = '{}'\n", shell.display());
    std::fs::write(home.path().join("kmon.toml"), config).unwrap();
    Home(home)
}

/// KMON with the run directory of `home`.
pub(crate) fn kmon_in(home: &Home) -> Command {
    let mut kmon = Command::new(env!("CARGO_BIN_EXE_kmon"));
    prepare(&mut kmon, home.path());
    kmon.arg("--run-dir").arg(home.run_dir());
    kmon
}

fn prepare(command: &mut Command, home: &Path) {
    command
        .current_dir(home)
        .env("HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("TERM", "xterm");
}

/// Runs KMON with `script` on standard input.
pub(crate) fn run_script(arguments: &[&str], script: &str) -> Output {
    run_script_in(&home(), arguments, script)
}

/// The same in a directory that is there already.
pub(crate) fn run_script_in(home: &Home, arguments: &[&str], script: &str) -> Output {
    let mut kmon = kmon_in(home);
    if !arguments.contains(&"--guestd") {
        kmon.arg("--guestd").arg(guestd());
    }
    let mut child = kmon
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A KMON that ends early does not read it all.
    let _ = stdin.write_all(script.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Whether `condition` comes true in time.
pub(crate) fn becomes_true(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Sends `signal` to a process.
pub(crate) fn signal(signal: &str, pid: &str) {
    let sent = Command::new("kill").args([signal, pid]).status().unwrap();
    assert!(sent.success(), "kill {signal} {pid}");
}

/// KMON fed with one command after the other.
pub(crate) struct Fed {
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
        let mut child = kmon_in(home)
            .arg("--guestd")
            .arg(guestd())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (printed, errors) = (Arc::default(), Arc::default());
        collect(child.stdout.take().unwrap(), &printed);
        collect(child.stderr.take().unwrap(), &errors);
        Self {
            commands: child.stdin.take(),
            child,
            printed,
            errors,
            taken: 0,
        }
    }

    /// Gives a command and does not wait.
    pub(crate) fn tell(&mut self, line: &str) {
        let commands = self.commands.as_mut().unwrap();
        commands.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Gives a command, any but `kmlist --json`; what it printed.
    pub(crate) fn ask(&mut self, line: &str) -> Vec<u8> {
        const MARK: &[u8] = b"{\"instances\":[";
        const LIST: usize = 64 * 1024;
        self.tell(line);
        self.tell("kmlist --json");
        let mut answer = Vec::new();
        let answered = becomes_true(|| {
            let printed = self.printed.lock().unwrap();
            let new = &printed[self.taken..];
            if !new.ends_with(b"\n") {
                return false;
            }
            // The list is short; an answer may have many megabytes.
            let from = new.len().saturating_sub(LIST);
            let mark = new[from..]
                .windows(MARK.len())
                .rposition(|part| part == MARK);
            answer = mark.map_or(Vec::new(), |mark| new[..from + mark].to_vec());
            mark.is_some()
        });
        assert!(answered, "{line}: no answer; {}", self.errors());
        self.taken = self.printed.lock().unwrap().len();
        answer
    }

    /// What `kmlist` says of instance `number`.
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

    /// Waits until instance `number` is as `wanted` says.
    pub(crate) fn list_until(&mut self, number: u8, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = becomes_true(|| {
            last = self.list(number);
            wanted(&last)
        });
        assert!(found, "{last}; {}", self.errors());
        last
    }

    /// The process of instance `number`'s guestd, once that runs.
    pub(crate) fn daemon_pid(&mut self, number: u8) -> String {
        let ready = |one: &Value| one["state"] == "running" && one["pid"].is_number();
        self.list_until(number, ready)["pid"].to_string()
    }

    /// All that was said on standard error.
    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.errors.lock().unwrap()).into_owned()
    }

    /// Waits until standard error has `text`.
    pub(crate) fn see_error(&self, text: &str) {
        let seen = becomes_true(|| self.errors().contains(text));
        assert!(seen, "no {text:?} in {:?}", self.errors());
    }

    /// Kills KMON as nobody expects it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives the command that ends KMON, and returns the exit status.
    pub(crate) fn leave(mut self, command: &str) -> Option<i32> {
        self.tell(command);
        self.wait()
    }

    /// Ends the script, and waits for KMON's end.
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

/// KMON on a terminal of its own.
pub(crate) struct Operator {
    keys: File,
    terminal: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
    printed: Arc<Mutex<Vec<u8>>>,
    child: Child,
    pub(crate) home: Arc<Home>,
}

impl Operator {
    /// Starts KMON and waits for its prompt.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(Arc::new(home()), arguments)
    }

    /// The same in a directory that is there already.
    pub(crate) fn start_in(home: Arc<Home>, arguments: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 40,
            ws_col: 150,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).unwrap();
        // `setsid --ctty` makes the terminal the one of KMON's session.
        let mut kmon = Command::new("setsid");
        prepare(&mut kmon, home.path());
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = kmon
            .args(["--ctty", env!("CARGO_BIN_EXE_kmon"), "--guestd"])
            .arg(guestd())
            .arg("--run-dir")
            .arg(home.run_dir())
            .args(arguments)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let operator = Self {
            keys: File::from(pair.master),
            terminal: pair.slave,
            screen: Arc::new(Mutex::new(vt100::Parser::new(40, 150, 0))),
            printed: Arc::default(),
            child,
            home,
        };
        operator.watch();
        operator.see(PROMPT);
        operator
    }

    fn watch(&self) {
        let mut output = self.keys.try_clone().unwrap();
        let (screen, printed) = (Arc::clone(&self.screen), Arc::clone(&self.printed));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                screen.lock().unwrap().process(&bytes[..len]);
                printed.lock().unwrap().extend_from_slice(&bytes[..len]);
            }
        });
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line at KMON's prompt, once that is there.
    pub(crate) fn command(&mut self, line: &str) {
        self.see_last_line(PROMPT);
        self.press(&format!("{line}\r"));
    }

    /// Types a line in a console, once its shell waits for one.
    pub(crate) fn shell(&mut self, line: &str) {
        self.see_last_line(SHELL_PROMPT);
        self.press(&format!("{line}\r"));
    }

    /// Enters a console and waits for its shell.
    pub(crate) fn console(&mut self, number: u8) {
        self.command(&format!("kmconsole {number}"));
        self.see(&format!("## #kmconsole done, cmd_redirection={number}## #"));
        self.see_last_line(SHELL_PROMPT);
    }

    /// Waits until the screen shows `text`.
    pub(crate) fn see(&self, text: &str) {
        self.see_that(&format!("`{text}`"), |screen| screen.contains(text));
    }

    /// Waits until the last line on the screen is `end`, or ends in it.
    pub(crate) fn see_last_line(&self, end: &str) {
        let end = end.trim_end();
        self.see_that(&format!("`{end}` at the end"), |screen| {
            screen.trim_end().ends_with(end)
        });
    }

    /// Waits until the screen is as `condition` wants it.
    pub(crate) fn see_that(&self, what: &str, condition: impl Fn(&str) -> bool) {
        if !becomes_true(|| condition(&self.screen())) {
            panic!("no {what} on the screen:\n{}", self.screen());
        }
    }

    /// What the screen shows.
    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the alternate screen, of full-screen programs, is on or off.
    pub(crate) fn see_alternate(&self, on: bool) {
        let is = || self.screen.lock().unwrap().screen().alternate_screen() == on;
        assert!(becomes_true(is), "alternate screen:\n{}", self.screen());
    }

    /// All that was ever printed.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().unwrap()).into_owned()
    }

    /// Removes what the screen shows.
    pub(crate) fn clear(&mut self) {
        self.see_last_line(PROMPT);
        self.press("\x0c");
        self.see_that("cleared screen", |screen| screen.trim() == PROMPT.trim());
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let done = Command::new("stty")
            .args(["rows", &rows.to_string(), "cols", &columns.to_string()])
            .stdin(Stdio::from(self.terminal.try_clone().unwrap()))
            .status()
            .unwrap();
        assert!(done.success());
        let mut screen = self.screen.lock().unwrap();
        screen.screen_mut().set_size(rows, columns);
    }

    /// The process of instance `number`'s guestd, as `kmlist` tells it.
    pub(crate) fn daemon_pid(&mut self, number: u8) -> String {
        self.clear();
        self.command("kmlist");
        self.see("STATE");
        self.see_last_line(PROMPT);
        let name = format!("part{number}");
        let screen = self.screen();
        let mut words = screen.split_whitespace().skip_while(|word| *word != name);
        words.nth(1).unwrap().to_owned()
    }

    /// Kills KMON as nobody expects it.
    pub(crate) fn kill(mut self) -> Arc<Home> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Arc::clone(&self.home)
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Waits for KMON's end, and returns the exit status.
    pub(crate) fn wait(mut self) -> Option<i32> {
        let mut status = None;
        let ended = becomes_true(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "KMON does not end:\n{}", self.screen());
        status.unwrap().code()
    }

    /// Quits and returns the exit status.
    pub(crate) fn quit(self) -> i32 {
        self.leave("quit")
    }

    /// Gives the command that ends KMON, and returns the exit status.
    pub(crate) fn leave(mut self, command: &str) -> i32 {
        self.command(command);
        self.wait().unwrap()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
