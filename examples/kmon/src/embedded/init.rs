//! The first two processes of an instance; see the picture in the parent module.

use std::env;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, dup2_stdin, getppid, setsid};
use std::os::unix::process::ExitStatusExt;

use super::namespaces::{self, Own};

/// Exit status that says the daemon was never there.
pub(super) const CANNOT_START: i32 = 125;

/// Where programs are looked for inside an instance.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The prompt of the instance's shell, as the paper shows it.
const PROMPT: &str = "[\\h\\u@\\w]$ ";

/// Starts an instance; KMON runs this, not a person.
#[derive(clap::Args, Debug)]
pub(crate) struct InitArgs {
    /// The process that must live for this one to live.
    #[arg(long)]
    parent: i32,
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
        // Standard error is KMON's pipe; without KMON nobody is left to read it.
        let _ = writeln!(std::io::stderr(), "{error:#}");
        CANNOT_START
    });
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}

/// Makes the namespaces and stays to tell how the inner process ended.
fn outer(args: &InitArgs) -> anyhow::Result<i32> {
    die_with_parent()?;
    if getppid() != Pid::from_raw(args.parent) {
        bail!("KMON is gone");
    }
    setsid().context("setsid")?;
    let region = take_stdin()?;
    let (granted, refused) = namespaces::unshare();
    refused.iter().for_each(complain);
    let mut inner = Command::new(env::current_exe().context("own program")?);
    inner
        .arg("instance-init")
        .args(["--parent", "0"])
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
    Ok(fate(status))
}

/// Furnishes the namespaces, runs guestd, and reaps until guestd has ended.
fn inner(args: &InitArgs, region: i32) -> anyhow::Result<i32> {
    die_with_parent()?;
    let stdin = std::io::stdin();
    let mut alive = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    // The parent may have gone before its death could be asked for.
    if poll(&mut alive, PollTimeout::ZERO).context("poll")? != 0 {
        bail!("KMON is gone");
    }
    let refused = namespaces::furnish(&args.own, &args.hostname);
    refused.iter().for_each(complain);
    let guestd = start_guestd(args, region)?;
    let guestd = Pid::from_raw(i32::try_from(guestd.id()).context("pid")?);
    loop {
        match wait().context("wait")? {
            WaitStatus::Exited(pid, code) if pid == guestd => return Ok(code),
            WaitStatus::Signaled(pid, signal, _) if pid == guestd => {
                return Ok(128 + signal as i32);
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
    // Root of a user namespace often has no right to its home.
    env::set_current_dir(&home)
        .or_else(|_| env::set_current_dir("/"))
        .context("cannot enter /")?;
    let path = args.guestd.display();
    guestd.spawn().with_context(|| format!("cannot run {path}"))
}

fn die_with_parent() -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("PR_SET_PDEATHSIG")
}

/// Takes the region off descriptor 0 and leaves `/dev/null` there. The copy is
/// the one descriptor that passes to the inner process.
fn take_stdin() -> anyhow::Result<OwnedFd> {
    namespaces::close_on_exec_from(3)?;
    let stdin = std::io::stdin();
    let region = stdin.as_fd().try_clone_to_owned().context("region")?;
    fcntl(&region, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).context("region")?;
    dup2_stdin(File::open("/dev/null").context("/dev/null")?).context("/dev/null")?;
    Ok(region)
}

fn fate(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => CANNOT_START,
    }
}

fn complain(refused: &namespaces::Refused) {
    // Without KMON nobody is left to read it.
    let _ = writeln!(std::io::stderr(), "{refused}");
}
