//! Calls in the line while an end is restarted.

use super::*;

#[test]
fn a_call_in_the_line_to_a_dead_server_fails_and_the_next_server_frees_the_line() {
    for received in [false, true] {
        let heap = memory();
        let (_sessions, line, mut client, mut server) = connected(&heap, CLIENT_STAYS);
        let started = start(&mut client, b"lost");
        if received {
            let _ = receive(&mut server);
        }
        std::mem::forget(server); // It dies.
        let third = join(&heap, 2);
        let mut server = third.server("demo").unwrap();
        assert_eq!(finish(&mut client, started), Err(Error::AnswerLost));
        let nothing = server.recv(&mut [0; 16], SHORT);
        assert_eq!(
            nothing,
            Err(Error::TimedOut),
            "the new server does not receive it"
        );
        assert!(!call(&line, &mut client, &mut server, b"by the ring"));
        assert!(call(&line, &mut client, &mut server, b"by the line"));
        assert_eq!(server.discarded(), u32::from(!received));
    }
}

#[test]
fn the_first_call_to_a_new_server_uses_the_ring_even_if_the_line_is_free() {
    let heap = memory();
    let (_sessions, line, mut client, server) = connected(&heap, CLIENT_STAYS);
    std::mem::forget(server);
    let third = join(&heap, 2);
    let mut server = third.server("demo").unwrap();
    assert_eq!(client.start_call(b"?", SHORT), Err(Error::PeerRestarted));
    assert!(!call(&line, &mut client, &mut server, b"by the ring"));
    assert!(call(&line, &mut client, &mut server, b"by the line"));
}

#[test]
fn a_late_call_in_the_line_after_a_restart_of_the_server_does_not_occupy_the_line() {
    let heap = memory();
    let (_sessions, line, mut client, server) = connected(&heap, CLIENT_STAYS);
    std::mem::forget(server);
    let third = join(&heap, 2);
    let mut server = third.server("demo").unwrap();
    // As if the client had checked for a restart just before it happened.
    let late = load(&line, ASKED).wrapping_add(2);
    line.word(ASKED).store(late, Relaxed);
    assert_eq!(client.start_call(b"?", SHORT), Err(Error::PeerRestarted));
    assert!(!call(&line, &mut client, &mut server, b"by the ring"));
    assert!(call(&line, &mut client, &mut server, b"by the line"));
}

#[test]
fn a_call_in_the_line_of_a_dead_client_is_not_taken_as_the_next_clients() {
    for received in [false, true] {
        let heap = memory();
        let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
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
fn a_call_in_the_line_is_not_answered_after_the_client_was_restarted() {
    let heap = memory();
    let (_sessions, line, mut client, mut server) = connected(&heap, SERVER_STAYS);
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
fn call_numbers_count_on_over_restarts_of_the_client_for_calls_by_line_and_ring() {
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
            let _ = server.recv(&mut [0; 16], SHORT); // The first one reported the restart.
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
fn both_ends_report_a_reformatted_region_while_they_use_the_line() {
    let heap = memory();
    let (_sessions, _, mut client, mut server) = connected(&heap, SERVER_STAYS);
    let started = start(&mut client, b"second");
    let _new = create(&heap);
    assert_eq!(finish(&mut client, started), Err(Error::Reformatted));
    let received = server.recv(&mut [0; 16], SHORT);
    assert_eq!(received, Err(Error::Reformatted));
    let asked = client.start_call(b"?", SHORT);
    assert_eq!(asked, Err(Error::Reformatted));
}
