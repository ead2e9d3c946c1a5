//! The command loop: receives KMON's commands, sends the shell's output, and stores the heartbeat.
//! Apart from commands, it waits only for the lock of the outlet.
//!
//! - **V1** A restarted KMON gets the greeting again, and the commands and copies of its earlier
//!   incarnation are ended, because no KMON waits for their results. The console's shell continues.
//! - **V2** An evicted daemon sends nothing more, not even a goodbye.
//! - **V3** When KMON formats the region again, the daemon attaches again and keeps its shell. It
//!   drops all parts of the old region before that, because their memory may belong to the new one.

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
use crate::console_input::ConsoleInput;
use crate::console_pump::ConsolePump;
use crate::daemon::Readiness;
use crate::exec::{Execs, Request};
use crate::kernel_log::KernelLogSender;
use crate::kmsg::Kmsg;
use crate::outlet::Outlet;
use crate::pty::Size;
use crate::readings::Publisher;
use crate::signals::StopSignals;
use crate::transfer::Transfers;

/// The longest time between two heartbeats if KMON wakes this process: as long as KMON's limit (3
/// s) allows, so that an idle machine sleeps. A signal may be noticed this late.
const IDLE_BEAT: Duration = Duration::from_secs(1);
/// The longest time while input or events wait for space, and while commands arrive.
const SOON: Duration = Duration::from_millis(5);
/// How long after each greeting KMON may test what works across the memory.
const MEMORY_TEST_TIME: Duration = Duration::from_secs(10);
/// Time between two checks of the region's file.
const FILE_CHECK: Duration = Duration::from_secs(1);
/// How long KMON may take to receive the last events.
const FAREWELL: Duration = Duration::from_millis(500);
/// The shortest period of statistics that KMON can set.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);

/// The daemon with all its threads.
pub(crate) struct Service {
    attacher: Attacher,
    stop: StopSignals,
    outlet: Arc<Outlet>,
    children: Arc<Children>,
    console: Arc<Console>,
    input: ConsoleInput,
    execs: Arc<Execs>,
    transfers: Arc<Transfers>,
    publisher: Arc<Publisher>,
    kernel_log: Arc<KernelLogSender>,
    /// The period of the command line, which overrides KMON's setting.
    period: Option<Duration>,
    halted: bool,
    /// The time until which KMON may test the memory. KMON waits only briefly for an answer.
    memory_test_until: Instant,
    /// When the region's file was checked last.
    checked: Instant,
    _pid_file: Option<PidFile>,
}

impl Service {
    /// Attaches to KMON and starts the shell and the statistics. Returns `None` if a stop signal
    /// arrives first. While it waits, the daemon counts as ready and has its pid file.
    pub(crate) fn start(
        args: &Args,
        mut attacher: Attacher,
        account: Account,
        readiness: &mut Readiness,
    ) -> Result<Option<(Self, CommandReceiver<'static>)>> {
        // Before the first thread starts, so that all threads inherit the mask.
        let stop = StopSignals::block().context("cannot receive the stop signals")?;
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
        let period = args.period.unwrap_or_else(|| configured_period(&link));
        let incarnation = link.incarnation().number();
        let (sender, commands, stats, kernel) = link.split();

        let outlet = Arc::new(Outlet::new(sender, incarnation, commands.peer_beat()));
        let children = Arc::new(Children::default());
        let console = Console::new(account.clone(), children.clone(), outlet.clone());
        let console = Arc::new(console.context("cannot make an event descriptor")?);
        let transfers = Transfers::new(account.home().to_owned(), outlet.clone());
        let service = Self {
            attacher,
            stop,
            execs: Arc::new(Execs::new(account, children.clone(), outlet.clone())),
            transfers: Arc::new(transfers),
            outlet,
            children,
            input: ConsoleInput::new(Arc::clone(&console)),
            console,
            publisher: Arc::default(),
            kernel_log: Arc::new(
                KernelLogSender::new().context("cannot make an event descriptor")?,
            ),
            period: args.period,
            halted: false,
            memory_test_until: Instant::now() + MEMORY_TEST_TIME,
            checked: Instant::now(),
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
        if !self.attacher.sends_kernel_log() {
            return Ok(());
        }
        let kernel_log = Arc::clone(&self.kernel_log);
        start_thread("kernel-log", move || {
            if let Err(why) = kernel_log.run(Kmsg::open) {
                crate::log(why);
            }
        })
    }

    /// Sends the kernel's log to `kernel`, if KMON gets it.
    fn feed(&self, kernel: Option<KernelSender<'static>>) {
        self.kernel_log
            .feed(kernel.filter(|_| self.attacher.sends_kernel_log()));
    }

    /// Serves KMON until KMON halts the instance or a stop signal arrives. Returns true if KMON
    /// halted it.
    ///
    /// # Errors
    ///
    /// KMON broke the protocol, or another daemon has attached in place of this one. The shell and
    /// the commands are ended in this case, too.
    pub(crate) fn run(mut self, mut commands: CommandReceiver<'static>) -> Result<bool> {
        let served = loop {
            match self.serve(&mut commands) {
                Err(LinkError::Formatted) => {}
                served => break served,
            }
            drop(commands); // V3
            match self.attach_again() {
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
                bail!("another guestd has attached in place of this one, so this one ends")
            }
            Err(error) => bail!("KMON broke the region: {error}"),
            Ok(()) => self.say_goodbye(&mut commands),
        }
        Ok(self.halted)
    }

    /// Attaches to the region after KMON has formatted it (V3). Returns `None` if a stop signal
    /// arrives first.
    fn attach_again(&mut self) -> Result<Option<CommandReceiver<'static>>> {
        crate::log("KMON formats the region: attaching again");
        self.publisher.stop();
        self.kernel_log.stop();
        self.outlet.detach();
        self.execs.kill_all();
        self.transfers.cancel_all();
        let Some(link) = self.attacher.attach(&self.stop, || Ok(()))? else {
            return Ok(None);
        };
        let period = self.period.unwrap_or_else(|| configured_period(&link));
        let incarnation = link.incarnation().number();
        let (sender, commands, stats, kernel) = link.split();
        self.publisher.publish_to(stats, period);
        self.memory_test_until = Instant::now() + MEMORY_TEST_TIME;
        self.feed(kernel);
        self.outlet
            .attach(sender, incarnation, commands.peer_beat());
        Ok(Some(commands))
    }

    fn end(&self) {
        self.execs.kill_all();
        self.transfers.cancel_all();
        self.console.hang_up();
    }

    fn serve(&mut self, commands: &mut CommandReceiver<'static>) -> Result<(), LinkError> {
        let mut console_pump = ConsolePump::new(Arc::clone(&self.console));
        while !self.halted && !self.stop.asked() {
            let mut left = self.pause(commands);
            let mut until = None;
            // The sender of a command waits for its effect and often sends another command soon, so
            // other work is postponed.
            while self.take_commands(commands, &mut console_pump, left)?
                && !self.halted
                && !self.input.is_waiting()
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
            self.check_file()?;
            self.report_discarded(commands);
            self.outlet.note_peer_beat(commands.peer_beat());
            self.input.flush();
            self.children.reap_orphans();
            self.outlet.take_failure().map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Releases a region whose file was replaced: KMON uses the new one (V3).
    fn check_file(&mut self) -> Result<(), LinkError> {
        if self.checked.elapsed() < FILE_CHECK {
            return Ok(());
        }
        self.checked = Instant::now();
        match self.attacher.is_file_replaced() {
            true => Err(LinkError::Formatted),
            false => Ok(()),
        }
    }

    /// Returns how long to wait for the next command before doing other work.
    fn pause(&self, commands: &CommandReceiver<'static>) -> Duration {
        // A silent KMON makes no space, so frequent checks would be useless.
        let sent = self.outlet.flush() || self.outlet.is_peer_silent();
        let caught_up = sent && !self.input.is_waiting();
        let may_test = commands.may_try_memory() && Instant::now() < self.memory_test_until;
        match (caught_up && !may_test, commands.is_rung()) {
            (false, _) => SOON,
            (true, false) => BEAT,
            (true, true) => IDLE_BEAT,
        }
    }

    /// Waits for commands and carries them out. Returns true if there were any.
    fn take_commands(
        &mut self,
        commands: &mut CommandReceiver<'static>,
        console_pump: &mut ConsolePump,
        timeout: Duration,
    ) -> Result<bool, LinkError> {
        let Self {
            outlet,
            console,
            input,
            execs,
            transfers,
            halted,
            memory_test_until,
            ..
        } = self;
        let taken =
            commands.receive_with_idle_task(console_pump, timeout, |received| match received {
                _ if *halted => {}
                Received::Restarted => {
                    execs.kill_all(); // V1
                    transfers.cancel_all();
                    *memory_test_until = Instant::now() + MEMORY_TEST_TIME;
                    outlet.greet();
                }
                Received::Message(Command::Input(bytes)) => input.enter(bytes),
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
                Received::Message(Command::Kill { stream }) => execs.stop(stream),
                Received::Message(Command::Transfer { stream, request }) => {
                    transfers.take(stream, &request);
                }
                Received::Message(Command::QueryIdle { stream }) => {
                    let idle = input.is_settled() && console.is_idle();
                    outlet.post(Event::Idle { stream, idle });
                }
                Received::Message(Command::Halt) => *halted = true,
            });
        Ok(taken? > 0)
    }

    /// Tests with KMON what works across the memory, if KMON asks.
    fn try_memory(&mut self, commands: &mut CommandReceiver<'static>) {
        let Some(verdict) = commands.try_memory() else {
            return;
        };
        memory::faults(&verdict).for_each(crate::log);
        if !memory::is_inconclusive(&verdict) {
            self.memory_test_until = Instant::now();
        }
    }

    fn report_discarded(&self, commands: &mut CommandReceiver<'static>) {
        let commands = commands.take_discarded();
        if commands > 0 {
            crate::log(format_args!(
                "{commands} commands that were sent before a restart were discarded"
            ));
            self.outlet.post(Event::Discarded { commands });
        }
    }

    /// Sends the last events, and waits a limited time until KMON has received them.
    fn say_goodbye(&self, commands: &mut CommandReceiver<'static>) {
        self.outlet.post(Event::Goodbye);
        let deadline = Instant::now() + FAREWELL;
        while !self.outlet.flush() && !self.outlet.is_peer_silent() && Instant::now() < deadline {
            thread::sleep(SOON);
            if commands.beat().is_err() {
                return;
            }
            self.outlet.note_peer_beat(commands.peer_beat());
        }
    }
}

fn configured_period(link: &DaemonLink<'_>) -> Duration {
    Duration::from_millis(link.settings().period_ms.into()).max(SHORTEST_PERIOD)
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread
        .map(drop)
        .with_context(|| format!("cannot start the thread {name}"))
}

/// A file with the daemon's process number. It is removed when the daemon ends, unless another
/// process has written its own number.
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
