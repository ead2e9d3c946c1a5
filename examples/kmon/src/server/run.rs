//! The life of a server, from its start to its end.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::unistd::{dup2_stderr, dup2_stdout, setsid};
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use super::access::Access;
use super::report::Report;
use super::start::{common, start_instances, wanted};
use super::state::Server;
use super::{listen, routes};
use crate::api::Fate;
use crate::cli::ServerOptions;
use crate::config::Config;
use crate::monitor::{Monitor, NewInstance};
use crate::rundir::{InUse, RunDir, StartRecord, socket_in};

/// How often a server that a client has started checks whether it is still needed.
const CHECK: Duration = Duration::from_secs(2);
/// How many checks in a row must find that it is not.
const UNUSED_CHECKS: u32 = 3;
/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Runs a server until it is told to end. An `auto` server was started by a client: it reports to
/// that client, writes its messages to a file, and ends when it is not needed any more.
pub(crate) fn run(options: &ServerOptions, is_auto: bool) -> anyhow::Result<ExitCode> {
    if is_auto {
        // The terminal of the client is not this server's. A leader of a group stays one.
        let _ = setsid();
    }
    let ended = serve(options, is_auto);
    if let (true, Err(error)) = (is_auto, &ended) {
        match error.downcast_ref::<InUse>() {
            Some(_) => Report::InUse.write(),
            None => Report::Failed(format!("{error:#}")).write(),
        }
        return Ok(ExitCode::FAILURE);
    }
    ended.map(|()| ExitCode::SUCCESS)
}

fn serve(options: &ServerOptions, is_auto: bool) -> anyhow::Result<()> {
    let config = Config::read(options.config.as_deref())?;
    let access = Access::new(&config.access)?;
    let rundir = Arc::new(RunDir::open(options.run_dir.as_deref())?);
    if is_auto {
        log_to(&rundir.path().join("kmon.log"))?;
    }
    let common = common(options, &config, Arc::clone(&rundir))?;
    let wanted = wanted(options, config.instances, common.logs);
    let server = Arc::new(Server::new(Monitor::new(common), access));
    let found = server.monitor.find_all()?;
    if !found.is_empty() {
        let numbers: Vec<_> = found.iter().map(u8::to_string).collect();
        let numbers = numbers.join(", ");
        let line = format!("continuing with the instances of an earlier KMON: {numbers}");
        server.monitor.common().notices.post(line);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    let fate = runtime.block_on(until_end(&server, &rundir, wanted, is_auto))?;
    if fate == Fate::Keep {
        server.monitor.leave_all();
    }
    server.monitor.common().flush_logs();
    runtime.shutdown_background();
    Ok(())
}

/// Answers requests until the server is to end. Returns what happens to the instances.
async fn until_end(
    server: &Arc<Server>,
    rundir: &RunDir,
    wanted: Vec<NewInstance>,
    is_auto: bool,
) -> anyhow::Result<Fate> {
    let listener = bind(server, rundir)?;
    let router = routes::router(server);
    let accepting = tokio::spawn(listen::accept(listener, Arc::clone(server), router));
    if is_auto {
        Report::Serving.write();
    }
    let starting = {
        let server = Arc::clone(server);
        tokio::task::spawn_blocking(move || start(&server, wanted, is_auto))
    };
    let fate = tokio::select! {
        fate = ask(server) => fate?,
        failed = failure(starting) => return Err(failed),
        () = unused(server), if is_auto => Fate::Keep,
    };
    accepting.abort();
    rundir.remove_socket();
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    server.end.send_replace(Some(fate));
    let last_answers = async {
        while server.has_clients() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // A client that does not read its answer delays nothing.
    let _ = tokio::time::timeout(LAST_ANSWERS, last_answers).await;
    // The answers are written after their requests are counted as done.
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(fate)
}

fn bind(server: &Server, rundir: &RunDir) -> anyhow::Result<UnixListener> {
    let socket = socket_in(rundir.path());
    // The lock shows that no server uses it. It may not exist.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket);
    let listener = listener.with_context(|| {
        format!(
            "{} cannot be created (its path may have 107 bytes); --run-dir names another directory",
            socket.display()
        )
    })?;
    rundir.share(server.access.is_shared())?;
    rundir.save_start(&StartRecord {
        directory: std::env::current_dir()?,
        arguments: std::env::args().skip(1).collect(),
    })?;
    Ok(listener)
}

/// Starts the instances, and reports when all run or have failed.
fn start(server: &Server, wanted: Vec<NewInstance>, is_auto: bool) -> anyhow::Result<()> {
    start_instances(&server.monitor, wanted)?;
    let (problems, all) = server.monitor.wait_all_running();
    for problem in &problems {
        let line = format!("{problem:#}");
        if is_auto {
            Report::Problem(line).write();
        } else {
            // Without standard error, the states in kmlist show it.
            let _ = writeln!(std::io::stderr(), "kmon: {line}");
        }
    }
    if is_auto {
        Report::Started(all == 0 || problems.len() < all).write();
        // The client waits for the end of the report.
        let _ = dup2_stdout(std::io::stderr());
    }
    // Without a service manager, nobody is told.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    Ok(())
}

/// Waits for a failure to start the instances.
async fn failure(starting: tokio::task::JoinHandle<anyhow::Result<()>>) -> anyhow::Error {
    match starting.await {
        Ok(Err(error)) => error,
        Ok(Ok(())) => std::future::pending().await,
        Err(error) => error.into(),
    }
}

/// Waits for a request or a signal to end.
async fn ask(server: &Server) -> anyhow::Result<Fate> {
    let mut end = server.end.subscribe();
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    // The end of a terminal is not the end of the server.
    let mut hang_up = signal(SignalKind::hangup()).context("signals")?;
    loop {
        tokio::select! {
            changed = end.changed() => match *end.borrow() {
                Some(fate) if changed.is_ok() => return Ok(fate),
                _ => {}
            },
            _ = terminate.recv() => return Ok(Fate::Keep),
            _ = interrupt.recv() => return Ok(Fate::Keep),
            _ = hang_up.recv() => {}
        }
    }
}

/// Waits until the server has had neither instances nor clients for some time.
async fn unused(server: &Server) {
    let mut checks = 0;
    while checks < UNUSED_CHECKS {
        tokio::time::sleep(CHECK).await;
        let instances = server.monitor.instances();
        let is_used = server.has_clients() || instances.iter().any(|one| one.state().is_alive());
        checks = if is_used { 0 } else { checks + 1 };
    }
}

/// Sends standard error to the end of `file`.
fn log_to(file: &Path) -> anyhow::Result<()> {
    let mut open = OpenOptions::new();
    open.append(true).create(true).mode(0o600);
    let log = open
        .open(file)
        .with_context(|| format!("{}", file.display()))?;
    dup2_stderr(log).context("standard error")
}
