//! Tests two ends that ring each other through eventfds instead of a device.

use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shmem_core::doorbell::Doorbell;
use shmem_core::mem::Heap;
use shmem_registry::Registry;

use super::*;
use crate::link::{DaemonLink, MonitorLink};
use crate::{Command, Event, Settings};

/// Longer than a test: only a ring ends a wait of this length.
const LONG: Duration = Duration::from_secs(60);

/// Rings the other end's eventfds, as a device does, and records the rings.
struct Wire {
    other: [Arc<EventBell>; 2],
    rung: Mutex<Vec<(Option<u16>, u16)>>,
}

impl RingPeers for Wire {
    fn ring(&self, peer: Option<u16>, vector: u16) {
        self.rung.lock().unwrap().push((peer, vector));
        let bell = &self.other[usize::from(vector)];
        bell.as_ref().ring(&AtomicU32::new(0));
    }
}

impl Wire {
    fn rung(&self) -> Vec<(Option<u16>, u16)> {
        std::mem::take(&mut *self.rung.lock().unwrap())
    }
}

/// The interrupts of both ends, and the wires between them.
struct Wires {
    own: [[Arc<EventBell>; 2]; 2],
    wires: [Arc<Wire>; 2],
}

impl Wires {
    fn new() -> Self {
        let bell = || Arc::new(EventBell::new().unwrap());
        let own = [[bell(), bell()], [bell(), bell()]];
        let wire = |other: &[Arc<EventBell>; 2]| {
            Arc::new(Wire {
                other: other.clone(),
                rung: Mutex::default(),
            })
        };
        let wires = [wire(&own[1]), wire(&own[0])];
        Self { own, wires }
    }

    fn for_monitor(&self, number: u16) -> Waiting {
        let (own, wire) = (self.own[0].clone(), self.wires[0].clone());
        Waiting::Bells(Bells::for_monitor(number, own, wire))
    }

    fn for_instance(&self) -> Waiting {
        let (own, wire) = (self.own[1].clone(), self.wires[1].clone());
        Waiting::Bells(Bells::for_instance(own, wire))
    }
}

fn settings() -> Settings {
    Settings {
        partition: 2,
        period_ms: 1000,
        name: "rung".into(),
    }
}

/// Repeats `wait` in one thread and `act` with this pause in another, until `act` rings. Resteps
/// the result of the wait that the ring has ended.
fn until_rung<T: Send>(
    wire: &Wire,
    pause: Duration,
    mut wait: impl FnMut() -> T + Send,
    mut act: impl FnMut(),
) -> T {
    let is_rung = || !wire.rung.lock().unwrap().is_empty();
    let started = Instant::now();
    let waited = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            loop {
                let waited = wait();
                if is_rung() {
                    return waited;
                }
            }
        });
        while !is_rung() {
            act();
            thread::sleep(pause);
        }
        waits.join().unwrap()
    });
    assert!(started.elapsed() < LONG, "no ring ended the wait");
    waited
}

#[test]
fn only_a_sleeping_end_is_rung() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let monitor = MonitorLink::create(heap.window(), &settings(), wires.for_monitor(7));
    let (mut commands, mut events, _) = monitor.unwrap().split();
    let daemon = DaemonLink::attach(heap.window(), wires.for_instance());
    let (mut out, mut orders, ..) = daemon.unwrap().split();
    // An attached instance is woken to greet KMON.
    assert_eq!(wires.wires[0].rung(), [(None, RECORDS)]);

    assert!(commands.send(&Command::Halt, 1).is_ok());
    assert_eq!(orders.receive(LONG, |_| {}), Ok(1));
    assert!(wires.wires[0].rung().is_empty() && wires.wires[1].rung().is_empty());

    let heard = until_rung(
        &wires.wires[0],
        // Longer than an instance polls after a command.
        Duration::from_millis(300),
        || orders.receive(LONG, |_| {}),
        || assert!(commands.send(&Command::Halt, 1).is_ok()),
    );
    assert!(heard.is_ok(), "{heard:?}");
    assert_eq!(wires.wires[0].rung(), [(None, RECORDS)]);

    let heard = until_rung(
        &wires.wires[1],
        Duration::from_millis(1),
        || events.receive(LONG, |_, _| {}),
        || assert!(out.send(&Event::Goodbye).is_ok()),
    );
    assert!(heard.is_ok(), "{heard:?}");
    assert_eq!(wires.wires[1].rung(), [(Some(7), RECORDS)]);
}

#[test]
fn the_next_incarnation_of_kmon_is_rung_by_its_number_and_an_invalid_number_rings_no_peer() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let create = || MonitorLink::create(heap.window(), &settings(), wires.for_monitor(7));
    drop(create().unwrap().split());
    let daemon = DaemonLink::attach(heap.window(), wires.for_instance());
    let (_out, mut orders, ..) = daemon.unwrap().split();
    let monitor = MonitorLink::attach(heap.window(), &settings(), wires.for_monitor(0));
    let (_commands, mut events, _) = monitor.unwrap().split();
    let region = shmem_core::Region::attach(heap.window()).unwrap();
    let registry = Registry::attach(region).unwrap();
    let request = Request::named("kmon.bells", Kind::RAW, LEN).unwrap();
    let word = registry.open(&request).unwrap().window().word(0);
    assert_eq!(word.load(Relaxed), 1);

    let wake_method = WakeMethod::new(wires.for_instance());
    wake_method
        .find_number(|request| registry.open(request))
        .unwrap();
    let ring = || wake_method.wake(&AtomicU32::new(0), WakeReason::Space);
    ring();
    assert_eq!(wires.wires[1].rung(), [(Some(0), ROOM)]);
    for invalid in [0, u32::from(u16::MAX) + 2, u32::MAX] {
        word.store(invalid, Relaxed);
        ring();
        assert!(wires.wires[1].rung().is_empty(), "{invalid}");
        assert!(matches!(wake_method.waiting(), Waiting::Poll), "{invalid}");
    }
    assert_eq!(orders.receive(Duration::ZERO, |_| {}), Ok(1)); // The restart.
    assert_eq!(events.receive(Duration::ZERO, |_, _| {}), Ok(0));
}

#[test]
fn an_instance_with_interrupts_polls_while_kmon_polls() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let create = || MonitorLink::create(heap.window(), &settings(), wires.for_monitor(7));
    drop(create().unwrap().split());
    let daemon = DaemonLink::attach(heap.window(), wires.for_instance());
    let (_out, mut orders, ..) = daemon.unwrap().split();
    assert!(orders.is_rung());
    let monitor = MonitorLink::attach(heap.window(), &settings(), Waiting::Poll);
    assert!(!orders.is_rung());
    let (mut commands, mut _events, _) = monitor.unwrap().split();
    wires.wires[0].rung();
    let started = Instant::now();
    let heard = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            // Needless rings for KMON's earlier incarnation count 0; the restart and the command
            // count 1.
            let mut heard = 0;
            while heard < 2 {
                heard += orders.receive(LONG, |_| {}).unwrap();
            }
            heard
        });
        thread::sleep(Duration::from_millis(50));
        assert!(commands.send(&Command::Halt, 1).is_ok());
        waits.join().unwrap()
    });
    assert_eq!(heard, 2);
    assert!(started.elapsed() < LONG && wires.wires[0].rung().is_empty());
}

#[test]
fn a_needless_ring_ends_a_wait_and_has_no_other_effect() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let kmon = wires.for_monitor(7);
    let monitor = MonitorLink::create(heap.window(), &settings(), kmon.clone());
    let (mut commands, ..) = monitor.unwrap().split();
    let daemon = DaemonLink::attach(heap.window(), wires.for_instance());
    let (_out, mut orders, ..) = daemon.unwrap().split();
    kmon.wake_peer();
    let started = Instant::now();
    assert_eq!(orders.receive(LONG, |_| {}), Ok(0));
    assert!(started.elapsed() < LONG);
    assert!(commands.send(&Command::Halt, 1).is_ok());
    assert_eq!(orders.receive(LONG, |_| {}), Ok(1));
}

#[test]
fn a_region_without_a_number_is_used_by_polling() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let monitor = MonitorLink::create(heap.window(), &settings(), Waiting::Poll);
    let monitor = monitor.unwrap();
    let incarnation = monitor.incarnation();
    let (mut commands, mut events, _) = monitor.split();
    let region = shmem_core::Region::attach(heap.window()).unwrap();
    let registry = Registry::attach(region).unwrap();
    let request = Request::named("kmon.bells", Kind::RAW, LEN).unwrap();
    let word = registry.open(&request).unwrap();
    assert_eq!(registry.remove(incarnation, &word), Ok(()));
    let daemon = DaemonLink::attach(heap.window(), wires.for_instance());
    let (mut out, mut orders, ..) = daemon.unwrap().split();
    assert!(commands.send(&Command::Halt, 1).is_ok());
    assert_eq!(orders.receive(LONG, |_| {}), Ok(1));
    assert_eq!(out.send(&Event::Goodbye), Ok(true));
    assert_eq!(events.receive(LONG, |_, _| {}), Ok(1));
    assert!(wires.wires[1].rung().is_empty());
}

/// A task that has work until `work` is taken.
struct Job {
    work: EventBell,
    steps: usize,
}

impl IdleTask for Job {
    fn step(&mut self) {
        self.steps += 1;
    }

    fn sleep(&mut self, bell: Option<BorrowedFd<'_>>, timeout: Duration) -> bool {
        let watched = [Some(self.work.as_fd()), bell].into_iter().flatten();
        let mut list: Vec<_> = watched
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        let timeout = Timespec::try_from(timeout).unwrap();
        poll(&mut list, Some(&timeout)).unwrap();
        list.get(1).is_some_and(|bell| !bell.revents().is_empty())
    }
}

#[test]
fn the_idle_task_runs_and_does_not_delay_commands() {
    const SPAN: Duration = Duration::from_millis(50);
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    for rung in [false, true] {
        let [kmon, own] = match rung {
            false => [Waiting::Poll, Waiting::Poll],
            true => [wires.for_monitor(7), wires.for_instance()],
        };
        let monitor = MonitorLink::create(heap.window(), &settings(), kmon.clone());
        let (mut commands, ..) = monitor.unwrap().split();
        let daemon = DaemonLink::attach(heap.window(), own).unwrap();
        let incarnation = daemon.incarnation().number();
        let (_out, mut orders, ..) = daemon.split();
        let work = EventBell::new().unwrap();
        let mut job = Job { work, steps: 0 };
        let mut steps_of = |job: &mut Job, timeout| {
            let before = job.steps;
            let heard = orders.receive_with_idle_task(job, timeout, |_| {});
            (heard, job.steps - before)
        };
        // Consumes the ring that asks for a greeting.
        let _ = steps_of(&mut job, Duration::from_millis(1));
        // Its work alone ends the sleep, repeatedly.
        job.work.ring(&AtomicU32::new(0));
        let started = Instant::now();
        let (heard, steps) = steps_of(&mut job, SPAN);
        assert!(heard == Ok(0) && steps > 10 && started.elapsed() >= SPAN);
        job.work.take();
        if rung {
            kmon.wake_peer();
            assert!(matches!(steps_of(&mut job, LONG), (Ok(0), 1)));
        }
        // It also runs while records are available, and between checks without a sleep.
        assert!(commands.send(&Command::Halt, incarnation).is_ok());
        assert_eq!(steps_of(&mut job, LONG), (Ok(1), 1));
        assert!(steps_of(&mut job, SPAN).1 > 10);
        assert!(started.elapsed() < LONG);
    }
}
