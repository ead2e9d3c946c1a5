//! An instance on this machine: processes in namespaces of their own.
//!
//! ```text
//! kmon ── kmon instance-init          makes the namespaces; takes the region on fd 0
//!           └─ kmon instance-init     process 1 inside: host name, /proc, lo; reaps
//!                └─ guestd            the daemon, with the region's descriptor
//! ```
//!
//! - **N1** Each of the three dies with its parent, so nothing is left of an
//!   instance, however KMON ends.
//! - **N2** The fate of guestd is told upwards as an exit status (128 + signal).
//! - **N3** Of KMON's descriptors the instance gets its region and a pipe for messages.

pub(crate) mod init;
mod namespaces;

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;

/// What an instance is started from.
pub(crate) struct Launch<'a> {
    pub(crate) kmon: &'a Path,
    pub(crate) guestd: &'a Path,
    pub(crate) shell: Option<&'a Path>,
    pub(crate) name: &'a str,
}

/// Starts an instance on `region`; `say` gets each line it has to say.
pub(crate) fn spawn(
    launch: &Launch<'_>,
    region: OwnedFd,
    say: impl Fn(String) + Send + 'static,
) -> anyhow::Result<Child> {
    if !launch.guestd.is_file() {
        bail!(
            "{} is not there; build guestd or name it with --guestd",
            launch.guestd.display()
        );
    }
    let mut command = Command::new(launch.kmon);
    command
        .arg("instance-init")
        .args(["--parent", &std::process::id().to_string()])
        .args(["--hostname", launch.name])
        .arg("--guestd")
        .arg(launch.guestd);
    if let Some(shell) = launch.shell {
        command.arg("--shell").arg(shell);
    }
    let mut child = command
        .stdin(region)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", launch.kmon.display()))?;
    if let Some(messages) = child.stderr.take() {
        std::thread::spawn(move || {
            // What is not text ends the messages, not the instance.
            for line in BufReader::new(messages).lines().map_while(Result::ok) {
                say(line);
            }
        });
    }
    Ok(child)
}

/// The guest daemon's process under `outer`, as this machine numbers it.
pub(crate) fn daemon_pid(outer: u32) -> Option<i32> {
    let outer = i32::try_from(outer).ok()?;
    first_child(first_child(outer)?)
}

fn first_child(parent: i32) -> Option<i32> {
    let processes = procfs::process::all_processes().ok()?;
    processes
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(|stat| stat.ppid == parent)
        .min_by_key(|stat| (stat.starttime, stat.pid))
        .map(|stat| stat.pid)
}

/// How guestd ended, out of what the instance's first process told (N2).
pub(crate) fn describe_end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(init::CANNOT_START), _) => "guestd could not be started".into(),
        (Some(code), _) if code > 128 && Signal::try_from(code - 128).is_ok() => {
            format!("guestd was killed by signal {}", code - 128)
        }
        (Some(code), _) => format!("guestd exited with status {code}"),
        (None, Some(signal)) => format!("its first process was killed by signal {signal}"),
        (None, None) => "nobody knows how".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_daemon_is_told_in_words() {
        let exited = |code: i32| describe_end(ExitStatus::from_raw(code << 8));
        assert_eq!(exited(137), "guestd was killed by signal 9");
        assert_eq!(exited(3), "guestd exited with status 3");
        assert_eq!(exited(255), "guestd exited with status 255");
        let killed = describe_end(ExitStatus::from_raw(9));
        assert_eq!(killed, "its first process was killed by signal 9");
    }
}
