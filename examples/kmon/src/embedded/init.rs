//! The first two processes of an instance; the parent module has a diagram.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, setsid};

use super::namespaces::{self, Namespace};

/// The first process's descriptor of the region.
pub(super) const REGION: i32 = 0;
/// Its descriptor for messages to KMON.
pub(super) const MESSAGES: i32 = 2;
/// Exit status if guestd could not be started.
pub(super) const CANNOT_START: i32 = 125;
/// Exit status if process 1 of the instance was killed.
pub(super) const KILLED: i32 = 126;

/// The pause before guestd is started again, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// After guestd has run for this long, the next pause is short again.
const STABLE_RUN: Duration = Duration::from_secs(5);
/// If the first guestd exits within this time, its start has failed.
const START_TIME: Duration = Duration::from_secs(1);

/// The search path of programs inside an instance.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The prompt of the instance's shell, as in the paper.
const PROMPT: &str = "[\\h\\u@\\w]$ ";

/// Starts an instance. KMON runs this itself.
#[derive(clap::Args, Debug)]
pub(crate) struct InitArgs {
    /// The instance's host name.
    #[arg(long)]
    hostname: String,
    /// The guest daemon's program.
    #[arg(long)]
    guestd: PathBuf,
    /// The shell for the daemon's console.
    #[arg(long)]
    shell: Option<PathBuf>,
    /// The region's descriptor, for process 1 inside the namespaces.
    #[arg(long)]
    inside: Option<i32>,
    /// A namespace that the instance has.
    #[arg(long)]
    own: Vec<Namespace>,
}

/// Runs the outer or the inner process. The exit status reports how guestd ended.
pub(crate) fn run(args: &InitArgs) -> ExitCode {
    let end = match args.inside {
        None => outer(args),
        Some(region) => inner(args, region),
    };
    let code = end.unwrap_or_else(|error| {
        report(format_args!("{error:#}"));
        CANNOT_START
    });
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}

/// Makes the namespaces, then keeps the region and reports how the inner process ended.
fn outer(args: &InitArgs) -> anyhow::Result<i32> {
    // The instance must survive the loss of KMON's terminal.
    setsid().context("setsid")?;
    await_start()?;
    keep_messages();
    let region = copy_of_region()?;
    let (granted, refused) = namespaces::unshare();
    refused.iter().for_each(report);
    let mut inner = Command::new(env::current_exe().context("own program")?);
    inner
        .arg("instance-init")
        .args(["--hostname", &args.hostname])
        .arg("--guestd")
        .arg(&args.guestd)
        .args(["--inside", &region.as_raw_fd().to_string()])
        // The end of this pipe shows the inner process that this one is gone.
        .stdin(Stdio::piped());
    for own in granted {
        inner.args(["--own", own.word()]);
    }
    if let Some(shell) = &args.shell {
        inner.arg("--shell").arg(shell);
    }
    let mut inner = inner
        .spawn()
        .context("cannot run the instance's first process")?;
    drop(region);
    let alive = inner.stdin.take();
    let status = inner.wait().context("wait")?;
    drop(alive);
    Ok(status.code().unwrap_or(KILLED))
}

/// Sets up the namespaces, then runs guestd again and again and reaps processes, until a guestd
/// exits with status 0.
fn inner(args: &InitArgs, region: i32) -> anyhow::Result<i32> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("PR_SET_PDEATHSIG")?;
    let stdin = io::stdin();
    let mut alive = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    // The parent may have ended before the signal for its death was requested.
    if poll(&mut alive, PollTimeout::ZERO).context("poll")? != 0 {
        bail!("the instance has ended");
    }
    let refused = namespaces::set_up(&args.own, &args.hostname);
    refused.iter().for_each(report);
    let mut pause = FIRST_PAUSE;
    for incarnation in 1_u64.. {
        let started = Instant::now();
        let end = await_end(&start_guestd(args, region)?)?;
        let run_time = started.elapsed();
        let how = match end {
            End::Exited(0) => break,
            End::Exited(code) if incarnation == 1 && run_time < START_TIME => return Ok(code),
            End::Exited(code) => format!("exited with status {code}"),
            End::Killed(signal) => format!("was killed by signal {signal}"),
        };
        report(format_args!("guestd {how}; starting it again"));
        if run_time >= STABLE_RUN {
            pause = FIRST_PAUSE;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(0)
}

/// How a guestd ended.
enum End {
    Exited(i32),
    Killed(i32),
}

/// Reaps processes until `guestd` has ended.
fn await_end(guestd: &Child) -> anyhow::Result<End> {
    let guestd = Pid::from_raw(guestd.id().cast_signed());
    loop {
        match wait().context("wait")? {
            WaitStatus::Exited(pid, code) if pid == guestd => return Ok(End::Exited(code)),
            WaitStatus::Signaled(pid, signal, _) if pid == guestd => {
                return Ok(End::Killed(signal as i32));
            }
            _ => {}
        }
    }
}

fn start_guestd(args: &InitArgs, region: i32) -> anyhow::Result<Child> {
    let inherited = |name: &str, default: &str| env::var(name).unwrap_or(default.into());
    let home = inherited("HOME", "/root");
    let mut guestd = Command::new(&args.guestd);
    guestd
        .args(["--region", &format!("fd:{region}"), "--foreground"])
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", &home)
        .env("TERM", inherited("TERM", "xterm"))
        .env("PS1", PROMPT)
        .stdin(Stdio::null());
    if let Some(shell) = &args.shell {
        guestd.arg("--shell").arg(shell);
    }
    // SAFETY: the closure makes one system call; it neither allocates nor takes a lock.
    unsafe {
        // Needed if there is no PID namespace that ends with this process.
        guestd.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    // The root of a user namespace often cannot enter its home directory.
    env::set_current_dir(&home)
        .or_else(|_| env::set_current_dir("/"))
        .context("cannot enter /")?;
    let path = args.guestd.display();
    guestd.spawn().with_context(|| format!("cannot run {path}"))
}

/// Waits on descriptor 1 until KMON has written this process's record (N4), and leaves `/dev/null`
/// there.
fn await_start() -> anyhow::Result<()> {
    let mut word = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if !matches!(word.read(&mut [0]), Ok(1)) {
        bail!("KMON has ended");
    }
    let nowhere = OpenOptions::new().write(true).open("/dev/null");
    dup2_stdout(nowhere.context("/dev/null")?).context("/dev/null")?;
    Ok(())
}

/// Makes standard error a pipe that accepts messages without waiting, whether or not a KMON reads
/// it (N3).
fn keep_messages() {
    let mut both = OpenOptions::new();
    both.read(true).write(true).custom_flags(O_NONBLOCK);
    // If this is refused, messages while no KMON runs are lost.
    if let Ok(pipe) = both.open("/proc/self/fd/2") {
        let _ = dup2_stderr(pipe);
    }
}

/// Returns the one descriptor that the inner process inherits. This process keeps its own for a
/// later KMON.
fn copy_of_region() -> anyhow::Result<OwnedFd> {
    namespaces::close_on_exec_from(3)?;
    let stdin = io::stdin();
    let region = stdin.as_fd().try_clone_to_owned().context("region")?;
    fcntl(&region, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).context("region")?;
    Ok(region)
}

/// Sends one line to KMON, if a KMON reads it.
fn report(what: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{what}");
}
