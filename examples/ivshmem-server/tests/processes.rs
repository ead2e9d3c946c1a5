//! Two processes that share memory and notify each other.

mod common;

use std::sync::Arc;

use common::{PATIENCE, Program, changes, serve};
use ivshmem_server::Client;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::{Incarnation, Region};
use shmem_sync::EventWait;

const CAPACITY: usize = 4096;

fn ring<'m>(region: &Region<'m>, which: usize) -> Ring<'m> {
    let len = Ring::segment_len(CAPACITY);
    Ring::attach(region.body().sub(which * len, len).unwrap()).unwrap()
}

/// The record that `ivshmem-peer answer` sends back: a count, and the number of the asking peer.
fn record(client: &Client, count: u32) -> [u8; 8] {
    let mut record = [0; 8];
    record[..4].copy_from_slice(&count.to_le_bytes());
    record[4..6].copy_from_slice(&client.id().to_le_bytes());
    record
}

#[test]
fn records_and_interrupts_pass_in_both_directions_between_sleeping_processes() {
    const ROUNDS: u32 = 10_000;
    let served = serve(1, 4);
    let mut client = served.client();
    let mut answering = Program::peer(&served.path(), &["answer"]);
    answering.line("peer 1 answers");
    assert_eq!(changes(&mut client, 1), ["+1"]);
    let memory = Arc::clone(client.memory());
    let region = Region::format(memory.window()).unwrap();
    let mut there = ring(&region, 0)
        .claim_producer(Incarnation::first(1))
        .unwrap();
    let back = ring(&region, 1).claim_consumer(Incarnation::first(1), OnRestart::Keep);
    let mut back = back.unwrap();
    let own = Arc::clone(client.own(0).unwrap());
    let bell = Arc::clone(client.bell(1, 0).unwrap());
    client.ring(1, 0);
    for count in 0..ROUNDS {
        there.push(&record(&client, count)).unwrap();
        there.notify(bell.as_ref()).unwrap();
        // Without a check before the sleep: the interrupt must wake us.
        assert!(back.wait(&mut EventWait::timeout(&own, PATIENCE)));
        let mut got = [0; 8];
        assert_eq!(back.pop(&mut got), Ok(8));
        assert_eq!(got, record(&client, count));
    }
    answering.finish();
    assert_eq!(changes(&mut client, 1), ["-1"]);
}

#[test]
fn a_pinging_process_measures_its_round_trips() {
    let served = serve(1, 4);
    let mut answering = Program::peer(&served.path(), &["answer"]);
    answering.line("peer 0 answers");
    // A later peer formats the memory again, and is answered too.
    for _ in 0..2 {
        let mut pinging = Program::peer(&served.path(), &["ping", "0", "--count", "500"]);
        let line = pinging.line("500 round trips");
        assert!(line.contains("p50") && line.contains("p99"));
        assert!(pinging.child.wait().unwrap().success());
    }
    answering.finish();
}

#[test]
fn a_watching_process_reports_joins_rings_and_leaves() {
    let served = serve(2, 4);
    let mut watching = Program::peer(&served.path(), &["--vectors", "2", "watch"]);
    watching.line("we are peer 0; memory 65536 bytes");
    let ringing = Program::peer(&served.path(), &["--vectors", "2", "ring", "0", "1"]);
    ringing.finish();
    watching.line("vector 1 was rung");
    // It joined and left in this order, before, around or after the ring.
    served.left(1);
    let second = served.client();
    watching.line("peer 2 joined");
    drop(second);
    watching.line("peer 2 left");
    watching.finish();
}
