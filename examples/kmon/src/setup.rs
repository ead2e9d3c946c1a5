//! Starts the monitor as the command line says, and runs it to its end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use kmon_protocol::LAST_PARTITION;
use nix::unistd::{AccessFlags, access};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::backend::Programs;
use crate::cli::Cli;
use crate::commands::Session;
use crate::config::{Config, InstanceConfig, LogsConfig};
use crate::disklog::{Bound, DiskLogs, Settings};
use crate::front;
use crate::front::editor::Editor;
use crate::interrupt::Interrupt;
use crate::kind::Kind;
use crate::monitor::{Common, FIRST, LogBytes, Monitor, NewInstance};
use crate::notices::Notices;
use crate::rundir::{RunDir, state_directory};
use crate::terminal::{self, Terminal};

/// How many instances are started by default.
const INSTANCES: usize = 2;
/// Seconds between two statistics of an instance.
const PERIOD: f64 = 1.0;
/// Bytes of output kept per instance, and of kernel log.
const LOG_BYTES: usize = 1024 * 1024;
const KERNEL_LOG_BYTES: usize = 256 * 1024;
/// Bytes of a file of a log on disk, and files of a log.
const FILE_SIZE: u64 = 1024 * 1024;
const FILE_COUNT: u64 = 8;

/// Runs KMON until its operator quits.
pub(crate) fn monitor(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = Config::read(cli.config.as_deref())?;
    let programs = programs(cli, &config)?;
    let rundir = Arc::new(RunDir::open(cli.run_dir.as_deref())?);
    let terminal = Terminal::on_stdio()?;
    let interrupt = Interrupt::install()?;
    restore_terminal_on_exit()?;
    let mut editor = match &terminal {
        Some(terminal) => Some(Editor::new(terminal)?),
        None => None,
    };
    let notices = match &mut editor {
        Some(editor) => editor.notices(),
        None => Notices::to_stderr(),
    };
    let logs = LogBytes {
        output: config.log_bytes.unwrap_or(LOG_BYTES),
        kernel: config.kernel_log_bytes.unwrap_or(KERNEL_LOG_BYTES),
    };
    let disk_logs = disk_logs(cli, &config.logs, &rundir, &notices)?;
    let common = Common {
        disk_logs,
        programs,
        period: Duration::from_secs_f64(config.period.unwrap_or(PERIOD)),
        logs,
        shell: config.shell.clone(),
        notices,
        rundir,
    };
    let mut monitor = Monitor::new(common);
    let found = monitor.find_all()?;
    if !found.is_empty() {
        let numbers: Vec<_> = found.iter().map(u8::to_string).collect();
        let numbers = numbers.join(", ");
        // Without standard error, kmlist shows them.
        let _ = writeln!(
            std::io::stderr(),
            "kmon: continuing with the instances of an earlier KMON: {numbers}"
        );
    }
    let none_runs = !start_instances(
        &mut monitor,
        wanted(cli, config.instances, logs),
        &interrupt,
    )?;
    let prompt = cli.prompt.clone().or(config.prompt);
    let escape = cli.escape.or(config.escape).unwrap_or_default();
    let session = Session::new(monitor, interrupt, escape.0);
    match (terminal, editor) {
        (Some(terminal), Some(editor)) => {
            let prompt = prompt.unwrap_or_else(|| "KMON# ".into());
            front::prompt::run(session, terminal, editor, &prompt)
        }
        _ => front::script::run(session, none_runs),
    }
}

/// Starts the logs on disk, unless they are switched off.
fn disk_logs(
    cli: &Cli,
    config: &LogsConfig,
    rundir: &RunDir,
    notices: &Arc<Notices>,
) -> anyhow::Result<Option<DiskLogs>> {
    if config.enabled == Some(false) {
        return Ok(None);
    }
    // A file that reaches a limit of the process is an error like a full disk. Programs that KMON
    // starts have the signal's default action.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).context("SIGXFSZ")?;
    // The run directory does not outlive a reboot, but all KMONs share the directory for states.
    let state = state_directory().filter(|_| cli.run_dir.is_none());
    let default = || state.map_or_else(|| rundir.logs(), |state| state.join("kmon/logs"));
    let settings = Settings {
        directory: config.directory.clone().unwrap_or_else(default),
        bound: Bound {
            size: config.size.unwrap_or(FILE_SIZE),
            count: config.count.unwrap_or(FILE_COUNT),
            compress: config.compress.unwrap_or(false),
        },
    };
    let for_thread = Arc::clone(notices);
    let logs = DiskLogs::start(settings, move |line| for_thread.post(line))?;
    notices.log_to(logs.noter());
    Ok(Some(logs))
}

/// Returns the programs of which instances consist. Guestd must exist if an instance is of kind
/// `process`.
fn programs(cli: &Cli, config: &Config) -> anyhow::Result<Programs> {
    let kmon = std::env::current_exe().context("own program")?;
    let guestd = cli.guestd.clone();
    let guestd = guestd.unwrap_or_else(|| kmon.with_file_name("guestd"));
    let is_process = |one: &InstanceConfig| matches!(one.kind, Kind::Process { .. });
    let is_needed = cli.guestd.is_some()
        || cli
            .instances
            .is_some_and(|many| usize::from(many) > config.instances.len())
        || config.instances.is_empty()
        || config.instances.iter().any(is_process);
    let guestd = if is_needed {
        find_guestd(&guestd)?
    } else {
        guestd
    };
    let server = cli.ivshmem_server.as_deref().map(std::path::absolute);
    let server = server.transpose().context("--ivshmem-server")?;
    Ok(Programs {
        guestd,
        ivshmem_server: server.unwrap_or_else(|| kmon.with_file_name("ivshmem-server")),
        kmon,
    })
}

fn find_guestd(path: &Path) -> anyhow::Result<PathBuf> {
    // Instances start in another directory, so the path becomes absolute.
    let found = path.canonicalize().with_context(|| {
        format!(
            "{} does not exist; build guestd or name it with --guestd",
            path.display()
        )
    })?;
    if !found.is_file() || access(&found, AccessFlags::X_OK).is_err() {
        bail!(
            "{} is not an executable file; build guestd or name it with --guestd",
            path.display()
        );
    }
    Ok(found)
}

/// Returns the instances to start: the configured ones, then unnamed ones.
fn wanted(cli: &Cli, configured: Vec<InstanceConfig>, logs: LogBytes) -> Vec<NewInstance> {
    let count = match cli.instances {
        Some(count) => usize::from(count),
        None if configured.is_empty() => INSTANCES,
        None => configured.len(),
    };
    let configured = configured.into_iter().map(|one| NewInstance {
        name: one.name,
        kind: Some(one.kind),
        logs: Some(LogBytes {
            output: one.log_bytes.unwrap_or(logs.output),
            kernel: one.kernel_log_bytes.unwrap_or(logs.kernel),
        }),
    });
    let unnamed = std::iter::repeat_with(NewInstance::default);
    configured.chain(unnamed).take(count).collect()
}

/// Starts the instances that do not exist yet. Returns false if instances were started but none
/// runs.
fn start_instances(
    monitor: &mut Monitor,
    wanted: Vec<NewInstance>,
    interrupt: &Interrupt,
) -> anyhow::Result<bool> {
    for (number, wanted) in (FIRST..=LAST_PARTITION).zip(wanted) {
        match wanted.kind {
            Some(kind) if monitor.has(number) => monitor.redefine(number, kind)?,
            _ if monitor.has(number) => {}
            _ => {
                monitor.add_as(number, wanted)?;
                monitor.start(number)?;
            }
        }
    }
    let (problems, all) = monitor.wait_all_running(interrupt);
    for problem in &problems {
        // Without standard error, the states in kmlist show it.
        let _ = writeln!(std::io::stderr(), "kmon: {problem:#}");
    }
    Ok(all == 0 || problems.len() < all)
}

/// Restores the terminal on a panic and on the signals that end programs.
fn restore_terminal_on_exit() -> anyhow::Result<()> {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        terminal::restore();
        show(panic);
    }));
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGQUIT, SIGCONT]).context("signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                terminal::reapply();
                continue;
            }
            terminal::restore();
            // The instances continue to run; the next KMON finds them.
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
