//! `kmexec`: one command in an instance, apart from its console.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use kmon_protocol::Ending;
use kmon_protocol::link::CommandSender;
use serde::Serialize;

use super::line::ExecArgs;
use super::print::print_json;
use super::session::Session;
use crate::instance::outbox::Order;
use crate::instance::shared::{ExecOutput, Stream};
use crate::instance::state::State;
use crate::interrupt::Interrupt;
use crate::monitor::Instance;

/// How long a killed command may take to be told as ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A heart that stands still for so long ends the wait: a script must not hang.
const STALLED: Duration = Duration::from_secs(5);
/// Bytes of each output that `--json` keeps.
const MAX_JSON: usize = 64 * 1024 * 1024;

#[derive(Serialize)]
struct Report<'a> {
    instance: u8,
    command: &'a [String],
    exit_status: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    error: Option<&'a str>,
    stdout: String,
    stderr: String,
    dropped_bytes: u64,
}

pub(super) fn run(session: &Session, args: ExecArgs) -> anyhow::Result<()> {
    let instance = session.monitor.instance(args.instance)?;
    instance.require_running()?;
    let exec = Exec::start(instance, &args)?;
    let mut kept = args.json.then(Kept::default);
    let (ending, dropped) = exec.follow(&session.interrupt, &mut kept)?;
    if let Some(kept) = kept {
        print_json(&report(&args, kept, &ending, dropped))?;
    }
    judge(&ending, &args)?;
    if dropped > 0 {
        bail!("{dropped} bytes of output are missing: they were not taken in time");
    }
    Ok(())
}

/// Success, or the one line that says how it ended.
fn judge(ending: &Ending, args: &ExecArgs) -> anyhow::Result<()> {
    match ending {
        Ending::Exited(0) => Ok(()),
        Ending::Exited(status) => bail!("exit status {status}"),
        Ending::Signalled(signal) => bail!("killed by signal {signal}"),
        Ending::TimedOut => {
            bail!(
                "time-out after {} s; it was killed",
                args.timeout.unwrap_or_default()
            )
        }
        Ending::NotStarted(why) => bail!("{why}"),
    }
}

fn report<'a>(args: &'a ExecArgs, kept: Kept, ending: &'a Ending, dropped: u64) -> Report<'a> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Report {
        instance: args.instance,
        command: &args.command,
        exit_status: match ending {
            Ending::Exited(status) => Some(*status),
            _ => None,
        },
        signal: match ending {
            Ending::Signalled(signal) => Some(*signal),
            _ => None,
        },
        timed_out: *ending == Ending::TimedOut,
        error: match ending {
            Ending::NotStarted(why) => Some(why),
            _ => None,
        },
        stdout: text(kept.out),
        stderr: text(kept.err),
        dropped_bytes: dropped + kept.dropped,
    }
}

/// Output that is kept for `--json`.
#[derive(Default)]
struct Kept {
    out: Vec<u8>,
    err: Vec<u8>,
    dropped: u64,
}

/// A command in flight; dropping it forgets what else comes from it.
struct Exec<'a> {
    instance: &'a Instance,
    stream: u32,
}

impl<'a> Exec<'a> {
    fn start(instance: &'a Instance, args: &ExecArgs) -> anyhow::Result<Self> {
        let arguments: Vec<_> = args
            .command
            .iter()
            .map(|word| word.clone().into_bytes())
            .collect();
        let len = 4 + arguments.iter().map(|word| word.len() + 2).sum::<usize>();
        let max = CommandSender::MAX_BODY;
        if len > max {
            bail!("the command has {len} bytes; at most {max} fit, put it in a file");
        }
        // Before the entry is made: a guestd that is lost later takes it along.
        let incarnation = instance.outbox.incarnation();
        let stream = {
            let mut view = instance.shared.lock();
            let stream = view.new_stream();
            view.execs.insert(stream, ExecOutput::default());
            stream
        };
        let exec = Self { instance, stream };
        let timeout = Duration::from_secs_f64(args.timeout.unwrap_or(0.0));
        let order = Order::Exec {
            stream,
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            arguments,
        };
        if !instance.outbox.put_for(incarnation, order) {
            let n = instance.number;
            bail!("guestd of instance {n} is just being restarted; nothing was run");
        }
        Ok(exec)
    }

    /// Passes the output on until the end; how it ended, and what was dropped.
    fn follow(
        &self,
        interrupt: &Interrupt,
        kept: &mut Option<Kept>,
    ) -> anyhow::Result<(Ending, u64)> {
        let mut killed = false;
        loop {
            let (chunks, end) = self.take(Interrupt::GLANCE)?;
            for (stream, bytes) in chunks {
                pass_on(stream, &bytes, kept).inspect_err(|_| self.kill())?;
            }
            if let Some(end) = end {
                return Ok(end);
            }
            if interrupt.is_set() && !killed {
                killed = true;
                self.kill();
            }
            if killed && !self.wait_for_end() {
                bail!("interrupted; the instance did not say how it ended");
            }
        }
    }

    /// What has come, waiting up to `timeout`; with all of it taken, the end too.
    #[expect(clippy::type_complexity)]
    fn take(
        &self,
        timeout: Duration,
    ) -> anyhow::Result<(Vec<(Stream, Vec<u8>)>, Option<(Ending, u64)>)> {
        let shared = &self.instance.shared;
        let mut view = shared.lock();
        let has_news = |exec: &ExecOutput| !exec.chunks.is_empty() || exec.ending.is_some();
        if !view.execs.get(&self.stream).is_some_and(has_news) {
            view = shared.wait(view, timeout);
        }
        let state = view.state.clone();
        let Some(exec) = view.execs.get_mut(&self.stream) else {
            bail!("the instance was started again; the command is gone");
        };
        let chunks: Vec<_> = exec.chunks.drain(..).collect();
        exec.waiting = 0;
        let end = exec.ending.take().map(|ending| (ending, exec.dropped));
        let lost = exec.lost;
        drop(view);
        shared.announce();
        if end.is_none() && chunks.is_empty() {
            self.require_hope(&state, lost)?;
        }
        Ok((chunks, end))
    }

    /// An error if nothing more can come, or nothing has for too long.
    fn require_hope(&self, state: &State, lost: bool) -> anyhow::Result<()> {
        let n = self.instance.number;
        match state {
            _ if lost => {
                bail!("guestd of instance {n} died, and the command with it");
            }
            State::Running => Ok(()),
            State::Stalled(since) if since.elapsed() > STALLED => {
                self.kill();
                bail!("instance {n} is stalled; kmreset {n} starts it again");
            }
            State::Restarting(since) if since.elapsed() > STALLED => {
                bail!("guestd of instance {n} died, and the command with it");
            }
            State::Stalled(_) | State::Restarting(_) => Ok(()),
            State::Paused => {
                bail!(
                    "instance {n} is paused, and the command with it; kmresume {n} lets them go on"
                )
            }
            state => bail!("instance {n} is gone ({state}), and the command with it"),
        }
    }

    fn kill(&self) {
        let stream = self.stream;
        self.instance.outbox.put(Order::Kill { stream });
    }

    fn wait_for_end(&self) -> bool {
        self.instance.shared.wait_until(LAST_WORDS, |view| {
            let exec = view.execs.get(&self.stream);
            exec.is_none_or(|exec| exec.ending.is_some() || !exec.chunks.is_empty())
        })
    }
}

impl Drop for Exec<'_> {
    fn drop(&mut self) {
        self.instance.shared.lock().execs.remove(&self.stream);
    }
}

fn pass_on(stream: Stream, bytes: &[u8], kept: &mut Option<Kept>) -> anyhow::Result<()> {
    if let Some(kept) = kept {
        let to = match stream {
            Stream::Out => &mut kept.out,
            Stream::Err => &mut kept.err,
        };
        if to.len() + bytes.len() > MAX_JSON {
            kept.dropped += bytes.len() as u64;
        } else {
            to.extend_from_slice(bytes);
        }
        return Ok(());
    }
    match stream {
        Stream::Out => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(bytes).context("standard output")?;
            stdout.flush().context("standard output")
        }
        Stream::Err => std::io::stderr().write_all(bytes).context("standard error"),
    }
}
