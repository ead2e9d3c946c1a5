//! Starts a server. The lock of the run directory decides if several clients start one at once.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::ServerOptions;
use crate::interrupt::Interrupt;
use crate::rundir::{StartRecord, socket_in, start_record};
use crate::server::report::Report;
use crate::text;

/// How long another client's server may take to answer.
const OTHERS_START: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How a client has found its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The server was running.
    Running,
    /// The client has started it. False if none of its instances runs.
    Started(bool),
}

/// Returns true if a server answers in the run directory `directory`.
pub(super) fn answers(directory: &Path) -> bool {
    UnixStream::connect(socket_in(directory)).is_ok()
}

/// Joins the server of the run directory `directory`, after starting it if there is none.
///
/// # Errors
/// The server does not start; or it runs, and `options` cannot apply to it.
pub(crate) fn join_or_start(
    directory: &Path,
    options: &ServerOptions,
    interrupt: &Interrupt,
) -> anyhow::Result<Joined> {
    let deadline = Instant::now() + OTHERS_START;
    while Instant::now() < deadline {
        if answers(directory) {
            let given = options.for_new_server();
            if !given.is_empty() {
                bail!(
                    "a KMON server already runs in {}: {} cannot apply to it; `kmon` alone joins it",
                    directory.display(),
                    given.join(", ")
                );
            }
            return Ok(Joined::Running);
        }
        let start = StartRecord {
            directory: std::env::current_dir()?,
            arguments: arguments(options, directory)?,
        };
        if let Some(has_running) = start_server(&start, interrupt)? {
            return Ok(Joined::Started(has_running));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    bail!(
        "another KMON uses {} but does not answer",
        directory.display()
    )
}

/// Starts a server again that has died. Returns false if none has died.
pub(super) fn start_again(directory: &Path, interrupt: &Interrupt) -> anyhow::Result<bool> {
    let deadline = Instant::now() + OTHERS_START;
    while Instant::now() < deadline {
        let Some(start) = start_record(directory) else {
            return Ok(false);
        };
        if answers(directory) || start_server(&start, interrupt)?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(false)
}

fn arguments(options: &ServerOptions, directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut words = vec!["serve".to_owned(), "--auto".to_owned()];
    let mut add = |name: &str, value: String| words.extend([name.to_owned(), value]);
    let text = |path: &Path| {
        let text = path.to_str().context("a path is not UTF-8")?;
        anyhow::Ok(text.to_owned())
    };
    add("--run-dir", text(directory)?);
    for (name, path) in [
        ("--guestd", &options.guestd),
        ("--ivshmem-server", &options.ivshmem_server),
        ("--config", &options.config),
    ] {
        if let Some(path) = path {
            add(name, text(path)?);
        }
    }
    if let Some(count) = options.instances {
        add("--instances", count.to_string());
    }
    Ok(words)
}

/// Starts a server and waits until its instances run, or until `^C`. Returns whether one of them
/// runs; `None` if another server uses the directory.
fn start_server(start: &StartRecord, interrupt: &Interrupt) -> anyhow::Result<Option<bool>> {
    let program = std::env::current_exe().context("own program")?;
    let mut server = Command::new(program)
        .args(&start.arguments)
        .current_dir(&start.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the server cannot be started")?;
    let followed = follow(&mut server, interrupt);
    // The server is a child: it must not stay as a zombie if it ends before this client.
    std::thread::spawn(move || server.wait());
    followed
}

fn follow(server: &mut Child, interrupt: &Interrupt) -> anyhow::Result<Option<bool>> {
    let Some(reports) = server.stdout.take() else {
        bail!("the server has no standard output");
    };
    let mut reports = BufReader::new(reports);
    let mut is_serving = false;
    loop {
        if !wait_for_line(&reports, interrupt) {
            let what = "interrupted; the instances continue to start, see kmlist";
            report_problem(what);
            return Ok(Some(true));
        }
        let mut line = String::new();
        if reports.read_line(&mut line).context("the server")? == 0 {
            if is_serving {
                // It was told to end before its instances ran.
                return Ok(Some(false));
            }
            bail!("the server has ended; see kmon.log in its run directory");
        }
        match serde_json::from_str(&line).context("the server's report")? {
            Report::Failed(why) => bail!(why),
            Report::InUse => return Ok(None),
            Report::Serving => is_serving = true,
            Report::Problem(what) => report_problem(&what),
            Report::Started(has_running) => return Ok(Some(has_running)),
        }
    }
}

fn report_problem(what: &str) {
    // Without standard error, the states in kmlist show it.
    let _ = writeln!(std::io::stderr(), "kmon: {}", text::escaped(what));
}

/// Waits for a line. Returns false at a `^C`.
fn wait_for_line(reports: &BufReader<ChildStdout>, interrupt: &Interrupt) -> bool {
    loop {
        if !reports.buffer().is_empty() {
            return true;
        }
        if interrupt.is_set() {
            return false;
        }
        let mut ready = [PollFd::new(reports.get_ref().as_fd(), PollFlags::POLLIN)];
        if matches!(poll(&mut ready, PollTimeout::from(50_u8)), Ok(1..)) {
            return true;
        }
    }
}
