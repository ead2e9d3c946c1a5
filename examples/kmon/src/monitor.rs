//! The instances KMON has, by partition number, and how they start and end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use kmon_protocol::{LAST_PARTITION, Settings};

use crate::instance::log::OutputLog;
use crate::instance::outbox::{Order, Outbox};
use crate::instance::run::{Plan, Run};
use crate::instance::shared::Shared;
use crate::instance::state::State;
use crate::notices::Notices;
use crate::rundir::{Kept, Record, RunDir};

/// Instances count from here; 1 is KMON itself.
pub(crate) const FIRST: u8 = kmon_protocol::MONITOR + 1;
/// How long an instance may take to attach.
pub(crate) const START_TIME: Duration = Duration::from_secs(20);
/// How long an instance may take to halt before it is killed.
const HALT_TIME: Duration = Duration::from_secs(3);

/// What all instances are made with.
pub(crate) struct Common {
    pub(crate) kmon: PathBuf,
    pub(crate) guestd: PathBuf,
    pub(crate) period: Duration,
    pub(crate) log_bytes: usize,
    /// The shell of instances that name none.
    pub(crate) shell: Option<PathBuf>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) rundir: Arc<RunDir>,
}

/// One partition; it keeps its number, name and output over its runs, and over
/// those of KMON.
pub(crate) struct Instance {
    pub(crate) number: u8,
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    shell: Option<PathBuf>,
    run: Option<Run>,
}

/// All instances.
pub(crate) struct Monitor {
    common: Common,
    instances: BTreeMap<u8, Instance>,
}

impl Instance {
    /// The instance's state as of now.
    pub(crate) fn state(&self) -> State {
        self.shared.lock().state.clone()
    }

    /// An error unless the instance can take commands.
    pub(crate) fn require_running(&self) -> anyhow::Result<()> {
        let n = self.number;
        match self.state() {
            State::Running => Ok(()),
            State::Halted => bail!("instance {n} is not running (halted); kmload {n} starts it"),
            State::Starting => bail!("instance {n} is not running yet; kmlist shows when it is"),
            State::Restarting(_) => {
                bail!("guestd of instance {n} died and is being restarted; kmlist shows when it is")
            }
            state => bail!("instance {n} is not running ({state}); kmreset {n} starts it again"),
        }
    }

    /// Starts it afresh, or goes on with what an earlier KMON left of it.
    fn start(&mut self, common: &Common, found: Option<Kept>) -> anyhow::Result<()> {
        self.end();
        self.run = Some(Run::start(self.plan(common), found)?);
        Ok(())
    }

    fn plan(&self, common: &Common) -> Plan {
        Plan {
            settings: Settings {
                partition: self.number,
                period_ms: u32::try_from(common.period.as_millis()).unwrap_or(u32::MAX),
                name: self.name.clone(),
            },
            kmon: common.kmon.clone(),
            guestd: common.guestd.clone(),
            shell: self.shell.clone(),
            shared: Arc::clone(&self.shared),
            outbox: Arc::clone(&self.outbox),
            notices: Arc::clone(&common.notices),
            rundir: Arc::clone(&common.rundir),
        }
    }

    fn ask_to_halt(&self) {
        if let Some(run) = &self.run {
            run.expect_halt();
        }
        self.outbox.put(Order::Halt);
    }

    /// Kills what there is; a run that was over stays as it ended.
    fn end(&mut self) {
        if let Some(run) = self.run.take() {
            run.end();
        }
    }

    /// Waits until it runs and has reported once.
    fn wait_running(&self, deadline: Instant) -> anyhow::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.shared.wait_until(left, |view| match view.state {
            State::Running => view.stats.is_some(),
            State::Starting | State::Restarting(_) => false,
            _ => true,
        });
        let n = self.number;
        match self.state() {
            State::Running => Ok(()),
            State::Starting => bail!(
                "instance {n}: guestd did not attach within {} s; kmreset {n} tries again",
                START_TIME.as_secs()
            ),
            state => bail!("instance {n} does not run ({state}); kmreset {n} tries again"),
        }
    }
}

impl Monitor {
    pub(crate) fn new(common: Common) -> Self {
        Self {
            common,
            instances: BTreeMap::new(),
        }
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// The period of the instances' statistics.
    pub(crate) fn period(&self) -> Duration {
        self.common.period
    }

    pub(crate) fn notices(&self) -> &Notices {
        &self.common.notices
    }

    /// Instance `number`.
    pub(crate) fn instance(&self, number: u8) -> anyhow::Result<&Instance> {
        self.instances
            .get(&number)
            .ok_or_else(|| self.no_such(number))
    }

    /// Goes on with the instances that earlier KMONs left; their numbers.
    pub(crate) fn find_all(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut numbers = Vec::new();
        for record in self.common.rundir.records() {
            let (number, process) = (record.number, record.process.clone());
            if !(FIRST..=LAST_PARTITION).contains(&number) {
                continue;
            }
            self.insert(record)?;
            if process.is_some() {
                self.begin(number, process)?;
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Whether there is an instance `number`, running or not.
    pub(crate) fn has(&self, number: u8) -> bool {
        self.instances.contains_key(&number)
    }

    /// Adds an instance with the next number, not started yet.
    pub(crate) fn add(
        &mut self,
        name: Option<String>,
        shell: Option<PathBuf>,
    ) -> anyhow::Result<u8> {
        let last = self.instances.keys().next_back();
        let number = match last {
            None => FIRST,
            Some(&last) if last < LAST_PARTITION => last + 1,
            Some(_) => {
                bail!("no partition number is left; kmload N starts a halted instance again")
            }
        };
        self.add_as(number, name, shell)?;
        Ok(number)
    }

    /// Adds instance `number`, which is not there yet, not started.
    pub(crate) fn add_as(
        &mut self,
        number: u8,
        name: Option<String>,
        shell: Option<PathBuf>,
    ) -> anyhow::Result<()> {
        let name = name.unwrap_or_else(|| format!("part{number}"));
        self.require_free(&name, number)?;
        self.insert(Record {
            number,
            name,
            shell: shell.or_else(|| self.common.shell.clone()),
            process: None,
        })
    }

    fn insert(&mut self, record: Record) -> anyhow::Result<()> {
        let number = record.number;
        let log = OutputLog::open(&self.common.rundir.log(number), self.common.log_bytes);
        let log = log.with_context(|| format!("instance {number} has no place for its output"))?;
        let instance = Instance {
            number,
            name: record.name,
            shared: Arc::new(Shared::new(log)),
            outbox: Arc::default(),
            shell: record.shell,
            run: None,
        };
        self.instances.insert(number, instance);
        Ok(())
    }

    /// Starts `number`, which is not running.
    pub(crate) fn load(&mut self, number: u8, name: Option<String>) -> anyhow::Result<()> {
        if let Some(name) = &name {
            self.require_free(name, number)?;
        }
        let instance = self.instance_mut(number)?;
        if instance.state().is_alive() {
            bail!("instance {number} is there already; kmreset {number} starts it again");
        }
        if let Some(name) = name {
            instance.name = name;
        }
        self.start(number)
    }

    /// Starts `number`, killing what is left of its last run.
    pub(crate) fn start(&mut self, number: u8) -> anyhow::Result<()> {
        self.begin(number, None)
    }

    fn begin(&mut self, number: u8, found: Option<Kept>) -> anyhow::Result<()> {
        let missing = self.no_such(number);
        let instance = self.instances.get_mut(&number).ok_or(missing)?;
        instance.start(&self.common, found)
    }

    /// Waits until `number` runs.
    pub(crate) fn wait_running(&self, number: u8) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIME;
        self.instance(number)?.wait_running(deadline)
    }

    /// Waits until every instance that was started runs; what went wrong with
    /// which, and how many there are.
    pub(crate) fn wait_all_running(&self) -> (Vec<anyhow::Error>, usize) {
        let deadline = Instant::now() + START_TIME;
        let started = self.instances().filter(|instance| instance.run.is_some());
        let results: Vec<_> = started
            .map(|instance| instance.wait_running(deadline))
            .collect();
        let all = results.len();
        (results.into_iter().filter_map(Result::err).collect(), all)
    }

    /// Ends `number`: asks it to, unless `force`, and kills it if it does not.
    pub(crate) fn halt(&mut self, number: u8, force: bool) -> anyhow::Result<()> {
        let missing = self.no_such(number);
        let instance = self.instances.get_mut(&number).ok_or(missing)?;
        if instance.state() == State::Halted {
            bail!("instance {number} is halted already; kmload {number} starts it again");
        }
        if !force {
            instance.ask_to_halt();
            wait_gone(instance, Instant::now() + HALT_TIME);
        }
        instance.end();
        instance.shared.lock().state = State::Halted;
        let record = instance.plan(&self.common).record(None);
        self.common.rundir.save(&record)
    }

    /// Ends every instance, all at once.
    pub(crate) fn halt_all(&mut self) {
        let deadline = Instant::now() + HALT_TIME;
        let alive = |instance: &&Instance| instance.state().is_alive();
        self.instances()
            .filter(alive)
            .for_each(Instance::ask_to_halt);
        self.instances()
            .for_each(|instance| wait_gone(instance, deadline));
        self.instances.values_mut().for_each(Instance::end);
        for &number in self.instances.keys() {
            self.common.rundir.forget(number);
        }
    }

    /// Leaves every instance to the next KMON, as it is.
    pub(crate) fn leave_all(&mut self) {
        // Each lets go when it is dropped; all at once.
        self.instances.values_mut().for_each(|instance| {
            instance.run.as_ref().inspect(|run| run.leave());
        });
        self.instances
            .values_mut()
            .for_each(|instance| instance.run = None);
    }

    /// An error if another instance than `number` has `name`.
    fn require_free(&self, name: &str, number: u8) -> anyhow::Result<()> {
        let mut others = self.instances().filter(|other| other.number != number);
        match others.find(|other| other.name == name) {
            Some(other) => bail!(
                "`{name}` is the name of instance {} already; --name gives another",
                other.number
            ),
            None => Ok(()),
        }
    }

    fn instance_mut(&mut self, number: u8) -> anyhow::Result<&mut Instance> {
        let missing = self.no_such(number);
        self.instances.get_mut(&number).ok_or(missing)
    }

    fn no_such(&self, number: u8) -> anyhow::Error {
        match (
            self.instances.keys().next(),
            self.instances.keys().next_back(),
        ) {
            (Some(first), Some(last)) if first != last => anyhow!(
                "there is no instance {number}; those there are count from {first} to {last}"
            ),
            (Some(only), _) => anyhow!("there is no instance {number}; the only one is {only}"),
            _ => anyhow!("there is no instance {number}; kmload starts one"),
        }
    }
}

fn wait_gone(instance: &Instance, deadline: Instant) {
    let hears = |state: &State| {
        matches!(
            state,
            State::Running | State::Starting | State::Restarting(_)
        )
    };
    // A stalled instance does not hear the question.
    if hears(&instance.state()) {
        let left = deadline.saturating_duration_since(Instant::now());
        instance.shared.wait_until(left, |view| !hears(&view.state));
    }
}
