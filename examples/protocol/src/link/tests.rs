use std::time::Duration;

use shmem_core::Region;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_registry::Registry;

use super::ends::Membership;
use super::*;
use crate::kernel::KernelLine;
use crate::message::{Command, Event};

const AT_ONCE: Duration = Duration::ZERO;

fn settings(partition: u8) -> Settings {
    Settings {
        partition,
        period_ms: 1000,
        name: "an instance".into(),
    }
}

fn input(bytes: &[u8]) -> Command<'_> {
    Command::Input(bytes)
}

/// Returns the commands that the instance receives now.
fn received_by(orders: &mut CommandReceiver<'_>) -> Vec<Received<Vec<u8>>> {
    let mut commands = Vec::new();
    let taken = orders.receive(AT_ONCE, |received| {
        commands.push(received.map(|command| match command {
            Command::Input(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }));
    });
    taken.unwrap();
    commands
}

fn message(text: &str) -> Received<Vec<u8>> {
    Received::Message(text.into())
}

#[test]
fn every_partition_number_can_have_a_region_with_both_ends() {
    for partition in [2, LAST_PARTITION] {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let settings = settings(partition);
        let monitor = MonitorLink::create(heap.window(), &settings, Waiting::Futex).unwrap();
        let daemon = DaemonLink::attach(heap.window(), Waiting::Futex).unwrap();
        assert_eq!(daemon.settings(), &settings);
        let (mut commands, mut events, _) = monitor.split();
        let (mut out, mut orders, mut stats, _) = daemon.split();

        assert_eq!(commands.send(&input(b"ls\r"), 1), Ok(Sent::Whole));
        assert_eq!(received_by(&mut orders), [message("ls\r")]);
        assert_eq!(out.send(&Event::Goodbye), Ok(true));
        assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
        assert!(events.stats().is_none());
        stats.publish(&Stats::default());
        assert_eq!(events.stats(), Some(Stats::default()));
    }
}

#[test]
fn a_new_incarnation_of_the_instance_runs_no_old_command_and_old_events_are_kept() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let (mut commands, mut events, _) = monitor.split();
    let first = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    assert_eq!(commands.send(&input(b"old"), 1), Ok(Sent::Whole));
    let (mut out, ..) = first.split();
    assert_eq!(out.send(&Event::Output(b"last words")), Ok(true));
    drop(out);

    let second = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    assert_eq!(second.incarnation().number(), 2);
    let (mut out, mut orders, ..) = second.split();
    assert_eq!(out.send(&Event::Output(b"first words")), Ok(true));
    // The restart is reported once, and commands for the first incarnation are discarded.
    assert_eq!(commands.send(&input(b"late"), 1), Ok(Sent::Restarted));
    assert_eq!(commands.send(&input(b"late"), 1), Ok(Sent::Whole));
    assert_eq!(commands.send(&input(b"new"), 2), Ok(Sent::Whole));
    assert_eq!(received_by(&mut orders), [message("new")]);
    assert_eq!((orders.take_discarded(), orders.take_discarded()), (2, 0));

    let mut heard = Vec::new();
    let taken = events.receive(AT_ONCE, |_, received| {
        heard.push(received.map(|event| match event {
            Event::Output(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }));
    });
    let expected = [
        message("last words"),
        Received::Restarted,
        message("first words"),
    ];
    assert_eq!((taken, &heard[..]), (Ok(3), &expected[..]));
}

#[test]
fn a_new_incarnation_of_kmon_receives_each_unhandled_event_once() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let first = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (mut out, mut orders, ..) = daemon.split();
    let (mut commands, mut events, _) = first.split();
    for bytes in [b"one", b"two", b"six"] {
        assert_eq!(out.send(&Event::Output(bytes)), Ok(true));
    }
    assert_eq!(commands.send(&input(b"old"), 1), Ok(Sent::Whole));
    // It handles one record, notes its position, and dies before it releases it.
    let mut noted = None;
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        events.receive(AT_ONCE, |at, _| {
            noted = Some(at);
            std::panic::resume_unwind(Box::new("killed"));
        })
    }));
    assert!(died.is_err());
    drop((commands, events));

    let second = MonitorLink::attach(heap.window(), &settings(2), Waiting::Poll).unwrap();
    assert_eq!(second.incarnation().number(), 2);
    let (mut commands, mut events, _) = second.split();
    events.skip(noted.unwrap());
    events.skip(noted.unwrap());
    let mut heard = Vec::new();
    let taken = events.receive(AT_ONCE, |_, received| match received {
        Received::Message(Event::Output(bytes)) => heard.push(bytes.to_vec()),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        (taken, heard),
        (Ok(2), vec![b"two".to_vec(), b"six".to_vec()])
    );
    assert_eq!(commands.send(&input(b"new"), 1), Ok(Sent::Whole));
    assert_eq!(
        received_by(&mut orders),
        [Received::Restarted, message("new")]
    );
    assert_eq!(orders.take_discarded(), 1);
    assert_eq!(out.send(&Event::Goodbye), Ok(true));
    assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
}

#[test]
fn an_evicted_incarnation_uses_its_rings_no_more() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let _monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let asleep = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    // Its process is alive, but it is silent.
    let second = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    assert_eq!(second.incarnation().number(), 2);
    let (mut out, mut orders, ..) = asleep.split();
    assert_eq!(out.send(&Event::Goodbye), Err(LinkError::Evicted));
    let heard = orders.receive(AT_ONCE, |_| {});
    assert_eq!(heard, Err(LinkError::Evicted));
    assert_eq!(orders.beat(), Err(LinkError::Evicted));
}

#[test]
fn an_incarnation_that_is_replaced_while_it_handles_a_record_is_received_by() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let first = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (mut out, ..) = daemon.split();
    assert_eq!(out.send(&Event::Goodbye), Ok(true));
    let (_commands, mut events, _) = first.split();
    let mut second = None;
    let heard = events.receive(AT_ONCE, |_, _| {
        let attached = MonitorLink::attach(heap.window(), &settings(2), Waiting::Poll);
        second = Some(attached.unwrap());
    });
    assert_eq!(heard, Err(LinkError::Evicted));
    // Its successor receives the record that was not released.
    let (_commands, mut events, _) = second.unwrap().split();
    assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
}

#[test]
fn a_region_counts_as_unformatted_until_it_is_complete() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let attach = || DaemonLink::attach(heap.window(), Waiting::Poll).err();
    let is_unformatted = || matches!(attach(), Some(LinkError::Unformatted(_)));
    assert!(is_unformatted());
    let region = Region::format(heap.window()).unwrap();
    assert!(is_unformatted());
    Registry::format(region, GEOMETRY).unwrap();
    assert!(is_unformatted());
    let _monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    assert_eq!(attach(), None);
    heap.window().word(4).store(99, Relaxed);
    assert!(matches!(attach(), Some(LinkError::Broken(_))));
}

#[test]
fn an_end_uses_nothing_of_a_region_that_was_formatted_again() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let create = || MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let (_commands, _events, _kernel) = create().split();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (mut out, mut orders, mut stats, _) = daemon.split();
    let monitor = create();
    assert_eq!(out.send(&Event::Goodbye), Err(LinkError::Formatted));
    assert_eq!(orders.receive(AT_ONCE, |_| {}), Err(LinkError::Formatted));
    assert_eq!(orders.beat(), Err(LinkError::Formatted));
    stats.publish(&Stats::default());
    let (_, mut events, _) = monitor.split();
    assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(0));
    assert!(events.stats().is_none() && events.peer_beat() == 0);
}

#[test]
fn memory_that_is_not_a_region_is_reported_in_one_line() {
    let heap = Heap::new(4096);
    let error = DaemonLink::attach(heap.window(), Waiting::Poll)
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(text.starts_with("region: not a region"), "{text}");
    assert!(!text.contains('\n'));
}

fn line(sequence: u64, text: &[u8]) -> KernelLine<'_> {
    KernelLine {
        sequence,
        text,
        ..KernelLine::default()
    }
}

/// Receives the available lines and returns their numbers; `None` stands for a restart.
fn received_lines(kernel: &mut KernelReceiver<'_>) -> Vec<Option<u64>> {
    let mut heard = Vec::new();
    let taken = kernel.receive(AT_ONCE, |_, received| match received {
        Received::Message(line) => heard.push(Some(line.sequence)),
        Received::Restarted => heard.push(None),
    });
    taken.unwrap();
    heard
}

#[test]
fn the_kernels_lines_arrive_unchanged_and_in_order() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (_, _, receiver) = monitor.split();
    let (.., sender) = daemon.split();
    let (mut receiver, mut sender) = (receiver.unwrap(), sender.unwrap());
    assert_eq!(sender.resume([1; 16]), 0);
    let longest = [b'x'; KernelLine::MAX_TEXT];
    let texts: [&[u8]; 4] = [b"Linux version", b"", b"a\nb\xff", &longest];
    for (sequence, text) in (7..).zip(texts) {
        assert_eq!(sender.send(&line(sequence, text)), Ok(true));
    }
    let mut expected = (7..).zip(texts);
    let taken = receiver.receive(AT_ONCE, |_, received| {
        let (sequence, text) = expected.next().unwrap();
        assert_eq!(received, Received::Message(line(sequence, text)));
    });
    assert_eq!(taken, Ok(4));
}

#[test]
fn a_full_log_ring_accepts_no_line_and_loses_none() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (_, _, receiver) = monitor.split();
    let (.., sender) = daemon.split();
    let (mut receiver, mut sender) = (receiver.unwrap(), sender.unwrap());
    let mut sequence = 0;
    while sender.send(&line(sequence, &[b'x'; 1000])).unwrap() {
        sequence += 1;
    }
    assert!(sequence > 40);
    let mut next = 0;
    while next < sequence {
        for number in received_lines(&mut receiver) {
            assert_eq!(number, Some(next));
            next += 1;
        }
    }
    assert_eq!(sender.send(&line(sequence, b"room again")), Ok(true));
    assert_eq!(received_lines(&mut receiver), [Some(sequence)]);
}

#[test]
fn the_next_incarnation_continues_after_the_last_line_unless_the_boot_or_the_region_is_new() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let create = || MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let attach = || {
        let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
        let (.., sender) = daemon.split();
        sender.unwrap()
    };
    let (_commands, _events, receiver) = create().split();
    let mut receiver = receiver.unwrap();
    let mut sender = attach();
    assert_eq!(sender.resume([1; 16]), 0);
    for sequence in 40..42 {
        assert_eq!(sender.send(&line(sequence, b"")), Ok(true));
    }
    assert_eq!(sender.resume([1; 16]), 42);
    drop(sender);

    let mut sender = attach();
    assert_eq!(sender.resume([2; 16]), 0);
    assert_eq!(sender.resume([1; 16]), 42);
    assert_eq!(sender.send(&line(42, b"")), Ok(true));
    assert_eq!(
        received_lines(&mut receiver),
        [Some(40), Some(41), None, Some(42)]
    );
    drop((sender, receiver));

    let _monitor = create();
    assert_eq!(attach().resume([1; 16]), 0);
}

#[test]
fn a_new_incarnation_of_kmon_receives_each_line_once() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let first = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (.., sender) = daemon.split();
    let (mut sender, (commands, events, receiver)) = (sender.unwrap(), first.split());
    for sequence in 0..3 {
        assert_eq!(sender.send(&line(sequence, b"")), Ok(true));
    }
    // It handles one record, notes its position, and dies before it releases it.
    let (mut receiver, mut noted) = (receiver.unwrap(), None);
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        receiver.receive(AT_ONCE, |at, _| {
            noted = Some(at);
            std::panic::resume_unwind(Box::new("killed"));
        })
    }));
    assert!(died.is_err());
    drop((commands, events, receiver));

    let second = MonitorLink::attach(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let (.., receiver) = second.split();
    let mut receiver = receiver.unwrap();
    receiver.skip(noted.unwrap());
    assert_eq!(received_lines(&mut receiver), [Some(1), Some(2)]);
    // The restart of KMON loses no line.
    assert_eq!(sender.send(&line(3, b"")), Ok(true));
    assert_eq!(received_lines(&mut receiver), [Some(3)]);
}

#[test]
fn a_region_without_a_log_ring_is_usable() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    // As U-Boot's KMON formats it.
    let kmon = Membership::create(heap.window(), crate::MONITOR, 2, Waiting::Poll).unwrap();
    Segments::find(|request| kmon.open_or_create(request)).unwrap();
    drop(kmon);
    let monitor = MonitorLink::attach(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (_commands, mut events, receiver) = monitor.split();
    let (mut out, .., sender) = daemon.split();
    assert!(receiver.is_none() && sender.is_none());
    assert_eq!(out.send(&Event::Goodbye), Ok(true));
    assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
}

#[test]
fn an_evicted_incarnation_sends_no_line() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let create = || MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let _first = create();
    let asleep = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let second = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (_out, _orders, _stats, late) = asleep.split();
    let late = late.unwrap().send(&line(0, b""));
    assert_eq!(late, Err(LinkError::Evicted));
    let (_out, _orders, _stats, sender) = second.split();
    let _again = create();
    assert_eq!(
        sender.unwrap().send(&line(0, b"")),
        Err(LinkError::Formatted)
    );
}
