//! Tests copies of files in both directions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kmon_protocol::file::file_status;
use kmon_protocol::transfer::{Digest, Entry, Failure, FileKind, FileStatus, Report, Request};
use kmon_protocol::{Command, Sent};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::monitor::{Instance, PATIENCE, SH};

const MIB: usize = 1 << 20;
const SOURCE: Digest = [5; 32];
/// Bytes that this side has room for.
const WINDOW: u64 = 512 << 10;

/// The reports of one copy.
#[derive(Default, Debug)]
pub(crate) struct Copied {
    status: Option<FileStatus>,
    held: Option<(u64, Digest)>,
    started: Option<u64>,
    data: Vec<u8>,
    credit: u64,
    end: Option<Digest>,
    ending: Option<Result<(), (Failure, String)>>,
}

impl Copied {
    pub(crate) fn note(&mut self, report: Report<'_>) {
        assert_eq!(self.ending, None, "{report:?} after the end");
        match report {
            Report::Status(status) => self.status = Some(status),
            Report::Held { offset, digest } => self.held = Some((offset, digest)),
            Report::Started { offset } => self.started = Some(offset),
            Report::Data { offset, bytes } => {
                let end = self.started.unwrap() + self.data.len() as u64;
                assert_eq!(offset, end, "a record is missing");
                self.data.extend_from_slice(bytes);
            }
            Report::Credit { position } => self.credit = position,
            Report::End { digest } => self.end = Some(digest),
            Report::Done => self.ending = Some(Ok(())),
            Report::Failed { failure, reason } => self.ending = Some(Err((failure, reason))),
        }
    }

    fn failure(&self) -> Failure {
        let error = self.ending.clone().unwrap().unwrap_err();
        assert!(!error.1.contains('\n'), "{error:?}");
        error.0
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * at) >> 9) as u8).collect()
}

fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.collect()
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

impl Instance {
    fn copied(&mut self, stream: u32) -> &mut Copied {
        self.seen.copies.entry(stream).or_default()
    }

    /// Sends a request, after waiting for room.
    fn request(&mut self, stream: u32, request: Request<'_>) {
        let command = Command::Transfer { stream, request };
        let deadline = Instant::now() + PATIENCE;
        while self.try_to_send(&command) != Sent::Whole {
            assert!(Instant::now() < deadline, "no room for {command:?}");
            self.take();
        }
    }

    fn until_copied(&mut self, stream: u32, done: impl Fn(&Copied) -> bool) {
        self.until("report", |seen| {
            done(seen.copies.entry(stream).or_default())
        });
    }

    /// Waits for the end of a copy.
    fn copy_ended(&mut self, stream: u32) -> &Copied {
        self.until_copied(stream, |copied| copied.ending.is_some());
        self.copied(stream)
    }

    /// Begins to put a file of `content`, where an earlier copy ended. Returns where.
    fn begin_put(&mut self, stream: u32, path: &Path, content: &[u8], mode: u32) -> usize {
        let (path, size) = (bytes(path), content.len() as u64);
        let source = SOURCE;
        self.request(
            stream,
            Request::Put {
                path,
                size,
                mode,
                source,
            },
        );
        self.until_copied(stream, |copied| {
            copied.held.is_some() || copied.ending.is_some()
        });
        let Some((offset, digest)) = self.copied(stream).held else {
            return 0;
        };
        assert_eq!(digest, self::digest(&content[..offset as usize]));
        self.request(stream, Request::Start { offset, digest });
        offset as usize
    }

    /// Sends `content[from..to]` as the instance allows it.
    fn send_data(&mut self, stream: u32, content: &[u8], mut from: usize, to: usize) {
        while from < to {
            self.until_copied(stream, |copied| {
                copied.credit > from as u64 || copied.ending.is_some()
            });
            if self.copied(stream).ending.is_some() {
                return;
            }
            let allowed = (self.copied(stream).credit as usize).min(to);
            let len = (allowed - from).min(Request::MAX_DATA);
            let bytes = &content[from..from + len];
            let offset = from as u64;
            self.request(stream, Request::Data { offset, bytes });
            from += len;
        }
    }

    fn put(&mut self, stream: u32, path: &Path, content: &[u8], mode: u32) -> &Copied {
        let from = self.begin_put(stream, path, content, mode);
        self.send_data(stream, content, from, content.len());
        let digest = digest(content);
        self.request(stream, Request::Finish { digest });
        self.copy_ended(stream)
    }

    /// Receives data to the end of the copy.
    fn receive_data(&mut self, stream: u32, offset: u64, digest: Digest) {
        self.request(stream, Request::Start { offset, digest });
        let mut position = 0;
        loop {
            let copied = self.copied(stream);
            if copied.ending.is_some() {
                return;
            }
            let end = copied.started.unwrap_or(0) + copied.data.len() as u64 + WINDOW;
            if end >= position + WINDOW / 2 {
                position = end;
                self.request(stream, Request::Credit { position });
            }
            self.take();
        }
    }

    fn get(&mut self, stream: u32, path: &Path) -> &Copied {
        let path = bytes(path);
        self.request(stream, Request::Get { path });
        self.until_copied(stream, |copied| {
            copied.status.is_some() || copied.ending.is_some()
        });
        self.receive_data(stream, 0, digest(b""));
        self.copied(stream)
    }
}

#[test]
fn a_file_arrives_whole_with_its_mode_in_both_directions() {
    let directory = tempfile::tempdir().unwrap();
    let mut instance = Instance::start();
    let cases = [(0, 0o600), (1, 0o444), (4096, 0o755), (3 * MIB + 7, 0o4710)];
    for (stream, (len, wanted)) in (1..).step_by(2).zip(cases) {
        let path = directory.path().join(format!("file {len}"));
        let content = content(len);
        let copied = instance.put(stream, &path, &content, wanted);
        assert_eq!(copied.ending, Some(Ok(())));
        assert!(fs::read(&path).unwrap() == content);
        assert_eq!(mode(&path), wanted);

        let copied = instance.get(stream + 1, &path);
        assert_eq!(copied.ending, Some(Ok(())));
        assert!(copied.data == content);
        assert_eq!(copied.end, Some(digest(&content)));
        let expected = file_status(&fs::metadata(&path).unwrap());
        assert_eq!(copied.status, Some(expected));
    }
    assert!(
        names(&directory)
            .iter()
            .all(|name| name.starts_with("file "))
    );
}

#[test]
fn a_put_continues_after_the_daemon_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "old").unwrap();
    let content = content(6 * MIB);
    let mut instance = Instance::start();
    let from = instance.begin_put(1, &path, &content, 0o640);
    assert_eq!(from, 0);
    instance.send_data(1, &content, 0, 4 * MIB);
    instance.kill_daemon();
    assert_eq!(fs::read(&path).unwrap(), b"old");

    instance.run_daemon(SH);
    instance.until("second incarnation", |seen| seen.incarnation == Some(2));
    let from = instance.begin_put(2, &path, &content, 0o640);
    assert!((2 * MIB..=4 * MIB).contains(&from), "{from}");
    instance.send_data(2, &content, from, content.len());
    let digest = digest(&content);
    instance.request(2, Request::Finish { digest });
    assert_eq!(instance.copy_ended(2).ending, Some(Ok(())));
    assert!(fs::read(&path).unwrap() == content);
    assert_eq!(names(&directory), ["file"]);
}

#[test]
fn a_get_continues_only_after_the_bytes_that_the_receiver_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let content = content(MIB);
    fs::write(&path, &content).unwrap();
    let mut instance = Instance::start();
    for (stream, prefix, from) in [(1, &content[..MIB / 2], MIB / 2), (2, &content[1..], 0)] {
        let path = bytes(&path);
        instance.request(stream, Request::Get { path });
        instance.until_copied(stream, |copied| copied.status.is_some());
        instance.receive_data(stream, MIB as u64 / 2, digest(prefix));
        let copied = instance.copied(stream);
        assert_eq!(copied.started, Some(from as u64));
        assert!(copied.data == content[from..]);
        assert_eq!(copied.end, Some(digest(&content)));
    }
}

#[test]
fn wrong_bytes_leave_the_target_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "old").unwrap();
    let mut instance = Instance::start();
    let content = content(2 * MIB);
    instance.begin_put(1, &path, &content, 0o600);
    instance.send_data(1, &content, 0, content.len());
    let digest = digest(b"something else");
    instance.request(1, Request::Finish { digest });
    assert_eq!(instance.copy_ended(1).failure(), Failure::Mismatch);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(&directory), ["file"]);
    // What was wrong is not used again.
    assert_eq!(instance.put(2, &path, &content, 0o600).ending, Some(Ok(())));
}

#[test]
fn data_that_were_not_allowed_end_only_their_own_copy() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut instance = Instance::start();
    let whole = content(2 * MIB);
    instance.begin_put(1, &path("one"), &whole, 0o600);
    instance.begin_put(2, &path("two"), &whole, 0o600);
    for (offset, bytes) in [(1 << 40, &b"far"[..]), (0, b"more")] {
        instance.request(2, Request::Data { offset, bytes });
    }
    assert_eq!(instance.copy_ended(2).failure(), Failure::Protocol);
    instance.send_data(1, &whole, 0, whole.len());
    let digest = digest(&whole);
    instance.request(1, Request::Finish { digest });
    assert_eq!(instance.copy_ended(1).ending, Some(Ok(())));
}

#[test]
fn what_cannot_be_copied_is_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut instance = Instance::start();
    let missing = directory.path().join("no/file");
    let content = b"x";
    assert_eq!(
        instance.put(1, &missing, content, 0o600).failure(),
        Failure::NotFound
    );
    let target = directory.path();
    assert_eq!(
        instance.put(2, target, content, 0o600).failure(),
        Failure::IsDirectory
    );
    assert_eq!(instance.get(3, &missing).failure(), Failure::NotFound);
    assert_eq!(instance.get(4, target).failure(), Failure::IsDirectory);
    assert_eq!(
        instance.get(5, Path::new("/dev/zero")).failure(),
        Failure::Other
    );
    let through_file = Path::new("/etc/passwd/file");
    assert_eq!(
        instance.put(6, through_file, content, 0o600).failure(),
        Failure::NotDirectory
    );
    assert!(names(&directory).is_empty());
}

#[test]
fn a_file_beyond_the_limit_of_the_daemon_is_an_error_and_the_daemon_lives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let mut instance = Instance::empty();
    let guestd = instance.guestd(["--foreground", "--shell", SH]);
    let mut limited = crate::monitor::through_shell(
        "ulimit -f 1024; exec \"$0\" \"$@\"",
        &guestd,
        instance.memory,
    );
    instance.daemon = Some(limited.stderr(Stdio::piped()).spawn().unwrap());
    instance.until("hello", |seen| seen.incarnation.is_some());
    let content = content(4 * MIB);
    assert_eq!(
        instance.put(1, &path, &content, 0o600).failure(),
        Failure::NoSpace
    );
    assert!(!path.exists());
    assert_eq!(instance.run(2, "echo alive").out, b"alive\n");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_sent_as_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, content(4 * MIB)).unwrap();
    let mut instance = Instance::start();
    instance.request(1, Request::Get { path: bytes(&path) });
    instance.until_copied(1, |copied| copied.status.is_some());
    let (offset, digest) = (0, digest(b""));
    instance.request(1, Request::Start { offset, digest });
    instance.request(1, Request::Credit { position: 4096 });
    instance.until_copied(1, |copied| copied.data.len() == 4096);
    fs::write(&path, content(4 * MIB + 1)).unwrap();
    instance.request(1, Request::Credit { position: u64::MAX });
    assert_eq!(instance.copy_ended(1).failure(), Failure::Changed);
}

#[test]
fn a_directory_is_listed_made_and_gets_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut instance = Instance::start();
    let made = path("made");
    for stream in [1, 2] {
        let request = Request::MakeDirectory {
            path: bytes(&made),
            mode: 0o750,
        };
        instance.request(stream, request);
        assert_eq!(instance.copy_ended(stream).ending, Some(Ok(())));
    }
    assert_eq!(mode(&made), 0o750);
    let request = Request::SetMode {
        path: bytes(&made),
        mode: 0o500,
    };
    instance.request(3, request);
    assert_eq!(instance.copy_ended(3).ending, Some(Ok(())));
    assert_eq!(mode(&made), 0o500);

    fs::write(path("file"), "").unwrap();
    std::os::unix::fs::symlink("file", path("link")).unwrap();
    instance.request(
        4,
        Request::List {
            path: bytes(directory.path()),
        },
    );
    instance.receive_data(4, 0, digest(b""));
    let list = Entry::decode_all(&instance.copied(4).data).unwrap();
    let list: Vec<_> = list.iter().map(|one| (&*one.name, one.kind)).collect();
    let expected = [
        (&b"file"[..], FileKind::File),
        (b"link", FileKind::Link),
        (b"made", FileKind::Directory),
    ];
    assert_eq!(list, expected);

    instance.request(
        5,
        Request::Status {
            path: bytes(&path("link")),
        },
    );
    let status = instance.copy_ended(5).status.clone().unwrap();
    assert_eq!((status.kind, status.size), (FileKind::File, 0));
}

#[test]
fn a_relative_path_begins_at_the_users_directory() {
    let mut instance = Instance::start();
    let home = String::from_utf8(instance.run(1, "pwd").out.clone()).unwrap();
    instance.request(2, Request::Status { path: b"." });
    let status = instance.copy_ended(2).status.clone().unwrap();
    let expected = fs::metadata(home.trim()).unwrap();
    assert_eq!(status.source, file_status(&expected).source);
}

#[test]
fn the_seventeenth_concurrent_copy_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut instance = Instance::start();
    for stream in 1..=16 {
        let path = directory.path().join(format!("{stream}"));
        instance.begin_put(stream, &path, b"x", 0o600);
    }
    let path = directory.path().join("17");
    instance.begin_put(17, &path, b"x", 0o600);
    assert_eq!(instance.copy_ended(17).failure(), Failure::Busy);
    for stream in 1..=16 {
        instance.request(stream, Request::Cancel);
        assert_eq!(instance.copy_ended(stream).failure(), Failure::Cancelled);
    }
    assert_eq!(instance.put(18, &path, b"x", 0o600).ending, Some(Ok(())));
}

#[test]
fn the_copies_of_an_earlier_kmon_end_and_can_be_continued() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let content = content(4 * MIB);
    let mut instance = Instance::start();
    instance.begin_put(1, &path, &content, 0o600);
    instance.send_data(1, &content, 0, 3 * MIB);
    instance.restart_kmon();
    instance.until("greeting", |seen| seen.incarnation == Some(1));
    // The lock shows that the first copy has ended.
    let deadline = Instant::now() + PATIENCE;
    for stream in 2.. {
        instance.begin_put(stream, &path, &content, 0o600);
        let Some((held, _)) = instance.copied(stream).held else {
            assert_eq!(instance.copied(stream).failure(), Failure::Busy);
            assert!(Instant::now() < deadline, "the first copy does not end");
            continue;
        };
        assert!(held >= MIB as u64, "{held}");
        break;
    }
}

/// Types a line, and returns how long its output took.
fn echo_time(instance: &mut Instance, number: usize) -> Duration {
    let typed = Instant::now();
    instance.type_in(&format!("echo ke''y-{number}-\r"));
    let expected = format!("key-{number}-");
    instance.until_printed(&expected);
    // The search must not become slow.
    instance.seen.console.clear();
    typed.elapsed()
}

#[test]
fn a_key_is_answered_soon_while_files_are_copied_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let content = content(8 * MIB);
    fs::write(path("from"), &content).unwrap();
    let mut instance = Instance::start();
    instance.request(
        2,
        Request::Get {
            path: bytes(&path("from")),
        },
    );
    instance.until_copied(2, |copied| copied.status.is_some());
    let (offset, digest) = (0, digest(b""));
    instance.request(2, Request::Start { offset, digest });
    let mut put = instance.begin_put(1, &path("to"), &content, 0o600);
    let mut echoes = Vec::new();
    while put < content.len() {
        let next = (put + 256 * 1024).min(content.len());
        let position = instance.copied(2).data.len() as u64 + WINDOW;
        instance.request(2, Request::Credit { position });
        instance.send_data(1, &content, put, next);
        put = next;
        echoes.push(echo_time(&mut instance, put));
    }
    echoes.sort();
    println!("echoes: {echoes:?}");
    // A busy machine may delay one of them.
    assert!(
        echoes[echoes.len() / 2] < Duration::from_secs(1),
        "{echoes:?}"
    );
    assert!(instance.copied(2).data.len() > MIB, "both were copied");
}
