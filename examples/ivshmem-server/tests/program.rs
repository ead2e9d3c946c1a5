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

/// What it says when it fails: one line.
fn failure(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn pid(program: &Program) -> Pid {
    Pid::from_child(&program.child)
}

/// A server with memory of its own that serves already.
fn server_at(socket: &Path) -> Program {
    let mut server = Program::server(&["--socket", text(socket), "--memory", "64K"]);
    server.line("serves");
    server
}

#[test]
fn each_peer_that_joins_and_leaves_is_a_line() {
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
fn a_signal_ends_it_cleanly_and_its_files_go() {
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
        // Written before it served us.
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
fn the_socket_of_a_living_server_is_refused_and_it_sees_nobody() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let _server = server_at(&socket);
    let client = Client::connect(&socket, 1, PATIENCE).unwrap();
    let said = failure(&["--socket", text(&socket), "--memory", "64K"]);
    assert!(said.contains("a server lives at") && said.contains("end it first"));
    // No number was spent on the one that looked.
    let next = Client::connect(&socket, 1, PATIENCE).unwrap();
    assert_eq!((client.id(), next.id()), (0, 1));
}

#[test]
fn of_many_servers_that_start_at_a_dead_socket_one_serves() {
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
        assert!(line.contains("serves") || line.contains("a server lives at"));
        serving += usize::from(line.contains("serves"));
    }
    assert_eq!(serving, 1);
    Client::connect(&socket, 1, PATIENCE).unwrap();
}

#[test]
fn while_another_server_starts_in_the_directory_nothing_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    server_at(&socket).kill();
    let directory = fs::File::open(home.path()).unwrap();
    directory.lock().unwrap();
    let said = failure(&["--socket", text(&socket), "--memory", "64K"]);
    assert!(said.contains("cannot lock the directory of the socket"));
    assert!(socket.exists());
}

#[test]
fn a_name_that_is_a_newer_servers_stays_at_the_end() {
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
fn a_restarted_server_has_the_same_memory_and_clients_join_it_anew() {
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
    // They go on without it, and with the next one, side by side.
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
fn a_daemon_serves_when_its_caller_ends_and_says_it_all_in_its_log() {
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
    // A second one does not take the first one's files.
    let second = failure(&[
        "--socket",
        text(&socket),
        "--memory",
        "64K",
        "--pid-file",
        text(&pid_file),
    ]);
    assert!(second.contains("a server lives at"));
    kill_process(pid, Signal::TERM).unwrap();
    wait_until("the daemon's end", || !pid_file.exists());
    wait_until("the socket's end", || !socket.exists());
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("serves memory without a name") && said.contains("peer 0 joined"));
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&home.path().join(name)).to_owned();
    fs::write(at("file"), "not a socket").unwrap();
    let said = failure(&["--socket", &at("file"), "--memory", "64K"]);
    assert!(said.contains("is no socket"));
    assert_eq!(fs::read(at("file")).unwrap(), b"not a socket");

    let memory = format!("file:{}", at("file"));
    let said = failure(&["--socket", &at("socket"), "--memory", &memory]);
    assert!(said.contains("the memory has 12 bytes; a PCI device needs a power of two"));

    let memory = format!("file:{}", at("none"));
    let said = failure(&["--socket", &at("socket"), "--memory", &memory]);
    assert!(said.contains("--size SIZE makes what is not there") && said.contains("No such file"));

    let arguments = [
        "--socket",
        &at("socket"),
        "--memory",
        "64K",
        "--size",
        "64K",
    ];
    assert!(failure(&arguments).contains("--size is for"));

    let said = failure(&["--socket", &at(&"long".repeat(40)), "--memory", "64K"]);
    assert!(said.contains("longer than 107 bytes"));

    let said = failure(&["--socket", &at("no/socket"), "--memory", "64K"]);
    assert!(said.contains("No such file"), "{said}");
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
fn more_peers_than_there_may_be_open_files_are_refused_at_the_start() {
    let server = env!("CARGO_BIN_EXE_ivshmem-server");
    let line = format!("ulimit -n 100; exec {server} --socket s --memory 64K --peers 60");
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the limit is 100: raise it"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_without_descriptors_to_spare_goes_on_when_it_has_some() {
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
    // It waited, and is served now.
    assert_eq!(raw.numbers(2), [(0, false), (1, false)]);
    assert_eq!(first.id(), 0);
}
