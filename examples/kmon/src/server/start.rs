//! Starts the instances as the options and the configuration file say.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use kmon_protocol::LAST_PARTITION;
use nix::unistd::{AccessFlags, access};
use signal_hook::consts::SIGXFSZ;

use crate::backend::Programs;
use crate::cli::ServerOptions;
use crate::config::{Config, InstanceConfig, LogsConfig};
use crate::disklog::{Bound, DiskLogs, Settings};
use crate::kind::Kind;
use crate::monitor::{Common, FIRST, LogBytes, Monitor, NewInstance};
use crate::notices::Notices;
use crate::rundir::{RunDir, locate, state_directory};

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

/// Returns the settings that all instances share.
pub(super) fn common(
    options: &ServerOptions,
    config: &Config,
    rundir: Arc<RunDir>,
) -> anyhow::Result<Common> {
    let notices = Notices::to_stderr();
    Ok(Common {
        disk_logs: disk_logs(&config.logs, &rundir, &notices)?,
        programs: programs(options, config)?,
        period: Duration::from_secs_f64(config.period.unwrap_or(PERIOD)),
        logs: LogBytes {
            output: config.log_bytes.unwrap_or(LOG_BYTES),
            kernel: config.kernel_log_bytes.unwrap_or(KERNEL_LOG_BYTES),
        },
        shell: config.shell.clone(),
        notices,
        rundir,
    })
}

/// Starts the logs on disk, unless they are switched off.
fn disk_logs(
    config: &LogsConfig,
    rundir: &RunDir,
    notices: &Arc<Notices>,
) -> anyhow::Result<Option<Arc<DiskLogs>>> {
    if config.enabled == Some(false) {
        return Ok(None);
    }
    // A file that reaches a limit of the process is an error like a full disk. Programs that KMON
    // starts have the signal's default action.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).context("SIGXFSZ")?;
    // The default run directory does not outlive a reboot. Servers with other run directories
    // cannot share the directory for states.
    let is_default = locate(None).is_ok_and(|default| default == rundir.path());
    let state = state_directory().filter(|_| is_default);
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
    Ok(Some(Arc::new(logs)))
}

/// Returns the programs of which instances consist. Guestd must exist if an instance is of kind
/// `process`.
fn programs(options: &ServerOptions, config: &Config) -> anyhow::Result<Programs> {
    let kmon = std::env::current_exe().context("own program")?;
    let guestd = options.guestd.clone();
    let guestd = guestd.unwrap_or_else(|| kmon.with_file_name("guestd"));
    let is_process = |one: &InstanceConfig| matches!(one.kind, Kind::Process { .. });
    let is_needed = options.guestd.is_some()
        || options
            .instances
            .is_some_and(|many| usize::from(many) > config.instances.len())
        || config.instances.is_empty()
        || config.instances.iter().any(is_process);
    let guestd = if is_needed {
        find_guestd(&guestd)?
    } else {
        guestd
    };
    let server = options.ivshmem_server.as_deref().map(std::path::absolute);
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
pub(super) fn wanted(
    options: &ServerOptions,
    configured: Vec<InstanceConfig>,
    logs: LogBytes,
) -> Vec<NewInstance> {
    let count = match options.instances {
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

/// Starts the instances that do not exist yet.
pub(super) fn start_instances(monitor: &Monitor, wanted: Vec<NewInstance>) -> anyhow::Result<()> {
    for (number, wanted) in (FIRST..=LAST_PARTITION).zip(wanted) {
        match wanted.kind {
            Some(kind) if monitor.has(number) => monitor.redefine(number, kind)?,
            _ if monitor.has(number) => {}
            _ => monitor.load_as(number, wanted)?,
        }
    }
    Ok(())
}
