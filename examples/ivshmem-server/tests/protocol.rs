//! The protocol, seen by a client that uses only bytes and descriptors.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use common::{MEMORY, send_garbage, serve, take_rings};
use ivshmem_server::{Event, Limits};
use shmem_core::Mapping;

#[test]
fn the_first_client_receives_version_number_memory_and_its_own_vectors() {
    let served = serve(2, 8);
    let mut raw = served.raw();
    assert_eq!(raw.numbers(2), [(0, false), (0, false)]);
    let (number, memory) = raw.next().unwrap();
    assert_eq!(number, -1);
    let memory = Mapping::from_fd(memory.unwrap()).unwrap();
    assert_eq!(memory.window().len(), MEMORY);
    assert_eq!(raw.numbers(2), [(0, true), (0, true)]);
}

#[test]
fn a_later_client_receives_the_others_before_its_own_vectors() {
    let served = serve(2, 8);
    let mut first = served.raw();
    first.numbers(5);
    let mut second = served.raw();
    let greeting = second.numbers(7);
    assert_eq!(greeting[..3], [(0, false), (1, false), (-1, true)]);
    assert_eq!(greeting[3..5], [(0, true), (0, true)]);
    assert_eq!(greeting[5..], [(1, true), (1, true)]);
    assert_eq!(first.numbers(2), [(1, true), (1, true)]);
    drop(second);
    assert_eq!(first.numbers(1), [(1, false)]);
}

#[test]
fn others_receive_the_same_eventfd_as_its_peer() {
    let served = serve(3, 8);
    let mut first = served.raw();
    first.numbers(3);
    let own: Vec<_> = (0..3).map(|_| first.next().unwrap().1.unwrap()).collect();
    let mut second = served.raw();
    second.numbers(3);
    for (vector, own) in own.iter().enumerate() {
        let bell = second.next().unwrap().1.unwrap();
        let rings = vector as u64 + 1;
        for _ in 0..rings {
            rustix::io::write(&bell, &1_u64.to_ne_bytes()).unwrap();
        }
        assert_eq!(take_rings(own), rings);
    }
}

#[test]
fn a_client_that_connects_again_has_another_number() {
    let served = serve(1, 2);
    for id in 0..20 {
        let mut raw = served.raw();
        assert_eq!(raw.numbers(2), [(0, false), (id, false)]);
        drop(raw);
        served.left(id.try_into().unwrap());
    }
}

#[test]
fn a_client_beyond_the_limit_is_refused_and_the_others_notice_nothing() {
    let served = serve(1, 2);
    let mut first = served.raw();
    first.numbers(4);
    let second = served.raw();
    first.numbers(1);
    let mut third = served.raw();
    assert!(third.next().is_none());
    let why = served.event(|event| match event {
        Event::Refused(why) => Some(why.to_string()),
        _ => None,
    });
    assert_eq!(why, "there are already 2 peers, which is the limit");
    drop(second);
    assert_eq!(first.numbers(1), [(1, false)]);
    // There is space again.
    let mut fourth = served.raw();
    assert_eq!(fourth.numbers(2), [(0, false), (2, false)]);
}

#[test]
fn a_client_that_sends_is_dropped_and_the_others_are_informed() {
    let served = serve(1, 8);
    let mut quiet = served.raw();
    quiet.numbers(4);
    let mut loud = served.raw();
    loud.numbers(5);
    send_garbage(&mut loud.0);
    assert!(served.left(1).contains("it sent data"));
    assert!(loud.next().is_none());
    assert_eq!(quiet.numbers(2), [(1, true), (1, false)]);
}

#[test]
fn a_client_that_sends_immediately_is_dropped() {
    let served = serve(1, 8);
    let mut loud = UnixStream::connect(served.path()).unwrap();
    send_garbage(&mut loud);
    assert!(served.left(0).contains("it sent data"));
    // The server still serves.
    assert_eq!(served.raw().numbers(2), [(0, false), (1, false)]);
}

#[test]
fn only_its_owner_may_connect() {
    let served = serve(1, 1);
    let mode = served.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_bounds_of_a_server_follow_from_its_limits() {
    let limits = Limits {
        vectors: 2,
        peers: 4,
    };
    assert_eq!(limits.queue(), 2 * (3 + 2 * 4));
    assert_eq!(limits.descriptors(), 8 + 4 * 3 + limits.queue());
}
