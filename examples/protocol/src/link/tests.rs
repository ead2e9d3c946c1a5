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

/// What the instance is told now.
fn told(orders: &mut CommandReceiver<'_>) -> Vec<Received<Vec<u8>>> {
    let mut told = Vec::new();
    let taken = orders.receive(AT_ONCE, |received| {
        told.push(received.map(|command| match command {
            Command::Input(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }));
    });
    taken.unwrap();
    told
}

fn message(text: &str) -> Received<Vec<u8>> {
    Received::Message(text.into())
}

#[test]
fn every_partition_number_gets_a_region_and_both_ends_of_it() {
    for partition in [2, LAST_PARTITION] {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let settings = settings(partition);
        let monitor = MonitorLink::create(heap.window(), &settings, Waiting::Futex).unwrap();
        let daemon = DaemonLink::attach(heap.window(), Waiting::Futex).unwrap();
        assert_eq!(daemon.settings(), &settings);
        let (mut commands, mut events, _) = monitor.split();
        let (mut out, mut orders, mut stats, _) = daemon.split();

        assert_eq!(commands.send(&input(b"ls\r"), 1), Ok(Sent::Whole));
        assert_eq!(told(&mut orders), [message("ls\r")]);
        assert_eq!(out.send(&Event::Goodbye), Ok(true));
        assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
        assert!(events.stats().is_none());
        stats.publish(&Stats::default());
        assert_eq!(events.stats(), Some(Stats::default()));
    }
}

#[test]
fn a_new_incarnation_of_the_instance_runs_no_old_command_and_what_it_said_is_kept() {
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
    // Told once that the instance is another, and not obeyed for who was meant.
    assert_eq!(commands.send(&input(b"late"), 1), Ok(Sent::Restarted));
    assert_eq!(commands.send(&input(b"late"), 1), Ok(Sent::Whole));
    assert_eq!(commands.send(&input(b"new"), 2), Ok(Sent::Whole));
    assert_eq!(told(&mut orders), [message("new")]);
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
fn a_new_incarnation_of_kmon_hears_what_the_old_one_had_not_handled_and_nothing_twice() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let first = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (mut out, mut orders, ..) = daemon.split();
    let (mut commands, mut events, _) = first.split();
    for bytes in [b"one", b"two", b"six"] {
        assert_eq!(out.send(&Event::Output(bytes)), Ok(true));
    }
    assert_eq!(commands.send(&input(b"old"), 1), Ok(Sent::Whole));
    // It handles one, notes its position, and dies before it releases it.
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
    assert_eq!(told(&mut orders), [Received::Restarted, message("new")]);
    assert_eq!(orders.take_discarded(), 1);
    assert_eq!(out.send(&Event::Goodbye), Ok(true));
    assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
}

#[test]
fn an_incarnation_that_was_replaced_uses_its_rings_no_more() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let _monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let asleep = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    // Its process lives, but its heart stands still.
    let second = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    assert_eq!(second.incarnation().number(), 2);
    let (mut out, mut orders, ..) = asleep.split();
    assert_eq!(out.send(&Event::Goodbye), Err(LinkError::Evicted));
    let heard = orders.receive(AT_ONCE, |_| {});
    assert_eq!(heard, Err(LinkError::Evicted));
    assert_eq!(orders.beat(), Err(LinkError::Evicted));
}

#[test]
fn an_incarnation_that_is_replaced_while_it_handles_a_record_is_told() {
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
    // What was not given back is its successor's.
    let (_commands, mut events, _) = second.unwrap().split();
    assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
}

#[test]
fn a_region_is_due_until_kmon_has_made_all_of_it() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let attach = || DaemonLink::attach(heap.window(), Waiting::Poll).err();
    let is_due = || matches!(attach(), Some(LinkError::Unformatted(_)));
    assert!(is_due());
    let region = Region::format(heap.window()).unwrap();
    assert!(is_due());
    Registry::format(region, GEOMETRY).unwrap();
    assert!(is_due());
    let _monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    assert_eq!(attach(), None);
    heap.window().word(4).store(99, Relaxed);
    assert!(matches!(attach(), Some(LinkError::Broken(_))));
}

#[test]
fn an_end_uses_nothing_of_a_region_that_was_formatted_anew() {
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
fn memory_that_is_no_region_is_one_line() {
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

/// The numbers of the lines that are there now; nothing for a restart.
fn heard(kernel: &mut KernelReceiver<'_>) -> Vec<Option<u64>> {
    let mut heard = Vec::new();
    let taken = kernel.receive(AT_ONCE, |_, received| match received {
        Received::Message(line) => heard.push(Some(line.sequence)),
        Received::Restarted => heard.push(None),
    });
    taken.unwrap();
    heard
}

#[test]
fn the_kernels_lines_arrive_as_they_are_and_in_order() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (_, _, hears) = monitor.split();
    let (.., tells) = daemon.split();
    let (mut hears, mut tells) = (hears.unwrap(), tells.unwrap());
    assert_eq!(tells.resume([1; 16]), 0);
    let longest = [b'x'; KernelLine::MAX_TEXT];
    let texts: [&[u8]; 4] = [b"Linux version", b"", b"a\nb\xff", &longest];
    for (sequence, text) in (7..).zip(texts) {
        assert_eq!(tells.send(&line(sequence, text)), Ok(true));
    }
    let mut expected = (7..).zip(texts);
    let taken = hears.receive(AT_ONCE, |_, received| {
        let (sequence, text) = expected.next().unwrap();
        assert_eq!(received, Received::Message(line(sequence, text)));
    });
    assert_eq!(taken, Ok(4));
}

#[test]
fn a_full_log_ring_takes_no_line_and_loses_none() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (_, _, hears) = monitor.split();
    let (.., tells) = daemon.split();
    let (mut hears, mut tells) = (hears.unwrap(), tells.unwrap());
    let mut sequence = 0;
    while tells.send(&line(sequence, &[b'x'; 1000])).unwrap() {
        sequence += 1;
    }
    assert!(sequence > 40);
    let mut next = 0;
    while next < sequence {
        for number in heard(&mut hears) {
            assert_eq!(number, Some(next));
            next += 1;
        }
    }
    assert_eq!(tells.send(&line(sequence, b"room again")), Ok(true));
    assert_eq!(heard(&mut hears), [Some(sequence)]);
}

#[test]
fn a_next_incarnation_goes_on_behind_the_last_line_unless_the_kernel_or_the_region_is_another() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let create = || MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let attach = || {
        let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
        let (.., tells) = daemon.split();
        tells.unwrap()
    };
    let (_commands, _events, hears) = create().split();
    let mut hears = hears.unwrap();
    let mut tells = attach();
    assert_eq!(tells.resume([1; 16]), 0);
    for sequence in 40..42 {
        assert_eq!(tells.send(&line(sequence, b"")), Ok(true));
    }
    assert_eq!(tells.resume([1; 16]), 42);
    drop(tells);

    let mut tells = attach();
    assert_eq!(tells.resume([2; 16]), 0);
    assert_eq!(tells.resume([1; 16]), 42);
    assert_eq!(tells.send(&line(42, b"")), Ok(true));
    assert_eq!(heard(&mut hears), [Some(40), Some(41), None, Some(42)]);
    drop((tells, hears));

    let _monitor = create();
    assert_eq!(attach().resume([1; 16]), 0);
}

#[test]
fn a_new_incarnation_of_kmon_hears_each_line_once() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let first = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (.., tells) = daemon.split();
    let (mut tells, (commands, events, hears)) = (tells.unwrap(), first.split());
    for sequence in 0..3 {
        assert_eq!(tells.send(&line(sequence, b"")), Ok(true));
    }
    // It handles one, notes its position, and dies before it releases it.
    let (mut hears, mut noted) = (hears.unwrap(), None);
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        hears.receive(AT_ONCE, |at, _| {
            noted = Some(at);
            std::panic::resume_unwind(Box::new("killed"));
        })
    }));
    assert!(died.is_err());
    drop((commands, events, hears));

    let second = MonitorLink::attach(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let (.., hears) = second.split();
    let mut hears = hears.unwrap();
    hears.skip(noted.unwrap());
    assert_eq!(heard(&mut hears), [Some(1), Some(2)]);
    // The restart is no reason to lose the line.
    assert_eq!(tells.send(&line(3, b"")), Ok(true));
    assert_eq!(heard(&mut hears), [Some(3)]);
}

#[test]
fn a_region_without_a_log_ring_is_used_without_it() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    // As U-Boot's KMON formats it.
    let kmon = Membership::create(heap.window(), crate::MONITOR, 2, Waiting::Poll).unwrap();
    Segments::find(|request| kmon.open_or_create(request)).unwrap();
    drop(kmon);
    let monitor = MonitorLink::attach(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (_commands, mut events, hears) = monitor.split();
    let (mut out, .., tells) = daemon.split();
    assert!(hears.is_none() && tells.is_none());
    assert_eq!(out.send(&Event::Goodbye), Ok(true));
    assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
}

#[test]
fn an_old_incarnation_tells_no_line_into_a_region_that_is_anothers() {
    let heap = Heap::new(MonitorLink::REGION_LEN);
    let create = || MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
    let _first = create();
    let asleep = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let second = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
    let (_out, _orders, _stats, late) = asleep.split();
    let late = late.unwrap().send(&line(0, b""));
    assert_eq!(late, Err(LinkError::Evicted));
    let (_out, _orders, _stats, tells) = second.split();
    let _anew = create();
    assert_eq!(
        tells.unwrap().send(&line(0, b"")),
        Err(LinkError::Formatted)
    );
}
