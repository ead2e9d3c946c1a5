//! A client or a server with a hostile peer. The peer stores arbitrary words into the two rings
//! and the call line of their channel, and sends arbitrary records, between our calls and
//! during them.

#![no_main]

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_channel::{
    Call, ChannelOptions, Client, Error, Incoming, PendingCall, Received, Server, Session,
    SessionOptions,
};
use shmem_core::call::SEGMENT_LEN;
use shmem_core::mem::Heap;
use shmem_core::ring::{Consumer, OnRestart, Producer, Ring};
use shmem_core::{ControlWord, Corrupt, Incarnation};
use shmem_fuzz::simulated::{CAPACITY, ChannelStore, CheckedCall, Length, Near, Simulated, tagged};
use shmem_fuzz::tables::{LEN, PARTITIONS};
use shmem_fuzz::{Many, Rarely, expand, while_running};
use shmem_registry::{Geometry, Kind, Request};

#[derive(Arbitrary, Debug)]
struct Input {
    /// True if our end is the server.
    serves: bool,
    /// The incarnations that are gone, as in `Simulated`.
    gone: u32,
    /// The stores of the peer during our calls, one at every fourth read of the clock.
    during: Many<ChannelStore>,
    /// True to make all stores from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<ChannelStore>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Send(Len),
    Recv(Len),
    /// A call, by a client; an answer, by a server.
    Call(Len, Len),
    StartCall(Len),
    FinishCall {
        which: u8,
        room: Len,
    },
    /// We drop our end and open it again.
    Reopen,
    /// The peer sends a message in a ring, several times.
    Message {
        epoch: Number,
        checks_line: bool,
        call: Number,
        len: Len,
        times: u8,
    },
    /// The peer asks or answers in the call line.
    UseLine(Near, Length),
    /// The peer sends a record that is not a message.
    Record(u8),
    /// The peer receives this many records.
    Drain(u8),
    /// The peer's next incarnation takes over its ends.
    Restart,
}

/// A number in a message.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    /// The first epoch; no call, or a call of an earlier client.
    Plain(bool),
    /// A plausible one.
    Small(u8),
    Any(u32),
}

impl Number {
    fn value(self, plain: u32) -> u32 {
        match self {
            Self::Plain(earlier) => plain.wrapping_sub(u32::from(earlier)),
            Self::Small(number) => u32::from(number % 8),
            Self::Any(number) => number,
        }
    }
}

/// A length, and a timeout in milliseconds.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Len(u8, u8);

impl Len {
    fn bytes(self) -> usize {
        usize::from(self.0) % 130
    }
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let heap = Heap::new(LEN);
    let platform = Simulated::new(heap.window(), input.gone, &input.during);
    let geometry = Geometry {
        segments: 8,
        partitions: PARTITIONS,
        block_size: 128,
    };
    let options = SessionOptions::new(1).geometry(geometry);
    let first = options.create(heap.window(), &platform).expect("memory");
    let second = Session::join(heap.window(), 2, &platform).expect("a number that is free");
    // Creates the rings and the line, and leaves their ends free.
    drop(channel().client(&first, "bad").expect("room"));
    platform.begin([
        offset(&first, "bad.command", Kind::RING),
        offset(&first, "bad.result", Kind::RING),
        offset(&first, "bad.call", Kind::CALL_LINE),
    ]);
    play(&input, &platform, &first);
    if *input.threaded {
        let steps = input.steps.iter().filter_map(|step| step.1);
        let stores: Vec<_> = steps.chain(input.during.iter().copied()).collect();
        let store = || stores.iter().for_each(|&store| platform.apply(store));
        while_running(store, || play(&input, &platform, &first));
    }
    platform.begin([0, 0, 0]);
    honest(&first, &second);
});

fn channel() -> ChannelOptions {
    ChannelOptions::default()
        .command_capacity(CAPACITY)
        .result_capacity(CAPACITY)
}

/// Returns the offset of a segment of the channel.
fn offset(session: &Session<'_>, name: &str, kind: Kind) -> usize {
    let len = match kind {
        Kind::RING => Ring::segment_len(CAPACITY),
        _ => SEGMENT_LEN,
    };
    let request = Request::named(name, kind, len).expect("a request");
    let segment = session.registry().open(&request);
    segment.expect("it exists").offset()
}

/// Checks that honest peers on another channel of the same region are not disturbed.
fn honest(first: &Session<'_>, second: &Session<'_>) {
    let timeout = Duration::from_millis(5);
    let mut client = channel().client(first, "good").expect("room");
    let mut server = channel().server(second, "good").expect("room");
    let started = client.start_call(b"how are you?", timeout).expect("room");
    let mut buffer = [0; 16];
    match server.recv(&mut buffer, timeout) {
        Ok(Incoming::Call { call, len }) => {
            assert_eq!(&buffer[..len], b"how are you?");
            server.answer(call, b"fine", timeout).expect("room");
        }
        other => panic!("no call: {other:?}"),
    }
    assert_eq!(client.finish_call(started, &mut buffer, timeout), Ok(4));
    assert_eq!(&buffer[..4], b"fine");
}

/// The permanent errors that our end has returned.
#[derive(Default)]
struct PermanentErrors {
    sending: Option<Error>,
    receiving: Option<Error>,
}

/// Our end of the channel.
enum End<'m> {
    Client(Client<'m>, Vec<PendingCall>),
    Server(Server<'m>, Vec<Call>),
}

impl PermanentErrors {
    /// Checks the error of a send.
    fn sent(&mut self, error: Option<&Error>, longest: usize) {
        match error {
            None | Some(Error::TimedOut | Error::PeerGone) => {
                assert_eq!(self.sending, None, "forgotten");
            }
            Some(Error::PeerRestarted) => {}
            Some(&Error::MessageTooLong { max }) => assert_eq!(max, longest),
            Some(error @ (Error::Corrupt(_) | Error::Evicted)) => {
                let errors = self.sending.get_or_insert(error.clone());
                assert_eq!(errors, error);
            }
            Some(error) => panic!("a send returned {error:?}"),
        }
    }

    /// Checks the error of a call that receives.
    fn received(&mut self, error: Option<&Error>, room: usize) {
        match error {
            // Not permanent: the peer may correct it, and the ring is sound.
            Some(&Error::Corrupt(Corrupt {
                word: ControlWord::CallLength,
                ..
            })) => return,
            Some(error @ (Error::Corrupt(_) | Error::Evicted)) => {
                let errors = self.receiving.get_or_insert(error.clone());
                assert_eq!(errors, error);
                return;
            }
            Some(&Error::BufferTooShort { len }) => assert!(len > room && len < CAPACITY / 2),
            Some(&Error::NotAMessage { len }) => assert!(len < CAPACITY / 2),
            None | Some(Error::TimedOut) => {}
            Some(Error::AnsweredTwice { call } | Error::NeverCalled { call }) => {
                assert_ne!(*call, 0);
            }
            Some(error) => panic!("a receive returned {error:?}"),
        }
        assert_eq!(self.receiving, None, "forgotten");
    }
}

fn open<'m>(input: &Input, session: &Session<'m>) -> Option<End<'m>> {
    let opened = match input.serves {
        true => {
            let server = channel().server(session, "bad");
            server.map(|server| End::Server(server, Vec::new()))
        }
        false => {
            let client = channel().client(session, "bad");
            client.map(|client| End::Client(client, Vec::new()))
        }
    };
    match opened {
        Ok(end) => Some(end),
        Err(Error::EndTaken { .. } | Error::Corrupt(_)) => None,
        Err(error) => panic!("opening returned {error:?}"),
    }
}

/// The peer's raw ends.
#[derive(Default)]
struct Peer<'m> {
    number: u32,
    producer: Option<Producer<'m>>,
    consumer: Option<Consumer<'m>>,
}

impl<'m> Peer<'m> {
    fn restart(&mut self, platform: &Simulated<'_, 'm>, serves: bool) {
        let ring = |result: bool| Ring::attach(platform.rings()[usize::from(result)]);
        self.number += 1;
        let incarnation = Incarnation::new(3, self.number).expect("they count from 1");
        (self.producer, self.consumer) = (None, None);
        let (sending, receiving) = (ring(!serves), ring(serves));
        let consumer = receiving.map(|ring| ring.take_over_consumer(incarnation, OnRestart::Keep));
        self.consumer = consumer.expect("a ring's length").ok();
        let producer = sending.map(|ring| ring.take_over_producer(incarnation));
        self.producer = producer.expect("a ring's length").ok();
    }

    fn push(&mut self, record: &[u8]) {
        if let Some(producer) = &mut self.producer {
            // Twice: the first call may report that our end was opened again.
            let _ = producer.push(record).or_else(|_| producer.push(record));
        }
    }
}

fn play(input: &Input, platform: &Simulated<'_, '_>, session: &Session<'_>) {
    let mut end = open(input, session);
    let mut errors = PermanentErrors::default();
    let mut peer = Peer::default();
    // Then the line may contain one call's answer and another's number.
    let mut has_stored = *input.threaded || !input.during.is_empty();
    peer.restart(platform, input.serves);
    for (step, store) in input.steps.iter() {
        match (*step, &mut end) {
            (Step::Reopen, _) => {
                drop(end.take());
                errors = PermanentErrors::default();
                end = open(input, session);
            }
            (
                Step::Message {
                    epoch,
                    checks_line,
                    call,
                    len,
                    times,
                },
                _,
            ) => {
                let call = call.value(0);
                platform.by_ring.store(call, Relaxed);
                let mut record = epoch.value(1).to_le_bytes().to_vec();
                record[2] |= u8::from(checks_line);
                record.extend(call.to_le_bytes());
                record.extend(tagged(call, len.bytes() % 100));
                for _ in 0..times % 4 {
                    peer.push(&record);
                }
            }
            (Step::UseLine(near, len), _) => platform.use_line(!input.serves, near, len),
            (Step::Record(len), _) => peer.push(&vec![7; usize::from(len % 100)]),
            (Step::Drain(count), _) => {
                for _ in 0..count % 16 {
                    let _ = peer
                        .consumer
                        .as_mut()
                        .map(|ring| ring.pop(&mut [0; CAPACITY]));
                }
            }
            (Step::Restart, _) => peer.restart(platform, input.serves),
            (step, Some(End::Client(client, started))) => {
                ask(step, client, started, platform, &mut errors, !has_stored);
            }
            (step, Some(End::Server(server, calls))) => {
                serve(step, server, calls, platform, &mut errors);
            }
            (_, None) => {}
        }
        if let Some(store) = store {
            platform.apply(*store);
            has_stored = true;
        }
    }
}

/// One call of a client.
fn ask(
    step: Step,
    client: &mut Client<'_>,
    started: &mut Vec<PendingCall>,
    platform: &Simulated<'_, '_>,
    errors: &mut PermanentErrors,
    is_tagged: bool,
) {
    let max = client.max_len();
    match step {
        Step::Send(len) => {
            let checked = CheckedCall::begin(platform, len.1);
            let sent = client.send(&vec![1; len.bytes()], checked.timeout).err();
            checked.end(sent.as_ref());
            errors.sent(sent.as_ref(), max);
        }
        Step::StartCall(len) => {
            let checked = CheckedCall::begin(platform, len.1);
            let result = client.start_call(&vec![2; len.bytes()], checked.timeout);
            checked.end(result.as_ref().err());
            errors.sent(result.as_ref().err(), max);
            started.extend(result);
        }
        Step::Call(len, room) => {
            let checked = CheckedCall::begin(platform, len.1);
            let mut answer = vec![0; room.bytes()];
            let result = client.call(&vec![3; len.bytes()], &mut answer, checked.timeout);
            checked.end(result.as_ref().err());
            assert!(result.is_err() || result.is_ok_and(|len| len <= room.bytes()));
        }
        Step::FinishCall { which, room } if !started.is_empty() => {
            let call = started[usize::from(which) % started.len()];
            let checked = CheckedCall::begin(platform, room.1);
            let mut answer = vec![0; room.bytes()];
            let result = client.finish_call(call, &mut answer, checked.timeout);
            checked.end(result.as_ref().err());
            match &result {
                Ok(len) => {
                    let (answer, rest) = answer.split_at(*len);
                    assert!(rest.iter().all(|&byte| byte == 0), "more than `len` bytes");
                    let own = tagged(call.to_word() as u32, *len);
                    assert!(answer == own || !is_tagged, "the answer to another call");
                }
                Err(Error::PeerGone | Error::AnswerLost | Error::MessageFirst) => {}
                // From the sending ring, which reports the server's restarts.
                Err(Error::Corrupt(_) | Error::Evicted) => {}
                Err(error) => errors.received(Some(error), room.bytes()),
            }
        }
        Step::Recv(room) => {
            let checked = CheckedCall::begin(platform, room.1);
            let mut buffer = vec![0; room.bytes()];
            let result = client.recv(&mut buffer, checked.timeout);
            checked.end(result.as_ref().err());
            if let Ok(Received::Message(len)) = result {
                assert!(len <= room.bytes());
            }
            errors.received(result.as_ref().err(), room.bytes());
        }
        _ => {
            let _ = (client.discarded(), client.server_is_gone());
        }
    }
}

/// One call of a server.
fn serve(
    step: Step,
    server: &mut Server<'_>,
    calls: &mut Vec<Call>,
    platform: &Simulated<'_, '_>,
    errors: &mut PermanentErrors,
) {
    let max = server.max_len();
    match step {
        Step::Send(len) | Step::StartCall(len) => {
            let checked = CheckedCall::begin(platform, len.1);
            let sent = server.send(&vec![1; len.bytes()], checked.timeout).err();
            checked.end(sent.as_ref());
            errors.sent(sent.as_ref(), max);
        }
        Step::Call(len, _) => {
            let Some(call) = calls.pop() else {
                return;
            };
            let checked = CheckedCall::begin(platform, len.1);
            let answered = server.answer(call, &vec![2; len.bytes()], checked.timeout);
            checked.end(answered.as_ref().err());
            if answered != Err(Error::CallerRestarted) {
                errors.sent(answered.as_ref().err(), max);
            }
        }
        Step::Recv(room) => {
            let checked = CheckedCall::begin(platform, room.1);
            let mut buffer = vec![0; room.bytes()];
            let result = server.recv(&mut buffer, checked.timeout);
            checked.end(result.as_ref().err());
            errors.received(result.as_ref().err(), room.bytes());
            match result {
                Ok(Incoming::Call { call, len }) => {
                    let rest = &buffer[len..];
                    assert!(rest.iter().all(|&byte| byte == 0), "more than `len` bytes");
                    calls.push(call);
                }
                Ok(Incoming::Message { len }) => assert!(len <= room.bytes()),
                _ => {}
            }
        }
        _ => {
            let _ = (server.discarded(), server.client_is_gone());
        }
    }
}
