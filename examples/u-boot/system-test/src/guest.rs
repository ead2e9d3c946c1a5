//! An instance's daemon, as a process of this machine.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::PATIENCE;
use crate::process::{Process, built};

/// Returns the daemon's program: `GUESTD` names it, or it is built.
fn guestd() -> &'static Path {
    static GUESTD: OnceLock<PathBuf> = OnceLock::new();
    GUESTD.get_or_init(|| {
        if let Some(path) = env::var_os("GUESTD") {
            return path.into();
        }
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "guestd"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "guestd does not build");
        built("guestd").expect("cargo has just built it")
    })
}

/// One incarnation of an instance's daemon.
pub struct Guest {
    daemon: Process,
    log: PathBuf,
}

impl Guest {
    /// Starts the daemon in `home`, on the region at `place`. Its shell reads no start-up
    /// file, and its prompt is [`prompt`].
    pub(crate) fn start(home: &Path, number: u8, place: &str) -> Self {
        fs::create_dir_all(home).unwrap();
        let (shell, log) = (home.join("shell"), home.join("log"));
        let script = format!(
            "#!/bin/sh\nunset ENV\nexport HOME='{home}'\ncd '{home}'\nPS1='{}' exec /bin/sh -i\n",
            prompt(number),
            home = home.display()
        );
        fs::write(&shell, script).unwrap();
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
        let stderr = File::options().create(true).append(true).open(&log);
        let stderr = stderr.unwrap();
        let mut command = Command::new(guestd());
        command
            .args(["--region", place, "--poll", "--foreground"])
            .args(["--wait", "forever", "--shell"])
            .arg(shell)
            .current_dir(home)
            .env("HOME", home)
            .env("TERM", "vt100")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let daemon = Process::start(command);
        Self { daemon, log }
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }

    /// Returns the log of this and earlier incarnations.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log contains `text`.
    pub fn see_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end; returns the exit code.
    pub fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.daemon.status() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it still runs: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Returns the prompt of the shell in instance `number`.
pub fn prompt(number: u8) -> String {
    format!("part{number}$ ")
}
