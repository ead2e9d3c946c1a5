//! The command loop: takes KMON's commands, beats, and never waits for anything else.
//!
//! - **V1** A KMON that was restarted gets the greeting again, and what its
//!   earlier life had `exec` run is killed: nobody is left to hear how it ends.
//!   The console's shell goes on.
//! - **V2** A daemon whose place another one has taken sends nothing more, not
//!   even a goodbye.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kmon_protocol::link::CommandReceiver;
use kmon_protocol::{Command, DaemonLink, Event, LinkError, Received};
use shmem_core::Window;

use crate::account::Account;
use crate::children::Children;
use crate::cli::Args;
use crate::console::Console;
use crate::exec::{Execs, Request};
use crate::outlet::Outlet;
use crate::pty::Size;
use crate::readings;
use crate::signals::StopSignals;
use crate::typist::Typist;

/// Time between two heartbeats at most.
const BEAT: Duration = Duration::from_millis(100);
/// The same while input or events wait for space somewhere.
const SOON: Duration = Duration::from_millis(5);
/// Time that KMON has to take the last events.
const FAREWELL: Duration = Duration::from_millis(500);
/// Statistics are not read more often than this, whatever KMON says.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);

/// The daemon, attached and with all its threads.
pub(crate) struct Service {
    commands: CommandReceiver<'static>,
    stop: StopSignals,
    outlet: Arc<Outlet>,
    children: Arc<Children>,
    console: Arc<Console>,
    typist: Typist,
    execs: Arc<Execs>,
    halted: bool,
    _pid_file: Option<PidFile>,
}

impl Service {
    /// Attaches to KMON and starts the shell and the statistics.
    pub(crate) fn start(args: &Args, memory: Window<'static>, account: Account) -> Result<Self> {
        // Before the first thread: all of them are to inherit the mask.
        let stop = StopSignals::take().context("cannot take the stop signals over")?;
        let link = DaemonLink::attach(memory, args.region.waiting());
        let link = link.with_context(|| format!("cannot attach to region {}", args.region))?;
        let told = Duration::from_millis(link.settings().period_ms.into());
        let period = args.period.unwrap_or(told).max(SHORTEST_PERIOD);
        let pid_file = args.pid_file.as_deref().map(PidFile::write).transpose()?;
        let life = link.life().incarnation();
        let (sender, commands, mut stats) = link.split();

        let outlet = Arc::new(Outlet::new(sender, life, commands.peer_beat()));
        let children = Arc::new(Children::default());
        let console = Console::new(account.clone(), children.clone(), outlet.clone());
        let console = Arc::new(console);
        let execs = Arc::new(Execs::new(account, children.clone(), outlet.clone()));
        outlet.greet();
        let for_stats = Arc::clone(&outlet);
        start_thread("statistics", move || {
            readings::publish(&mut stats, period, &for_stats)
        })?;
        let for_shell = Arc::clone(&console);
        start_thread("console", move || for_shell.run())?;
        let typist = Typist::new(Arc::clone(&console));
        Ok(Self {
            commands,
            stop,
            outlet,
            children,
            console,
            typist,
            execs,
            halted: false,
            _pid_file: pid_file,
        })
    }

    /// Serves KMON until it halts the instance or a signal comes.
    ///
    /// # Errors
    ///
    /// KMON broke the protocol, or another daemon has this one's place; the
    /// shell and the commands are ended all the same.
    pub(crate) fn run(mut self) -> Result<()> {
        let served = self.serve();
        if served == Err(LinkError::Replaced) {
            self.outlet.abandon();
        }
        self.execs.kill_all();
        self.console.hang_up();
        match served {
            Err(LinkError::Replaced) => {
                bail!("another guestd has this instance's number, so this one ends")
            }
            Err(error) => bail!("KMON broke the region: {error}"),
            Ok(()) => self.say_goodbye(),
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<(), LinkError> {
        while !self.halted && !self.stop.asked() {
            // A stalled KMON makes no space; looking for it often would only burn time.
            let sent = self.outlet.flush() || self.outlet.peer_stalled();
            let caught_up = sent && !self.typist.is_waiting();
            self.take_commands(if caught_up { BEAT } else { SOON })?;
            self.commands.beat()?;
            self.tell_discarded();
            self.outlet.saw_peer(self.commands.peer_beat());
            self.typist.flush();
            self.children.bury_orphans();
            self.outlet.take_failure().map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    fn take_commands(&mut self, timeout: Duration) -> Result<(), LinkError> {
        let Self {
            commands,
            outlet,
            console,
            typist,
            execs,
            halted,
            ..
        } = self;
        let taken = commands.receive(timeout, |received| match received {
            _ if *halted => {}
            Received::Restarted => {
                execs.kill_all(); // V1
                outlet.greet();
            }
            Received::Message(Command::Input(bytes)) => typist.enter(bytes),
            Received::Message(Command::Resize { rows, columns }) => {
                console.resize(Size { rows, columns });
            }
            Received::Message(Command::Exec {
                stream,
                timeout_ms,
                arguments,
            }) => {
                execs.start(Request::new(stream, timeout_ms, &arguments));
            }
            Received::Message(Command::Kill { stream }) => execs.kill(stream),
            Received::Message(Command::QueryIdle { stream }) => {
                let idle = typist.is_settled() && console.is_idle();
                outlet.post(Event::Idle { stream, idle });
            }
            Received::Message(Command::Halt) => *halted = true,
        });
        taken.map(drop)
    }

    fn tell_discarded(&mut self) {
        let commands = self.commands.take_discarded();
        if commands > 0 {
            crate::log(format_args!(
                "{commands} commands from before a restart were discarded"
            ));
            self.outlet.post(Event::Discarded { commands });
        }
    }

    /// Gives the last events time to leave, as long as KMON takes any.
    fn say_goodbye(&mut self) {
        self.outlet.post(Event::Goodbye);
        let deadline = Instant::now() + FAREWELL;
        while !self.outlet.flush() && !self.outlet.peer_stalled() && Instant::now() < deadline {
            thread::sleep(SOON);
            if self.commands.beat().is_err() {
                return;
            }
            self.outlet.saw_peer(self.commands.peer_beat());
        }
    }
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread
        .map(drop)
        .with_context(|| format!("cannot start the thread {name}"))
}

/// A file with our process number in it, removed when the daemon ends.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<Self> {
        let number = format!("{}\n", std::process::id());
        fs::write(path, number)
            .with_context(|| format!("cannot write the pid file {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
