//! The API as a client without KMON's own code sees it.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Fed, Home, becomes_true, home, one_shot};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn connect(home: &Home) -> UnixStream {
    let stream = UnixStream::connect(home.run_dir().join("kmon.sock")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

/// Sends `request` and returns all that the server answers until it closes the connection.
fn answer(home: &Home, request: &[u8]) -> String {
    let mut stream = connect(home);
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A connection that the server breaks off has answered all the same.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the status and the error's code in the answer to a request.
fn refusal(home: &Home, method: &str, path: &str, body: &str) -> (u16, String) {
    let len = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: kmon\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}"
    );
    let answer = answer(home, request.as_bytes());
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(
        !message.is_empty() && message.lines().count() == 1,
        "{answer}"
    );
    let code = body["error"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (status.unwrap_or(0), code)
}

fn start() -> (Home, Fed) {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.list_until(2, |one| one["state"] == "running");
    (home, kmon)
}

#[test]
fn a_bad_request_gets_an_error_with_a_code() {
    let (home, kmon) = start();
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(100_000));
    for (method, path, body, status, code) in [
        ("GET", "/v1/nothing", "", 404, "not_found"),
        ("GET", "/", "", 404, "not_found"),
        ("GET", "/v1/instances/9", "", 404, "no_such_instance"),
        ("GET", "/v1/instances/part9", "", 404, "no_such_instance"),
        ("GET", "/v1/instances/999999", "", 404, "no_such_instance"),
        ("PUT", "/v1/instances", "", 405, "method_not_allowed"),
        ("DELETE", "/v1/stats", "", 405, "method_not_allowed"),
        ("POST", "/v1/instances/2/load", "", 409, "already_running"),
        ("POST", "/v1/instances/2/pause", "", 409, "conflict"),
        ("POST", "/v1/instances/2/resume", "", 409, "conflict"),
        ("DELETE", "/v1/instances/2", "", 409, "already_running"),
        ("POST", "/v1/instances", "{", 400, "bad_request"),
        ("POST", "/v1/instances", "[1]", 400, "bad_request"),
        ("POST", "/v1/instances", "{\"name\":1}", 400, "bad_request"),
        (
            "POST",
            "/v1/instances",
            "{\"nam\":\"x\"}",
            400,
            "bad_request",
        ),
        (
            "POST",
            "/v1/instances",
            "{\"name\":\"no name\"}",
            400,
            "bad_request",
        ),
        (
            "POST",
            "/v1/instances",
            "{\"name\":\"part2\"}",
            409,
            "taken",
        ),
        ("POST", "/v1/instances", &long, 413, "too_large"),
        (
            "POST",
            "/v1/instances/2/halt",
            "{\"force\":1}",
            400,
            "bad_request",
        ),
        ("POST", "/v1/shutdown", "", 400, "bad_request"),
        (
            "POST",
            "/v1/shutdown",
            "{\"instances\":\"stop\"}",
            400,
            "bad_request",
        ),
        ("GET", "/v1/instances/2/log?from=-1", "", 400, "bad_request"),
        ("GET", "/v1/instances/2/log?form=1", "", 400, "bad_request"),
        (
            "GET",
            "/v1/instances/2/log?max=99999999999",
            "",
            400,
            "bad_request",
        ),
        ("GET", "/v1/instances/9/lines", "", 404, "no_such_instance"),
        (
            "POST",
            "/v1/instances/2/lines",
            "",
            405,
            "method_not_allowed",
        ),
        (
            "GET",
            "/v1/instances/2/lines?grep=(",
            "",
            400,
            "bad_request",
        ),
        (
            "GET",
            "/v1/instances/2/lines?since=soon",
            "",
            400,
            "bad_request",
        ),
        (
            "GET",
            "/v1/instances/2/lines?last=100001",
            "",
            400,
            "bad_request",
        ),
        (
            "GET",
            "/v1/instances/2/lines?last=x",
            "",
            400,
            "bad_request",
        ),
        (
            "GET",
            "/v1/instances/2/lines?after=5",
            "",
            400,
            "bad_request",
        ),
        (
            "GET",
            "/v1/instances/2/lines?lines=5",
            "",
            400,
            "bad_request",
        ),
        (
            "GET",
            "/v1/notices/lines?kernel=true",
            "",
            400,
            "bad_request",
        ),
        ("GET", "/v1/instances/2/console", "", 400, "bad_request"),
        ("GET", "/v1/instances/2/exec", "", 400, "bad_request"),
        ("GET", "/v1/instances/2/files", "", 400, "bad_request"),
        ("GET", "/v1/events", "", 400, "bad_request"),
    ] {
        let found = refusal(&home, method, path, body);
        assert_eq!(
            found,
            (status, code.to_owned()),
            "{method} {path} {body:.50}"
        );
    }
    for garbage in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET\r\n\r\n",
        &[b'x'; 100_000],
    ] {
        let answer = answer(&home, garbage);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let (home, mut kmon) = start();
    let pid = home.server();
    let open = || {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    };
    let before = open();
    let idle: Vec<_> = (0..1000)
        .map(|n| {
            let mut stream = connect(&home);
            if n % 2 == 0 {
                // The server may have closed it already.
                let _ = stream.write_all(b"GET /v1/inst");
            }
            stream
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(kmon.ask("kmexec 2 -- echo unharmed"), b"unharmed\n");
    assert!(one_shot(&home, &["list"]).status.success());
    println!(
        "two commands took {:?} beside a thousand connections",
        begun.elapsed()
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(open() < before + 300, "{} are open", open());
    drop(idle);
    assert!(becomes_true(|| open() < before + 10), "{} are open", open());
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn a_client_that_sends_slowly_or_vanishes_is_cut_off() {
    let (home, kmon) = start();
    // A header and a body that never end.
    let mut header = connect(&home);
    header
        .write_all(b"GET /v1/instances HTTP/1.1\r\nhost: ")
        .unwrap();
    let mut body = connect(&home);
    body.write_all(b"POST /v1/instances HTTP/1.1\r\nhost: kmon\r\ncontent-length: 100\r\n\r\n{")
        .unwrap();
    let mut rest = Vec::new();
    body.read_to_end(&mut rest).unwrap();
    let answer = String::from_utf8_lossy(&rest);
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("\"timeout\""),
        "{answer}"
    );
    rest.clear();
    let _ = header.read_to_end(&mut rest);
    // A client that vanishes during a command ends the command.
    let mark = home.path().join("mark");
    let script = format!("touch {0}; sleep 3; rm {0}; touch {0}-2", mark.display());
    let mut exec = common::kmon_in(&home);
    let mut exec = exec
        .args(["exec", "2", "--", "sh", "-c", &script])
        .spawn()
        .unwrap();
    assert!(becomes_true(|| mark.exists()));
    exec.kill().unwrap();
    exec.wait().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert!(
        mark.exists(),
        "the command has continued without its client"
    );
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn readers_of_logs_are_bounded_and_one_that_reads_nothing_delays_nobody() {
    let (home, mut kmon) = start();
    kmon.send("kmconsole 2 --settle 0.1\nyes 0123456789 &\nkmexitconsole");
    let follow = b"GET /v1/instances/2/lines?follow=true HTTP/1.1\r\nhost: kmon\r\n\r\n";
    let mut readers: Vec<_> = (0..32)
        .map(|_| {
            let mut reader = connect(&home);
            reader.write_all(follow).unwrap();
            let mut status = [0; 12];
            reader.read_exact(&mut status).unwrap();
            assert_eq!(status, *b"HTTP/1.1 200");
            reader
        })
        .collect();
    let path = "/v1/instances/2/lines";
    let refused = refusal(&home, "GET", path, "");
    assert_eq!(refused, (503, "too_many".to_owned()));
    let begun = Instant::now();
    assert!(
        kmon.ask("kmexec 2 -- echo unharmed")
            .ends_with(b"unharmed\n")
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    // One that reads again gets whole lines, up to the newest.
    let mut reader = readers.pop().unwrap();
    let mut lines = std::io::BufReader::new(&mut reader);
    let mut line = Vec::new();
    for _ in 0..50_000 {
        line.clear();
        std::io::BufRead::read_until(&mut lines, b'\n', &mut line).unwrap();
    }
    drop(reader);
    drop(readers);
    let grep = ["log", "2", "--grep", "^0123456789$", "-n", "1"];
    assert!(becomes_true(|| one_shot(&home, &grep).status.success()));
    // `kmconsole` has failed: its shell never became quiet.
    assert_eq!(kmon.leave("quit"), Some(1));
}

#[test]
fn lines_of_a_log_arrive_while_they_are_printed() {
    let (home, mut kmon) = start();
    let mut reader = connect(&home);
    reader
        .write_all(
            b"GET /v1/instances/part2/lines?follow=true&grep=%5Efollowed-2%24 HTTP/1.1\r\nhost: kmon\r\n\r\n",
        )
        .unwrap();
    kmon.send("kmconsole 2\necho followed-$((1+1))\nkmexitconsole");
    let mut answer = Vec::new();
    let mut bytes = [0; 4096];
    while !answer.ends_with(b"}\n\r\n") {
        let len = reader.read(&mut bytes).unwrap();
        assert!(len > 0);
        answer.extend_from_slice(&bytes[..len]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let line = answer.lines().find(|line| line.starts_with('{')).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["text"], "followed-2");
    let len = line["end"].as_u64().unwrap() - line["position"].as_u64().unwrap();
    assert_eq!(len, "followed-2\r\n".len() as u64);
    // The end of the server ends the answer as a whole.
    assert_eq!(kmon.leave("quit"), Some(0));
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}

type Socket = tungstenite::WebSocket<UnixStream>;

fn open_files(home: &Home) -> Socket {
    let url = "ws://kmon/v1/instances/2/files";
    tungstenite::client(url, connect(home)).unwrap().0
}

fn send(socket: &mut Socket, message: &Value) {
    let text = tungstenite::Message::text(message.to_string());
    socket.send(text).unwrap();
}

/// Returns the next message: a value, or the number of bytes.
fn receive(socket: &mut Socket) -> Value {
    match socket.read().unwrap() {
        tungstenite::Message::Text(text) => serde_json::from_str(&text).unwrap(),
        tungstenite::Message::Binary(bytes) => bytes.len().into(),
        other => Value::String(format!("{other:?}")),
    }
}

#[test]
fn files_are_copied_by_the_messages_of_the_documentation() {
    let (home, kmon) = start();
    let path = home.path().join("there");
    let path = path.to_str().unwrap();
    let mut socket = open_files(&home);
    send(&mut socket, &json!({"status": {"path": path}}));
    assert_eq!(receive(&mut socket)["failed"]["failure"], "not_found");
    let content = vec![7_u8; 300_000];
    let digest: String = Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    send(
        &mut socket,
        &json!({"put": {"path": path, "size": 300_000, "mode": 0o600, "source": digest}}),
    );
    assert_eq!(receive(&mut socket)["held"]["offset"], 0);
    send(
        &mut socket,
        &json!({"start": {"offset": 0, "digest": digest}}),
    );
    for piece in content.chunks(60_000) {
        let piece = tungstenite::Message::binary(piece.to_vec());
        socket.send(piece).unwrap();
    }
    send(&mut socket, &json!({"finish": {"digest": digest}}));
    for taken in 1..=5 {
        assert_eq!(receive(&mut socket), json!({"taken": taken * 60_000}));
    }
    assert_eq!(receive(&mut socket), json!({"done": true}));
    assert_eq!(std::fs::read(path).unwrap(), content);
    send(&mut socket, &json!({"get": {"path": path}}));
    assert_eq!(receive(&mut socket)["status"]["size"], 300_000);
    // Nobody has bytes with this digest.
    send(
        &mut socket,
        &json!({"start": {"offset": 5, "digest": digest}}),
    );
    assert_eq!(receive(&mut socket), json!({"started": 0}));
    let mut len = 0;
    let end = loop {
        match receive(&mut socket) {
            Value::Number(bytes) => len += bytes.as_u64().unwrap(),
            end => break end,
        }
    };
    assert_eq!((len, &end["end"]["digest"]), (300_000, &digest.into()));
    assert_eq!(receive(&mut socket), json!({"done": true}));
    drop(socket);
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn a_wrong_message_about_files_ends_the_socket_with_an_error() {
    let (home, mut kmon) = start();
    for wrong in [
        "{",
        "{\"status\": 1}",
        "{\"statu\": {\"path\": \"/\"}}",
        "{\"status\": {\"path\": \"/\", \"more\": 1}}",
        "{\"finish\": {\"digest\": \"00\"}}",
        "{\"start\": {\"offset\": 0, \"digest\": \"Z\"}}",
    ] {
        let mut socket = open_files(&home);
        socket.send(tungstenite::Message::text(wrong)).unwrap();
        let answer = receive(&mut socket);
        assert_eq!(answer["error"]["code"], "bad_request", "{wrong}: {answer}");
        assert!(socket.read().is_ok_and(|message| message.is_close()));
    }
    // Bytes of no copy, and a client that vanishes in the middle of one.
    let mut socket = open_files(&home);
    let bytes = tungstenite::Message::binary(vec![0; 10]);
    socket.send(bytes).unwrap();
    assert_eq!(receive(&mut socket)["error"]["code"], "bad_request");
    let path = home.path().join("there").display().to_string();
    let source = "00".repeat(32);
    let put = json!({"put": {"path": path, "size": 100, "mode": 0o600, "source": source}});
    let mut socket = open_files(&home);
    send(&mut socket, &put);
    assert_eq!(receive(&mut socket)["held"]["offset"], 0);
    drop(socket);
    // The name is free again.
    let begun = becomes_true(|| {
        let mut socket = open_files(&home);
        send(&mut socket, &put);
        receive(&mut socket)["held"]["offset"] == 0
    });
    assert!(begun);
    assert_eq!(kmon.ask("kmexec 2 -- echo unharmed"), b"unharmed\n");
    assert_eq!(kmon.leave("quit"), Some(0));
}

/// A part of docs/api.md between two fences.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = text.split("```").collect();
    let fenced = parts.iter().skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

#[test]
fn the_examples_of_the_documentation_work() {
    let (home, kmon) = start();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md"));
    let text = text.unwrap();
    let mut printed = String::new();
    let mut ran = 0;
    for (kind, block) in blocks(&text) {
        match kind {
            "sh" => {
                let mut shell = Command::new("sh");
                shell.arg("-ec").arg(block).env("KMON", home.run_dir());
                let output = shell.output().unwrap();
                assert!(output.status.success(), "{block}: {output:?}");
                printed = String::from_utf8(output.stdout).unwrap();
                ran += 1;
            }
            // It shows the keys of the answer, with other values.
            "json" => {
                let keys = |text: &str| {
                    let value: Value = serde_json::from_str(text)
                        .unwrap_or_else(|error| panic!("{error}: {text}"));
                    let keys = value.as_object().unwrap().keys().cloned();
                    keys.collect::<Vec<_>>()
                };
                assert_eq!(keys(&printed), keys(block), "{printed}");
            }
            _ => {}
        }
    }
    assert!(ran > 8, "{ran} examples");
    assert!(
        becomes_true(|| !home.has_server()),
        "the last one ends the server"
    );
    drop(kmon);
}
