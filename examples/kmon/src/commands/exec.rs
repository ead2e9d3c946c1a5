//! `kmexec`: one command in an instance, apart from its console.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use kmon_protocol::Ending;
use kmon_protocol::link::CommandSender;
use serde::Serialize;

use super::line::ExecArgs;
use super::print::print_json;
use super::session::Session;
use crate::instance::modes::Modes;
use crate::instance::outbox::Order;
use crate::instance::shared::{ExecOutput, Stream};
use crate::instance::state::State;
use crate::interrupt::Interrupt;
use crate::monitor::Instance;
use crate::terminal;

/// How long to wait for the report that a killed command has ended.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
/// A wait ends when guestd is silent for this long, so that a script does not hang.
const SILENT: Duration = Duration::from_secs(5);
/// Bytes of standard output and of standard error that `--json` keeps, each.
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
    let mut collected = args.json.then(Collected::default);
    let (ending, dropped) = exec.follow(&session.interrupt, &mut collected)?;
    if let Some(collected) = collected {
        print_json(&report(&args, collected, &ending, dropped))?;
    }
    check_ending(&ending, &args)?;
    if dropped > 0 {
        bail!("{dropped} bytes of output are missing: KMON did not receive them in time");
    }
    Ok(())
}

/// Returns an error of one line unless the command succeeded.
fn check_ending(ending: &Ending, args: &ExecArgs) -> anyhow::Result<()> {
    match ending {
        Ending::Exited(0) => Ok(()),
        Ending::Exited(status) => bail!("exit status {status}"),
        Ending::Signalled(signal) => bail!("killed by signal {signal}"),
        Ending::TimedOut => {
            bail!(
                "timed out after {} s; the command was killed",
                args.timeout.unwrap_or_default()
            )
        }
        Ending::NotStarted(why) => bail!("{why}"),
    }
}

fn report<'a>(
    args: &'a ExecArgs,
    collected: Collected,
    ending: &'a Ending,
    dropped: u64,
) -> Report<'a> {
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
        stdout: text(collected.out),
        stderr: text(collected.err),
        dropped_bytes: dropped + collected.dropped,
    }
}

/// The modes of the operator's terminal that a command's output has set. Its destructor resets
/// them, also after a command that was killed inside an editor.
#[derive(Default)]
struct ShownModes(Modes);

impl ShownModes {
    fn follow(&mut self, stream: Stream, bytes: &[u8]) {
        let is_terminal = match stream {
            Stream::Out => std::io::stdout().is_terminal(),
            Stream::Err => std::io::stderr().is_terminal(),
        };
        if is_terminal {
            self.0.feed(bytes);
            terminal::remember_undo(self.0.undo());
        }
    }
}

impl Drop for ShownModes {
    fn drop(&mut self) {
        let undo = self.0.undo();
        if !undo.is_empty() {
            // A terminal that is gone needs no reset.
            let _ = terminal::write_stdout(&undo);
        }
        terminal::remember_undo(Vec::new());
    }
}

/// Output that is collected for `--json`.
#[derive(Default)]
struct Collected {
    out: Vec<u8>,
    err: Vec<u8>,
    dropped: u64,
}

/// A command in progress. After its destructor, later output of the command is ignored.
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
            bail!("the command has {len} bytes, the limit is {max}; put it in a file");
        }
        // Before the entry exists: if guestd dies later, the entry is marked as lost.
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
            bail!("guestd of instance {n} is being restarted; nothing was run");
        }
        Ok(exec)
    }

    /// Forwards the output until the command ends. Returns how it ended, and how many bytes were
    /// dropped.
    fn follow(
        &self,
        interrupt: &Interrupt,
        collected: &mut Option<Collected>,
    ) -> anyhow::Result<(Ending, u64)> {
        let mut killed = false;
        let mut shown = ShownModes::default();
        loop {
            let (chunks, end) = self.take(Interrupt::POLL_INTERVAL)?;
            for (stream, bytes) in chunks {
                if collected.is_none() {
                    shown.follow(stream, &bytes);
                }
                pass_on(stream, &bytes, collected).inspect_err(|_| self.kill())?;
            }
            if let Some(end) = end {
                return Ok(end);
            }
            if interrupt.is_set() && !killed {
                killed = true;
                self.kill();
            }
            if killed && !self.wait_for_end() {
                bail!("interrupted; the instance did not report how the command ended");
            }
        }
    }

    /// Takes the output that has arrived, after waiting up to `timeout`, and the ending if there is
    /// no more output.
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
            bail!("the instance was started again, and the command was lost");
        };
        let chunks: Vec<_> = exec.chunks.drain(..).collect();
        exec.waiting = 0;
        let end = exec.ending.take().map(|ending| (ending, exec.dropped));
        let lost = exec.lost;
        drop(view);
        shared.announce();
        if end.is_none() && chunks.is_empty() {
            self.check_progress(&state, lost)?;
        }
        Ok((chunks, end))
    }

    /// Returns an error if no more output can arrive, or if guestd is silent for too long.
    fn check_progress(&self, state: &State, lost: bool) -> anyhow::Result<()> {
        let n = self.instance.number;
        match state {
            _ if lost => {
                bail!("guestd of instance {n} died, and the command was killed");
            }
            State::Running => Ok(()),
            State::Silent(since) if since.elapsed() > SILENT => {
                self.kill();
                bail!("instance {n} is silent; kmreset {n} starts it again");
            }
            State::Restarting(since) if since.elapsed() > SILENT => {
                bail!("guestd of instance {n} died, and the command was killed");
            }
            State::Silent(_) | State::Restarting(_) => Ok(()),
            State::Paused => {
                bail!("instance {n} is paused, and the command too; kmresume {n} continues both")
            }
            state => bail!("instance {n} has ended ({state}), and the command too"),
        }
    }

    fn kill(&self) {
        let stream = self.stream;
        self.instance.outbox.put(Order::Kill { stream });
    }

    fn wait_for_end(&self) -> bool {
        self.instance.shared.wait_until(KILL_TIMEOUT, |view| {
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

fn pass_on(stream: Stream, bytes: &[u8], collected: &mut Option<Collected>) -> anyhow::Result<()> {
    if let Some(collected) = collected {
        let to = match stream {
            Stream::Out => &mut collected.out,
            Stream::Err => &mut collected.err,
        };
        if to.len() + bytes.len() > MAX_JSON {
            collected.dropped += bytes.len() as u64;
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
