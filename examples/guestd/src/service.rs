//! The command loop: takes KMON's commands, passes on what the shell prints, beats, and waits for
//! nothing else but its turn at the outlet.
//!
//! - **V1** A KMON that was restarted gets the greeting again, and what its
//!   earlier incarnation had `exec` run is killed: nobody is left to hear how it ends.
//!   The console's shell goes on.
//! - **V2** A daemon whose place another one has taken sends nothing more, not
//!   even a goodbye.
//! - **V3** A region that KMON formatted anew is attached to anew, with the shell as
//!   it is; nothing of the old one's is dropped behind that, for its words may be the new one's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kmon_protocol::link::{BEAT, CommandReceiver, KernelSender, StatsWriter, memory};
use kmon_protocol::{Command, DaemonLink, Event, LinkError, Received};

use crate::account::Account;
use crate::attach::Attacher;
use crate::children::Children;
use crate::cli::Args;
use crate::console::Console;
use crate::console_pump::ConsolePump;
use crate::daemon::Readiness;
use crate::exec::{Execs, Request};
use crate::feeder::Feeder;
use crate::kmsg::Kmsg;
use crate::outlet::Outlet;
use crate::pty::Size;
use crate::readings::Publisher;
use crate::signals::StopSignals;
use crate::typist::Typist;

/// Time between two heartbeats at most where KMON wakes us: as rare as KMON's patience (3 s)
/// allows, so that an idle machine sleeps. A signal is seen as late.
const RARE_BEAT: Duration = Duration::from_secs(1);
/// The same while input or events wait for space somewhere, and while commands come.
const SOON: Duration = Duration::from_millis(5);
/// How long after each greeting KMON may ask what works across the memory.
const TRIAL_TIME: Duration = Duration::from_secs(10);
/// Time that KMON has to take the last events.
const FAREWELL: Duration = Duration::from_millis(500);
/// Statistics are not read more often than this, whatever KMON says.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);

/// The daemon with all its threads.
pub(crate) struct Service {
    attacher: Attacher,
    stop: StopSignals,
    outlet: Arc<Outlet>,
    children: Arc<Children>,
    console: Arc<Console>,
    typist: Typist,
    execs: Arc<Execs>,
    publisher: Arc<Publisher>,
    feeder: Arc<Feeder>,
    /// What was asked for, whatever KMON says.
    period: Option<Duration>,
    halted: bool,
    /// Until then KMON may ask what works across the memory: it does not wait long for us.
    trial_until: Instant,
    _pid_file: Option<PidFile>,
}

impl Service {
    /// Attaches to KMON and starts the shell and the statistics; nothing if a signal
    /// comes before KMON. A daemon that waits is ready, and has its pid file.
    pub(crate) fn start(
        args: &Args,
        mut attacher: Attacher,
        account: Account,
        readiness: &mut Readiness,
    ) -> Result<Option<(Self, CommandReceiver<'static>)>> {
        // Before the first thread: all of them are to inherit the mask.
        let stop = StopSignals::take().context("cannot take the stop signals over")?;
        let mut pid_file = None;
        let write = || args.pid_file.as_deref().map(PidFile::write).transpose();
        let link = attacher.attach(&stop, || {
            pid_file = write()?;
            readiness.ready();
            Ok(())
        })?;
        let Some(link) = link else {
            return Ok(None);
        };
        if pid_file.is_none() {
            pid_file = write()?;
        }
        let period = args.period.unwrap_or_else(|| told_period(&link));
        let incarnation = link.incarnation().number();
        let (sender, commands, stats, kernel) = link.split();

        let outlet = Arc::new(Outlet::new(sender, incarnation, commands.peer_beat()));
        let children = Arc::new(Children::default());
        let console = Console::new(account.clone(), children.clone(), outlet.clone());
        let console = Arc::new(console.context("cannot make an event descriptor")?);
        let service = Self {
            attacher,
            stop,
            execs: Arc::new(Execs::new(account, children.clone(), outlet.clone())),
            outlet,
            children,
            typist: Typist::new(Arc::clone(&console)),
            console,
            publisher: Arc::default(),
            feeder: Arc::new(Feeder::new().context("cannot make an event descriptor")?),
            period: args.period,
            halted: false,
            trial_until: Instant::now() + TRIAL_TIME,
            _pid_file: pid_file,
        };
        service.start_threads(stats, period)?;
        service.feed(kernel);
        Ok(Some((service, commands)))
    }

    fn start_threads(&self, stats: StatsWriter<'static>, period: Duration) -> Result<()> {
        self.outlet.greet();
        self.publisher.publish_to(stats, period);
        let (publisher, outlet) = (Arc::clone(&self.publisher), Arc::clone(&self.outlet));
        start_thread("statistics", move || publisher.run(&outlet))?;
        let console = Arc::clone(&self.console);
        start_thread("console", move || console.run())?;
        if !self.attacher.tells_kernel_log() {
            return Ok(());
        }
        let feeder = Arc::clone(&self.feeder);
        start_thread("kernel-log", move || {
            if let Err(why) = feeder.run(Kmsg::open) {
                crate::log(why);
            }
        })
    }

    /// Lets the kernel's log go to `kernel`, if KMON is to have it.
    fn feed(&self, kernel: Option<KernelSender<'static>>) {
        self.feeder
            .feed(kernel.filter(|_| self.attacher.tells_kernel_log()));
    }

    /// Serves KMON until it halts the instance or a signal comes; true if KMON did.
    ///
    /// # Errors
    ///
    /// KMON broke the protocol, or another daemon has this one's place; the
    /// shell and the commands are ended all the same.
    pub(crate) fn run(mut self, mut commands: CommandReceiver<'static>) -> Result<bool> {
        let served = loop {
            match self.serve(&mut commands) {
                Err(LinkError::Formatted) => {}
                served => break served,
            }
            drop(commands); // V3
            match self.attach_anew() {
                Ok(Some(again)) => commands = again,
                done => {
                    self.end();
                    return done.map(|_| false);
                }
            }
        };
        if served == Err(LinkError::Evicted) {
            self.outlet.abandon();
        }
        self.end();
        match served {
            Err(LinkError::Evicted) => {
                bail!("another guestd has this instance's number, so this one ends")
            }
            Err(error) => bail!("KMON broke the region: {error}"),
            Ok(()) => self.say_goodbye(&mut commands),
        }
        Ok(self.halted)
    }

    /// Attaches to what KMON makes of the region (V3); nothing if a signal comes first.
    fn attach_anew(&mut self) -> Result<Option<CommandReceiver<'static>>> {
        crate::log("KMON formats the region anew: attaching anew");
        self.publisher.stop();
        self.feeder.stop();
        self.outlet.detach();
        self.execs.kill_all();
        let Some(link) = self.attacher.attach(&self.stop, || Ok(()))? else {
            return Ok(None);
        };
        let period = self.period.unwrap_or_else(|| told_period(&link));
        let incarnation = link.incarnation().number();
        let (sender, commands, stats, kernel) = link.split();
        self.publisher.publish_to(stats, period);
        self.trial_until = Instant::now() + TRIAL_TIME;
        self.feed(kernel);
        self.outlet
            .attach(sender, incarnation, commands.peer_beat());
        Ok(Some(commands))
    }

    fn end(&self) {
        self.execs.kill_all();
        self.console.hang_up();
    }

    fn serve(&mut self, commands: &mut CommandReceiver<'static>) -> Result<(), LinkError> {
        let mut console_pump = ConsolePump::new(Arc::clone(&self.console));
        while !self.halted && !self.stop.asked() {
            let mut left = self.pause(commands);
            let mut until = None;
            // Whoever has sent a command waits for what it does, and often has the next: the
            // rest can wait.
            while self.take_commands(commands, &mut console_pump, left)?
                && !self.halted
                && !self.typist.is_waiting()
            {
                let now = Instant::now();
                left = until
                    .get_or_insert(now + SOON)
                    .saturating_duration_since(now);
                if left.is_zero() {
                    break;
                }
            }
            self.try_memory(commands);
            commands.beat()?;
            self.tell_discarded(commands);
            self.outlet.saw_peer(commands.peer_beat());
            self.typist.flush();
            self.children.bury_orphans();
            self.outlet.take_failure().map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// How long to wait for the next command before everything else has its turn.
    fn pause(&self, commands: &CommandReceiver<'static>) -> Duration {
        // A stalled KMON makes no space; looking for it often would only burn time.
        let sent = self.outlet.flush() || self.outlet.peer_stalled();
        let caught_up = sent && !self.typist.is_waiting();
        let tries = commands.may_try_memory() && Instant::now() < self.trial_until;
        match (caught_up && !tries, commands.is_rung()) {
            (false, _) => SOON,
            (true, false) => BEAT,
            (true, true) => RARE_BEAT,
        }
    }

    /// Waits for commands, and obeys them; whether there were any.
    fn take_commands(
        &mut self,
        commands: &mut CommandReceiver<'static>,
        console_pump: &mut ConsolePump,
        timeout: Duration,
    ) -> Result<bool, LinkError> {
        let Self {
            outlet,
            console,
            typist,
            execs,
            halted,
            trial_until,
            ..
        } = self;
        let taken = commands.receive_beside(console_pump, timeout, |received| match received {
            _ if *halted => {}
            Received::Restarted => {
                execs.kill_all(); // V1
                *trial_until = Instant::now() + TRIAL_TIME;
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
        Ok(taken? > 0)
    }

    /// Finds out with KMON what works across the memory, if it asks.
    fn try_memory(&mut self, commands: &mut CommandReceiver<'static>) {
        let Some(verdict) = commands.try_memory() else {
            return;
        };
        memory::faults(&verdict).for_each(crate::log);
        if !memory::is_open(&verdict) {
            self.trial_until = Instant::now();
        }
    }

    fn tell_discarded(&self, commands: &mut CommandReceiver<'static>) {
        let commands = commands.take_discarded();
        if commands > 0 {
            crate::log(format_args!(
                "{commands} commands from before a restart were discarded"
            ));
            self.outlet.post(Event::Discarded { commands });
        }
    }

    /// Gives the last events time to leave, as long as KMON takes any.
    fn say_goodbye(&self, commands: &mut CommandReceiver<'static>) {
        self.outlet.post(Event::Goodbye);
        let deadline = Instant::now() + FAREWELL;
        while !self.outlet.flush() && !self.outlet.peer_stalled() && Instant::now() < deadline {
            thread::sleep(SOON);
            if commands.beat().is_err() {
                return;
            }
            self.outlet.saw_peer(commands.peer_beat());
        }
    }
}

fn told_period(link: &DaemonLink<'_>) -> Duration {
    Duration::from_millis(link.settings().period_ms.into()).max(SHORTEST_PERIOD)
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread
        .map(drop)
        .with_context(|| format!("cannot start the thread {name}"))
}

/// A file with our process number in it, removed when the daemon ends, unless
/// another has written its own there.
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
        let is_ours = |number: String| number.trim() == std::process::id().to_string();
        if fs::read_to_string(&self.0).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.0);
        }
    }
}
