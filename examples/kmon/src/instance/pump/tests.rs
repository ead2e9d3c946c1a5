//! Steps of an instance whose backend the test controls.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use kmon_protocol::link::{DaemonLink, EventSender, MonitorLink, VERSION, Waiting};
use kmon_protocol::{Event, Settings};
use shmem_core::Mapping;

use super::*;
use crate::instance::log::OutputLog;

#[derive(Default)]
struct TestBackend {
    has_booted: AtomicBool,
    end: Mutex<Option<End>>,
}

impl Backend for TestBackend {
    fn condition(&self, _: EndSignals) -> Condition {
        let end = self.end.lock().unwrap().clone();
        end.map_or(Condition::Alive, Condition::Ended)
    }

    fn kill(&self) {}

    fn pid(&self) -> Option<i32> {
        None
    }

    fn age(&self) -> Duration {
        Duration::ZERO
    }

    fn has_rebooted(&self) -> bool {
        self.has_booted.swap(false, Ordering::Relaxed)
    }

    fn pause(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn resume(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

fn memory() -> &'static Mapping {
    Box::leak(Box::new(
        Mapping::memfd("instance", MonitorLink::REGION_LEN).unwrap(),
    ))
}

fn pump(memory: &'static Mapping, backend: &Arc<TestBackend>) -> Pump<'static> {
    let settings = Settings {
        partition: 2,
        period_ms: 3000,
        name: "two".into(),
    };
    let link = MonitorLink::create(memory.window(), &settings, Waiting::Poll).unwrap();
    let (_, receiver, kernel) = link.split();
    let log = || OutputLog::in_memory(4096);
    let shared = Arc::new(Shared::new(log(), log()));
    shared.lock().begin();
    Pump {
        number: 2,
        watch: Watch::new(receiver.peer_beat()),
        trials: Trials::default(),
        receiver,
        kernel: KernelFeed::new(kernel, &shared),
        backend: Arc::clone(backend) as Arc<dyn Backend>,
        shared,
        outbox: Arc::default(),
        notices: Notices::new(Box::new(|_| {})),
        flags: Arc::default(),
        lines: Vec::new(),
        period: Duration::from_secs(3),
        busy: Instant::now(),
    }
}

/// Attaches a guestd that greets.
fn guestd(memory: &'static Mapping) -> (EventSender<'static>, impl FnMut()) {
    let link = DaemonLink::attach(memory.window(), Waiting::Poll).unwrap();
    let incarnation = link.incarnation().number();
    let (mut events, mut commands, ..) = link.split();
    let greeting = Event::Hello {
        version: VERSION,
        incarnation,
        features: 0,
    };
    assert_eq!(events.send(&greeting), Ok(true));
    (events, move || commands.beat().unwrap())
}

fn state(pump: &Pump<'_>) -> &'static str {
    pump.shared.lock().state.word()
}

#[test]
fn a_reboot_before_the_greeting_does_not_end_guestd() {
    let (memory, backend) = (memory(), Arc::<TestBackend>::default());
    let mut pump = pump(memory, &backend);
    let (_events, mut beat) = guestd(memory);
    // KMON finds this if it was stopped meanwhile.
    backend.has_booted.store(true, Ordering::Relaxed);
    assert!(pump.step());
    assert_eq!(state(&pump), "starting");
    beat();
    assert!(pump.step());
    assert_eq!(state(&pump), "running");
    assert!(
        pump.outbox.incarnation().is_some(),
        "commands are sent to it"
    );
}

#[test]
fn a_reboot_after_the_greeting_ends_guestd() {
    let (memory, backend) = (memory(), Arc::<TestBackend>::default());
    let mut pump = pump(memory, &backend);
    let (events, mut beat) = guestd(memory);
    assert!(pump.step());
    assert_eq!(state(&pump), "running");
    beat();
    backend.has_booted.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(pump.step());
        assert_eq!(state(&pump), "restarting");
    }
    drop(events);
    // The next incarnation is distinct from the one that greeted before.
    let (_events, mut beat) = guestd(memory);
    beat();
    assert!(pump.step());
    assert_eq!(state(&pump), "running");
}

#[test]
fn an_instance_with_a_broken_region_that_ends_keeps_the_cause() {
    let (memory, backend) = (memory(), Arc::<TestBackend>::default());
    let mut pump = pump(memory, &backend);
    pump.become_corrupt(&LinkError::Broken("word 7 is wrong".into()));
    assert!(pump.step());
    *backend.end.lock().unwrap() = Some(End {
        is_clean: false,
        how: "guestd exited with status 1".into(),
    });
    assert!(!pump.step());
    assert_eq!(state(&pump), "corrupt");
    let detail = pump.shared.lock().state.detail().unwrap();
    assert!(detail.contains("word 7 is wrong"), "{detail}");
    assert!(detail.contains("guestd exited"), "{detail}");
}
