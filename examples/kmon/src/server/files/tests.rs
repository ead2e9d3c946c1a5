//! Copies with a real guestd while its console is used, as a server does for several clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kmon_protocol::file::{digest_of, file_status};
use kmon_protocol::link::MonitorLink;
use kmon_protocol::transfer::Failure;
use tempfile::TempDir;

use crate::backend::Programs;
use crate::instance::state::State;
use crate::instance::transfer::{Endpoint, Get, Put, PutFile};
use crate::kind::{External, Kind};
use crate::monitor::{Common, Instance, LogBytes, Monitor, NewInstance};
use crate::notices::Notices;
use crate::rundir::RunDir;

const MIB: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
const GO_ON: &dyn Fn() -> bool = &|| false;

/// An instance whose guestd the test starts.
struct System {
    guestd: Child,
    monitor: Monitor,
    directory: TempDir,
}

impl System {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let region = directory.path().join("region");
        let file = fs::File::create(&region).unwrap();
        file.set_len(MonitorLink::REGION_LEN as u64).unwrap();
        let rundir = RunDir::open(Some(&directory.path().join("run"))).unwrap();
        let nothing = PathBuf::new();
        let monitor = Monitor::new(Common {
            disk_logs: None,
            programs: Programs {
                kmon: nothing.clone(),
                guestd: nothing.clone(),
                ivshmem_server: nothing,
            },
            period: Duration::from_secs(1),
            logs: LogBytes {
                output: MIB,
                kernel: MIB,
            },
            shell: None,
            notices: Notices::new(Box::new(|line| println!("{line}"))),
            rundir: Arc::new(rundir),
        });
        let region = format!("file:{}", region.display());
        let external = External {
            region: region.parse().unwrap(),
            poll: false,
        };
        let wanted = NewInstance {
            kind: Some(Kind::External(external)),
            ..NewInstance::default()
        };
        monitor.load_as(2, wanted).unwrap();
        let shell = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells/sh");
        let mut guestd = Command::new(guestd());
        guestd.args([
            "--foreground",
            "--wait",
            "30",
            "--region",
            &region,
            "--shell",
            shell,
        ]);
        let system = Self {
            guestd: guestd.stdin(Stdio::null()).spawn().unwrap(),
            monitor,
            directory,
        };
        let runs = |view: &mut crate::instance::shared::View| view.state == State::Running;
        assert!(system.instance().shared.wait_until(PATIENCE, runs));
        system
    }

    fn instance(&self) -> Arc<Instance> {
        self.monitor.instance(2).unwrap()
    }

    fn endpoint(&self) -> Endpoint {
        let instance = self.instance();
        Endpoint::new(2, &instance.shared, &instance.outbox)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn type_in(&self, text: &str) {
        let outbox = &self.instance().outbox;
        let incarnation = outbox.incarnation();
        assert!(outbox.put_input(text.as_bytes(), incarnation, PATIENCE));
    }

    /// Types a line, and returns how long its output took. Shows the output meanwhile, as a console
    /// does.
    fn echo_time(&self, number: usize) -> Duration {
        let shared = &self.instance().shared;
        let expected = format!("key-{number}-");
        let mut shown = Vec::new();
        let typed = Instant::now();
        self.type_in(&format!("echo ke''y-{number}-\r"));
        let has_echo = shared.wait_until(PATIENCE, |view| {
            let (from, bytes) = view.log.read(view.log.seen(), usize::MAX);
            view.log.mark_seen(from + bytes.len() as u64);
            shown.extend(bytes);
            let has = shown
                .windows(expected.len())
                .any(|part| part == expected.as_bytes());
            shown.drain(..shown.len().saturating_sub(expected.len()));
            has
        });
        assert!(has_echo, "no echo");
        typed.elapsed()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.guestd.kill();
        let _ = self.guestd.wait();
        self.monitor.halt_all();
    }
}

/// Returns the guest daemon that `GUESTD` names, or the one in cargo's target directory.
fn guestd() -> PathBuf {
    if let Some(path) = std::env::var_os("GUESTD") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let mut places = test.ancestors().skip(1).map(|place| place.join("guestd"));
    let found = places.find(|path| path.is_file());
    found.expect("guestd is built: run the tests with `cargo xtask test`")
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * at) >> 9) as u8).collect()
}

fn file<'a>(path: &'a Path, content: &[u8]) -> PutFile<'a> {
    PutFile {
        path: path.as_os_str().as_encoded_bytes(),
        size: content.len() as u64,
        mode: 0o640,
        source: [1; 32],
    }
}

fn put(endpoint: &Endpoint, path: &Path, content: &[u8]) {
    let file = file(path, content);
    let (mut put, (held, _)) = Put::open(endpoint, &file, GO_ON).unwrap();
    put.start(held).unwrap();
    put.write(&content[held as usize..]).unwrap();
    put.finish(digest_of(content)).unwrap();
}

fn open<'a>(endpoint: &'a Endpoint, path: &Path) -> Get<'a> {
    let (mut get, status) =
        Get::open(endpoint, path.as_os_str().as_encoded_bytes(), GO_ON).unwrap();
    assert_eq!(status, file_status(&fs::metadata(path).unwrap()));
    assert_eq!(get.start(0, digest_of(b"")).unwrap(), 0);
    get
}

fn read_all(mut get: Get<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = get.read().unwrap() {
        bytes.extend(chunk);
    }
    assert_eq!(get.finish().unwrap(), digest_of(&bytes));
    bytes
}

#[test]
fn a_key_is_answered_within_a_second_during_copies_and_a_flood() {
    let system = System::start();
    let bytes = content(8 * MIB);
    let (there, from) = (system.path("there"), system.path("from"));
    fs::write(&from, &bytes).unwrap();
    system.instance().shared.lock().attached = true;
    system.type_in("yes flood &\r");
    let (endpoint, done) = (system.endpoint(), AtomicBool::new(false));
    let mut echoes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                put(&endpoint, &there, &bytes);
                fs::remove_file(&there).unwrap();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(read_all(open(&endpoint, &from)) == bytes);
            }
        });
        for number in 0..10 {
            echoes.push(system.echo_time(number));
        }
        done.store(true, Ordering::Relaxed);
        // Otherwise the copies wait for the console.
        system.instance().shared.lock().attached = false;
    });
    system.type_in("kill %1\r");
    echoes.sort();
    println!("echoes: {echoes:?}");
    // A busy machine may delay one of them.
    assert!(
        echoes[echoes.len() / 2] < Duration::from_secs(1),
        "{echoes:?}"
    );
}

#[test]
fn a_client_that_takes_nothing_delays_neither_the_console_nor_other_copies() {
    let system = System::start();
    let bytes = content(4 * MIB);
    let from = system.path("from");
    fs::write(&from, &bytes).unwrap();
    let (endpoint, other) = (system.endpoint(), system.endpoint());
    let stopped = open(&endpoint, &from);
    for number in 0..3 {
        assert!(system.echo_time(number) < PATIENCE);
        assert!(read_all(open(&other, &from)) == bytes);
    }
    // It lost nothing.
    assert!(read_all(stopped) == bytes);
}

#[test]
fn a_copy_that_is_stopped_can_be_continued_at_once() {
    let system = System::start();
    let bytes = content(4 * MIB);
    let (there, endpoint) = (system.path("there"), system.endpoint());
    let is_stopped = AtomicBool::new(false);
    let stop = || is_stopped.load(Ordering::Relaxed);
    let wanted = file(&there, &bytes);
    let (mut first, (held, _)) = Put::open(&endpoint, &wanted, &stop).unwrap();
    first.start(held).unwrap();
    first.write(&bytes[..3 * MIB]).unwrap();
    is_stopped.store(true, Ordering::Relaxed);
    let stopped = first.write(&bytes[3 * MIB..]).unwrap_err();
    assert_eq!(stopped.failure, Failure::Cancelled);
    drop(first);
    let (_, (held, digest)) = Put::open(&endpoint, &wanted, GO_ON).unwrap();
    assert!(held >= 2 * MIB as u64, "{held}");
    assert_eq!(digest, digest_of(&bytes[..held as usize]));
    put(&endpoint, &there, &bytes);
    assert!(fs::read(&there).unwrap() == bytes);
}

#[test]
fn a_copy_fails_when_guestd_dies() {
    let mut system = System::start();
    let bytes = content(4 * MIB);
    let (there, endpoint) = (system.path("there"), system.endpoint());
    let wanted = file(&there, &bytes);
    let (mut put, (held, _)) = Put::open(&endpoint, &wanted, GO_ON).unwrap();
    put.start(held).unwrap();
    put.write(&bytes[..MIB]).unwrap();
    system.guestd.kill().unwrap();
    let failed = put.write(&bytes[MIB..]).unwrap_err();
    assert!(
        failed.reason.starts_with("instance 2 is silent"),
        "{failed}"
    );
    assert!(!there.exists());
}
