//! Short calls, which use the call line, mixed with calls that use the rings.

mod foreign;
mod restarts;
#[path = "../support/mod.rs"]
mod support;

use memoffset::offset_of;
use shmem_channel::{Call, Client, Error, Incoming, PendingCall, Received, Server, Session};
use shmem_core::call::{CallLine, MAX_LEN, SEGMENT_LEN};
use shmem_core::layout::CallControl;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{ControlWord, Window};
use shmem_registry::{Kind, Request};
use support::{create, join, memory, SHORT};

/// Returns the words of the channel's call line.
fn line<'h>(heap: &'h Heap, session: &Session<'_>) -> Window<'h> {
    let request = Request::named("demo.call", Kind::CALL_LINE, SEGMENT_LEN).unwrap();
    let segment = session.registry().open(&request).unwrap();
    heap.window().sub(segment.offset(), SEGMENT_LEN).unwrap()
}

const ASKED: usize = offset_of!(CallControl, asked);
const COMMAND_LEN: usize = offset_of!(CallControl, command_len);
const ANSWERED: usize = offset_of!(CallControl, answered);
const STARTED: usize = offset_of!(CallControl, started);
const ANSWER_LEN: usize = offset_of!(CallControl, answer_len);

fn load(line: &Window<'_>, offset: usize) -> u32 {
    line.word(offset).load(Relaxed)
}

fn receive(server: &mut Server<'_>) -> (Call, Vec<u8>) {
    let mut buffer = [0; 256];
    match server.recv(&mut buffer, SHORT) {
        Ok(Incoming::Call { call, len }) => (call, buffer[..len].to_vec()),
        other => panic!("{other:?}"),
    }
}

fn start(client: &mut Client<'_>, command: &[u8]) -> PendingCall {
    client.start_call(command, SHORT).unwrap()
}

fn finish(client: &mut Client<'_>, call: PendingCall) -> Result<Vec<u8>, Error> {
    let mut answer = [0; 256];
    let len = client.finish_call(call, &mut answer, SHORT)?;
    Ok(answer[..len].to_vec())
}

/// The session that has the server is that of partition 1, which these tests never restart.
const SERVER_STAYS: usize = 0;
/// The session that has the server is that of partition 2.
const CLIENT_STAYS: usize = 1;

/// Opens both ends of a channel and makes the first call. Returns the sessions, the call line and
/// the ends.
fn connected(heap: &Heap, server: usize) -> ([Session<'_>; 2], Window<'_>, Client<'_>, Server<'_>) {
    let sessions = [create(heap), join(heap, 2)];
    let mut client = sessions[1 - server].client("demo").unwrap();
    let mut server = sessions[server].server("demo").unwrap();
    let line = line(heap, &sessions[0]);
    call(&line, &mut client, &mut server, b"first");
    (sessions, line, client, server)
}

/// Makes one call, which is answered with its own bytes. Returns true if it used the line.
fn call(line: &Window<'_>, client: &mut Client<'_>, server: &mut Server<'_>, bytes: &[u8]) -> bool {
    let before = load(line, ASKED);
    let started = start(client, bytes);
    let (incoming, command) = receive(server);
    assert_eq!(command, bytes);
    server.answer(incoming, bytes, SHORT).unwrap();
    assert_eq!(finish(client, started).unwrap(), bytes);
    load(line, ASKED) != before
}

#[test]
fn a_short_call_uses_the_line_after_the_server_answered_one_by_the_ring() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    let mut by_line =
        |client: &mut Client<'_>, len| call(&line, client, &mut server, &vec![7; len]);
    assert!(!by_line(&mut client, 3), "the first");
    for len in [3, 0, MAX_LEN] {
        assert!(by_line(&mut client, len), "{len}");
        assert_eq!(load(&line, ANSWER_LEN), len as u32);
    }
    assert!(!by_line(&mut client, MAX_LEN + 1), "a long one");
    assert!(by_line(&mut client, 1));
    client.send(b"no call", SHORT).unwrap();
    let message = server.recv(&mut [0; 16], SHORT);
    assert_eq!(message, Ok(Incoming::Message { len: 7 }));
    let mut by_line = |len| call(&line, &mut client, &mut server, &vec![7; len]);
    assert!(!by_line(1), "the message may not be received yet");
    assert!(by_line(1));
    assert_eq!((client.discarded(), server.discarded()), (0, 0));
}

#[test]
fn calls_and_messages_by_line_and_ring_are_received_in_order() {
    let heap = memory();
    let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
    // Only the first of these uses the line, which is then occupied.
    let started: Vec<_> = (0..4_u8).map(|n| start(&mut client, &[n])).collect();
    assert_eq!(load(&line, COMMAND_LEN), 1);
    client.send(b"m", SHORT).unwrap();
    let calls: Vec<_> = (0..4_u8)
        .map(|n| {
            let (call, command) = receive(&mut server);
            assert_eq!(command, [n]);
            call
        })
        .collect();
    let message = server.recv(&mut [0; 16], SHORT);
    assert_eq!(message, Ok(Incoming::Message { len: 1 }));
    for (n, call) in calls.into_iter().enumerate() {
        server.answer(call, &[n as u8 + 10], SHORT).unwrap();
    }
    for (n, started) in started.into_iter().enumerate() {
        assert_eq!(finish(&mut client, started).unwrap(), [n as u8 + 10]);
    }
}

#[test]
fn an_answer_that_is_too_long_for_the_line_uses_the_ring() {
    let heap = memory();
    let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
    for _ in 0..3 {
        let started = start(&mut client, b"short");
        let (incoming, _) = receive(&mut server);
        server.answer(incoming, &[9; 100], SHORT).unwrap();
        assert_eq!(load(&line, ANSWER_LEN), u32::MAX);
        assert_eq!(finish(&mut client, started).unwrap(), [9; 100]);
        assert!(
            call(&line, &mut client, &mut server, b"short"),
            "by the line again"
        );
    }
}

#[test]
fn a_message_before_the_answer_in_the_line_is_received_first() {
    let heap = memory();
    let (_sessions, _, mut client, mut server) = connected(&heap, SERVER_STAYS);
    let started = start(&mut client, b"?");
    let (incoming, _) = receive(&mut server);
    server.send(b"news", SHORT).unwrap();
    server.answer(incoming, b"!", SHORT).unwrap();
    assert_eq!(finish(&mut client, started), Err(Error::MessageFirst));
    let news = client.recv(&mut [0; 16], SHORT);
    assert_eq!(news, Ok(Received::Message(4)));
    assert_eq!(finish(&mut client, started).unwrap(), b"!");
}

#[test]
fn an_answer_in_the_line_longer_than_the_buffer_is_lost() {
    let heap = memory();
    let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
    let started = start(&mut client, b"command");
    let refused = server.recv(&mut [0; 3], SHORT);
    assert_eq!(
        refused,
        Err(Error::BufferTooShort { len: 7 }),
        "the command stays"
    );
    let (incoming, command) = receive(&mut server);
    assert_eq!(command, b"command");
    server.answer(incoming, b"answer", SHORT).unwrap();
    let refused = client.finish_call(started, &mut [0; 3], SHORT);
    assert_eq!(refused, Err(Error::BufferTooShort { len: 6 }));
    assert_eq!(finish(&mut client, started), Err(Error::TimedOut));
    assert!(call(&line, &mut client, &mut server, b"the next"));
}

#[test]
fn a_call_that_was_given_up_occupies_the_line_until_the_next_call_arrives_by_the_ring() {
    let heap = memory();
    let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
    let late = client.call(b"given up", &mut [0; 16], SHORT);
    assert_eq!(late, Err(Error::TimedOut));
    let (slow, _) = receive(&mut server);
    assert!(!call(&line, &mut client, &mut server, b"other"));
    assert!(call(&line, &mut client, &mut server, b"next"));
    server.answer(slow, b"late", SHORT).unwrap();
    assert!(call(&line, &mut client, &mut server, b"and the next"));
    let nothing = client.recv(&mut [0; 16], SHORT);
    assert_eq!(nothing, Err(Error::TimedOut), "the late answer is skipped");
    assert_eq!(client.discarded(), 1);
}

#[test]
fn a_call_in_the_line_is_answered_by_the_ring_if_a_later_call_arrives_first() {
    let heap = memory();
    let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
    let by_line = start(&mut client, b"line");
    let by_ring = start(&mut client, b"ring");
    let slow = receive(&mut server).0;
    let fast = receive(&mut server).0;
    assert_eq!(load(&line, ANSWER_LEN), u32::MAX);
    server.answer(fast, b"fast", SHORT).unwrap();
    assert_eq!(finish(&mut client, by_ring).unwrap(), b"fast");
    let by_line_again = start(&mut client, b"line again");
    assert_eq!(load(&line, COMMAND_LEN), 10);
    server.answer(slow, b"slow", SHORT).unwrap();
    assert_eq!(finish(&mut client, by_line).unwrap(), b"slow");
    let (again, _) = receive(&mut server);
    server.answer(again, b"again", SHORT).unwrap();
    assert_eq!(finish(&mut client, by_line_again).unwrap(), b"again");
}

#[test]
fn a_call_uses_the_ring_while_an_earlier_one_there_may_not_be_received() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    let started = [0, 1].map(|n: u8| start(&mut client, &[n]));
    let (incoming, _) = receive(&mut server);
    server.answer(incoming, b"0", SHORT).unwrap();
    assert_eq!(finish(&mut client, started[0]).unwrap(), b"0");
    let _ = start(&mut client, &[2]);
    assert_eq!(load(&line, ASKED), 0);
    for n in [1, 2] {
        assert_eq!(receive(&mut server).1, [n]);
    }
}
