//! Events that occur while an end waits: before it sleeps, while it sleeps, or while it asks the
//! platform for its peer's state.

mod support;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shmem_channel::{
    Client, Error, Incoming, Platform, Server, Session, SessionOptions, WakeReason, FOREVER,
};
use shmem_core::primitive::AtomicU32 as Word;
use shmem_core::{Incarnation, PartitionState};
use shmem_registry::Registry;
use support::{create, memory, PATIENCE, SHORT};

type Hook<'a> = Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>;

/// Runs the hook, if it is set; returns true if it was.
fn run_once(hook: &Hook<'_>) -> bool {
    let hook = hook.lock().unwrap().take();
    hook.map(|hook| hook()).is_some()
}

/// A platform whose clock advances by a microsecond at each read, and by the sleep's time at each
/// sleep. It runs a hook at the first sleep, or when it is asked for a partition's state.
#[derive(Default)]
struct TestPlatform<'a> {
    micros: AtomicU32,
    sleeps: AtomicU32,
    wakes: AtomicU32,
    at_sleep: Hook<'a>,
    at_state: Hook<'a>,
    is_gone: Arc<AtomicU32>,
}

/// The longest sleep between two checks.
const RECHECK: Duration = Duration::from_millis(20);

impl Platform for TestPlatform<'_> {
    fn now(&self) -> Duration {
        Duration::from_micros(self.micros.fetch_add(1, Relaxed).into())
    }

    fn sleep(&self, _: &Word, _: u32, longest: Duration) {
        assert!(longest <= RECHECK, "{longest:?}");
        self.sleeps.fetch_add(1, Relaxed);
        if !run_once(&self.at_sleep) {
            self.micros.fetch_add(longest.as_micros() as u32, Relaxed);
        }
    }

    fn wake(&self, _: &Word, _: WakeReason) {
        self.wakes.fetch_add(1, Relaxed);
    }

    fn state(&self, _: &Registry<'_>, _: Incarnation) -> PartitionState {
        run_once(&self.at_state);
        match self.is_gone.load(Relaxed) {
            0 => PartitionState::Alive,
            _ => PartitionState::Gone,
        }
    }
}

fn set<'a>(hook: &Hook<'a>, action: impl FnOnce() + Send + 'a) {
    *hook.lock().unwrap() = Some(Box::new(action));
}

fn answer(server: &mut Server<'_>, answer: &[u8]) {
    match server.recv(&mut [0; 64], SHORT) {
        Ok(Incoming::Call { call, .. }) => server.answer(call, answer, SHORT).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Makes the first call, which uses the ring. The next one uses the call line.
fn first_call(client: &mut Client<'_>, server: &mut Server<'_>) {
    let started = client.start_call(b"first", SHORT).unwrap();
    answer(server, b"first");
    assert_eq!(client.finish_call(started, &mut [0; 8], SHORT), Ok(5));
}

#[test]
fn a_call_in_the_line_wakes_a_sleeping_server_which_receives_it_at_once() {
    let heap = memory();
    let clients = TestPlatform::default();
    let first = Session::create(heap.window(), 1, &clients).unwrap();
    let client = Mutex::new(first.client("demo").unwrap());
    let servers = TestPlatform::default();
    let second = SessionOptions::new(2).join(heap.window(), &servers);
    let second = second.unwrap();
    let mut server = second.server("demo").unwrap();
    first_call(&mut client.lock().unwrap(), &mut server);
    set(&servers.at_sleep, || {
        let before = clients.wakes.load(Relaxed);
        let _ = client.lock().unwrap().start_call(b"?", SHORT).unwrap();
        assert_eq!(clients.wakes.load(Relaxed), before + 1);
    });
    let received = server.recv(&mut [0; 8], FOREVER);
    assert!(matches!(received, Ok(Incoming::Call { len: 1, .. })));
    assert_eq!(servers.sleeps.load(Relaxed), 1);
}

#[test]
fn an_answer_in_the_line_wakes_a_sleeping_client_which_receives_it_at_once() {
    for len in [1, 40] {
        let heap = memory();
        let servers = TestPlatform::default();
        let first = Session::create(heap.window(), 1, &servers).unwrap();
        let server = Mutex::new(first.server("demo").unwrap());
        let clients = TestPlatform::default();
        let second = SessionOptions::new(2).join(heap.window(), &clients);
        let second = second.unwrap();
        let mut client = second.client("demo").unwrap();
        first_call(&mut client, &mut server.lock().unwrap());
        let started = client.start_call(b"?", SHORT).unwrap();
        set(&clients.at_sleep, || {
            let before = servers.wakes.load(Relaxed);
            answer(&mut server.lock().unwrap(), &vec![1; len]);
            assert_eq!(servers.wakes.load(Relaxed), before + 1);
        });
        let finished = client.finish_call(started, &mut [0; 64], FOREVER);
        assert_eq!(finished, Ok(len));
        assert_eq!(clients.sleeps.load(Relaxed), 1);
    }
}

#[test]
fn a_client_sleeps_while_it_waits_for_an_answer_that_was_moved_to_the_ring() {
    let heap = memory();
    let first = create(&heap);
    let mut server = first.server("demo").unwrap();
    let clients = TestPlatform::default();
    let second = SessionOptions::new(2).join(heap.window(), &clients);
    let second = second.unwrap();
    let mut client = second.client("demo").unwrap();
    first_call(&mut client, &mut server);
    let slow = client.start_call(b"line", SHORT).unwrap();
    let _ = client.start_call(b"ring", SHORT).unwrap();
    for _ in 0..2 {
        server.recv(&mut [0; 8], SHORT).unwrap();
    }
    let timeout = Duration::from_millis(100);
    let start = clients.now();
    let finished = client.finish_call(slow, &mut [0; 8], timeout);
    assert_eq!(finished, Err(Error::TimedOut));
    let sleeps = clients.sleeps.load(Relaxed);
    assert!(
        (5..10).contains(&sleeps),
        "100 ms in sleeps of 20 ms: {sleeps}"
    );
    let took = clients.now() - start;
    assert!(took < timeout + Duration::from_millis(1), "{took:?}");
}

#[test]
fn an_answer_stored_in_the_line_just_before_the_server_died_is_received() {
    let heap = memory();
    let first = create(&heap);
    let server = Mutex::new(first.server("demo").unwrap());
    let clients = TestPlatform::default();
    let second = SessionOptions::new(2).join(heap.window(), &clients);
    let second = second.unwrap();
    let mut client = second.client("demo").unwrap();
    first_call(&mut client, &mut server.lock().unwrap());
    let started = client.start_call(b"?", SHORT).unwrap();
    let (server, is_gone) = (&server, Arc::clone(&clients.is_gone));
    set(&clients.at_state, move || {
        answer(&mut server.lock().unwrap(), b"!");
        is_gone.store(1, Relaxed);
    });
    let finished = client.finish_call(started, &mut [0; 8], PATIENCE);
    assert_eq!(finished, Ok(1));
}

#[test]
fn a_client_notices_before_and_between_its_sleeps_that_its_server_is_gone() {
    for is_gone_before in [true, false] {
        let heap = memory();
        let first = create(&heap);
        let mut server = first.server("demo").unwrap();
        let clients = TestPlatform::default();
        let second = SessionOptions::new(2).join(heap.window(), &clients);
        let second = second.unwrap();
        let mut client = second.client("demo").unwrap();
        first_call(&mut client, &mut server);
        let started = client.start_call(b"?", SHORT).unwrap();
        let is_gone = Arc::clone(&clients.is_gone);
        match is_gone_before {
            true => is_gone.store(1, Relaxed),
            false => set(&clients.at_sleep, move || is_gone.store(1, Relaxed)),
        }
        let finished = client.finish_call(started, &mut [0; 8], PATIENCE);
        assert_eq!(finished, Err(Error::PeerGone));
        // The sleep in which the server died, and the rest of that part of the wait.
        let sleeps = clients.sleeps.load(Relaxed);
        assert!(sleeps <= if is_gone_before { 0 } else { 2 }, "{sleeps}");
    }
}
