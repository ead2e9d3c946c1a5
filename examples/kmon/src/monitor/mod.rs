//! KMON's instances by partition number, with their start and end.
//!
//! Any thread may call any operation. The lock of the map is held only while instances are looked
//! up, added or removed; of the operations that start or end one instance, one runs at a time.

mod common;
mod instance;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kmon_protocol::LAST_PARTITION;

use crate::api::fault::{Code, Fault, refuse};
use crate::api::instances::Halted;
use crate::backend::Backend;
use crate::instance::log::OutputLog;
use crate::instance::shared::Shared;
use crate::instance::state::State;
use crate::kind::Kind;
use crate::rundir::Record;

pub(crate) use common::{Common, LogBytes};
pub(crate) use instance::Instance;
use instance::InstanceSettings;

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

type Instances = BTreeMap<u8, Arc<Instance>>;

/// All instances.
pub(crate) struct Monitor {
    common: Common,
    instances: Mutex<Instances>,
}

impl Monitor {
    pub(crate) fn new(common: Common) -> Self {
        Self {
            common,
            instances: Mutex::default(),
        }
    }

    /// Returns all instances, by number.
    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        self.lock().values().cloned().collect()
    }

    /// Returns the settings that all instances share.
    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    /// Returns instance `number`.
    pub(crate) fn instance(&self, number: u8) -> anyhow::Result<Arc<Instance>> {
        let instances = self.lock();
        let found = instances.get(&number).cloned();
        Ok(found.ok_or_else(|| no_such(&instances, &number.to_string()))?)
    }

    /// Returns the instance with this number or name.
    pub(crate) fn find(&self, key: &str) -> anyhow::Result<Arc<Instance>> {
        if let Ok(number) = key.parse() {
            return self.instance(number);
        }
        let instances = self.lock();
        let found = instances.values().find(|one| one.settings().name == key);
        let found = found.cloned();
        Ok(found.ok_or_else(|| no_such(&instances, &crate::text::brief(key)))?)
    }

    /// Continues with the instances that earlier KMONs left. Returns their numbers.
    pub(crate) fn find_all(&self) -> anyhow::Result<Vec<u8>> {
        let mut numbers = Vec::new();
        for record in self.common.rundir.records() {
            let (number, backend) = (record.number, record.backend.clone());
            if !(FIRST..=LAST_PARTITION).contains(&number) {
                continue;
            }
            let instance = self.insert(&mut self.lock(), record, None)?;
            if backend.is_some() {
                instance.start(&self.common, backend)?;
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Returns true if instance `number` exists, running or not.
    pub(crate) fn has(&self, number: u8) -> bool {
        self.lock().contains_key(&number)
    }

    /// Adds an instance of kind `process` with the lowest free number, and starts it.
    pub(crate) fn load_new(&self, name: Option<String>) -> anyhow::Result<Arc<Instance>> {
        let instance = {
            let mut instances = self.lock();
            let mut numbers = FIRST..=LAST_PARTITION;
            let Some(number) = numbers.find(|number| !instances.contains_key(number)) else {
                let what = "no partition number is left; kmrm N removes a halted instance";
                return refuse(Code::Taken, what);
            };
            let wanted = NewInstance {
                name,
                ..NewInstance::default()
            };
            self.add(&mut instances, number, wanted)?
        };
        let _operation = instance.begin_operation()?;
        instance.start(&self.common, None)?;
        Ok(Arc::clone(&instance))
    }

    /// Adds the new instance `number`, and starts it.
    pub(crate) fn load_as(&self, number: u8, wanted: NewInstance) -> anyhow::Result<()> {
        let instance = self.add(&mut self.lock(), number, wanted)?;
        let _operation = instance.begin_operation()?;
        instance.start(&self.common, None)
    }

    fn add(
        &self,
        instances: &mut Instances,
        number: u8,
        wanted: NewInstance,
    ) -> anyhow::Result<Arc<Instance>> {
        let name = wanted.name.unwrap_or_else(|| format!("part{number}"));
        require_free(instances, &name, number)?;
        let shell = self.common.shell.clone();
        let record = Record {
            number,
            name,
            kind: wanted.kind.unwrap_or(Kind::Process { shell }),
            backend: None,
        };
        self.insert(instances, record, wanted.logs)
    }

    /// Changes the kind of a halted instance for its next start. Other instances stay as they are.
    pub(crate) fn redefine(&self, number: u8, kind: Kind) -> anyhow::Result<()> {
        let instance = self.instance(number)?;
        if !instance.was_started() {
            lock(&instance.settings).kind = kind;
        }
        Ok(())
    }

    fn insert(
        &self,
        instances: &mut Instances,
        record: Record,
        logs: Option<LogBytes>,
    ) -> anyhow::Result<Arc<Instance>> {
        let number = record.number;
        let (rundir, logs) = (&self.common.rundir, logs.unwrap_or(self.common.logs));
        let log = OutputLog::open(&rundir.log(number), logs.output);
        let no_place = || format!("the output of instance {number} cannot be stored");
        let log = log.with_context(no_place)?;
        let kernel = OutputLog::open(&rundir.kernel(number), logs.kernel);
        let kernel = kernel.with_context(no_place)?;
        let shared = Arc::new(Shared::new(log, kernel));
        self.common.log_to_disk(number, &record.name, &shared);
        let settings = InstanceSettings {
            name: record.name,
            kind: record.kind,
        };
        let instance = Arc::new(Instance::new(number, settings, shared));
        instances.insert(number, Arc::clone(&instance));
        Ok(instance)
    }

    /// Starts `instance`, which is not running; with another name if there is one.
    pub(crate) fn load(&self, instance: &Instance, name: Option<String>) -> anyhow::Result<()> {
        let _operation = instance.begin_operation()?;
        let number = instance.number;
        if let Some(name) = &name {
            require_free(&self.lock(), name, number)?;
        }
        if instance.state().is_alive() {
            let what =
                format!("instance {number} is already running; kmreset {number} starts it again");
            return refuse(Code::AlreadyRunning, what);
        }
        if let Some(name) = name {
            lock(&instance.settings).name = name;
        }
        instance.start(&self.common, None)
    }

    /// Starts `instance`, after killing its last run.
    pub(crate) fn reset(&self, instance: &Instance) -> anyhow::Result<()> {
        let _operation = instance.begin_operation()?;
        instance.start(&self.common, None)
    }

    /// Waits until every started instance runs. Returns the errors, and the number of started
    /// instances.
    pub(crate) fn wait_all_running(&self) -> (Vec<anyhow::Error>, usize) {
        let since = Instant::now();
        let instances = self.instances().into_iter();
        let started = instances.filter(|one| one.was_started() && one.is_awaited());
        let results: Vec<_> = started.map(|one| one.wait_running(since)).collect();
        let all = results.len();
        (results.into_iter().filter_map(Result::err).collect(), all)
    }

    /// Ends `instance`: unless `force`, asks guestd and then presses the power button; kills the
    /// instance if neither works.
    pub(crate) fn halt(&self, instance: &Instance, force: bool) -> anyhow::Result<Halted> {
        let _operation = instance.begin_operation()?;
        let number = instance.number;
        if instance.state() == State::Halted {
            let what =
                format!("instance {number} is already halted; kmload {number} starts it again");
            return refuse(Code::AlreadyHalted, what);
        }
        let how = match instance.state().is_alive() {
            false => Halted::Clean,
            true if force => instance.halted_by_force(),
            true => instance.halt(),
        };
        instance.end();
        instance.shared.set_state(State::Halted);
        let record = instance.plan(&self.common).record(None);
        self.common.rundir.save(&record)?;
        Ok(how)
    }

    /// Removes `instance`, which does not run, with its files. Its number can be used again.
    pub(crate) fn remove(&self, instance: &Instance) -> anyhow::Result<()> {
        let _operation = instance.begin_operation()?;
        let number = instance.number;
        if instance.state().is_alive() {
            let what = format!("instance {number} is running; kmhalt {number} ends it first");
            return refuse(Code::AlreadyRunning, what);
        }
        instance.end();
        self.common.flush_logs();
        // While it still has the number: the next one's files have the same names.
        self.common.forget(number);
        self.lock().remove(&number);
        Ok(())
    }

    /// Ends all instances at the same time. External ones continue without KMON.
    pub(crate) fn halt_all(&self) {
        let instances = self.instances();
        let alive = || {
            let all = instances.iter();
            all.filter(|one| one.state().is_alive() && one.is_awaited())
        };
        alive().for_each(|one| one.ask_to_halt());
        let since = Instant::now();
        alive().for_each(|one| {
            one.wait_halted(since + one.halt_time());
        });
        let pressed = alive().filter(|one| one.press_power());
        let pressed: Vec<_> = pressed.collect();
        pressed.into_iter().for_each(|one| {
            one.wait_ended(since + 2 * one.halt_time());
        });
        instances.iter().for_each(|one| one.end());
        self.common.flush_logs();
        let numbers = instances.iter().map(|one| one.number);
        numbers.for_each(|number| self.common.forget(number));
    }

    /// Pauses the machine of `instance`.
    pub(crate) fn pause(&self, instance: &Instance) -> anyhow::Result<()> {
        let number = instance.number;
        match instance.state() {
            State::Paused => {
                return refuse(
                    Code::Conflict,
                    format!("instance {number} is already paused"),
                );
            }
            state if !state.is_alive() || state == State::Panicked => {
                let what = format!("instance {number} is not running ({state})");
                return refuse(Code::NotRunning, what);
            }
            _ => {}
        }
        change(
            instance,
            |backend| backend.pause(),
            |state| *state == State::Paused,
        )
    }

    /// Continues the machine of `instance`.
    pub(crate) fn resume(&self, instance: &Instance) -> anyhow::Result<()> {
        let (number, state) = (instance.number, instance.state());
        if state != State::Paused {
            let what = format!("instance {number} is not paused ({state})");
            return refuse(Code::Conflict, what);
        }
        change(
            instance,
            |backend| backend.resume(),
            |state| *state != State::Paused,
        )
    }

    /// Leaves all instances running for the next KMON.
    pub(crate) fn leave_all(&self) {
        let instances = self.instances();
        // The threads need time, so all get the request first.
        instances.iter().for_each(|one| one.leave());
        instances.iter().for_each(|one| one.abandon());
    }

    fn lock(&self) -> MutexGuard<'_, Instances> {
        lock(&self.instances)
    }
}

/// Applies `what` to the backend of `instance`, and waits until the state shows the effect.
fn change(
    instance: &Instance,
    what: impl FnOnce(&dyn Backend) -> anyhow::Result<()>,
    shows: impl Fn(&State) -> bool,
) -> anyhow::Result<()> {
    let number = instance.number;
    let Some(backend) = instance.backend() else {
        let what = format!("instance {number} is being started; try again");
        return refuse(Code::Busy, what);
    };
    if let Err(error) = what(backend.as_ref()) {
        return refuse(Code::Conflict, format!("instance {number}: {error:#}"));
    }
    let shown = instance
        .shared
        .wait_until(CHANGE_TIME, |view| shows(&view.state));
    if !shown {
        bail!("instance {number} is still {}", instance.state());
    }
    Ok(())
}

/// Returns an error if an instance other than `number` has `name`.
fn require_free(instances: &Instances, name: &str, number: u8) -> anyhow::Result<()> {
    let mut others = instances.values().filter(|other| other.number != number);
    match others.find(|other| other.settings().name == name) {
        Some(other) => {
            let what = format!(
                "`{name}` is already the name of instance {}; --name gives another name",
                other.number
            );
            refuse(Code::Taken, what)
        }
        None => Ok(()),
    }
}

fn no_such(instances: &Instances, key: &str) -> Fault {
    let (first, last) = (instances.keys().next(), instances.keys().next_back());
    let what = match (first, last) {
        (Some(first), Some(last)) if first != last => {
            format!("there is no instance {key}; instances count from {first} to {last}")
        }
        (Some(only), _) => format!("there is no instance {key}; the only one is {only}"),
        _ => format!("there is no instance {key}; kmload starts one"),
    };
    Fault::new(Code::NoSuchInstance, what)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
