//! The instances KMON has, by partition number, and how they start and end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use kmon_protocol::{LAST_PARTITION, Settings};

use crate::instance::life::{Life, Plan};
use crate::instance::outbox::{Order, Outbox};
use crate::instance::shared::Shared;
use crate::instance::state::State;
use crate::notices::Notices;

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
}

/// One partition; it keeps its number, name and output over its lives.
pub(crate) struct Instance {
    pub(crate) number: u8,
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    shell: Option<PathBuf>,
    life: Option<Life>,
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
            state => bail!("instance {n} is not running ({state}); kmreset {n} starts it again"),
        }
    }

    fn start(&mut self, common: &Common) -> anyhow::Result<()> {
        self.end();
        let plan = Plan {
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
        };
        self.life = Some(Life::start(plan)?);
        Ok(())
    }

    fn ask_to_halt(&self) {
        if let Some(life) = &self.life {
            life.expect_halt();
        }
        self.outbox.put(Order::Halt);
    }

    /// Kills what there is; a life that was over stays as it ended.
    fn end(&mut self) {
        self.life = None;
    }

    /// Waits until it runs and has reported once.
    fn wait_running(&self, deadline: Instant) -> anyhow::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.shared.wait_until(left, |view| {
            !view.state.is_alive() || (view.state == State::Running && view.stats.is_some())
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
        let name = name.unwrap_or_else(|| format!("part{number}"));
        self.require_free(&name, number)?;
        let instance = Instance {
            number,
            name,
            shared: Arc::new(Shared::new(self.common.log_bytes)),
            outbox: Arc::default(),
            shell: shell.or_else(|| self.common.shell.clone()),
            life: None,
        };
        self.instances.insert(number, instance);
        Ok(number)
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

    /// Starts `number`, killing what is left of its last life.
    pub(crate) fn start(&mut self, number: u8) -> anyhow::Result<()> {
        let missing = self.no_such(number);
        let instance = self.instances.get_mut(&number).ok_or(missing)?;
        instance.start(&self.common)
    }

    /// Waits until `number` runs.
    pub(crate) fn wait_running(&self, number: u8) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIME;
        self.instance(number)?.wait_running(deadline)
    }

    /// Waits until every instance runs; what went wrong with which.
    pub(crate) fn wait_all_running(&self) -> Vec<anyhow::Error> {
        let deadline = Instant::now() + START_TIME;
        let results = self
            .instances()
            .map(|instance| instance.wait_running(deadline));
        results.filter_map(Result::err).collect()
    }

    /// Ends `number`: asks it to, unless `force`, and kills it if it does not.
    pub(crate) fn halt(&mut self, number: u8, force: bool) -> anyhow::Result<()> {
        let instance = self.instance_mut(number)?;
        if instance.state() == State::Halted {
            bail!("instance {number} is halted already; kmload {number} starts it again");
        }
        if !force {
            instance.ask_to_halt();
            wait_gone(instance, Instant::now() + HALT_TIME);
        }
        instance.end();
        instance.shared.lock().state = State::Halted;
        Ok(())
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
    // A stalled instance does not hear the question.
    if matches!(instance.state(), State::Running | State::Starting) {
        let left = deadline.saturating_duration_since(Instant::now());
        instance.shared.wait_until(left, |view| {
            !matches!(view.state, State::Running | State::Starting)
        });
    }
}
