//! Peers that join, leave, are killed, or do not read.

mod common;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use common::{
    PATIENCE, Program, changes, is_readable, serve, take_rings, wait_readable, wait_until, word,
};
use ivshmem_server::{Change, Client, ClientError, Event};
use rustix::io::{FdFlags, fcntl_getfd};

#[test]
fn peers_are_informed_of_joins_and_of_leaves_in_every_order() {
    const ORDERS: [[usize; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    let served = serve(2, 8);
    let mut watcher = served.client();
    for order in ORDERS {
        let mut peers: Vec<_> = (0..3).map(|_| Some(served.client())).collect();
        let ids: Vec<_> = peers.iter().flatten().map(Client::id).collect();
        let joined: Vec<_> = ids.iter().map(|id| format!("+{id}")).collect();
        assert_eq!(changes(&mut watcher, 3), joined);
        assert!(watcher.peers().eq(ids.iter().copied()));
        for which in order {
            peers[which] = None;
            assert_eq!(changes(&mut watcher, 1), [format!("-{}", ids[which])]);
        }
        assert_eq!(watcher.peers().count(), 0);
    }
}

#[test]
fn peers_that_leave_at_the_same_time_are_all_reported() {
    let served = serve(1, 8);
    let mut watcher = served.client();
    let peers = [served.client(), served.client(), served.client()];
    changes(&mut watcher, 3);
    drop(peers);
    let mut left = changes(&mut watcher, 3);
    left.sort_unstable();
    assert_eq!(left, ["-1", "-2", "-3"]);
}

#[test]
fn a_client_knows_the_peers_that_joined_before_it() {
    let served = serve(2, 8);
    let (first, second) = (served.client(), served.client());
    let third = served.client();
    assert!(third.peers().eq([first.id(), second.id()]));
    assert!(third.own(1).is_some() && third.own(2).is_none());
    assert!(!third.ring(first.id(), 2) && !third.ring(third.id(), 0) && !third.ring(77, 0));
}

#[test]
fn a_ring_reaches_only_its_peer_and_vector() {
    let served = serve(2, 8);
    let (first, second, third) = (served.client(), served.client(), served.client());
    assert!(third.ring(first.id(), 1));
    assert!(third.ring(first.id(), 1));
    assert!(third.ring(second.id(), 0));
    assert_eq!(take_rings(first.own(1).unwrap()), 2);
    assert_eq!(take_rings(second.own(0).unwrap()), 1);
    for quiet in [first.own(0), second.own(1), third.own(0), third.own(1)] {
        assert!(!is_readable(quiet.unwrap()));
    }
}

#[test]
fn no_descriptor_of_a_client_is_inherited() {
    let served = serve(1, 8);
    let (first, second) = (served.client(), served.client());
    let bell = second.bell(first.id(), 0).unwrap();
    for descriptor in [bell.as_fd(), second.as_fd(), second.memory().as_fd()] {
        assert!(fcntl_getfd(descriptor).unwrap().contains(FdFlags::CLOEXEC));
    }
}

#[test]
fn a_peer_that_is_killed_has_left() {
    let served = serve(1, 8);
    let mut watcher = served.client();
    let mut process = Program::peer(&served.path(), &["watch"]);
    process.line("we are peer 1");
    assert_eq!(changes(&mut watcher, 1), ["+1"]);
    process.kill();
    assert_eq!(changes(&mut watcher, 1), ["-1"]);
    assert_eq!(served.left(1), "it closed its connection");
}

#[test]
fn a_peer_that_never_reads_is_dropped_and_delays_no_other() {
    let served = serve(2, 4);
    let mut unread = served.raw();
    let mut watcher = served.client();
    let (mut seen, mut expected) = (Vec::new(), Vec::new());
    let mut why = None;
    while why.is_none() {
        assert!(expected.len() < 1000, "never dropped");
        let id = served.client().id();
        expected.extend([format!("+{id}"), format!("-{id}")]);
        while !seen.contains(&format!("-{id}")) {
            seen.extend(changes(&mut watcher, 1));
        }
        why = served.event(|event| match event {
            Event::Left { peer: 0, why } => Some(Some(why.to_string())),
            Event::Left { peer, .. } => (peer == id).then_some(None),
            _ => None,
        });
    }
    assert!(why.unwrap().contains("it does not read"));
    // The other client has received every change.
    while !seen.contains(&"-0".to_owned()) {
        seen.extend(changes(&mut watcher, 1));
    }
    seen.retain(|change| change != "-0");
    assert_eq!(seen, expected);
    // What was sent to the dropped peer is still complete; then the connection ends.
    wait_until("the end", || unread.next().is_none());
}

#[test]
fn a_peer_that_reads_late_receives_everything() {
    let served = serve(1, 16);
    let mut late = served.raw();
    let guests: Vec<_> = (0..10).map(|_| served.client()).collect();
    assert_eq!(late.numbers(4).last(), Some(&(0, true)));
    let joined: Vec<_> = guests
        .iter()
        .map(|guest| (i64::from(guest.id()), true))
        .collect();
    assert_eq!(late.numbers(10), joined);
}

#[test]
fn peers_notify_each_other_after_the_server_is_gone() {
    let mut served = serve(1, 8);
    let (mut first, second) = (served.client(), served.client());
    served.stop();
    assert_eq!(changes(&mut first, 2), ["+1", "lost"]);
    assert!(!first.is_connected() && first.update().is_empty());
    assert!(first.ring(second.id(), 0));
    assert_eq!(take_rings(second.own(0).unwrap()), 1);
}

/// Returns the error of a client whose server sends `bytes` and ends.
fn joined_to(bytes: &[i64]) -> ClientError {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect(&path, 1, PATIENCE));
        let (mut stream, _) = listener.accept().unwrap();
        for number in bytes {
            stream.write_all(&number.to_le_bytes()).unwrap();
        }
        drop(stream);
        client.join().unwrap().unwrap_err()
    })
}

#[test]
fn a_client_rejects_a_server_that_breaks_the_protocol() {
    assert!(matches!(joined_to(&[]), ClientError::Closed));
    assert!(matches!(joined_to(&[1]), ClientError::Version(1)));
    assert!(matches!(joined_to(&[0, -1]), ClientError::Number(-1)));
    let too_high = joined_to(&[0, 65536]);
    assert!(matches!(too_high, ClientError::Number(65536)));
    let no_memory = joined_to(&[0, 5, -1]);
    assert!(matches!(no_memory, ClientError::Descriptor(-1)));
    let not_memory = joined_to(&[0, 5, i64::MIN]);
    assert!(matches!(not_memory, ClientError::Number(i64::MIN)));
}

/// Returns a client whose server is this test.
fn client_of_this_test() -> (UnixStream, Client) {
    let served = serve(1, 8);
    let mut raw = served.raw();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect(&path, 1, PATIENCE));
        let (stream, _) = listener.accept().unwrap();
        // Passes on the messages of a real server.
        for _ in 0..4 {
            let (number, descriptor) = raw.next().unwrap();
            common::pass_on(&stream, number, descriptor.as_ref());
        }
        (stream, client.join().unwrap().unwrap())
    })
}

#[test]
fn a_disconnect_of_an_unknown_peer_ends_the_connection() {
    for number in [3, 0, -1, 1 << 40] {
        let (mut server, mut client) = client_of_this_test();
        server.write_all(&i64::to_le_bytes(number)).unwrap();
        wait_readable(&client);
        let changes = client.update();
        assert_eq!(changes.iter().map(word).collect::<Vec<_>>(), ["lost"]);
        assert!(matches!(
            changes[0],
            Change::Lost(ClientError::Number(_) | ClientError::Descriptor(_))
        ));
        // The client keeps what it has.
        assert!(client.own(0).is_some());
    }
}

#[test]
fn eventfds_beyond_the_wanted_ones_are_closed() {
    let served = serve(3, 8);
    let first = served.client();
    let small = Client::connect(&served.path(), 1, PATIENCE).unwrap();
    assert!(small.bell(first.id(), 0).is_some() && small.bell(first.id(), 1).is_none());
    assert!(small.own(1).is_none());
}

#[test]
fn a_server_that_gives_too_few_vectors_is_reported() {
    let served = serve(1, 8);
    let error = Client::connect(&served.path(), 2, Duration::from_millis(100)).unwrap_err();
    assert!(matches!(
        error,
        ClientError::TimedOut {
            given: 0 | 1,
            wanted: 2
        }
    ));
    assert!(error.to_string().contains("of 2 vectors in time"));
}
