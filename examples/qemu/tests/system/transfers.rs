//! All bytes arrive, and as they were sent.

use crate::common::{Fed, becomes_true};
use crate::guests::{Guests, digest, guest, home_of};

const LEN: usize = 10 << 20;

fn start(kmon: &mut Fed) -> String {
    let made = "dd if=/dev/urandom of=/tmp/bytes bs=65536 count=160 2> /dev/null";
    kmon.sh(2, made);
    let said = kmon.exec(2, "sha256sum /tmp/bytes");
    said.split_whitespace().next().unwrap().to_owned()
}

/// Returns the bytes between two marks.
fn between<'a>(bytes: &'a [u8], from: &[u8], to: &[u8]) -> Option<&'a [u8]> {
    let find = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|part| part == mark);
    let start = find(bytes, from)? + from.len();
    let rest = bytes[start..].get(LEN..)?;
    rest.starts_with(to).then(|| &bytes[start..start + LEN])
}

#[test]
fn ten_megabytes_come_through_a_command_unchanged() {
    let home = home_of(&[guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    let expected = start(&mut kmon);
    let bytes = kmon.ask("kmexec 2 -- cat /tmp/bytes");
    assert_eq!((bytes.len(), digest(&bytes)), (LEN, expected));
    assert_eq!(kmon.list(2)["dropped_bytes"], 0);
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn ten_megabytes_come_through_the_console_and_the_log_unchanged() {
    let home = home_of(&[guest("log_bytes = 33554432")]);
    let mut kmon = Fed::start_in(&home, &[]);
    let expected = start(&mut kmon);
    // The terminal in the guest would make two bytes of each line end.
    let script = "kmconsole 2 --settle 100\n\
                  stty -opost; echo begin-$((1+1)); cat /tmp/bytes; echo end-$((1+1))\n\
                  kmexitconsole";
    let printed = kmon.ask(script);
    let bytes = between(&printed, b"begin-2\n", b"end-2\n").expect("all of it");
    assert_eq!(digest(bytes), expected);
    // The same while no console is open.
    let script = "stty -opost < /dev/pts/0; echo begin-$((2+2)); cat /tmp/bytes; echo end-$((2+2))";
    kmon.print(2, script);
    let mut log = Vec::new();
    let came = becomes_true(|| {
        log = kmon.ask("kmlog 2");
        log.ends_with(b"end-4\n")
    });
    assert!(came, "{} bytes came", log.len());
    let bytes = between(&log, b"begin-4\n", b"end-4\n").expect("all of it");
    assert_eq!(digest(bytes), expected);
    let log = kmon.ask("kmlog 2 --all");
    for (from, to) in [(b"begin-2\n", b"end-2\n"), (b"begin-4\n", b"end-4\n")] {
        let kept = between(&log, from, to).expect("all of it");
        assert_eq!(digest(kept), expected);
    }
    assert_eq!(kmon.list(2)["dropped_bytes"], 0);
    assert_eq!(kmon.leave("quit"), Some(0));
}
