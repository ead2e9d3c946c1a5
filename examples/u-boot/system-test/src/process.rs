//! Processes that end with the test.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::set_parent_process_death_signal;

/// A process that is killed when this is dropped, or when the thread that started it ends.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                let kill = rustix::process::Signal::KILL;
                Ok(set_parent_process_death_signal(Some(kill))?)
            })
        };
        match command.spawn() {
            Ok(child) => Self(child),
            Err(error) => panic!("cannot run {command:?}: {error}"),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Kills the process and waits for its end.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Returns the exit status, if the process has ended.
    pub(crate) fn status(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Finds the file `name` in cargo's target directory, which the running test is in.
pub(crate) fn built(name: &str) -> Option<PathBuf> {
    let test = env::current_exe().unwrap();
    let mut places = test.ancestors().skip(1).map(|place| place.join(name));
    places.find(|path| path.exists())
}
