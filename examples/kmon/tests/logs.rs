//! Logs on disk, of a running KMON.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use common::{Fed, Home, becomes_true, guestd, home, kmon_in, kmon_through, run_script_in};
use serde_json::Value;

/// Creates a home whose logs have these settings.
fn home_with_logs(settings: &str) -> Home {
    let home = home();
    let file = home.path().join("kmon.toml");
    let config = fs::read_to_string(&file).unwrap() + "\n[logs]\n" + settings;
    fs::write(file, config).unwrap();
    home
}

fn logs(home: &Home) -> PathBuf {
    home.run_dir().join("logs")
}

fn stdout(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the text of a line that starts with a time.
#[track_caller]
fn text(line: &str) -> &str {
    let (time, text) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
    assert!(
        time.len() == 24 && time.starts_with("20") && time.ends_with('Z'),
        "{line:?}"
    );
    text
}

/// Returns the numbers in lines `PREFIX NUMBER` of the console, in their order.
fn numbers(printed: &str, prefix: &str) -> Vec<u64> {
    let number = |line: &str| line.split_once(prefix)?.1.trim().parse().ok();
    printed.lines().filter_map(number).collect()
}

#[test]
fn the_log_on_disk_is_selected_by_time_and_text() {
    let home = home();
    let script = "kmconsole 2\necho app-$((40+2)); printf 'wor''ds\\n'; printf 'no end'\n\
                  kmexitconsole\nkmlog 2 --since 1h --grep '^app-[0-9]+$'\n\
                  kmlog 2 --grep '^words$' --json\nkmlog 2 --since 2020-01-01 -n 1\n\
                  kmlog 2 --since '2099-01-01 00:00'\n";
    let output = run_script_in(&home, &["--instances", "1"], script);
    let printed = stdout(&output);
    let lines: Vec<_> = printed.lines().collect();
    let [.., grep, json, last] = lines.as_slice() else {
        panic!("{printed}");
    };
    assert_eq!(text(grep), "app-42");
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (&json["text"], &json["instance"]),
        (&"words".into(), &2.into())
    );
    assert!(text(last).contains("no end"), "{printed}");
    let times = lines[lines.len() - 3..]
        .iter()
        .filter(|line| line.starts_with("20"));
    assert!(times.is_sorted());
    // The instances and their kept output are gone; the log is not.
    let log = fs::read_to_string(logs(&home).join("2.log")).unwrap();
    assert!(log.contains(" | app-42\n"), "{log}");
    let first = log.lines().next().unwrap();
    assert!(
        first.contains(" # file 1, instance 2 (part2), output "),
        "{first}"
    );
}

#[test]
fn a_new_instance_with_the_number_does_not_show_the_lines_of_the_old_one() {
    let home = home();
    let print = |word: &str| {
        format!("kmconsole 2\necho {word}-$((1+1))\nkmexitconsole\nkmlog 2 --grep '^[a-z]+-2$'\n")
    };
    run_script_in(&home, &["--instances", "1"], &print("old"));
    let script = print("new") + "kmlog 2 --all --grep '^[a-z]+-2$'\n";
    let printed = stdout(&run_script_in(&home, &["--instances", "1"], &script));
    let lines: Vec<_> = printed.lines().rev().take(3).collect();
    let lines: Vec<_> = lines.into_iter().rev().map(text).collect();
    assert_eq!(lines, ["new-2", "old-2", "new-2"]);
}

#[test]
fn whenever_kmon_is_killed_each_line_is_in_the_log_once_and_in_order() {
    let home = home_with_logs("size = '64K'\ncount = 100\ncompress = true\n");
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.daemon_pid(2);
    let go = "i=0; while :; do i=$((i+1)); echo tick $i; [ $((i%50)) = 0 ] && sleep 0.01; done";
    kmon.send(&format!("kmconsole 2 --settle 0.1\n{go}\nkmexitconsole"));
    let log = || String::from_utf8(read_all(&home)).unwrap();
    assert!(becomes_true(|| numbers(&log(), " | tick ").len() > 100));
    for round in 0..8_u64 {
        kmon.kill();
        kmon = Fed::start_in(&home, &["--instances", "1"]);
        let before = numbers(&log(), " | tick ").len();
        let more = usize::try_from(round * 37).unwrap();
        assert!(becomes_true(
            || numbers(&log(), " | tick ").len() > before + more
        ));
    }
    assert_eq!(kmon.leave("quit --keep"), Some(0));
    let ticks = numbers(&log(), " | tick ");
    // The command's echo is no tick.
    let expected: Vec<_> = (ticks[0]..).take(ticks.len()).collect();
    assert!(ticks == expected, "{} ticks from {}", ticks.len(), ticks[0]);
    assert_eq!(ticks[0], 1);
    let log = log();
    let times = log.lines().map(|line| &line[..24]);
    assert!(times.is_sorted());
}

/// Returns the log of instance 2, with its complete files.
fn read_all(home: &Home) -> Vec<u8> {
    let mut zcat = std::process::Command::new("sh");
    // A file may be renamed meanwhile; then the next look finds it.
    zcat.args([
        "-c",
        "zcat -f $(ls 2.log.* 2>/dev/null | grep -v part) 2.log",
    ]);
    zcat.current_dir(logs(home)).output().unwrap().stdout
}

#[test]
fn a_flood_stays_within_the_bound_and_what_it_lost_is_in_the_log() {
    let home = home_with_logs("size = '256K'\ncount = 4\n");
    let mut kmon = Fed::start_in(&home, &["--instances", "2"]);
    kmon.daemon_pid(2);
    kmon.send("kmconsole 2 --settle 60");
    kmon.send("yes 0123456789abcdef0123456789abcdef | head -c 60000000; echo flood-$((1+1))");
    kmon.send("kmexitconsole");
    let mut largest = 0;
    let ended = becomes_true(|| {
        largest = largest.max(size(&home, "2.log"));
        let log = fs::read_to_string(logs(&home).join("2.log")).unwrap_or_default();
        log.contains("flood-2\n")
    });
    assert!(ended, "{}", kmon.errors());
    assert!(
        largest <= 4 * 256 * 1024 && largest > 512 * 1024,
        "{largest} bytes"
    );
    // The other instance works as before.
    assert!(kmon.ask("kmexec 3 -- uname -n").ends_with(b"part3\n"));
    let shown = kmon.ask("kmlog 2 --since 1h --json");
    let shown = String::from_utf8(shown).unwrap();
    let entries = shown
        .lines()
        .filter(|line| line.starts_with("{\"instance\":2,"));
    let entries: Vec<Value> = entries
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut position = entries[0]["position"].as_u64().unwrap();
    for entry in &entries {
        assert_eq!(entry["position"], position, "{entry}");
        let missed = entry["missed_bytes"].as_u64().unwrap();
        let text = entry["text"]
            .as_str()
            .map_or(0, |text| text.len() as u64 + 2);
        position += missed + if missed > 0 { 0 } else { text };
        if entry["unfinished"] == true || entry["text"].as_str().is_none_or(|text| text.len() != 32)
        {
            // Not a whole line of the flood: the next entry tells where it ends.
            break;
        }
    }
}

/// Returns how many bytes the files of a log have.
fn size(home: &Home, stem: &str) -> u64 {
    let Ok(listing) = fs::read_dir(logs(home)) else {
        return 0;
    };
    let is_of = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(stem));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let files = listing.flatten().filter(is_of);
    // A file may have just been removed.
    files
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

#[test]
fn following_prints_new_lines_as_they_arrive_until_it_is_interrupted() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.daemon_pid(2);
    kmon.send("kmconsole 2 --settle 0.1");
    kmon.send("(until [ -e go ]; do sleep 0.05; done; echo followed-$((1+1))) &");
    kmon.send("kmexitconsole");
    kmon.send("kmlog 2 --follow --grep 'followed-2$'");
    fs::write(home.path().join("go"), "").unwrap();
    kmon.see("followed-2\n");
    common::signal("-INT", &kmon.pid().to_string());
    assert_eq!(kmon.wait(), Some(130));
}

#[test]
fn kmons_own_notices_have_times_and_outlive_it() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    let pid = kmon.daemon_pid(2);
    common::signal("-KILL", &pid);
    kmon.see_error("guestd was restarted");
    let notice = kmon.errors();
    let notice = notice
        .lines()
        .find(|line| line.contains("restarted"))
        .unwrap();
    let time = notice
        .strip_prefix("kmon: ")
        .and_then(|line| line.split_once(' '));
    let is_time = |time: &str| time.len() == 8 && time.matches(':').count() == 2;
    assert!(time.is_some_and(|(time, _)| is_time(time)), "{notice}");
    kmon.leave("quit");
    let script = "kmlog 1 --grep restarted\nkmlog 1 --kernel\n";
    let output = run_script_in(&home, &["--instances", "1"], script);
    let printed = String::from_utf8(output.stdout).unwrap();
    let line = printed.lines().next().unwrap();
    assert!(
        text(line).starts_with("instance 2: guestd was restarted (incarnation 2)"),
        "{line}"
    );
    assert_eq!(printed.lines().count(), 1);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("KMON itself"), "{errors}");
}

#[test]
fn without_permission_for_the_directory_kmon_works_and_says_so_once() {
    let home = home_with_logs("directory = 'in-the-way/logs'\n");
    fs::write(home.path().join("in-the-way"), "").unwrap();
    let script = "kmexec 2 -- echo works\nkmlog 2 --all\nkmlog 2 --since 1h\n";
    let output = run_script_in(&home, &["--instances", "1"], script);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("works\n"), "{printed}");
    let errors = String::from_utf8(output.stderr).unwrap();
    let about_logs = errors
        .lines()
        .filter(|line| line.contains("logs cannot be written"));
    assert_eq!(about_logs.count(), 1, "{errors}");
}

#[test]
fn logs_can_be_switched_off() {
    let home = home_with_logs("enabled = false\n");
    let script = "kmexec 2 -- echo works\nkmlog 2 --since 1h\n";
    let output = run_script_in(&home, &["--instances", "1"], script);
    assert_eq!(output.stdout, b"works\n");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        errors,
        "kmlog: logs on disk are switched off (kmon.toml: [logs] enabled)\n"
    );
    assert!(!logs(&home).exists());
}

#[test]
fn a_full_disk_stops_nothing_but_the_log_which_continues_with_the_count() {
    let home = home_with_logs("directory = 'small'\nsize = '1M'\ncount = 2\n");
    let small = home.path().join("small");
    fs::create_dir(&small).unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=200k none {} && exec \"$@\"",
        small.display()
    );
    let starter = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        &mount,
        "sh",
    ];
    let mut kmon = Fed::start_with(
        &home,
        kmon_through(&starter, &home).arg("--guestd").arg(guestd()),
    );
    kmon.daemon_pid(2);
    kmon.send("kmconsole 2 --settle 60");
    kmon.send("seq 60000; echo full-$((1+1))");
    kmon.send("kmexitconsole");
    kmon.see_error("logs cannot be written");
    kmon.see("full-2\r\n");
    assert!(kmon.ask("kmexec 2 -- echo works").ends_with(b"works\n"));
    let errors = kmon.errors();
    assert_eq!(errors.matches("logs cannot").count(), 1, "{errors}");
    // There is room again.
    let inside = PathBuf::from(format!("/proc/{}/root", home.server()))
        .join(small.strip_prefix("/").unwrap());
    fs::remove_file(inside.join("2.log")).unwrap();
    kmon.ask("kmlog 2 --since 1h -n 1");
    kmon.see_error("again");
}

/// Starts a loop in instance 2 that counts, slowly enough that no line is lost.
fn count(kmon: &mut Fed) {
    kmon.daemon_pid(2);
    kmon.send("kmconsole 2 --settle 0.1");
    kmon.send("i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.005; done");
    kmon.send("kmexitconsole");
}

#[test]
fn following_continues_at_the_exact_line_when_the_server_is_killed() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    count(&mut kmon);
    let mut one_shot = kmon_in(&home);
    one_shot.args(["log", "2", "--follow", "--grep", "^tick"]);
    let one_shot = Fed::start_with(&home, &mut one_shot);
    kmon.send("kmlog 2 --follow --grep '^tick' --json");
    let ticks = || {
        let printed = one_shot.printed();
        numbers(&printed, " tick ")
    };
    for _ in 0..3 {
        let before = ticks().len();
        assert!(becomes_true(|| ticks().len() > before + 20));
        home.signal_server("-KILL");
        assert!(becomes_true(|| home.has_server()));
    }
    let before = ticks().len();
    assert!(becomes_true(|| ticks().len() > before + 20));
    let last = ticks().pop().unwrap();
    kmon.see(&format!("\"tick {last}\""));
    let exact = |found: &[u64]| {
        let expected: Vec<_> = (found[0]..).take(found.len()).collect();
        assert_eq!(found, expected);
    };
    exact(&ticks());
    let printed = kmon.printed();
    let texts = printed.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["text"].as_str()?.strip_prefix("tick ")?.parse().ok()
    });
    exact(&texts.collect::<Vec<u64>>());
    let said = "kmon: the server had ended; continuing with another one\n";
    assert_eq!(one_shot.errors(), said.repeat(3));
}

#[test]
fn following_kmons_own_log_continues_with_the_next_server() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    let pid = kmon.daemon_pid(2);
    let mut one_shot = kmon_in(&home);
    one_shot.args(["log", "1", "--follow", "--since", "1h"]);
    let one_shot = Fed::start_with(&home, &mut one_shot);
    common::signal("-KILL", &pid);
    one_shot.see("guestd was restarted (incarnation 2)");
    home.signal_server("-KILL");
    one_shot.see("continuing with the instances of an earlier KMON: 2\n");
    let printed = one_shot.printed();
    assert_eq!(
        printed.matches("guestd was restarted").count(),
        1,
        "{printed}"
    );
    home.signal_server("-TERM");
    assert_eq!(one_shot.wait(), Some(1));
}
