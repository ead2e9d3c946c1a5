//! Calls and messages between a client and a server.

mod support;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use memoffset::offset_of;
use shmem_channel::{
    Call, Client, Error, Incoming, PendingCall, Platform, Received, Server, Session,
    SessionOptions, WakeReason, FOREVER,
};
use shmem_core::layout::RingControl;
use shmem_core::mem::Heap;
use shmem_core::primitive::AtomicU32;
use shmem_core::ring::{Producer, Ring};
use shmem_core::Incarnation;
use shmem_registry::{Kind, Request};
use support::{create, join, memory, PATIENCE, SHORT, SPINNING};

/// Receives a call and answers it with its own bytes.
fn answer_one(server: &mut Server<'_>) {
    let mut buffer = [0; 256];
    match server.recv(&mut buffer, PATIENCE).unwrap() {
        Incoming::Call { call, len } => server.answer(call, &buffer[..len], PATIENCE).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn call(client: &mut Client<'_>, command: &[u8]) -> Result<Vec<u8>, Error> {
    let mut answer = [0; 256];
    let len = client.call(command, &mut answer, PATIENCE)?;
    Ok(answer[..len].to_vec())
}

#[test]
fn calls_are_answered_and_messages_arrive_in_order_both_ways() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..1000 {
                answer_one(&mut server);
            }
            let mut buffer = [0; 16];
            for n in 0..1000_u32 {
                let got = server.recv(&mut buffer, PATIENCE).unwrap();
                assert_eq!(got, Incoming::Message { len: 4 });
                assert_eq!(buffer[..4], n.to_le_bytes());
                server.send(&buffer[..4], PATIENCE).unwrap();
            }
        });
        for n in 0..1000_u32 {
            let command = vec![n as u8; n as usize % 200];
            assert_eq!(call(&mut client, &command).unwrap(), command);
        }
        let mut buffer = [0; 16];
        for n in 0..1000_u32 {
            client.send(&n.to_le_bytes(), PATIENCE).unwrap();
            let got = client.recv(&mut buffer, PATIENCE).unwrap();
            assert_eq!(got, Received::Message(4));
            assert_eq!(buffer[..4], n.to_le_bytes());
        }
    });
    assert_eq!((client.discarded(), server.discarded()), (0, 0));
}

#[test]
fn a_command_sent_before_there_is_a_server_is_received_by_the_first_server() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut client = second.client("demo").unwrap();
    let started = client.start_call(b"early", PATIENCE).unwrap();
    let mut server = first.server("demo").unwrap();
    answer_one(&mut server);
    let mut answer = [0; 16];
    let len = client.finish_call(started, &mut answer, PATIENCE).unwrap();
    assert_eq!(&answer[..len], b"early");
}

#[test]
fn a_call_can_be_converted_to_a_number_and_back_before_it_is_finished_or_answered() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client(b"demo").unwrap();
    let started = client.start_call(b"ask", PATIENCE).unwrap().to_word();
    let mut buffer = [0; 16];
    let received = server.recv(&mut buffer, PATIENCE).unwrap();
    let Incoming::Call { call, len } = received else {
        panic!("{received:?}");
    };
    let restored = Call::from_word(call.into_word()).unwrap();
    server.answer(restored, &buffer[..len], PATIENCE).unwrap();
    let started = PendingCall::from_word(started).unwrap();
    assert_eq!(client.finish_call(started, &mut buffer, PATIENCE), Ok(3));
    for word in [0, 1 << 32, 1 << 48 | 1] {
        assert_eq!(Call::from_word(word), None);
        assert_eq!(PendingCall::from_word(word), None);
    }
}

#[test]
fn a_call_without_an_answer_times_out_and_its_late_answer_is_skipped() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let late = client.call(b"one", &mut [0; 16], SHORT);
    assert_eq!(late, Err(Error::TimedOut));
    // The late answer is not taken as the answer to the next call.
    answer_one(&mut server);
    let started = client.start_call(b"two", PATIENCE).unwrap();
    answer_one(&mut server);
    let mut answer = [0; 16];
    let len = client.finish_call(started, &mut answer, PATIENCE).unwrap();
    assert_eq!(&answer[..len], b"two");
    assert_eq!(client.discarded(), 1, "the late answer");
}

#[test]
fn a_call_that_timed_out_can_be_finished_later() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let started = client.start_call(b"slow", PATIENCE).unwrap();
    let mut answer = [0; 16];
    let late = client.finish_call(started, &mut answer, SHORT);
    assert_eq!(late, Err(Error::TimedOut));
    answer_one(&mut server);
    assert_eq!(client.finish_call(started, &mut answer, PATIENCE), Ok(4));
    assert_eq!(&answer[..4], b"slow");
}

#[test]
fn an_answer_longer_than_the_buffer_is_lost_and_the_next_call_succeeds() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let started = client.start_call(&[7; 100], PATIENCE).unwrap();
    answer_one(&mut server);
    let short = client.finish_call(started, &mut [0; 99], PATIENCE);
    assert_eq!(short, Err(Error::BufferTooShort { len: 100 }));
    let started = client.start_call(b"next", PATIENCE).unwrap();
    answer_one(&mut server);
    assert_eq!(client.finish_call(started, &mut [0; 99], PATIENCE), Ok(4));
}

#[test]
fn a_command_longer_than_the_servers_buffer_stays_in_the_ring() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    client.send(&[7; 100], PATIENCE).unwrap();
    let short = server.recv(&mut [0; 99], PATIENCE);
    assert_eq!(short, Err(Error::BufferTooShort { len: 100 }));
    let whole = server.recv(&mut [0; 100], PATIENCE);
    assert_eq!(whole, Ok(Incoming::Message { len: 100 }));
}

#[test]
fn a_skipped_command_can_be_answered_whether_it_came_by_the_line_or_by_the_ring() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    // The first call uses the ring, and lets a short one use the line.
    for len in [100, 20, 100] {
        let started = client.start_call(&vec![7; len], PATIENCE).unwrap();
        let short = server.recv(&mut [0; 10], PATIENCE);
        assert_eq!(short, Err(Error::BufferTooShort { len }));
        let call = server.skip().unwrap().unwrap();
        server.answer(call, b"too long", PATIENCE).unwrap();
        let mut answer = [0; 8];
        assert_eq!(client.finish_call(started, &mut answer, PATIENCE), Ok(8));
        assert_eq!(&answer, b"too long");
    }
    client.send(&[7; 100], PATIENCE).unwrap();
    assert_eq!(server.skip(), Ok(None), "it makes no call");
    assert_eq!(server.recv(&mut [0; 100], SHORT), Err(Error::TimedOut));
    server.send(&[7; 100], PATIENCE).unwrap();
    let short = client.recv(&mut [0; 99], PATIENCE);
    assert_eq!(short, Err(Error::BufferTooShort { len: 100 }));
    client.skip().unwrap();
    assert_eq!(client.recv(&mut [0; 99], SHORT), Err(Error::TimedOut));
    assert_eq!(
        (client.skip(), server.skip()),
        (Ok(()), Ok(None)),
        "nothing to skip"
    );
}

#[test]
fn a_message_of_the_maximum_length_is_sent_and_a_longer_one_is_refused() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let max = client.max_len();
    let too_long = client.send(&vec![0; max + 1], PATIENCE);
    assert_eq!(too_long, Err(Error::MessageTooLong { max }));
    client.send(&vec![9; max], PATIENCE).unwrap();
    let mut buffer = vec![0; max];
    let got = server.recv(&mut buffer, PATIENCE).unwrap();
    assert_eq!(got, Incoming::Message { len: max });
    assert!(buffer.iter().all(|&byte| byte == 9));
}

#[test]
fn a_send_into_a_full_ring_times_out() {
    let heap = memory();
    let (_first, second) = (create(&heap), join(&heap, 2));
    let mut client = second.client("demo").unwrap();
    while client.send(&[0; 1000], SHORT).is_ok() {}
    assert_eq!(client.send(&[0; 1000], SHORT), Err(Error::TimedOut));
}

#[test]
fn a_message_before_an_answer_is_reported_and_not_lost() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    server.send(b"news", PATIENCE).unwrap();
    let started = client.start_call(b"ask", PATIENCE).unwrap();
    answer_one(&mut server);
    let mut buffer = [0; 16];
    let first = client.finish_call(started, &mut buffer, PATIENCE);
    assert_eq!(first, Err(Error::MessageFirst));
    assert_eq!(client.recv(&mut buffer, PATIENCE), Ok(Received::Message(4)));
    assert_eq!(&buffer[..4], b"news");
    assert_eq!(client.finish_call(started, &mut buffer, PATIENCE), Ok(3));
    assert_eq!(&buffer[..3], b"ask");
}

/// Returns a message in the format of the ring.
fn message(epoch: u16, call: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = epoch.to_le_bytes().to_vec();
    bytes.extend([0; 2]);
    bytes.extend(call.to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn protocol_errors_of_a_server_are_reported_and_the_channel_remains_usable() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut results = first.sender("demo.result", 16 << 10).unwrap();
    let mut client = second.client("demo").unwrap();
    let mut buffer = [0; 16];
    let one = client.start_call(b"1", PATIENCE).unwrap();
    results.try_send(&message(1, 1, b"yes")).unwrap();
    results.try_send(&message(1, 1, b"no")).unwrap();
    results.try_send(&message(1, 77, b"?")).unwrap();
    results.try_send(b"short").unwrap();
    results.try_send(&message(1, 2, b"fine")).unwrap();
    assert_eq!(client.finish_call(one, &mut buffer, PATIENCE), Ok(3));
    assert_eq!(&buffer[..3], b"yes");
    let two = client.start_call(b"2", PATIENCE).unwrap();
    for expected in [
        Error::AnsweredTwice { call: 1 },
        Error::NeverCalled { call: 77 },
        Error::NotAMessage { len: 5 },
    ] {
        let broken = client.finish_call(two, &mut buffer, PATIENCE);
        assert_eq!(broken, Err(expected));
    }
    assert_eq!(client.finish_call(two, &mut buffer, PATIENCE), Ok(4));
    assert_eq!(&buffer[..4], b"fine");
}

#[test]
fn a_typed_call_sends_and_receives_plain_values() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    thread::scope(|scope| {
        let serving = scope.spawn(|| answer_one(&mut server));
        let answer: [u16; 2] = client.call_typed(&0x1234_5678_u32, PATIENCE).unwrap();
        assert_eq!(bytemuck::bytes_of(&answer), 0x1234_5678_u32.to_ne_bytes());
        serving.join().unwrap();
    });
}

/// A platform with a hostile server, which sends answers to calls that no client made: one each
/// time that it is woken because there is room in its ring.
struct Flood {
    results: Mutex<Option<Producer<'static>>>,
    answers: AtomicU32,
}

/// The most answers that it sends: far more than a client may skip.
const MAX_ANSWERS: u32 = 100_000;

impl Platform for Flood {
    fn now(&self) -> Duration {
        SPINNING.now()
    }

    fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {}

    fn wake(&self, _: &AtomicU32, _: WakeReason) {
        let mut results = self.results.lock().unwrap();
        let results = results.as_mut();
        if let Some(results) = results.filter(|_| self.answers.load(Relaxed) < MAX_ANSWERS) {
            results.push(&message(1, u32::MAX, b"")).unwrap();
            self.answers.fetch_add(1, Relaxed);
        }
    }
}

/// A platform whose clock does not advance: only an interrupt ends a wait.
struct Interrupted {
    sleeps: AtomicU32,
}

impl Platform for Interrupted {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {
        self.sleeps.fetch_add(1, Relaxed);
    }

    fn wake(&self, _: &AtomicU32, _: WakeReason) {}

    fn is_interrupted(&self) -> bool {
        self.sleeps.load(Relaxed) >= 3
    }
}

#[test]
fn an_interrupt_ends_every_wait_as_its_deadline_does() {
    let heap = memory();
    let _alive = create(&heap);
    let platform = Interrupted {
        sleeps: AtomicU32::new(0),
    };
    let options = SessionOptions::new(1).wait_for_earlier(FOREVER);
    let refused = options.join(heap.window(), &platform).err();
    assert!(matches!(refused, Some(Error::Join(_))), "{refused:?}");

    platform.sleeps.store(0, Relaxed);
    let session = Session::join(heap.window(), 2, &platform).unwrap();
    let mut client = session.client("demo").unwrap();
    let called = client.call(b"?", &mut [0; 8], FOREVER);
    assert_eq!(called, Err(Error::TimedOut));
    assert_eq!(platform.sleeps.load(Relaxed), 3);
}

#[test]
fn endless_unexpected_answers_do_not_delay_a_client_past_its_deadline() {
    let heap: &Heap = Box::leak(Box::new(memory()));
    let platform: &Flood = Box::leak(Box::new(Flood {
        results: Mutex::new(None),
        answers: AtomicU32::new(0),
    }));
    let session = Session::create(heap.window(), 1, platform).unwrap();
    let mut client = session.client("demo").unwrap();
    let len = Ring::segment_len(16 << 10);
    let request = Request::named("demo.result", Kind::RING, len).unwrap();
    let results = session.registry().open(&request).unwrap();
    let offset = results.offset();
    let results = heap.window().sub(offset, len).unwrap();
    results
        .word(offset_of!(RingControl, space))
        .store(1, Relaxed); // The server sleeps until there is room.
    let producer = Ring::attach(results)
        .unwrap()
        .claim_producer(Incarnation::first(2));
    *platform.results.lock().unwrap() = Some(producer.unwrap());
    platform.wake(&AtomicU32::new(0), WakeReason::Space);
    let received = client.recv(&mut [0; 8], Duration::ZERO);
    assert_eq!(received, Err(Error::TimedOut));
    let started = client.start_call(b"?", PATIENCE).unwrap();
    let finished = client.finish_call(started, &mut [0; 8], Duration::ZERO);
    assert_eq!(finished, Err(Error::TimedOut));
    assert!(
        platform.answers.load(Relaxed) < MAX_ANSWERS,
        "all answers were received"
    );
}
