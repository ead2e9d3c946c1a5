//! Restarts and deaths of the ends of a channel.

mod support;

use shmem_channel::{
    Call, Error, Incoming, OnRestart, PendingCall, Received, Session, SessionOptions,
};
use shmem_core::mem::Heap;
use support::{create, join, memory, PATIENCE, SHORT, SPINNING};

fn recv(server: &mut shmem_channel::Server<'_>) -> Result<Incoming, Error> {
    server.recv(&mut [0; 64], SHORT)
}

#[test]
fn a_restart_of_the_client_is_reported_to_the_server_once() {
    for answers_first in [false, true] {
        let heap = memory();
        let (first, second) = (create(&heap), join(&heap, 2));
        let mut server = first.server("demo").unwrap();
        let mut client = second.client("demo").unwrap();
        let _ = client.start_call(b"old", PATIENCE).unwrap();
        let Ok(Incoming::Call { call, .. }) = recv(&mut server) else {
            panic!("no call");
        };
        client.send(b"never received", PATIENCE).unwrap();
        std::mem::forget(client); // It dies.
        let third = join(&heap, 2);
        let mut client = third.client("demo").unwrap();
        client.send(b"new", PATIENCE).unwrap();
        if answers_first {
            let answered = server.answer(call, b"late", SHORT);
            assert_eq!(answered, Err(Error::PeerRestarted));
        } else {
            assert_eq!(recv(&mut server), Ok(Incoming::PeerRestarted));
            let answered = server.answer(call, b"late", SHORT);
            assert_eq!(answered, Err(Error::CallerRestarted));
        }
        assert_eq!(recv(&mut server), Ok(Incoming::Message { len: 3 }));
        assert_eq!(
            server.discarded(),
            1,
            "the old command that was not received"
        );
        server.send(b"hello", PATIENCE).unwrap();
        let got = client.recv(&mut [0; 64], SHORT);
        assert_eq!(got, Ok(Received::Message(5)));
    }
}

#[test]
fn a_restart_of_the_server_is_reported_to_the_client_once() {
    for sends_first in [false, true] {
        let heap = memory();
        let (first, second) = (create(&heap), join(&heap, 2));
        let mut server = second.server("demo").unwrap();
        let mut client = first.client("demo").unwrap();
        client.send(b"1", PATIENCE).unwrap();
        recv(&mut server).unwrap();
        server.send(b"from the old one", PATIENCE).unwrap();
        std::mem::forget(server);
        let third = join(&heap, 2);
        let mut server = third.server("demo").unwrap();
        server.send(b"from the new one", PATIENCE).unwrap();
        let mut buffer = [0; 64];
        if sends_first {
            let sent = client.send(b"2", PATIENCE);
            assert_eq!(sent, Err(Error::PeerRestarted));
        } else {
            // A result stays valid after its server is gone.
            let got = client.recv(&mut buffer, SHORT);
            assert_eq!(got, Ok(Received::Message(16)));
            assert_eq!(&buffer[..16], b"from the old one");
            let got = client.recv(&mut buffer, SHORT);
            assert_eq!(got, Ok(Received::PeerRestarted));
        }
        assert_eq!(client.recv(&mut buffer, SHORT), Ok(Received::Message(16)));
        assert_eq!(&buffer[..16], b"from the new one");
        client.send(b"3", PATIENCE).unwrap();
        assert_eq!(recv(&mut server), Ok(Incoming::Message { len: 1 }));
        let passed_over = u32::from(sends_first);
        assert_eq!(client.discarded(), passed_over);
    }
}

#[test]
fn a_call_fails_when_its_server_is_restarted_or_leaves() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut client = first.client("demo").unwrap();
    let mut buffer = [0; 64];

    let server = second.server("demo").unwrap();
    let started = client.start_call(b"1", PATIENCE).unwrap();
    std::mem::forget(server);
    let third = join(&heap, 2);
    let server = third.server("demo").unwrap();
    let ended = client.finish_call(started, &mut buffer, PATIENCE);
    assert_eq!(ended, Err(Error::AnswerLost));

    // The restart is reported once. The next call is for the new server, which leaves.
    let started = client.start_call(b"2", PATIENCE).unwrap();
    drop(server);
    let ended = client.finish_call(started, &mut buffer, PATIENCE);
    assert_eq!(ended, Err(Error::PeerGone));
    assert!(client.server_is_gone());
}

#[test]
fn an_answer_sent_before_the_server_left_is_received() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut client = first.client("demo").unwrap();
    let mut server = second.server("demo").unwrap();
    let started = client.start_call(b"1", PATIENCE).unwrap();
    let Ok(Incoming::Call { call, .. }) = recv(&mut server) else {
        panic!("no call");
    };
    server.answer(call, b"done", PATIENCE).unwrap();
    drop(server);
    drop(second);
    let mut buffer = [0; 64];
    assert_eq!(client.finish_call(started, &mut buffer, PATIENCE), Ok(4));
    assert_eq!(&buffer[..4], b"done");
}

#[test]
fn a_restart_of_a_peer_that_exchanged_no_message_is_not_reported() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    std::mem::forget(second.server("demo").unwrap());
    let mut client = first.client("demo").unwrap();
    let third = join(&heap, 2);
    let mut server = third.server("demo").unwrap();
    client.send(b"1", PATIENCE).unwrap();
    assert_eq!(recv(&mut server), Ok(Incoming::Message { len: 1 }));
    server.send(b"2", PATIENCE).unwrap();
    let got = client.recv(&mut [0; 64], SHORT);
    assert_eq!(got, Ok(Received::Message(1)));
}

#[test]
fn an_evicted_session_and_its_channels_report_the_eviction() {
    let heap = memory();
    let first = create(&heap);
    let second = join(&heap, 2);
    let mut client = second.client("demo").unwrap();
    let again = join(&heap, 2); // The operator was wrong: the first incarnation is alive.
    assert_eq!(again.incarnation().number(), 2);
    assert_eq!(second.beat(), Err(Error::Evicted));
    let refused = second.client("another").map(drop);
    assert_eq!(refused, Err(Error::Evicted));
    let taken = again.client("demo").unwrap();
    assert_eq!(client.send(b"late", SHORT), Err(Error::Evicted));
    assert_eq!(client.recv(&mut [0; 8], SHORT), Err(Error::Evicted));
    drop(client);
    drop(second);
    assert_eq!(
        again.check(),
        Ok(()),
        "an evicted session does not mark its successor as left"
    );
    drop(taken);
    drop(first);
}

#[test]
fn a_session_reports_that_its_region_was_formatted_again_and_stores_nothing() {
    let heap = memory();
    let first = create(&heap);
    let mut client = first.client("demo").unwrap();
    let second = create(&heap);
    assert_eq!(client.send(b"late", SHORT), Err(Error::Reformatted));
    assert_eq!(client.recv(&mut [0; 8], SHORT), Err(Error::Reformatted));
    assert_eq!(first.beat(), Err(Error::Reformatted));
    drop(client);
    drop(first);
    assert_eq!(second.check(), Ok(()));
}

/// Returns the error of joining memory that `prepare` has changed.
fn join_error(prepare: impl Fn(&Heap)) -> Error {
    let heap = memory();
    prepare(&heap);
    let joined = Session::join(heap.window(), 2, &SPINNING).map(drop);
    joined.expect_err("it cannot be joined")
}

#[test]
fn joining_unusable_memory_fails_with_the_reason() {
    use shmem_core::primitive::Ordering::Relaxed;
    use shmem_core::region::AttachError;
    let nothing = join_error(|_| {});
    assert_eq!(nothing, Error::Region(AttachError::NotARegion { magic: 0 }));
    assert!(nothing.is_early());
    let other = join_error(|heap| {
        drop(create(heap));
        heap.window().word(4).store(99, Relaxed);
    });
    assert_eq!(other, Error::Region(AttachError::Version { found: 99 }));
    assert!(!other.is_early());
    let short = Heap::new(64);
    let refused = Session::create(short.window(), 1, &SPINNING).map(drop);
    assert!(matches!(
        refused,
        Err(Error::Region(AttachError::TooShort { .. }))
    ));
    let tiny = Heap::new(4096);
    let refused = Session::create(tiny.window(), 1, &SPINNING).map(drop);
    assert!(matches!(refused, Err(Error::Registry(_))), "{refused:?}");
}

#[test]
fn joining_under_the_number_of_a_partition_that_is_alive_fails() {
    let heap = memory();
    let first = create(&heap);
    let refused = Session::join(heap.window(), 1, &SPINNING).map(drop);
    assert!(matches!(refused, Err(Error::Join(_))), "{refused:?}");
    let refused = Session::join(heap.window(), 200, &SPINNING).map(drop);
    assert!(matches!(refused, Err(Error::Join(_))), "{refused:?}");
    drop(first);
    let again = SessionOptions::new(1)
        .join(heap.window(), &SPINNING)
        .unwrap();
    assert_eq!(again.incarnation().number(), 2);
}

#[test]
fn an_end_cannot_be_opened_twice_or_with_another_capacity_or_a_bad_name() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let client = first.client("demo").unwrap();
    let refused = second.client("demo").map(drop);
    let holder = first.incarnation();
    assert_eq!(refused, Err(Error::EndTaken { holder }), "two clients");
    let options = shmem_channel::ChannelOptions::default();
    let refused = options
        .command_capacity(4096)
        .server(&second, "demo")
        .map(drop);
    assert!(matches!(refused, Err(Error::Open { .. })), "{refused:?}");
    let refused = options
        .command_capacity(5000)
        .server(&second, "odd")
        .map(drop);
    assert_eq!(refused, Err(Error::Capacity { capacity: 5000 }));
    let refused = second.sender("odd", usize::MAX).map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "a ring cannot have {} bytes: give a power of two from 64 to 1073741824",
            usize::MAX
        )
    );
    let refused = options
        .command_capacity(1 << 20)
        .server(&second, "big")
        .map(drop);
    assert!(matches!(refused, Err(Error::Open { .. })), "{refused:?}");
    for name in ["", "a name of twenty-five bytes"] {
        let refused = second.server(name).map(drop);
        assert!(matches!(refused, Err(Error::Name(_))), "{refused:?}");
    }
    drop(client);
    assert!(second.client("demo").is_ok(), "the end is free again");
}

/// Starts a call and receives it, without an answer.
fn start<'m>(
    client: &mut shmem_channel::Client<'m>,
    server: &mut shmem_channel::Server<'m>,
) -> (PendingCall, Call) {
    let started = client.start_call(b"call", PATIENCE).unwrap();
    loop {
        match recv(server).unwrap() {
            Incoming::PeerRestarted => {}
            Incoming::Call { call, .. } => return (started, call),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_answer_to_an_earlier_clients_call_is_not_taken_as_the_answer_to_a_later_call() {
    for answers_first in [false, true] {
        for restarts in [false, true] {
            let heap = memory();
            let (first, second, third);
            first = create(&heap);
            second = join(&heap, 2);
            let mut server = first.server("demo").unwrap();
            let mut client = second.client("demo").unwrap();
            let (_, mut old) = start(&mut client, &mut server);
            if answers_first {
                server.answer(old, b"old", PATIENCE).unwrap();
                old = start(&mut client, &mut server).1;
            }
            drop(client);
            client = if restarts {
                third = join(&heap, 2);
                third.client("demo").unwrap()
            } else {
                second.client("demo").unwrap()
            };
            let (started, new) = start(&mut client, &mut server);
            let late = server.answer(old, b"old", PATIENCE);
            assert_eq!(late.is_err(), restarts, "{late:?}");
            let mut buffer = [0; 64];
            let early = client.finish_call(started, &mut buffer, SHORT);
            assert_eq!(early, Err(Error::TimedOut), "it is not answered yet");
            server.answer(new, b"new!", PATIENCE).unwrap();
            assert_eq!(client.finish_call(started, &mut buffer, PATIENCE), Ok(4));
            let passed_over = u32::from(answers_first) + u32::from(!restarts);
            assert_eq!(client.discarded(), passed_over);
        }
    }
}

#[test]
fn a_call_to_the_first_server_fails_when_that_server_is_restarted() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut client = first.client("demo").unwrap();
    let started = client.start_call(b"early", PATIENCE).unwrap();
    let mut server = second.server("demo").unwrap();
    assert!(matches!(recv(&mut server), Ok(Incoming::Call { .. })));
    std::mem::forget(server); // It dies before it answers.
    let third = join(&heap, 2);
    let _server = third.server("demo").unwrap();
    let ended = client.finish_call(started, &mut [0; 64], SHORT);
    assert_eq!(ended, Err(Error::AnswerLost));
}

#[test]
fn finishing_a_call_to_a_dead_server_keeps_the_answer_to_a_later_call() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut client = first.client("demo").unwrap();
    let server = second.server("demo").unwrap();
    let dead = client.start_call(b"1", PATIENCE).unwrap();
    std::mem::forget(server);
    let third = join(&heap, 2);
    let mut server = third.server("demo").unwrap();
    let refused = client.start_call(b"2", PATIENCE);
    assert_eq!(refused, Err(Error::PeerRestarted));
    let later = client.start_call(b"2", PATIENCE).unwrap();
    let Ok(Incoming::Call { call, .. }) = recv(&mut server) else {
        panic!("no call");
    };
    server.answer(call, b"two", PATIENCE).unwrap();
    let mut buffer = [0; 64];
    let ended = client.finish_call(dead, &mut buffer, SHORT);
    assert_eq!(ended, Err(Error::AnswerLost));
    assert_eq!(client.finish_call(later, &mut buffer, SHORT), Ok(3));
}

#[test]
fn an_end_that_waits_finds_its_partition_evicted_though_no_one_took_the_end() {
    let heap = memory();
    let (_first, second) = (create(&heap), join(&heap, 2));
    let mut client = second.client("demo").unwrap();
    let mut server = second.server("another").unwrap();
    let mut receiver = second.receiver("events", 64, OnRestart::Keep).unwrap();
    let mut sender = second.sender("full", 64).unwrap();
    while sender.try_send(b"12345678").is_ok() {}
    let call = client.start_call(b"1", PATIENCE).unwrap();

    let _again = join(&heap, 2);
    let mut buffer = [0; 8];
    let evicted = Some(Error::Evicted);
    assert_eq!(recv(&mut server).err(), evicted);
    let finished = client.finish_call(call, &mut buffer, PATIENCE);
    assert_eq!(finished.err(), evicted);
    assert_eq!(client.recv(&mut buffer, PATIENCE).err(), evicted);
    assert_eq!(receiver.recv(&mut buffer, PATIENCE).err(), evicted);
    assert_eq!(receiver.wait_for(PATIENCE).err(), evicted);
    assert_eq!(sender.send(b"12345678", PATIENCE).err(), evicted);
}

#[test]
fn an_end_can_be_used_after_its_session_left() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    let mut server = second.server("demo").unwrap();
    drop(second);
    assert_eq!(recv(&mut server), Err(Error::TimedOut));
    let mut client = first.client("demo").unwrap();
    client.send(b"1", PATIENCE).unwrap();
    assert_eq!(recv(&mut server), Ok(Incoming::Message { len: 1 }));
}

#[test]
fn an_evicted_session_cannot_open_an_end_that_is_free() {
    let heap = memory();
    let (first, second) = (create(&heap), join(&heap, 2));
    drop(first.client("demo").unwrap()); // This creates the rings.
    let _again = join(&heap, 2);
    assert_eq!(second.client("demo").map(drop), Err(Error::Evicted));
    assert_eq!(second.server("demo").map(drop), Err(Error::Evicted));
    assert!(first.server("demo").is_ok(), "the end is free");
}
