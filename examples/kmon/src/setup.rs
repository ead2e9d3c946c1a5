//! From the command line to a running monitor, and its end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use kmon_protocol::LAST_PARTITION;
use nix::unistd::{AccessFlags, access};
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Cli;
use crate::commands::Session;
use crate::config::{Config, InstanceConfig};
use crate::front;
use crate::front::editor::Editor;
use crate::interrupt::Interrupt;
use crate::monitor::{Common, FIRST, Monitor};
use crate::notices::Notices;
use crate::rundir::RunDir;
use crate::terminal::{self, Terminal};

/// Instances that are started when nobody says how many.
const INSTANCES: usize = 2;
/// Seconds between two statistics of an instance.
const PERIOD: f64 = 1.0;
/// Bytes of output kept per instance.
const LOG_BYTES: usize = 1024 * 1024;

/// Runs KMON until its operator quits.
pub(crate) fn monitor(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = Config::read(cli.config.as_deref())?;
    let guestd = find_guestd(cli.guestd.as_deref())?;
    let rundir = Arc::new(RunDir::open(cli.run_dir.as_deref())?);
    let terminal = Terminal::on_stdio()?;
    let interrupt = Interrupt::install()?;
    end_well_in_any_case()?;
    let mut editor = match &terminal {
        Some(terminal) => Some(Editor::new(terminal)?),
        None => None,
    };
    let notices = match &mut editor {
        Some(editor) => editor.notices(),
        None => Notices::to_stderr(),
    };
    let common = Common {
        kmon: std::env::current_exe().context("own program")?,
        guestd,
        period: Duration::from_secs_f64(config.kmon.period.map_or(PERIOD, |period| period.0)),
        log_bytes: config.kmon.log_bytes.map_or(LOG_BYTES, |bytes| bytes.0),
        shell: config.kmon.shell.map(|shell| shell.0),
        notices,
        rundir,
    };
    let mut monitor = Monitor::new(common);
    let found = monitor.find_all()?;
    if !found.is_empty() {
        let numbers: Vec<_> = found.iter().map(u8::to_string).collect();
        let numbers = numbers.join(", ");
        // Without standard error kmlist has to do.
        let _ = writeln!(
            std::io::stderr(),
            "kmon: going on with the instances of an earlier KMON: {numbers}"
        );
    }
    let none_runs = !start_instances(&mut monitor, cli, config.instances)?;
    let prompt = cli.prompt.clone().or(config.kmon.prompt);
    let escape = cli.escape.or(config.kmon.escape).unwrap_or_default();
    let session = Session::new(monitor, interrupt, escape.0);
    match (terminal, editor) {
        (Some(terminal), Some(editor)) => {
            let prompt = prompt.unwrap_or_else(|| "KMON# ".into());
            front::prompt::run(session, terminal, editor, &prompt)
        }
        _ => front::script::run(session, none_runs),
    }
}

fn find_guestd(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .context("own program")?
            .with_file_name("guestd"),
    };
    // An instance starts in another directory.
    let found = path.canonicalize().with_context(|| {
        format!(
            "{} is not there; build guestd or name it with --guestd",
            path.display()
        )
    })?;
    if !found.is_file() || access(&found, AccessFlags::X_OK).is_err() {
        bail!(
            "{} is no program that can be run; build guestd or name it with --guestd",
            path.display()
        );
    }
    Ok(found)
}

/// Starts those that are not there yet. False if there are to be instances, but
/// none runs.
fn start_instances(
    monitor: &mut Monitor,
    cli: &Cli,
    configured: Vec<InstanceConfig>,
) -> anyhow::Result<bool> {
    let wanted = match cli.instances {
        Some(wanted) => usize::from(wanted),
        None if configured.is_empty() => INSTANCES,
        None => configured.len(),
    };
    let unnamed = std::iter::repeat_with(InstanceConfig::default);
    let all = configured.into_iter().chain(unnamed).take(wanted);
    for (number, instance) in (FIRST..=LAST_PARTITION).zip(all) {
        if !monitor.has(number) {
            let name = instance.name.map(|name| name.0);
            monitor.add_as(number, name, instance.shell.map(|shell| shell.0))?;
            monitor.start(number)?;
        }
    }
    let (problems, all) = monitor.wait_all_running();
    for problem in &problems {
        // Without standard error the states in kmlist have to do.
        let _ = writeln!(std::io::stderr(), "kmon: {problem:#}");
    }
    Ok(all == 0 || problems.len() < all)
}

/// Puts the terminal back on a panic and on the signals that end programs.
fn end_well_in_any_case() -> anyhow::Result<()> {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        terminal::restore();
        show(panic);
    }));
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGQUIT]).context("signals")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            terminal::restore();
            // The instances go on; the next KMON finds them.
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
