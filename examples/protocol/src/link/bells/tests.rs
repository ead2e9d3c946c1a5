//! Two ends that ring each other, over eventfds instead of a device.

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

/// Longer than anything here takes: a wait of this length was ended by a ring.
const LONG: Duration = Duration::from_secs(60);

/// Rings the other end's eventfds, as a device does, and notes who was rung.
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

/// The interrupts of both ends, and what they ring.
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

    fn of_monitor(&self, number: u16) -> Waiting {
        let (own, wire) = (self.own[0].clone(), self.wires[0].clone());
        Waiting::Bells(Bells::of_monitor(number, own, wire))
    }

    fn of_instance(&self) -> Waiting {
        let (own, wire) = (self.own[1].clone(), self.wires[1].clone());
        Waiting::Bells(Bells::of_instance(own, wire))
    }
}

fn settings() -> Settings {
    Settings {
        partition: 2,
        period_ms: 1000,
        name: "rung".into(),
    }
}

/// Runs `wait` again and again, and `act` beside it with this pause, until that rings: what
/// the wait gives that was ended by it.
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
fn an_end_that_sleeps_is_rung_and_one_that_is_awake_is_not() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let monitor = MonitorLink::create(heap.window(), &settings(), wires.of_monitor(7));
    let (mut commands, mut events, _) = monitor.unwrap().split();
    let daemon = DaemonLink::attach(heap.window(), wires.of_instance());
    let (mut out, mut orders, ..) = daemon.unwrap().split();
    // Whoever is there is to greet KMON.
    assert_eq!(wires.wires[0].rung(), [(None, RECORDS)]);

    assert!(commands.send(&Command::Halt, 1).is_ok());
    assert_eq!(orders.receive(LONG, |_| {}), Ok(1));
    assert!(wires.wires[0].rung().is_empty() && wires.wires[1].rung().is_empty());

    let heard = until_rung(
        &wires.wires[0],
        // Longer than an instance looks for itself behind a command.
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
fn the_next_incarnation_of_kmon_is_rung_by_its_own_number_and_a_mad_one_rings_nobody() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let create = || MonitorLink::create(heap.window(), &settings(), wires.of_monitor(7));
    drop(create().unwrap().split());
    let daemon = DaemonLink::attach(heap.window(), wires.of_instance());
    let (_out, mut orders, ..) = daemon.unwrap().split();
    let monitor = MonitorLink::attach(heap.window(), &settings(), wires.of_monitor(0));
    let (_commands, mut events, _) = monitor.unwrap().split();
    let region = shmem_core::Region::attach(heap.window()).unwrap();
    let registry = Registry::attach(region).unwrap();
    let request = Request::named("kmon.bells", Kind::RAW, LEN).unwrap();
    let word = registry.open(&request).unwrap().window().word(0);
    assert_eq!(word.load(Relaxed), 1);

    let way = WakeMethod::new(wires.of_instance());
    way.find_number(|request| registry.open(request)).unwrap();
    let knock = || way.wake(&AtomicU32::new(0), Reason::Room);
    knock();
    assert_eq!(wires.wires[1].rung(), [(Some(0), ROOM)]);
    for mad in [0, u32::from(u16::MAX) + 2, u32::MAX] {
        word.store(mad, Relaxed);
        knock();
        assert!(wires.wires[1].rung().is_empty(), "{mad}");
        assert!(matches!(way.waiting(), Waiting::Poll), "{mad}");
    }
    assert_eq!(orders.receive(Duration::ZERO, |_| {}), Ok(1)); // restarted
    assert_eq!(events.receive(Duration::ZERO, |_, _| {}), Ok(0));
}

#[test]
fn an_instance_with_interrupts_looks_for_itself_while_kmon_polls() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let create = || MonitorLink::create(heap.window(), &settings(), wires.of_monitor(7));
    drop(create().unwrap().split());
    let daemon = DaemonLink::attach(heap.window(), wires.of_instance());
    let (_out, mut orders, ..) = daemon.unwrap().split();
    assert!(orders.is_rung());
    let monitor = MonitorLink::attach(heap.window(), &settings(), Waiting::Poll);
    assert!(!orders.is_rung());
    let (mut commands, mut _events, _) = monitor.unwrap().split();
    wires.wires[0].rung();
    let started = Instant::now();
    let heard = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            // Of the rings for KMON's earlier incarnation; that it was restarted; the command.
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
fn a_ring_for_nothing_ends_a_wait_and_breaks_nothing() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    let kmon = wires.of_monitor(7);
    let monitor = MonitorLink::create(heap.window(), &settings(), kmon.clone());
    let (mut commands, ..) = monitor.unwrap().split();
    let daemon = DaemonLink::attach(heap.window(), wires.of_instance());
    let (_out, mut orders, ..) = daemon.unwrap().split();
    kmon.disturb();
    let started = Instant::now();
    assert_eq!(orders.receive(LONG, |_| {}), Ok(0));
    assert!(started.elapsed() < LONG);
    assert!(commands.send(&Command::Halt, 1).is_ok());
    assert_eq!(orders.receive(LONG, |_| {}), Ok(1));
}

#[test]
fn a_region_that_says_no_number_is_used_without() {
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
    let daemon = DaemonLink::attach(heap.window(), wires.of_instance());
    let (mut out, mut orders, ..) = daemon.unwrap().split();
    assert!(commands.send(&Command::Halt, 1).is_ok());
    assert_eq!(orders.receive(LONG, |_| {}), Ok(1));
    assert_eq!(out.send(&Event::Goodbye), Ok(true));
    assert_eq!(events.receive(LONG, |_, _| {}), Ok(1));
    assert!(wires.wires[1].rung().is_empty());
}

/// Something to do, as long as nobody takes `work`.
struct Job {
    work: EventBell,
    turns: usize,
}

impl IdleTask for Job {
    fn step(&mut self) {
        self.turns += 1;
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
fn what_an_instance_does_besides_gets_turns_and_holds_up_nothing() {
    const SPAN: Duration = Duration::from_millis(50);
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let wires = Wires::new();
    for rung in [false, true] {
        let [kmon, own] = match rung {
            false => [Waiting::Poll, Waiting::Poll],
            true => [wires.of_monitor(7), wires.of_instance()],
        };
        let monitor = MonitorLink::create(heap.window(), &settings(), kmon.clone());
        let (mut commands, ..) = monitor.unwrap().split();
        let daemon = DaemonLink::attach(heap.window(), own).unwrap();
        let incarnation = daemon.incarnation().number();
        let (_out, mut orders, ..) = daemon.split();
        let work = EventBell::new().unwrap();
        let mut job = Job { work, turns: 0 };
        let mut turns_of = |job: &mut Job, timeout| {
            let before = job.turns;
            let heard = orders.receive_beside(job, timeout, |_| {});
            (heard, job.turns - before)
        };
        // Of the ring for whoever is there.
        let _ = turns_of(&mut job, Duration::from_millis(1));
        // Asleep, and woken by it alone, again and again.
        job.work.ring(&AtomicU32::new(0));
        let started = Instant::now();
        let (heard, turns) = turns_of(&mut job, SPAN);
        assert!(heard == Ok(0) && turns > 10 && started.elapsed() >= SPAN);
        job.work.take();
        if rung {
            kmon.disturb();
            assert!(matches!(turns_of(&mut job, LONG), (Ok(0), 1)));
        }
        // Records that are there leave it a turn, and so do looks without a sleep.
        assert!(commands.send(&Command::Halt, incarnation).is_ok());
        assert_eq!(turns_of(&mut job, LONG), (Ok(1), 1));
        assert!(turns_of(&mut job, SPAN).1 > 10);
        assert!(started.elapsed() < LONG);
    }
}
