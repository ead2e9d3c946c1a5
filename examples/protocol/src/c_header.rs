//! Tests that the constants of U-Boot's KMON in C equal those in Rust.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use crate::link::ends::{SILENCE_LIMIT, TAKE_OVER};
use crate::link::{
    COMMAND_BODY, COMMAND_RING, GEOMETRY, MonitorLink, RELEASE_TIME, RESULT_RING, VERSION,
};
use crate::message::{Command, EVENT_BODY, Event, HEADER_LEN};
use crate::{LAST_PARTITION, MONITOR, Settings, Stats};

const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../u-boot/kmon_protocol.h");

fn ms(time: Duration) -> usize {
    time.as_millis() as usize
}

/// The constants by their names in the header, without `KMON_`.
fn numbers() -> Vec<(&'static str, usize)> {
    let settings = Settings {
        partition: 2,
        period_ms: 1,
        name: "n".repeat(1000),
    };
    let mut encoded = Vec::new();
    settings.encode(&mut encoded);
    let commands = [
        ("COMMAND_INPUT", Command::INPUT),
        ("COMMAND_RESIZE", Command::RESIZE),
        ("COMMAND_EXEC", Command::EXEC),
        ("COMMAND_KILL", Command::KILL),
        ("COMMAND_QUERY_IDLE", Command::QUERY_IDLE),
        ("COMMAND_HALT", Command::HALT),
        ("EVENT_HELLO", Event::HELLO),
        ("EVENT_OUTPUT", Event::OUTPUT),
        ("EVENT_STDOUT", Event::STDOUT),
        ("EVENT_STDERR", Event::STDERR),
        ("EVENT_ENDED", Event::ENDED),
        ("EVENT_IDLE", Event::IDLE),
        ("EVENT_SHELL_RESTARTED", Event::SHELL_RESTARTED),
        ("EVENT_DROPPED", Event::DROPPED),
        ("EVENT_GOODBYE", Event::GOODBYE),
        ("EVENT_DISCARDED", Event::DISCARDED),
        ("VERSION", VERSION),
    ];
    let endings = [
        ("EVENT_EXITED", Event::EXITED),
        ("EVENT_SIGNALLED", Event::SIGNALLED),
        ("EVENT_TIMED_OUT", Event::TIMED_OUT),
        ("EVENT_NOT_STARTED", Event::NOT_STARTED),
    ];
    let mut numbers = vec![
        ("MONITOR", usize::from(MONITOR)),
        ("FIRST_INSTANCE", usize::from(MONITOR) + 1),
        ("LAST_PARTITION", usize::from(LAST_PARTITION)),
        ("REGION_LEN", MonitorLink::REGION_LEN),
        ("GEOMETRY_SEGMENTS", GEOMETRY.segments),
        ("GEOMETRY_PARTITIONS", GEOMETRY.partitions),
        ("GEOMETRY_BLOCK", GEOMETRY.block_size),
        ("COMMAND_RING", COMMAND_RING),
        ("RESULT_RING", RESULT_RING),
        ("HEADER_LEN", HEADER_LEN),
        ("COMMAND_BODY", COMMAND_BODY),
        ("EVENT_BODY", EVENT_BODY),
        ("SETTINGS_MAX_LEN", Settings::MAX_LEN),
        // After the number, the period and the length.
        ("SETTINGS_NAME_LEN", encoded.len() - 10),
        ("STATS_MAX_CPUS", Stats::MAX_CPUS),
        ("STATS_MAX_INTERFACES", Stats::MAX_INTERFACES),
        ("STATS_MAX_LEN", Stats::MAX_LEN),
        ("SILENCE_LIMIT_MS", ms(SILENCE_LIMIT)),
        ("TAKE_OVER_MS", ms(TAKE_OVER)),
        ("RELEASE_MS", ms(RELEASE_TIME)),
    ];
    numbers.extend(commands.map(|(name, number)| (name, usize::from(number))));
    numbers.extend(endings.map(|(name, number)| (name, number as usize)));
    numbers
}

#[test]
fn every_constant_in_c_equals_the_one_in_rust() {
    let header = std::fs::read_to_string(HEADER).unwrap();
    let defined = header.lines().filter_map(|line| {
        let name = line.strip_prefix("#define KMON_")?;
        name.split_whitespace().next()
    });
    // The include guard and the names of segments are not numbers.
    let is_number = |name: &&str| *name != "PROTOCOL_H" && !name.starts_with("SEGMENT_");
    let defined: BTreeSet<_> = defined.filter(is_number).collect();
    let numbers = numbers();
    let known: BTreeSet<_> = numbers.iter().map(|(name, _)| *name).collect();
    assert_eq!(defined, known);

    let claims = numbers.iter().map(|(name, number)| {
        format!("_Static_assert(KMON_{name} == {number}, \"{name} is {number}\");\n")
    });
    let program = format!("#include \"{HEADER}\"\n{}", claims.collect::<String>());
    let mut compiler = Program::new("cc")
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = compiler.stdin.take().unwrap();
    input.write_all(program.as_bytes()).unwrap();
    drop(input);
    let output = compiler.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
