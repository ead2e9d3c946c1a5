//! Foreign stores to the line: late stores, peers that do not read it, and hostile peers.

use super::*;

#[test]
fn a_call_or_answer_that_a_late_store_overwrote_is_stored_again() {
    let heap = memory();
    let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
    call(&line, &mut client, &mut server, b"second");
    let old = load(&line, ASKED);
    // The store of an evicted client.
    let started = start(&mut client, b"asked");
    line.word(ASKED).store(old, Relaxed);
    assert_eq!(finish(&mut client, started), Err(Error::TimedOut));
    let (incoming, command) = receive(&mut server);
    assert_eq!(command, b"asked");
    // The store of an evicted server.
    server.answer(incoming, b"answered", SHORT).unwrap();
    line.word(ANSWERED).store(old, Relaxed);
    let nothing = server.recv(&mut [0; 16], SHORT);
    assert_eq!(nothing, Err(Error::TimedOut));
    assert_eq!(finish(&mut client, started).unwrap(), b"answered");
}

#[test]
fn a_late_store_of_an_evicted_end_occupies_the_line_for_one_call_at_most() {
    for word in [ASKED, ANSWERED] {
        let heap = memory();
        let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
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
fn call_numbers_wrap_for_calls_by_line_and_ring() {
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
fn an_impossible_length_in_the_line_is_corrupt() {
    for len in [MAX_LEN as u32 + 1, u32::MAX - 1, u32::MAX] {
        let heap = memory();
        let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
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
            // This value means that the answer is in the ring, which is empty.
            u32::MAX => assert_eq!(finished, Err(Error::TimedOut)),
            _ => assert!(matches!(finished, Err(Error::Corrupt(c)) if c.value == len)),
        }
    }
}

#[test]
fn a_server_that_does_not_read_the_line_is_called_by_the_ring() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    // The server opens only the two rings, and answers without the bit in the header.
    let ring = |name: &str| {
        let len = shmem_core::ring::Ring::segment_len(16 << 10);
        let request = Request::named(name, Kind::RING, len).unwrap();
        let segment = first.registry().open(&request).unwrap();
        let window = heap.window().sub(segment.offset(), len).unwrap();
        shmem_core::ring::Ring::attach(window).unwrap()
    };
    let mut client = second.client("demo").unwrap();
    let own = first.incarnation();
    let on_restart = shmem_core::ring::OnRestart::Discard;
    let mut commands = ring("demo.command")
        .claim_consumer(own, on_restart)
        .unwrap();
    let mut results = ring("demo.result").claim_producer(own).unwrap();
    let line = line(&heap, &first);
    for _ in 0..3 {
        let started = start(&mut client, b"?");
        let mut message = [0; 64];
        let len = commands.pop(&mut message).unwrap();
        assert_eq!((len, message[2]), (9, 1), "the client reads the line");
        message[..4].copy_from_slice(&[1, 0, 0, 0]);
        results.push(&message[..9]).unwrap();
        assert_eq!(finish(&mut client, started).unwrap(), b"?");
        assert_eq!(load(&line, ASKED), 0);
    }
    // Now it reads the line, and answers a call there twice.
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
