//! Turns of an instance whose backend is as the test says.

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

/// A guestd that has greeted.
fn guestd(memory: &'static Mapping) -> (EventSender<'static>, impl FnMut()) {
    let link = DaemonLink::attach(memory.window(), Waiting::Poll).unwrap();
    let incarnation = link.incarnation().number();
    let (mut events, mut commands, ..) = link.split();
    let greeting = Event::Hello {
        version: VERSION,
        incarnation,
    };
    assert_eq!(events.send(&greeting), Ok(true));
    (events, move || commands.beat().unwrap())
}

fn state(pump: &Pump<'_>) -> &'static str {
    pump.shared.lock().state.word()
}

#[test]
fn a_boot_that_is_heard_of_after_the_greeting_that_followed_it_is_no_news() {
    let (memory, backend) = (memory(), Arc::<TestBackend>::default());
    let mut pump = pump(memory, &backend);
    let (_events, mut beat) = guestd(memory);
    // As KMON finds it when it was stopped meanwhile.
    backend.has_booted.store(true, Ordering::Relaxed);
    assert!(pump.turn());
    assert_eq!(state(&pump), "starting");
    beat();
    assert!(pump.turn());
    assert_eq!(state(&pump), "running");
    assert!(pump.outbox.incarnation().is_some(), "it is sent commands");
}

#[test]
fn a_boot_after_the_greeting_ends_that_guestd() {
    let (memory, backend) = (memory(), Arc::<TestBackend>::default());
    let mut pump = pump(memory, &backend);
    let (events, mut beat) = guestd(memory);
    assert!(pump.turn());
    assert_eq!(state(&pump), "running");
    beat();
    backend.has_booted.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(pump.turn());
        assert_eq!(state(&pump), "restarting");
    }
    drop(events);
    // The next incarnation is not taken for the one that greeted.
    let (_events, mut beat) = guestd(memory);
    beat();
    assert!(pump.turn());
    assert_eq!(state(&pump), "running");
}

#[test]
fn an_instance_with_a_broken_region_that_ends_keeps_the_cause() {
    let (memory, backend) = (memory(), Arc::<TestBackend>::default());
    let mut pump = pump(memory, &backend);
    pump.become_corrupt(&LinkError::Broken("word 7 is wrong".into()));
    assert!(pump.turn());
    *backend.end.lock().unwrap() = Some(End {
        is_clean: false,
        how: "guestd exited with status 1".into(),
    });
    assert!(!pump.turn());
    assert_eq!(state(&pump), "corrupt");
    let detail = pump.shared.lock().state.detail().unwrap();
    assert!(detail.contains("word 7 is wrong"), "{detail}");
    assert!(detail.contains("guestd exited"), "{detail}");
}
