//! The programs of the documentation run, and say what they say when the peer dies.
#![cfg(feature = "linux")]

use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A program of `examples/`, which cargo builds with the tests.
fn program(name: &str) -> Command {
    let test = env::current_exe().unwrap();
    let built: PathBuf = test.ancestors().nth(2).unwrap().join("examples").join(name);
    Command::new(built)
}

/// A child that is killed at the end of its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn says(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_processes_ask_and_answer_and_learn_of_each_others_death() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let region = directory.path().join("region");
    let start = || {
        let mut server = program("server");
        Running(server.arg(&region).stdout(Stdio::null()).spawn().unwrap())
    };
    let ask = |word: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let output = program("client").arg(&region).arg(word).output().unwrap();
            // The region may not be there yet.
            if output.status.success() || Instant::now() > deadline {
                return String::from_utf8(output.stdout).unwrap();
            }
            sleep(Duration::from_millis(10));
        }
    };
    let server = start();
    assert_eq!(ask("hello"), "HELLO\n");
    assert_eq!(ask("again"), "AGAIN\n", "another client");
    drop(server);
    let asked = Instant::now();
    assert_eq!(ask("gone"), "the server died before it answered\n");
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "not at the deadline"
    );
    let _server = start();
    let deadline = Instant::now() + Duration::from_secs(30);
    // Until it has formatted the region anew, the old one is there.
    while ask("back") != "BACK\n" {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn a_vendors_guest_asks_its_hypervisor() {
    assert_eq!(says(&mut program("vendor")), "7.1\n");
}

#[test]
fn a_counter_survives_one_that_dies_inside_its_mutex() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let region = directory.path().join("region");
    let session = shmem_channel::Session::create_file(&region, 1 << 20, 1).unwrap();
    let counter = |number: &str| {
        let mut program = program("counter");
        program.arg(&region).arg(number);
        program
    };
    assert_eq!(says(&mut counter("2")), "1\n");
    assert_eq!(says(&mut counter("3")), "2\n");
    // A partition that leaves inside, half-way through.
    let dying = shmem_channel::Session::join_file(&region, 4).unwrap();
    let mutex = dying.mutex::<[u64; 2]>("counts").unwrap();
    let mut guard = mutex.try_lock(&mut dying.liveness()).unwrap();
    guard.update(|[begun, _]| *begun += 1);
    std::mem::forget(guard);
    drop(dying);
    assert_eq!(says(&mut counter("2")), "3\n");
    drop(session);
}
