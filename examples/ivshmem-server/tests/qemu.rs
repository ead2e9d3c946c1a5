//! QEMU's device as a peer: the real device without a guest, driven register by register.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use common::{MEMORY, Served, changes, is_readable, serve, take_rings, wait_until};
use serde_json::{Value, json};
use shmem_core::primitive::Ordering::Relaxed;

/// The addresses of the device's registers and memory.
const REGISTERS: u64 = 0xf000_0000;
const SHARED: u64 = 0xe000_0000;
/// The device's place on the bus, as a configuration address.
const SLOT: u32 = 0x8000_0000 | 4 << 11;

/// A virtual machine; dropping it kills it.
struct Qemu(Child);

impl Qemu {
    fn start(served: &Served, arguments: &[&str]) -> Self {
        let socket = served.path();
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-machine",
            "pc",
            "-display",
            "none",
            "-nodefaults",
            "-m",
            "16M",
        ]);
        command
            .arg("-chardev")
            .arg(format!("socket,id=door,path={}", socket.display()));
        command.args(["-device", "ivshmem-doorbell,chardev=door,vectors=2,addr=4"]);
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(
            command
                .spawn()
                .expect("the package qemu-system-x86 is missing"),
        )
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a machine whose processor never runs. The test drives its bus.
fn machine_with_bus(served: &Served) -> (Qemu, Bus) {
    let driven = ["-S", "-qtest", "stdio", "-qtest-log", "/dev/null"];
    let mut qemu = Qemu::start(served, &driven);
    let bus = Bus::new(&mut qemu);
    (qemu, bus)
}

/// QEMU's test protocol: accesses to the machine's bus as lines of text.
struct Bus {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Bus {
    fn new(qemu: &mut Qemu) -> Self {
        let input = qemu.0.stdin.take().unwrap();
        let output = BufReader::new(qemu.0.stdout.take().unwrap());
        Self { input, output }
    }

    /// Sends one line. Returns the number in the answer, if there is one.
    fn send(&mut self, line: &str) -> Option<u64> {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        while !answer.starts_with("OK") {
            answer.clear();
            let read = self.output.read_line(&mut answer).unwrap();
            assert!(read != 0, "qemu ended at {line}");
            assert!(!answer.starts_with("FAIL"), "{line}: {answer}");
        }
        let number = answer.trim().strip_prefix("OK 0x")?;
        Some(u64::from_str_radix(number, 16).unwrap())
    }

    fn configure(&mut self, register: u32, value: u32) {
        self.send(&format!("outl 0xcf8 {:#x}", SLOT | register));
        self.send(&format!("outl 0xcfc {value:#x}"));
    }

    /// Places the device's memory, as a BIOS would.
    fn map_device(&mut self) {
        self.send(&format!("outl 0xcf8 {SLOT:#x}"));
        assert_eq!(self.send("inl 0xcfc"), Some(0x1110_1af4));
        self.configure(0x10, REGISTERS as u32);
        self.configure(0x18, SHARED as u32);
        self.configure(0x1c, 0);
        self.configure(0x04, 2);
    }

    fn read(&mut self, address: u64) -> u64 {
        self.send(&format!("readl {address:#x}")).unwrap()
    }

    fn write(&mut self, address: u64, value: u32) {
        self.send(&format!("writel {address:#x} {value:#x}"));
    }
}

/// Asks QEMU through its monitor to end.
fn quit(qemu: &mut Qemu) {
    let mut input = qemu.0.stdin.take().unwrap();
    let mut lines = BufReader::new(qemu.0.stdout.take().unwrap()).lines();
    let mut answer = |wanted: &str| loop {
        let line = lines.next().expect("qemu ended").unwrap();
        let value: Value = serde_json::from_str(&line).unwrap();
        if value.get(wanted).is_some() {
            return;
        }
    };
    answer("QMP");
    for verb in ["qmp_capabilities", "quit"] {
        // In one write: QEMU obeys at the closing brace, and does not read the rest.
        let line = format!("{}\n", json!({ "execute": verb }));
        input.write_all(line.as_bytes()).unwrap();
        answer("return");
    }
    assert!(qemu.0.wait().unwrap().success());
}

#[test]
fn the_device_shares_memory_and_notifies_and_is_notified() {
    let served = serve(2, 4);
    let mut client = served.client();
    let (_qemu, mut bus) = machine_with_bus(&served);
    assert_eq!(changes(&mut client, 1), ["+1"]);
    bus.map_device();

    let id = bus.read(REGISTERS + 8);
    assert_eq!(id, 1, "the number that the server assigned");

    let last = MEMORY as u64 - 4;
    bus.write(SHARED + last, 0xcafe);
    let window = client.memory().window();
    assert_eq!(window.word(MEMORY - 4).load(Relaxed), 0xcafe);
    window.word(128).store(0xbeef, Relaxed);
    assert_eq!(bus.read(SHARED + 128), 0xbeef);

    // The doorbell register: the peer in the upper half, the vector in the lower.
    bus.write(REGISTERS + 12, u32::from(client.id()) << 16 | 1);
    assert_eq!(take_rings(client.own(1).unwrap()), 1);
    assert!(!is_readable(client.own(0).unwrap()));
    // Rings for peers and vectors that do not exist have no effect.
    bus.write(REGISTERS + 12, 7 << 16);
    bus.write(REGISTERS + 12, u32::from(client.id()) << 16 | 2);

    assert!(client.ring(1, 0) && client.ring(1, 1));
    for vector in [0, 1] {
        let bell = client.bell(1, vector).unwrap();
        wait_until("the device takes the ring", || !is_readable(bell));
    }
}

#[test]
fn the_device_can_notify_a_peer_that_joined_later() {
    let served = serve(2, 4);
    let (_qemu, mut bus) = machine_with_bus(&served);
    bus.map_device();
    assert_eq!(bus.read(REGISTERS + 8), 0);
    let client = served.client();
    assert_eq!(client.id(), 1);
    // It notifies only peers that it knows, and learns of us after some time.
    wait_until("the device rings", || {
        bus.write(REGISTERS + 12, 1 << 16);
        is_readable(client.own(0).unwrap())
    });
}

#[test]
fn a_machine_that_quits_has_left_and_a_new_one_has_another_number() {
    let served = serve(2, 4);
    let mut client = served.client();
    for id in [1, 2] {
        let mut qemu = Qemu::start(&served, &["-S", "-qmp", "stdio"]);
        assert_eq!(changes(&mut client, 1), [format!("+{id}")]);
        quit(&mut qemu);
        assert_eq!(changes(&mut client, 1), [format!("-{id}")]);
    }
}

#[test]
fn a_machine_that_is_killed_has_left() {
    let served = serve(2, 4);
    let mut client = served.client();
    let mut qemu = Qemu::start(&served, &["-S"]);
    assert_eq!(changes(&mut client, 1), ["+1"]);
    qemu.0.kill().unwrap();
    assert_eq!(changes(&mut client, 1), ["-1"]);
    assert_eq!(served.left(1), "it closed its connection");
}

#[test]
fn a_machine_goes_on_after_the_server_is_gone() {
    let mut served = serve(2, 4);
    let mut client = served.client();
    let (_qemu, mut bus) = machine_with_bus(&served);
    bus.map_device();
    assert_eq!(changes(&mut client, 1), ["+1"]);
    assert_eq!(bus.read(REGISTERS + 8), 1);
    served.stop();
    assert_eq!(changes(&mut client, 1), ["lost"]);
    bus.write(REGISTERS + 12, u32::from(client.id()) << 16);
    assert_eq!(take_rings(client.own(0).unwrap()), 1);
    assert!(client.ring(1, 0));
    let bell = client.bell(1, 0).unwrap();
    wait_until("the device takes the ring", || !is_readable(bell));
}
