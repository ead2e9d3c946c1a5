//! Tests of docs/c-api.md: its programs are the examples, and its table has every call.

use std::io::{read_to_string, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::artifacts::scratch;
use crate::compiler::compiler;
use crate::installed::{wait_for_the_region, wait_until, with_ring, Running};
use crate::programs::link;
use crate::{ensure, header, package, read, trial, Outcome};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "page::its_programs_are_the_examples",
            its_programs_are_the_examples,
        ),
        trial(
            "page::the_lines_of_the_readme_are_those_of_an_example",
            the_lines_of_the_readme_are_those_of_an_example,
        ),
        trial(
            "page::its_client_is_answered_by_a_new_server_after_one_was_killed",
            its_client_is_answered_by_a_new_server,
        ),
        trial(
            "page::its_sender_is_woken_when_there_is_room",
            its_sender_is_woken,
        ),
        trial(
            "page::its_table_has_every_call_once",
            its_table_has_every_call_once,
        ),
        trial(
            "page::every_call_that_it_names_exists",
            every_call_that_it_names_exists,
        ),
    ]
}

fn page() -> String {
    read("../docs/c-api.md")
}

fn its_programs_are_the_examples() -> Outcome {
    let page = page();
    for example in ["server.c", "client.c", "receiver.c", "sender.c"] {
        let text = read(&format!("examples/{example}"));
        ensure(page.contains(&format!("```c\n{text}```\n")), || {
            format!("bindings-c/examples/{example} differs from the program in docs/c-api.md")
        })?;
    }
    Ok(())
}

/// Without their indentation: the README shows the inside of a function.
fn the_lines_of_the_readme_are_those_of_an_example() -> Outcome {
    let lines = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let (readme, client) = (read("../README.md"), lines(&read("examples/client.c")));
    let mut blocks = readme.split("```c\n").skip(1);
    let shown = blocks.next().and_then(|block| block.split("```").next());
    let shown = lines(shown.ok_or("the README has no lines of C")?);
    ensure(client.contains(&shown), || {
        format!("bindings-c/examples/client.c does not have the README's lines:\n{shown}")
    })
}

/// Compiles a program of the page.
fn example(name: &str) -> Outcome<PathBuf> {
    let path = scratch(&format!("page/{name}"));
    let mut compiler = compiler("gcc", "c99");
    compiler.arg(package().join(format!("examples/{name}.c")));
    link(&mut compiler, &path)?;
    Ok(path)
}

/// Starts a program of the page; returns it with its standard input and output.
fn start(name: &str, region: &Path) -> Outcome<(Running, ChildStdin, BufReader<ChildStdout>)> {
    let mut command = Command::new(example(name)?);
    let command = command.arg(region).stderr(Stdio::null());
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut running = Running(spawned?);
    let input = running.0.stdin.take().ok_or("it has a standard input")?;
    let output = running.0.stdout.take().ok_or("it has an output")?;
    Ok((running, input, BufReader::new(output)))
}

/// Kills the server while the client waits for it, then the client; new ones continue.
fn its_client_is_answered_by_a_new_server() -> Outcome {
    let region = tempfile::tempdir()?;
    let region = region.path().join("region");
    let ask = |line: &str, input: &mut ChildStdin, output: &mut dyn BufRead| -> Outcome {
        let mut answer = String::new();
        input.write_all(line.as_bytes())?;
        output.read_line(&mut answer)?;
        ensure(answer == line.to_uppercase(), || answer)
    };
    let (server, ..) = start("server", &region)?;
    wait_for_the_file(&region)?;
    let (client, mut input, mut output) = start("client", &region)?;
    ask("hello\n", &mut input, &mut output)?;
    drop(server);
    input.write_all(b"to the next server\n")?;
    let (mut server, _, printed) = start("server", &region)?;
    let mut answer = String::new();
    output.read_line(&mut answer)?;
    ensure(answer == "TO THE NEXT SERVER\n", || answer)?;
    drop(client);
    let (mut client, mut input, mut output) = start("client", &region)?;
    ask("again\n", &mut input, &mut output)?;
    drop(input);
    let ended = [client.0.wait()?.success(), server.0.wait()?.success()];
    ensure(ended == [true; 2], || format!("{ended:?}"))?;
    let printed = read_to_string(printed)?;
    ensure(printed == "(another client)\n", || printed)
}

/// Waits until the server has created its region's file.
fn wait_for_the_file(region: &Path) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::metadata(region).is_ok_and(|file| file.len() != 0) {
        ensure(Instant::now() < deadline, || "no region".into())?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Sends much more than the ring and two pipes can hold, while at first no output is read. So the
/// sender falls asleep; its doorbell must be rung, and not only its next timed check succeed.
fn its_sender_is_woken() -> Outcome {
    const BYTES: usize = 687_533;
    let region = tempfile::tempdir()?;
    let region = region.path().join("region");
    let start = |name, stdin: Stdio, stdout: Stdio| -> Outcome<Running> {
        let mut command = Command::new(example(name)?);
        let command = command.arg(&region).stdin(stdin).stdout(stdout);
        Ok(Running(command.spawn()?))
    };
    let line = |number: usize| format!("{number:0width$}\n", width = 1 + number % 900);
    let mut text: String = (0..).map(line).take(BYTES / 400).collect();
    text.truncate(BYTES - 1);
    text.push('\n');
    let text = text.replace("\n\n", "x\n");

    let mut receiver = start("receiver", Stdio::null(), Stdio::piped())?;
    wait_for_the_region(&region)?;
    let mut sender = start("sender", Stdio::piped(), Stdio::null())?;
    let mut lines = sender.0.stdin.take().ok_or("it has a standard input")?;
    let sent = text.clone();
    let writer = thread::spawn(move || lines.write_all(sent.as_bytes()));
    wait_until(&region, "does not sleep", |ring| {
        ring.inspect(0).space.armed == 1
    })?;
    let printed = read_to_string(receiver.0.stdout.take().ok_or("it has an output")?)?;
    writer.join().map_err(|_| "the writer panicked")??;
    let ended = [sender.0.wait()?.success(), receiver.0.wait()?.success()];
    ensure(ended == [true; 2], || format!("{ended:?}"))?;
    ensure(printed == text && printed.len() == BYTES, || {
        format!("{} of {BYTES} bytes arrived", printed.len())
    })?;
    let ring_count = with_ring(&region, |ring| ring.inspect(0).space.ring_count);
    ensure(ring_count > Some(0), || {
        format!("it was rung {ring_count:?} times")
    })
}

/// Returns the first cell of each row of the table of calls.
fn rows() -> Vec<String> {
    let page = page();
    let table = page
        .split_once("## Every call")
        .map_or("", |(_, rest)| rest);
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('|'))
        .map(|(calls, _)| format!("`{calls}"))
        .collect()
}

fn its_table_has_every_call_once() -> Outcome {
    let calls = rows().concat();
    for function in header::functions() {
        let times = calls.matches(&format!("`{}`", function.name)).count();
        ensure(times == 1, || {
            format!("{} is in the table {times} times", function.name)
        })?;
    }
    Ok(())
}

fn every_call_that_it_names_exists() -> Outcome {
    let header = read("include/shmr.h");
    let page = page();
    let words = page.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    for name in words.filter(|word| word.starts_with("shmr_") || word.starts_with("SHMR_")) {
        let known = header.contains(name) || name == "shmr_examples";
        ensure(known, || name.to_owned())?;
    }
    Ok(())
}
