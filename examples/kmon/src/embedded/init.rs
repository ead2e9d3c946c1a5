//! The first two processes of an instance; see the picture in the parent module.

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

use super::namespaces::{self, Own};

/// The first process's descriptor of the region.
pub(super) const REGION: i32 = 0;
/// Its descriptor for messages to KMON.
pub(super) const MESSAGES: i32 = 2;
/// Exit status that says the daemon was never there.
pub(super) const CANNOT_START: i32 = 125;
/// Exit status that says that process 1 inside did not end by itself.
pub(super) const KILLED: i32 = 126;

/// The pause before a guestd is started again; each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A guestd that has lived for so long makes the pauses short again.
const GOOD_INCARNATION: Duration = Duration::from_secs(5);
/// The first guestd, if it gives up within this time, never came up.
const COMING_UP: Duration = Duration::from_secs(1);

/// Where programs are looked for inside an instance.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The prompt of the instance's shell, as the paper shows it.
const PROMPT: &str = "[\\h\\u@\\w]$ ";

/// Starts an instance; KMON runs this, not a person.
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
    /// The region's descriptor: this is process 1 inside, the namespaces are there.
    #[arg(long)]
    inside: Option<i32>,
    /// What the instance has for its own.
    #[arg(long)]
    own: Vec<Own>,
}

/// Runs the outer or the inner process; its exit status is guestd's fate.
pub(crate) fn run(args: &InitArgs) -> ExitCode {
    let end = match args.inside {
        None => outer(args),
        Some(region) => inner(args, region),
    };
    let code = end.unwrap_or_else(|error| {
        complain(format_args!("{error:#}"));
        CANNOT_START
    });
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}

/// Makes the namespaces and stays, to keep the region and to tell how the inner
/// process ended.
fn outer(args: &InitArgs) -> anyhow::Result<i32> {
    // A terminal that KMON loses is no matter here.
    setsid().context("setsid")?;
    await_word()?;
    keep_messages();
    let region = copy_of_region()?;
    let (granted, refused) = namespaces::unshare();
    refused.iter().for_each(complain);
    let mut inner = Command::new(env::current_exe().context("own program")?);
    inner
        .arg("instance-init")
        .args(["--hostname", &args.hostname])
        .arg("--guestd")
        .arg(&args.guestd)
        .args(["--inside", &region.as_raw_fd().to_string()])
        // The inner process knows by this pipe's end that we are gone.
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

/// Furnishes the namespaces, runs one guestd after the other, and reaps until
/// one has ended in good order.
fn inner(args: &InitArgs, region: i32) -> anyhow::Result<i32> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("PR_SET_PDEATHSIG")?;
    let stdin = io::stdin();
    let mut alive = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    // The parent may have gone before its death could be asked for.
    if poll(&mut alive, PollTimeout::ZERO).context("poll")? != 0 {
        bail!("the instance is gone");
    }
    let refused = namespaces::furnish(&args.own, &args.hostname);
    refused.iter().for_each(complain);
    let mut pause = FIRST_PAUSE;
    for incarnation in 1_u64.. {
        let started = Instant::now();
        let end = await_end(&start_guestd(args, region)?)?;
        let lived = started.elapsed();
        let how = match end {
            End::Exited(0) => break,
            End::Exited(code) if incarnation == 1 && lived < COMING_UP => return Ok(code),
            End::Exited(code) => format!("exited with status {code}"),
            End::Killed(signal) => format!("was killed by signal {signal}"),
        };
        complain(format_args!("guestd {how}; it is started again"));
        if lived >= GOOD_INCARNATION {
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

/// Reaps until `guestd` has ended.
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
        // Where there is no namespace of processes that would end with us.
        guestd.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    // Root of a user namespace often has no right to its home.
    env::set_current_dir(&home)
        .or_else(|_| env::set_current_dir("/"))
        .context("cannot enter /")?;
    let path = args.guestd.display();
    guestd.spawn().with_context(|| format!("cannot run {path}"))
}

/// Waits on descriptor 1 until KMON has written down that we exist (N4), and
/// leaves `/dev/null` there.
fn await_word() -> anyhow::Result<()> {
    let mut word = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if !matches!(word.read(&mut [0]), Ok(1)) {
        bail!("KMON is gone");
    }
    let nowhere = OpenOptions::new().write(true).open("/dev/null");
    dup2_stdout(nowhere.context("/dev/null")?).context("/dev/null")?;
    Ok(())
}

/// Makes standard error a pipe that is written without waiting, whether or not
/// a KMON reads it (N3).
fn keep_messages() {
    let mut both = OpenOptions::new();
    both.read(true).write(true).custom_flags(O_NONBLOCK);
    // Where that is refused, what is said between two KMONs is lost.
    if let Ok(pipe) = both.open("/proc/self/fd/2") {
        let _ = dup2_stderr(pipe);
    }
}

/// The one descriptor that passes to the inner process; ours stays where a
/// later KMON looks for it.
fn copy_of_region() -> anyhow::Result<OwnedFd> {
    namespaces::close_on_exec_from(3)?;
    let stdin = io::stdin();
    let region = stdin.as_fd().try_clone_to_owned().context("region")?;
    fcntl(&region, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).context("region")?;
    Ok(region)
}

/// One line to KMON. Nobody may be there to read it.
fn complain(what: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{what}");
}
