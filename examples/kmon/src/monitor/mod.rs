//! KMON's instances by partition number, with their start and end.

mod common;
mod instance;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use kmon_protocol::LAST_PARTITION;

use crate::backend::{Backend, BackendRecord};
use crate::disklog::{DiskLogs, LogName};
use crate::instance::log::OutputLog;
use crate::instance::logged;
use crate::instance::shared::Shared;
use crate::instance::state::State;
use crate::interrupt::Interrupt;
use crate::kind::Kind;
use crate::notices::Notices;
use crate::rundir::Record;

pub(crate) use common::{Common, LogBytes};
pub(crate) use instance::{Halted, Instance};

/// Instances count from here; 1 is KMON itself.
pub(crate) const FIRST: u8 = kmon_protocol::MONITOR + 1;

/// How long a pause or its end may take to become visible.
const CHANGE_TIME: Duration = Duration::from_secs(2);

/// The settings of an instance to add.
#[derive(Debug, Default)]
pub(crate) struct NewInstance {
    pub(crate) name: Option<String>,
    /// Processes if `None`.
    pub(crate) kind: Option<Kind>,
    pub(crate) logs: Option<LogBytes>,
}

/// All instances.
pub(crate) struct Monitor {
    common: Common,
    instances: BTreeMap<u8, Instance>,
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

    /// Returns the period of the instances' statistics.
    pub(crate) fn period(&self) -> Duration {
        self.common.period
    }

    pub(crate) fn notices(&self) -> &Notices {
        &self.common.notices
    }

    /// Returns the logs on disk.
    ///
    /// # Errors
    /// They are switched off.
    pub(crate) fn disk_logs(&self) -> anyhow::Result<&DiskLogs> {
        let logs = self.common.disk_logs.as_ref();
        logs.context("logs on disk are switched off (kmon.toml: [logs] enabled)")
    }

    /// Returns instance `number`.
    pub(crate) fn instance(&self, number: u8) -> anyhow::Result<&Instance> {
        self.instances
            .get(&number)
            .ok_or_else(|| self.no_such(number))
    }

    /// Continues with the instances that earlier KMONs left. Returns their numbers.
    pub(crate) fn find_all(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut numbers = Vec::new();
        for record in self.common.rundir.records() {
            let (number, backend) = (record.number, record.backend.clone());
            if !(FIRST..=LAST_PARTITION).contains(&number) {
                continue;
            }
            self.insert(record, None)?;
            if backend.is_some() {
                self.begin(number, backend)?;
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Returns true if instance `number` exists, running or not.
    pub(crate) fn has(&self, number: u8) -> bool {
        self.instances.contains_key(&number)
    }

    /// Adds an instance of kind `process` with the next number, without starting it.
    pub(crate) fn add(&mut self, name: Option<String>) -> anyhow::Result<u8> {
        let last = self.instances.keys().next_back();
        let number = match last {
            None => FIRST,
            Some(&last) if last < LAST_PARTITION => last + 1,
            Some(_) => {
                bail!("no partition number is left; kmload N starts a halted instance again")
            }
        };
        let wanted = NewInstance {
            name,
            ..NewInstance::default()
        };
        self.add_as(number, wanted)?;
        Ok(number)
    }

    /// Adds the new instance `number`, without starting it.
    pub(crate) fn add_as(&mut self, number: u8, wanted: NewInstance) -> anyhow::Result<()> {
        let name = wanted.name.unwrap_or_else(|| format!("part{number}"));
        self.require_free(&name, number)?;
        let shell = self.common.shell.clone();
        let record = Record {
            number,
            name,
            kind: wanted.kind.unwrap_or(Kind::Process { shell }),
            backend: None,
        };
        self.insert(record, wanted.logs)
    }

    /// Changes the kind of a halted instance for its next start. Other instances stay as they are.
    pub(crate) fn redefine(&mut self, number: u8, kind: Kind) -> anyhow::Result<()> {
        let instance = self.instance_mut(number)?;
        if instance.run.is_none() {
            instance.kind = kind;
        }
        Ok(())
    }

    fn insert(&mut self, record: Record, logs: Option<LogBytes>) -> anyhow::Result<()> {
        let number = record.number;
        let (rundir, logs) = (&self.common.rundir, logs.unwrap_or(self.common.logs));
        let log = OutputLog::open(&rundir.log(number), logs.output);
        let no_place = || format!("the output of instance {number} cannot be stored");
        let log = log.with_context(no_place)?;
        let kernel = OutputLog::open(&rundir.kernel(number), logs.kernel);
        let kernel = kernel.with_context(no_place)?;
        let shared = Arc::new(Shared::new(log, kernel));
        if let Some(logs) = &self.common.disk_logs {
            let owner = format!("instance {number} ({})", record.name);
            let output = Arc::new(logged::Output(Arc::clone(&shared)));
            let kernel = Arc::new(logged::Kernel(Arc::clone(&shared)));
            shared.write_to(
                logs.add(LogName::Output(number), &owner, output),
                logs.add(LogName::Kernel(number), &owner, kernel),
            );
        }
        let instance = Instance {
            number,
            name: record.name,
            kind: record.kind,
            shared,
            outbox: Arc::default(),
            run: None,
        };
        self.instances.insert(number, instance);
        Ok(())
    }

    /// Starts instance `number`, which is not running.
    pub(crate) fn load(&mut self, number: u8, name: Option<String>) -> anyhow::Result<()> {
        if let Some(name) = &name {
            self.require_free(name, number)?;
        }
        let instance = self.instance_mut(number)?;
        if instance.state().is_alive() {
            bail!("instance {number} is already running; kmreset {number} starts it again");
        }
        if let Some(name) = name {
            instance.name = name;
        }
        self.start(number)
    }

    /// Starts instance `number`, after killing its last run.
    pub(crate) fn start(&mut self, number: u8) -> anyhow::Result<()> {
        self.begin(number, None)
    }

    fn begin(&mut self, number: u8, found: Option<BackendRecord>) -> anyhow::Result<()> {
        let missing = self.no_such(number);
        let instance = self.instances.get_mut(&number).ok_or(missing)?;
        instance.start(&self.common, found)
    }

    /// Waits until every started instance runs. Returns the errors, and the number of started
    /// instances.
    pub(crate) fn wait_all_running(&self, interrupt: &Interrupt) -> (Vec<anyhow::Error>, usize) {
        let since = Instant::now();
        let started = |instance: &&Instance| instance.run.is_some() && instance.is_awaited();
        let results: Vec<_> = self
            .instances()
            .filter(started)
            .map(|instance| instance.wait_running(since, false, interrupt, || Ok(())))
            .collect();
        let all = results.len();
        (results.into_iter().filter_map(Result::err).collect(), all)
    }

    /// Ends instance `number`: unless `force`, asks guestd and then presses the power button; kills
    /// the instance if neither works.
    pub(crate) fn halt(&mut self, number: u8, force: bool) -> anyhow::Result<Halted> {
        let missing = self.no_such(number);
        let instance = self.instances.get_mut(&number).ok_or(missing)?;
        if instance.state() == State::Halted {
            bail!("instance {number} is already halted; kmload {number} starts it again");
        }
        let how = match instance.state().is_alive() {
            false => Halted::Clean,
            true if force => instance.halted_by_force(),
            true => instance.halt(),
        };
        instance.end();
        instance.shared.lock().state = State::Halted;
        let record = instance.plan(&self.common).record(None);
        self.common.rundir.save(&record)?;
        Ok(how)
    }

    /// Ends all instances at the same time. External ones continue without KMON.
    pub(crate) fn halt_all(&mut self) {
        let alive = |instance: &&Instance| instance.state().is_alive() && instance.is_awaited();
        self.instances()
            .filter(alive)
            .for_each(Instance::ask_to_halt);
        let since = Instant::now();
        self.instances().filter(alive).for_each(|instance| {
            instance.wait_halted(since + instance.halt_time());
        });
        self.instances()
            .filter(alive)
            .filter(|instance| instance.press_power())
            .for_each(|instance| {
                instance.wait_ended(since + 2 * instance.halt_time());
            });
        self.instances.values_mut().for_each(Instance::end);
        if let Some(logs) = &self.common.disk_logs {
            // Before the kept output is removed.
            logs.flush();
        }
        for &number in self.instances.keys() {
            self.common.rundir.forget(number);
            if let Some(logs) = &self.common.disk_logs {
                logs.forget(number);
            }
        }
    }

    /// Pauses the machine of instance `number`.
    pub(crate) fn pause(&self, number: u8) -> anyhow::Result<()> {
        let instance = self.instance(number)?;
        match instance.state() {
            State::Paused => bail!("instance {number} is already paused"),
            state if !state.is_alive() || state == State::Panicked => {
                bail!("instance {number} is not running ({state})")
            }
            _ => {}
        }
        self.change(
            instance,
            |backend| backend.pause(),
            |state| *state == State::Paused,
        )
    }

    /// Continues the machine of instance `number`.
    pub(crate) fn resume(&self, number: u8) -> anyhow::Result<()> {
        let instance = self.instance(number)?;
        if instance.state() != State::Paused {
            let state = instance.state();
            bail!("instance {number} is not paused ({state})");
        }
        self.change(
            instance,
            |backend| backend.resume(),
            |state| *state != State::Paused,
        )
    }

    /// Applies `what` to the backend of `instance`, and waits until the state shows the effect.
    fn change(
        &self,
        instance: &Instance,
        what: impl FnOnce(&dyn Backend) -> anyhow::Result<()>,
        shows: impl Fn(&State) -> bool,
    ) -> anyhow::Result<()> {
        let number = instance.number;
        let Some(backend) = instance.backend() else {
            bail!("instance {number} is being started; try again");
        };
        what(backend.as_ref()).with_context(|| format!("instance {number}"))?;
        let shown = instance
            .shared
            .wait_until(CHANGE_TIME, |view| shows(&view.state));
        if !shown {
            bail!("instance {number} is still {}", instance.state());
        }
        Ok(())
    }

    /// Leaves all instances running for the next KMON.
    pub(crate) fn leave_all(&mut self) {
        // The destructors wait, so all runs get the request first.
        self.instances.values_mut().for_each(|instance| {
            instance.run.as_ref().inspect(|run| run.leave());
        });
        self.instances
            .values_mut()
            .for_each(|instance| instance.run = None);
    }

    /// Returns an error if an instance other than `number` has `name`.
    fn require_free(&self, name: &str, number: u8) -> anyhow::Result<()> {
        let mut others = self.instances().filter(|other| other.number != number);
        match others.find(|other| other.name == name) {
            Some(other) => bail!(
                "`{name}` is already the name of instance {}; --name gives another name",
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
            (Some(first), Some(last)) if first != last => {
                anyhow!("there is no instance {number}; instances count from {first} to {last}")
            }
            (Some(only), _) => anyhow!("there is no instance {number}; the only one is {only}"),
            _ => anyhow!("there is no instance {number}; kmload starts one"),
        }
    }
}
