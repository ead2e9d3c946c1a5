//! Short calls, which go by the call line, between those that go by the rings.

mod support;

use memoffset::offset_of;
use shmem_channel::{Answering, Call, Client, Error, Incoming, Received, Server, Session};
use shmem_core::call::{CallLine, MAX_LEN, SEGMENT_LEN};
use shmem_core::layout::CallControl;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{ControlWord, Window};
use shmem_registry::{Kind, Request};
use support::{create, join, memory, SHORT};

/// The words of the channel's call line.
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

fn start(client: &mut Client<'_>, command: &[u8]) -> Answering {
    client.start_call(command, SHORT).unwrap()
}

fn finish(client: &mut Client<'_>, call: Answering) -> Result<Vec<u8>, Error> {
    let mut answer = [0; 256];
    let len = client.finish_call(call, &mut answer, SHORT)?;
    Ok(answer[..len].to_vec())
}

/// One call, answered with its own bytes; whether it went by the line.
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
fn a_short_call_goes_by_the_line_once_the_server_is_known() {
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
fn calls_and_messages_are_received_in_their_order_whichever_way_they_go() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
    // The first of these by the line, which is taken then.
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
fn an_answer_that_is_too_long_for_the_line_comes_by_the_ring() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
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
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
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
fn an_answer_that_does_not_fit_into_the_buffer_is_given_up() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
    let started = start(&mut client, b"command");
    let refused = server.recv(&mut [0; 3], SHORT);
    assert_eq!(refused, Err(Error::BufferTooShort { len: 7 }), "it stays");
    let (incoming, command) = receive(&mut server);
    assert_eq!(command, b"command");
    server.answer(incoming, b"answer", SHORT).unwrap();
    let refused = client.finish_call(started, &mut [0; 3], SHORT);
    assert_eq!(refused, Err(Error::BufferTooShort { len: 6 }));
    assert_eq!(finish(&mut client, started), Err(Error::TimedOut));
    assert!(call(&line, &mut client, &mut server, b"the next"));
}

#[test]
fn a_call_that_was_given_up_keeps_the_line_until_the_next_one_comes_by_the_ring() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
    let late = client.call(b"given up", &mut [0; 16], SHORT);
    assert_eq!(late, Err(Error::TimedOut));
    let (slow, _) = receive(&mut server);
    assert!(!call(&line, &mut client, &mut server, b"other"));
    assert!(call(&line, &mut client, &mut server, b"next"));
    server.answer(slow, b"late", SHORT).unwrap();
    assert!(call(&line, &mut client, &mut server, b"and the next"));
    let nothing = client.recv(&mut [0; 16], SHORT);
    assert_eq!(nothing, Err(Error::TimedOut), "it is nobody's answer");
    assert_eq!(client.discarded(), 1);
}

#[test]
fn a_call_in_the_line_that_another_overtakes_is_answered_by_the_ring() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
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
fn a_call_in_the_line_of_a_server_that_died_ends_and_the_next_server_frees_the_line() {
    for received in [false, true] {
        let heap = memory();
        let (first, second) = (create(&heap), join(&heap, 2));
        let mut server = second.server("demo").unwrap();
        let mut client = first.client("demo").unwrap();
        let line = line(&heap, &first);
        call(&line, &mut client, &mut server, b"first");
        let started = start(&mut client, b"lost");
        if received {
            let _ = receive(&mut server);
        }
        std::mem::forget(server); // It dies.
        let third = join(&heap, 2);
        let mut server = third.server("demo").unwrap();
        assert_eq!(finish(&mut client, started), Err(Error::PeerRestarted));
        let nothing = server.recv(&mut [0; 16], SHORT);
        assert_eq!(nothing, Err(Error::TimedOut), "nobody receives it");
        assert!(!call(&line, &mut client, &mut server, b"by the ring"));
        assert!(call(&line, &mut client, &mut server, b"by the line"));
        assert_eq!(server.discarded(), u32::from(!received));
    }
}

#[test]
fn a_new_server_is_called_by_the_ring_first_where_the_line_was_free() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = second.server("demo").unwrap();
    let mut client = first.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
    std::mem::forget(server);
    let third = join(&heap, 2);
    let mut server = third.server("demo").unwrap();
    assert_eq!(client.start_call(b"?", SHORT), Err(Error::PeerRestarted));
    assert!(!call(&line, &mut client, &mut server, b"by the ring"));
    assert!(call(&line, &mut client, &mut server, b"by the line"));
}

#[test]
fn a_call_goes_by_the_ring_while_one_there_may_not_be_received() {
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

#[test]
fn a_call_that_reaches_the_line_after_a_restart_of_the_server_does_not_keep_it() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = second.server("demo").unwrap();
    let mut client = first.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
    std::mem::forget(server);
    let third = join(&heap, 2);
    let mut server = third.server("demo").unwrap();
    // As if the client had looked for a restart just before there was one.
    let late = load(&line, ASKED).wrapping_add(2);
    line.word(ASKED).store(late, Relaxed);
    assert_eq!(client.start_call(b"?", SHORT), Err(Error::PeerRestarted));
    assert!(!call(&line, &mut client, &mut server, b"by the ring"));
    assert!(call(&line, &mut client, &mut server, b"by the line"));
}

#[test]
fn a_call_in_the_line_of_a_client_that_died_is_not_the_next_clients() {
    for received in [false, true] {
        let heap = memory();
        let (first, second) = (create(&heap), join(&heap, 2));
        let mut server = first.server("demo").unwrap();
        let mut client = second.client("demo").unwrap();
        let line = line(&heap, &first);
        call(&line, &mut client, &mut server, b"first");
        let _ = start(&mut client, b"of a dead one");
        let old = received.then(|| receive(&mut server).0);
        std::mem::forget(client);
        let third = join(&heap, 2);
        let mut client = third.client("demo").unwrap();
        let started = start(&mut client, b"new");
        assert_eq!(started.to_word() as u32, load(&line, ASKED) + 1);
        let restarted = server.recv(&mut [0; 16], SHORT);
        assert_eq!(restarted, Ok(Incoming::PeerRestarted));
        if let Some(old) = old {
            let answered = server.answer(old, b"late", SHORT);
            assert_eq!(answered, Err(Error::CallerRestarted));
        }
        let refused = server.recv(&mut [0; 2], SHORT);
        assert_eq!(refused, Err(Error::BufferTooShort { len: 3 }));
        assert_eq!(server.discarded(), u32::from(!received));
        let (incoming, command) = receive(&mut server);
        assert_eq!(command, b"new");
        server.answer(incoming, b"new", SHORT).unwrap();
        assert_eq!(finish(&mut client, started).unwrap(), b"new");
        assert_eq!(server.discarded(), u32::from(!received));
        assert!(call(&line, &mut client, &mut server, b"by the line"));
    }
}

#[test]
fn a_call_in_the_line_is_not_answered_where_another_client_has_come() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
    let _ = start(&mut client, b"of a dead one");
    let (old, _) = receive(&mut server);
    std::mem::forget(client);
    let third = join(&heap, 2);
    let mut client = third.client("demo").unwrap();
    let answered = server.answer(old, b"late", SHORT);
    assert_eq!(answered, Err(Error::PeerRestarted));
    assert!(!call(&line, &mut client, &mut server, b"by the ring"));
    assert!(call(&line, &mut client, &mut server, b"by the line"));
    assert_eq!(server.discarded(), 0);
}

#[test]
fn numbers_count_on_over_clients_whichever_way_their_calls_went() {
    let heap = memory();
    let (first, mut second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut last = 0;
    for long in [0, 3, 0, 3, 1] {
        let mut client = second.client("demo").unwrap();
        let mut number = || {
            let started = start(&mut client, b"short");
            (started.to_word() as u32, started)
        };
        let (begin, _) = number();
        assert!(begin > last, "{begin} after {last}");
        let _ = server.recv(&mut [0; 16], SHORT);
        if last != 0 {
            let _ = server.recv(&mut [0; 16], SHORT); // After the restart.
        }
        for _ in 0..long {
            let started = start(&mut client, &[1; 100]);
            last = started.to_word() as u32;
            let _ = receive(&mut server);
        }
        last = last.max(begin);
        std::mem::forget(client);
        second = join(&heap, 2);
    }
}

#[test]
fn what_a_late_store_hid_is_shown_again() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
    call(&line, &mut client, &mut server, b"second");
    let old = load(&line, ASKED);
    // The store of an evicted client.
    let started = start(&mut client, b"asked");
    line.word(ASKED).store(old, Relaxed);
    assert_eq!(finish(&mut client, started), Err(Error::TimedOut));
    let (incoming, command) = receive(&mut server);
    assert_eq!(command, b"asked");
    // And of an evicted server.
    server.answer(incoming, b"answered", SHORT).unwrap();
    line.word(ANSWERED).store(old, Relaxed);
    let nothing = server.recv(&mut [0; 16], SHORT);
    assert_eq!(nothing, Err(Error::TimedOut));
    assert_eq!(finish(&mut client, started).unwrap(), b"answered");
}

#[test]
fn a_late_store_of_an_end_that_was_evicted_keeps_the_line_for_one_call() {
    for word in [ASKED, ANSWERED] {
        let heap = memory();
        let (first, second) = (create(&heap), join(&heap, 2));
        let mut server = first.server("demo").unwrap();
        let mut client = second.client("demo").unwrap();
        let line = line(&heap, &first);
        call(&line, &mut client, &mut server, b"first");
        call(&line, &mut client, &mut server, b"second");
        let old = load(&line, ASKED).wrapping_sub(1);
        line.word(word).store(old, Relaxed);
        let mut by_line = |command| {
            let nothing = server.recv(&mut [0; 16], SHORT);
            assert_eq!(nothing, Err(Error::TimedOut));
            call(&line, &mut client, &mut server, command)
        };
        by_line(b"by either");
        assert!(by_line(b"by the line"));
        assert_eq!(server.discarded(), 0);
    }
}

#[test]
fn numbers_pass_their_end_whichever_way_the_calls_go() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let line = line(&heap, &first);
    for word in [STARTED, ASKED, ANSWERED] {
        line.word(word).store(u32::MAX - 3, Relaxed);
    }
    let mut client = second.client("demo").unwrap();
    for long in [true, false, true, false, false, false, true, false] {
        let len = if long { 100 } else { 10 };
        let by_line = call(&line, &mut client, &mut server, &vec![1; len]);
        assert_eq!(by_line, !long);
    }
    assert_eq!((load(&line, STARTED), load(&line, ASKED)), (4, 5));
}

#[test]
fn a_length_that_no_command_or_answer_has_is_corrupt() {
    for len in [MAX_LEN as u32 + 1, u32::MAX - 1, u32::MAX] {
        let heap = memory();
        let (first, second) = (create(&heap), join(&heap, 2));
        let mut server = first.server("demo").unwrap();
        let mut client = second.client("demo").unwrap();
        let line = line(&heap, &first);
        call(&line, &mut client, &mut server, b"first");
        let started = start(&mut client, b"command");
        line.word(COMMAND_LEN).store(len, Relaxed);
        let received = server.recv(&mut [0; 64], SHORT);
        let Err(Error::Corrupt(corrupt)) = received else {
            panic!("{received:?}");
        };
        assert_eq!(
            (corrupt.word, corrupt.value),
            (ControlWord::CallLength, len)
        );
        line.word(COMMAND_LEN).store(7, Relaxed);
        let (incoming, _) = receive(&mut server);
        server.answer(incoming, b"answer", SHORT).unwrap();
        line.word(ANSWER_LEN).store(len, Relaxed);
        let finished = finish(&mut client, started);
        match len {
            // It says that the answer is in the ring, where there is none.
            u32::MAX => assert_eq!(finished, Err(Error::TimedOut)),
            _ => assert!(matches!(finished, Err(Error::Corrupt(c)) if c.value == len)),
        }
    }
}

#[test]
fn both_ends_that_go_by_the_line_learn_that_the_region_was_formatted_again() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = first.server("demo").unwrap();
    let mut client = second.client("demo").unwrap();
    let line = line(&heap, &first);
    call(&line, &mut client, &mut server, b"first");
    let started = start(&mut client, b"second");
    let _new = create(&heap);
    assert_eq!(finish(&mut client, started), Err(Error::Reformatted));
    let received = server.recv(&mut [0; 16], SHORT);
    assert_eq!(received, Err(Error::Reformatted));
    let asked = client.start_call(b"?", SHORT);
    assert_eq!(asked, Err(Error::Reformatted));
}

#[test]
fn a_peer_that_does_not_look_at_the_line_is_called_by_the_ring() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    // It opens the two rings by itself, and answers without the bit.
    let ring = |name: &str| {
        let len = shmem_core::ring::Ring::segment_len(16 << 10);
        let request = Request::named(name, Kind::RING, len).unwrap();
        let segment = first.registry().open(&request).unwrap();
        let window = heap.window().sub(segment.offset(), len).unwrap();
        shmem_core::ring::Ring::attach(window).unwrap()
    };
    let mut client = second.client("demo").unwrap();
    let own = first.incarnation();
    let unread = shmem_core::ring::Unread::Discard;
    let mut commands = ring("demo.command").consumer(own, unread).unwrap();
    let mut results = ring("demo.result").producer(own).unwrap();
    let line = line(&heap, &first);
    for _ in 0..3 {
        let started = start(&mut client, b"?");
        let mut message = [0; 64];
        let len = commands.pop(&mut message).unwrap();
        assert_eq!((len, message[2]), (9, 1), "the client looks");
        message[..4].copy_from_slice(&[1, 0, 0, 0]);
        results.push(&message[..9]).unwrap();
        assert_eq!(finish(&mut client, started).unwrap(), b"?");
        assert_eq!(load(&line, ASKED), 0);
    }
    // Now it looks, and answers a call in the line twice.
    for twice in [false, true] {
        let started = start(&mut client, b"?");
        let mut message = [1, 0, 1, 0, started.to_word() as u8, 0, 0, 0, b'?'];
        if twice {
            assert_eq!(load(&line, ASKED), started.to_word() as u32);
            CallLine::attach(line).unwrap().answer(5, b"?");
            assert_eq!(finish(&mut client, started).unwrap(), b"?");
            message[8] = b'!';
        }
        results.push(&message).unwrap();
        let received = finish(&mut client, started);
        match twice {
            true => assert_eq!(received, Err(Error::AnsweredTwice { call: 5 })),
            false => assert_eq!(received.unwrap(), b"?"),
        }
    }
}
