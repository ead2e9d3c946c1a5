//! Tests large amounts of output, and a KMON that receives none.

use std::io::Write;
use std::process::{Command as Program, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kmon_protocol::{Command, Ending, Event, Received};

use crate::monitor::{Instance, await_file};

const BYTES: usize = 100_000_000;
/// All lines differ: a byte that is lost, repeated or moved changes the digest.
const GENERATE: &str = "seq 1 12500000 | head -c 100000000";

#[test]
fn a_hundred_megabytes_arrive_whole() {
    let mut instance = Instance::start();
    let mut digest = Program::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sink = digest.stdin.take().unwrap();
    let (mut received, mut ending) = (0, None);
    instance.exec(1, 0, &["sh", "-c", GENERATE]);
    let started = Instant::now();
    while ending.is_none() {
        instance.events.beat().unwrap();
        let note = |_, event: Received<Event<'_>>| match event {
            Received::Message(Event::Stdout { stream: 1, bytes }) => {
                received += bytes.len();
                sink.write_all(bytes).unwrap();
            }
            Received::Message(Event::Ended {
                stream: 1,
                ending: how,
            }) => ending = Some(how),
            Received::Message(Event::Dropped { bytes }) => panic!("{bytes} bytes dropped"),
            _ => {}
        };
        instance
            .events
            .receive(Duration::from_millis(10), note)
            .unwrap();
    }
    let rate = received as f64 / 1e6 / started.elapsed().as_secs_f64();
    println!("{received} bytes at {rate:.0} MB/s");
    drop(sink);
    let arrived = digest.wait_with_output().unwrap().stdout;
    let sent = Program::new("sh")
        .args(["-c", &format!("{GENERATE} | sha256sum")])
        .output()
        .unwrap()
        .stdout;
    assert_eq!((ending, received), (Some(Ending::Exited(0)), BYTES));
    assert_eq!(
        String::from_utf8_lossy(&arrived),
        String::from_utf8_lossy(&sent)
    );
}

#[test]
fn a_silent_kmon_blocks_no_program_and_every_dropped_byte_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut instance = Instance::start();
    let ends = ["shell", "exec"].map(|name| directory.path().join(name));
    instance.until("prompt", |seen| !seen.console.is_empty());
    let printed = instance.seen.console.len();
    instance.type_in(&format!(
        "stty raw -echo; head -c 3000000 /dev/zero; echo x > {}\r",
        ends[0].display()
    ));
    instance.exec(
        1,
        0,
        &[
            "sh",
            "-c",
            &format!("head -c 30000000 /dev/zero; echo x > {}", ends[1].display()),
        ],
    );
    // From now on KMON stores no heartbeat and receives nothing.
    for end in &ends {
        await_file(end);
    }
    instance.wait_for_beat();

    let out = instance.ended(1).out.len() as u64;
    instance.type_in("echo ba''ck\n"); // The terminal is raw.
    instance.until_printed("back");
    let zeros = instance.seen.console[printed..]
        .iter()
        .filter(|&&byte| byte == 0)
        .count() as u64;
    let dropped = instance.seen.dropped;
    assert!(dropped > 0 && out < 30_000_000);
    // The echo of the typed line may be among the dropped bytes.
    let all = zeros + out + dropped;
    assert!(
        (33_000_000..33_000_200).contains(&all),
        "{zeros} + {out} + {dropped} = {all}"
    );
    instance.stats(|stats| stats.dropped_bytes == dropped);
    assert_eq!(instance.run(2, "echo whole").out, b"whole\n");
}

#[test]
fn a_slow_kmon_loses_nothing() {
    let mut instance = Instance::start();
    instance.exec(1, 0, &["head", "-c", "3000000", "/dev/zero"]);
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        instance.events.beat().unwrap(); // Alive, but receives nothing.
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(instance.ended(1).out.len(), 3_000_000);
    assert_eq!(instance.seen.dropped, 0);
}

#[test]
fn a_command_prints_while_the_console_floods() {
    let mut instance = Instance::start();
    instance.type_in("yes\r");
    instance.until_printed("y\r\ny\r\n");
    for stream in 1..=5 {
        assert_eq!(instance.run(stream, "echo through").out, b"through\n");
        instance.seen.console.clear();
    }
    instance.send(Command::Input(b"\x03"));
    instance.seen.console.clear();
    instance.type_in("echo qui''et\r");
    instance.until_printed("quiet");
}
