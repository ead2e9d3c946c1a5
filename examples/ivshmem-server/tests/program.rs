//! The program: its socket, its memory, its end, its errors.

mod common;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

use common::{PATIENCE, Program, Raw, changes, take_rings, wait_until};
use ivshmem_server::Client;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use shmem_core::primitive::Ordering::Relaxed;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs the server's program to its end.
fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ivshmem-server"));
    command.args(arguments).output().unwrap()
}

/// Returns its error message, which must be one line.
fn failure(arguments: &[&str]) -> String {
    let output = run(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

fn pid(program: &Program) -> Pid {
    Pid::from_child(&program.child)
}

/// Starts a server with memory of its own, and waits until it serves.
fn server_at(socket: &Path) -> Program {
    let mut server = Program::server(&["--socket", text(socket), "--memory", "64K"]);
    server.line("serves");
    server
}

#[test]
fn each_join_and_each_leave_is_logged_as_one_line() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let mut server = server_at(&socket);
    let client = Client::connect(&socket, 1, PATIENCE).unwrap();
    let ours = format!("peer 0 joined: process {}", std::process::id());
    assert!(server.line("joined").ends_with(&ours));
    drop(client);
    let left = server.line("left");
    assert!(left.ends_with("peer 0 left: it closed its connection"));
}

#[test]
fn a_signal_ends_it_and_removes_its_files() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let home = tempfile::tempdir().unwrap();
        let (socket, pid_file) = (home.path().join("socket"), home.path().join("pid"));
        let mut server = Program::server(&[
            "--socket",
            text(&socket),
            "--memory",
            "64K",
            "--pid-file",
            text(&pid_file),
        ]);
        server.line("serves");
        let mut raw = Raw::connect(&socket);
        raw.numbers(4);
        // It is written before the server serves a client.
        let written = fs::read_to_string(&pid_file).unwrap();
        assert_eq!(written.trim(), server.child.id().to_string());
        kill_process(pid(&server), signal).unwrap();
        assert!(server.child.wait().unwrap().success());
        assert!(!socket.exists() && !pid_file.exists());
        assert!(raw.next().is_none());
    }
}

#[test]
fn the_socket_of_a_dead_server_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let mut dead = server_at(&socket);
    dead.kill();
    assert!(socket.exists() && UnixStream::connect(&socket).is_err());
    let _server = server_at(&socket);
    Client::connect(&socket, 1, PATIENCE).unwrap();
}

#[test]
fn the_socket_of_a_living_server_is_refused_and_that_server_notices_nothing() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let _server = server_at(&socket);
    let client = Client::connect(&socket, 1, PATIENCE).unwrap();
    let message = failure(&["--socket", text(&socket), "--memory", "64K"]);
    assert!(message.contains("a server already runs at") && message.contains("end it first"));
    // The check used no number.
    let next = Client::connect(&socket, 1, PATIENCE).unwrap();
    assert_eq!((client.id(), next.id()), (0, 1));
}

#[test]
fn one_of_many_servers_that_start_at_a_dead_socket_serves() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    server_at(&socket).kill();
    let start = |_| {
        let arguments = ["--socket", text(&socket), "--memory", "64K"];
        Program::server(&arguments)
    };
    let mut servers: Vec<_> = (0..6).map(start).collect();
    let mut serving = 0;
    for server in &mut servers {
        let line = server.line("");
        assert!(line.contains("serves") || line.contains("a server already runs at"));
        serving += usize::from(line.contains("serves"));
    }
    assert_eq!(serving, 1);
    Client::connect(&socket, 1, PATIENCE).unwrap();
}

#[test]
fn no_socket_is_replaced_while_another_server_starts_in_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    server_at(&socket).kill();
    let directory = fs::File::open(home.path()).unwrap();
    directory.lock().unwrap();
    let message = failure(&["--socket", text(&socket), "--memory", "64K"]);
    assert!(message.contains("cannot lock the directory of the socket"));
    assert!(socket.exists());
}

#[test]
fn an_ending_server_leaves_the_socket_of_a_newer_one() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let mut older = server_at(&socket);
    fs::remove_file(&socket).unwrap();
    let _newer = server_at(&socket);
    kill_process(pid(&older), Signal::TERM).unwrap();
    assert!(older.child.wait().unwrap().success());
    Client::connect(&socket, 1, PATIENCE).unwrap();
}

#[test]
fn a_restarted_server_has_the_same_memory_and_clients_join_it_again() {
    let home = tempfile::tempdir().unwrap();
    let (socket, file) = (home.path().join("socket"), home.path().join("memory"));
    let memory = format!("file:{}", text(&file));
    let arguments = [
        "--socket",
        text(&socket),
        "--memory",
        &memory,
        "--size",
        "64K",
    ];
    let mut server = Program::server(&arguments);
    server.line("serves");
    let connect = || Client::connect(&socket, 1, PATIENCE).unwrap();
    let (mut first, mut second) = (connect(), connect());
    first.memory().window().word(64).store(0x5ead, Relaxed);
    server.kill();
    assert_eq!(changes(&mut first, 2), ["+1", "lost"]);
    assert_eq!(changes(&mut second, 1), ["lost"]);
    // They work without a server, and also while a new server runs.
    assert!(first.ring(1, 0));
    assert_eq!(take_rings(second.own(0).unwrap()), 1);

    let mut server = Program::server(&arguments);
    server.line("serves");
    let (mut first, second) = (connect(), connect());
    assert_eq!((first.id(), second.id()), (0, 1));
    assert_eq!(second.memory().window().word(64).load(Relaxed), 0x5ead);
    assert_eq!(changes(&mut first, 1), ["+1"]);
    assert!(first.ring(1, 0));
    assert_eq!(take_rings(second.own(0).unwrap()), 1);
}

#[test]
fn a_daemon_serves_after_its_caller_has_ended_and_writes_to_its_log() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let (socket, pid_file, log) = (at("socket"), at("pid"), at("log"));
    let started = run(&[
        "--socket",
        text(&socket),
        "--memory",
        "64K",
        "--pid-file",
        text(&pid_file),
        "--log",
        text(&log),
    ]);
    assert!(started.status.success());
    let pid = fs::read_to_string(&pid_file).unwrap().trim().parse();
    let pid = Pid::from_raw(pid.unwrap()).unwrap();
    let client = Client::connect(&socket, 1, PATIENCE).unwrap();
    assert_eq!(client.id(), 0);
    // A second one does not change the files of the first.
    let second = failure(&[
        "--socket",
        text(&socket),
        "--memory",
        "64K",
        "--pid-file",
        text(&pid_file),
    ]);
    assert!(second.contains("a server already runs at"));
    kill_process(pid, Signal::TERM).unwrap();
    wait_until("the daemon's end", || !pid_file.exists());
    wait_until("the socket's end", || !socket.exists());
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains("serves memory without a name") && logged.contains("peer 0 joined"));
}

#[test]
fn an_impossible_argument_is_reported_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&home.path().join(name)).to_owned();
    fs::write(at("file"), "not a socket").unwrap();
    let message = failure(&["--socket", &at("file"), "--memory", "64K"]);
    assert!(message.contains("is not a socket"));
    assert_eq!(fs::read(at("file")).unwrap(), b"not a socket");

    let memory = format!("file:{}", at("file"));
    let message = failure(&["--socket", &at("socket"), "--memory", &memory]);
    assert!(message.contains("the memory has 12 bytes; a PCI device needs a power of two"));

    let memory = format!("file:{}", at("none"));
    let message = failure(&["--socket", &at("socket"), "--memory", &memory]);
    assert!(message.contains("--size SIZE creates memory") && message.contains("No such file"));

    let arguments = [
        "--socket",
        &at("socket"),
        "--memory",
        "64K",
        "--size",
        "64K",
    ];
    assert!(failure(&arguments).contains("--size is for"));

    let message = failure(&["--socket", &at(&"long".repeat(40)), "--memory", "64K"]);
    assert!(message.contains("longer than 107 bytes"));

    let message = failure(&["--socket", &at("no/socket"), "--memory", "64K"]);
    assert!(message.contains("No such file"), "{message}");
    assert!(!home.path().join("socket").exists());
}

#[test]
fn wrong_usage_is_status_2() {
    for wrong in [
        &["--memory", "64K"][..],
        &["--socket", "s"],
        &["--socket", "s", "--memory", "3M"],
        &["--socket", "s", "--memory", "64K", "--vectors", "0"],
        &["--socket", "s", "--memory", "64K", "--peers", "0"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn limits_that_need_too_many_open_files_are_refused_at_the_start() {
    let server = env!("CARGO_BIN_EXE_ivshmem-server");
    let line = format!("ulimit -n 100; exec {server} --socket s --memory 64K --peers 60");
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("the limit is 100: raise it"), "{message}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_without_free_descriptors_goes_on_when_it_has_some() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let mut server = server_at(&socket);
    let first = Client::connect(&socket, 1, PATIENCE).unwrap();
    let limited = |current| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        Rlimit { current, maximum }
    };
    let few = limited(Some(3));
    let before = prlimit(Some(pid(&server)), Resource::Nofile, few).unwrap();
    let mut raw = Raw::connect(&socket);
    server.line("Too many open files");
    prlimit(Some(pid(&server)), Resource::Nofile, before).unwrap();
    // The connection waited, and is served now.
    assert_eq!(raw.numbers(2), [(0, false), (1, false)]);
    assert_eq!(first.id(), 0);
}
