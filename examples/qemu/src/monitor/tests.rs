//! Tests the connection with a simulated QEMU.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(30);

struct Stage {
    monitor: Monitor,
    listener: UnixListener,
    process: Arc<Process>,
    _directory: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.process.kill();
        self.process.reap();
    }
}

fn stage() -> Stage {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    let listener = UnixListener::bind(&path).unwrap();
    let child = Command::new("sleep").arg("100").spawn().unwrap();
    let process = Arc::new(Process::from_child(child).unwrap());
    Stage {
        monitor: Monitor::connect(&path, Arc::clone(&process)).unwrap(),
        listener,
        process,
        _directory: directory,
    }
}

/// QEMU's end of one connection.
struct Qemu(BufReader<UnixStream>);

impl Qemu {
    /// Accepts the next connection, and reports `status`.
    fn greet(stage: &Stage, status: &str) -> Self {
        let mut qemu = Self(BufReader::new(stage.listener.accept().unwrap().0));
        qemu.send(&json!({ "QMP": {} }));
        qemu.answer("qmp_capabilities", "return", &json!({}));
        qemu.answer("query-status", "return", &json!({ "status": status }));
        qemu
    }

    fn send(&mut self, line: &Value) {
        writeln!(self.0.get_ref(), "{line}").unwrap();
    }

    fn receive(&mut self, command: &str) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["execute"], command);
        line["id"].clone()
    }

    fn answer(&mut self, command: &str, how: &str, value: &Value) {
        let id = self.receive(command);
        self.send(&json!({ how: value, "id": id }));
    }
}

fn await_event(monitor: &Monitor) -> Event {
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        if let Some(event) = monitor.next_event() {
            return event;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("no event");
}

#[test]
fn a_caller_with_an_answer_sees_the_state_after_it() {
    let stage = stage();
    assert_eq!(stage.monitor.status(), Status::Starting);
    let error = stage.monitor.execute("stop", Value::Null).unwrap_err();
    assert_eq!(error.to_string(), "there is no connection to QEMU");
    let mut qemu = Qemu::greet(&stage, "running");
    stage.monitor.wait_for_start(LONG);
    assert_eq!(stage.monitor.status(), Status::Running);
    let player = thread::spawn(move || {
        let id = qemu.receive("stop");
        qemu.send(&json!({ "event": "STOP" }));
        qemu.send(&json!({ "return": {}, "id": id }));
        qemu.answer("cont", "error", &json!({ "desc": "not now" }));
        qemu
    });
    stage.monitor.execute("stop", Value::Null).unwrap();
    assert_eq!(stage.monitor.status(), Status::Paused);
    let error = stage.monitor.execute("cont", Value::Null).unwrap_err();
    assert_eq!(error.to_string(), "QEMU refuses `cont`: not now");
    player.join().unwrap();
}

#[test]
fn a_panic_is_not_reported_as_a_pause() {
    let stage = stage();
    let mut qemu = Qemu::greet(&stage, "running");
    stage.monitor.wait_for_start(LONG);
    qemu.send(&json!({ "event": "GUEST_PANICKED", "data": { "action": "pause" } }));
    qemu.send(&json!({ "event": "STOP" }));
    assert_eq!(await_event(&stage.monitor), Event::Panicked);
    assert_eq!(await_event(&stage.monitor), Event::Stopped);
    assert_eq!(stage.monitor.status(), Status::Panicked);
}

#[test]
fn a_command_without_an_answer_is_an_error_and_the_next_command_works() {
    let stage = stage();
    let mut qemu = Qemu::greet(&stage, "running");
    stage.monitor.wait_for_start(LONG);
    let error = stage.monitor.execute("stop", Value::Null).unwrap_err();
    assert_eq!(error.to_string(), "QEMU does not answer `stop`");
    let player = thread::spawn(move || {
        qemu.answer("stop", "error", &json!({ "desc": "late" }));
        qemu.answer("cont", "return", &json!({}));
        qemu
    });
    stage.monitor.execute("cont", Value::Null).unwrap();
    player.join().unwrap();
}

#[test]
fn a_broken_connection_is_made_again() {
    let stage = stage();
    drop(Qemu::greet(&stage, "running"));
    let _qemu = Qemu::greet(&stage, "guest-panicked");
    assert_eq!(await_event(&stage.monitor), Event::Lost);
    let deadline = Instant::now() + LONG;
    while stage.monitor.status() != Status::Panicked {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn unread_events_are_bounded() {
    let stage = stage();
    let mut qemu = Qemu::greet(&stage, "running");
    let reset = json!({ "event": "RESET", "data": { "guest": true } });
    for _ in 0..=EVENTS {
        qemu.send(&reset);
    }
    qemu.send(&json!({ "event": "STOP" }));
    let deadline = Instant::now() + LONG;
    while stage.monitor.status() != Status::Paused {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
    let events: Vec<_> = std::iter::from_fn(|| stage.monitor.next_event()).collect();
    assert_eq!(events.len(), EVENTS);
    assert_eq!(events.last(), Some(&Event::Stopped));
}
