//! Runs the real KMON program, on pipes or on a pseudo-terminal.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unused_imports, reason = "each test program uses a part of it")]

mod fed;
mod operator;

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use fed::Fed;
pub(crate) use operator::Operator;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The prompt of `/bin/sh` in an instance.
pub(crate) const SHELL_PROMPT: &str = "inside$ ";

/// How long the restart of a program that died may take. On an idle machine it takes a tenth of
/// this.
const BACK: Duration = Duration::from_secs(2);
/// A busy machine may take longer by this factor.
const BUSY: u32 = 5;

/// Returns the path of `name` in cargo's target directory, which contains the running test.
pub(crate) fn built(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let mut places = test.ancestors().skip(1).map(|place| place.join(name));
    places.find(|path| path.exists()).unwrap_or_else(|| {
        panic!("no {name} in the target directory: run the tests with `cargo xtask test`")
    })
}

/// Returns the KMON of this package, or one that was built before.
pub(crate) fn kmon() -> &'static Path {
    static KMON: OnceLock<PathBuf> = OnceLock::new();
    KMON.get_or_init(|| match option_env!("CARGO_BIN_EXE_kmon") {
        Some(path) => path.into(),
        None => built("kmon"),
    })
}

/// Returns the guest daemon: the one that `GUESTD` names, or the one in KMON's directory, which is
/// built if it does not exist.
pub(crate) fn guestd() -> &'static Path {
    static GUESTD: OnceLock<PathBuf> = OnceLock::new();
    GUESTD.get_or_init(|| {
        if let Some(path) = env::var_os("GUESTD") {
            return path.into();
        }
        let path = kmon().with_file_name("guestd");
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

/// A temporary directory with a configuration whose instances have plain shells, and with a run
/// directory. Its destructor kills the instances that are recorded there.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns KMON's run directory.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path().join("run")
    }

    /// Returns the process of the server.
    pub(crate) fn server(&self) -> String {
        let pid = std::fs::read_to_string(self.run_dir().join("lock"));
        pid.unwrap_or_default().trim().to_owned()
    }

    /// Returns true if a server answers.
    pub(crate) fn has_server(&self) -> bool {
        UnixStream::connect(self.run_dir().join("kmon.sock")).is_ok()
    }

    /// Ends the server by `name`, and waits for its end.
    pub(crate) fn signal_server(&self, name: &str) {
        let pid = self.server();
        signal(name, &pid);
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ended = becomes_true(|| state().is_empty() || state().contains(") Z "));
        assert!(ended, "the server does not end");
    }

    /// Returns the first processes of the recorded instances, running or not.
    pub(crate) fn recorded(&self) -> Vec<i32> {
        let Ok(files) = std::fs::read_dir(self.run_dir()) else {
            return Vec::new();
        };
        let pid = |file: PathBuf| {
            let pid = backend(&file)["process"]["pid"].as_i64()?;
            i32::try_from(pid).ok()
        };
        files.filter_map(|file| pid(file.ok()?.path())).collect()
    }

    /// Returns those of them that run.
    pub(crate) fn running(&self) -> Vec<i32> {
        let recorded = self.recorded().into_iter();
        recorded.filter(|&pid| is_instance(pid)).collect()
    }

    /// Returns the QEMU process of instance `number`.
    pub(crate) fn machine(&self, number: u8) -> String {
        let record = self.run_dir().join(format!("{number}.json"));
        let backend = backend(&record);
        let pid = backend["machine"]["machine"]["pid"].as_i64();
        pid.unwrap_or_else(|| panic!("no machine: {backend}"))
            .to_string()
    }

    /// Returns the processes whose command lines name the run directory: servers, machines and
    /// their servers of doorbells, recorded or not.
    fn processes(&self) -> Vec<String> {
        processes_with(&self.run_dir())
    }
}

/// Returns the processes whose command lines contain `path`.
fn processes_with(path: &Path) -> Vec<String> {
    let names_it = |pid: &String| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        has(&command, path.as_os_str().as_bytes())
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| name.parse::<u32>().is_ok());
    pids.filter(names_it).collect()
}

/// Kills the servers that clients have started in `run_dir`, also one that is still starting.
fn kill_servers(run_dir: &Path) {
    let servers = || {
        let is_server = |pid: &String| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            has(&command, b"\0--auto\0")
        };
        let all = processes_with(run_dir).into_iter();
        all.filter(is_server).collect::<Vec<_>>()
    };
    let gone = becomes_true(|| {
        let servers = servers();
        for pid in &servers {
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
        servers.is_empty()
    });
    assert!(gone, "the server does not end");
}

impl Drop for Home {
    fn drop(&mut self) {
        let running = self.running().into_iter().map(|pid| pid.to_string());
        for pid in running.chain(self.processes()) {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }
}

/// Returns the entry for the backend in a record.
fn backend(record: &Path) -> Value {
    let record = std::fs::read(record).unwrap_or_default();
    let record: Value = serde_json::from_slice(&record).unwrap_or_default();
    record["body"].clone()
}

/// Returns true if `pid` is a running first process of an instance.
fn is_instance(pid: i32) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    has(&command, b"\0instance-init\0")
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Runs one command in `home`, and returns its output.
pub(crate) fn one_shot(home: &Home, arguments: &[&str]) -> Output {
    let mut kmon = kmon_in(home);
    kmon.args(arguments).stdin(Stdio::null());
    kmon.output().unwrap()
}

/// Creates a home with plain shells.
pub(crate) fn home() -> Home {
    let home = home_with("");
    // The user's start-up files are not read.
    let shell = home.path().join("shell");
    let plain = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells/sh");
    std::os::unix::fs::symlink(plain, &shell).unwrap();
    let config = format!("[kmon]\nperiod = 0.3\nshell = '{}'\n", shell.display());
    std::fs::write(home.path().join("kmon.toml"), config).unwrap();
    home
}

/// Creates a home with this configuration.
pub(crate) fn home_with(config: &str) -> Home {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("kmon.toml"), config).unwrap();
    Home(home)
}

/// Returns the command that runs KMON with the run directory of `home`.
pub(crate) fn kmon_in(home: &Home) -> Command {
    kmon_through(&[], home)
}

/// Returns the command that runs KMON through `starter`, a program with arguments.
pub(crate) fn kmon_through(starter: &[&str], home: &Home) -> Command {
    let mut words = starter.iter().map(OsStr::new).chain([kmon().as_os_str()]);
    let mut command = Command::new(words.next().expect("KMON at least"));
    command
        .args(words)
        .arg("--run-dir")
        .arg(home.run_dir())
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path())
        .env("TERM", "xterm");
    command
}

/// Runs KMON in a new home with `script` on standard input.
pub(crate) fn run_script(arguments: &[&str], script: &str) -> Output {
    run_script_in(&home(), arguments, script)
}

/// Runs KMON in `home` with `script` on standard input.
pub(crate) fn run_script_in(home: &Home, arguments: &[&str], script: &str) -> Output {
    let mut child = start_in(home, arguments);
    let mut stdin = child.stdin.take().unwrap();
    // A KMON that ends early does not read all of it.
    let _ = stdin.write_all(script.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Starts KMON with pipes.
fn start_in(home: &Home, arguments: &[&str]) -> Child {
    let mut kmon = kmon_in(home);
    // A server that runs has its guestd.
    if !arguments.contains(&"--guestd") && !home.has_server() {
        kmon.arg("--guestd").arg(guestd());
    }
    kmon.args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for `condition`. Returns false at the time-out.
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

/// Asserts that a restart did not take too long.
pub(crate) fn assert_back(what: &str, took: Duration) {
    println!("{what}: back after {took:?}");
    assert!(took < BACK * BUSY, "{what} took {took:?}");
}
