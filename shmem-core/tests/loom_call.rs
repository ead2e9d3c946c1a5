//! Models of the call line: every order in which the accesses of a client and a server can
//! be seen.
#![cfg(loom)]

use loom::thread;
use shmem_core::call::{CallLine, Found, SEGMENT_LEN};
use shmem_core::mem::Heap;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::Incarnation;

fn line() -> CallLine<'static> {
    CallLine::attach(Heap::leaked(SEGMENT_LEN).window()).unwrap()
}

/// Waits for `call`, and answers with the bytes of the command.
fn serve(line: &CallLine<'_>, call: u32) {
    while line.command_len(call).unwrap().is_none() {
        thread::yield_now();
    }
    assert_eq!(line.command_len(call), Ok(Some(8)));
    let mut command = [0; 8];
    line.receive(call, &mut command);
    assert_eq!(command, [call as u8; 8]);
    line.answer(call, &command);
}

#[test] // Kills: Release in `finish`, Acquire in `find`, of the command.
fn a_command_is_whole_when_it_is_found() {
    loom::model(|| {
        let line = line();
        let client = thread::spawn(move || line.ask(1, &[1; 8]));
        if line.command_len(1) == Ok(Some(8)) {
            let mut command = [0; 8];
            line.receive(1, &mut command);
            assert_eq!(command, [1; 8]);
        }
        client.join().unwrap();
    });
}

#[test] // Kills: Release in `finish`, Acquire in `find`, of the answer.
fn an_answer_is_whole_when_it_is_found() {
    loom::model(|| {
        let line = line();
        line.ask(1, &[1; 8]);
        let server = thread::spawn(move || serve(&line, 1));
        if line.find_answer(1) == Ok(Some(Found::Here(8))) {
            let mut answer = [0; 8];
            line.read_answer(&mut answer);
            assert_eq!(answer, [1; 8]);
        }
        server.join().unwrap();
    });
}

#[test] // Kills: Acquire in `is_free`; Release in `finish`, of the answer.
fn a_free_line_was_read_by_the_server() {
    loom::model(|| {
        let line = line();
        line.ask(1, &[1; 8]);
        let server = thread::spawn(move || serve(&line, 1));
        if line.is_free() {
            line.ask(2, &[2; 8]); // Into bytes that the server does not read any more.
        }
        server.join().unwrap();
    });
}

#[test] // Kills: Release in `finish`, of a call that is discarded.
fn a_discarded_call_is_not_answered_in_the_line() {
    loom::model(|| {
        let line = line();
        line.ask(1, &[1; 8]);
        serve(&line, 1);
        line.ask(2, &[2; 8]);
        let client = thread::spawn(move || {
            let answered = line.find_answer(2).unwrap();
            assert!(matches!(answered, None | Some(Found::Elsewhere)));
        });
        assert_eq!(line.discard(), Some(2), "no server received it");
        client.join().unwrap();
    });
}

#[test]
fn a_server_that_finds_a_message_finds_the_call_before_it() {
    loom::model(|| {
        let line = line();
        let ring = Ring::attach(Heap::leaked(Ring::segment_len(64)).window()).unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let client = thread::spawn(move || {
            line.ask(1, &[1; 8]);
            producer.push(&[]).unwrap();
            core::mem::forget(producer);
        });
        if !consumer.is_empty() {
            assert_eq!(line.command_len(1), Ok(Some(8)));
        }
        client.join().unwrap();
    });
}
