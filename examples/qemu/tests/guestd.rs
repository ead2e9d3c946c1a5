//! The guest daemon of the image finds its region by itself, and sends its kernel's lines.

mod support;

use std::time::Duration;

use kmon_protocol::link::{self, MonitorLink, Waiting};
use kmon_protocol::{Event, Settings};
use kmon_qemu::{End, Off, Status, Transport};
use support::{Bench, PATIENCE, REGION_LEN};

/// What a monitor has received.
#[derive(Default)]
struct Received {
    incarnations: Vec<u32>,
    lines: Vec<String>,
    goodbye: bool,
}

impl Received {
    fn line(&self, part: &str) -> Option<&str> {
        let mut lines = self.lines.iter().map(String::as_str);
        lines.find(|line| line.contains(part))
    }
}

fn daemon_runs_and_ends(bench: Bench) {
    assert_eq!(REGION_LEN, MonitorLink::REGION_LEN);
    let settings = Settings {
        partition: 2,
        period_ms: 1000,
        name: "tested".to_owned(),
    };
    let memory = bench.region.as_fd().try_clone_to_owned().unwrap();
    let memory = shmem_core::Mapping::from_fd(memory).unwrap();
    let link = MonitorLink::create(memory.window(), &settings, Waiting::Poll).unwrap();
    let (_commands, mut events, kernel) = link.split();
    let mut kernel = kernel.unwrap();
    let guest = bench.start();
    let mut received = Received::default();
    let mut wait_for = |what: &str, holds: &dyn Fn(&Received) -> bool| {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !holds(&received) {
            let lines = received.lines.join("\n");
            assert!(std::time::Instant::now() < deadline, "no {what}:\n{lines}");
            events.beat().unwrap();
            events
                .receive(Duration::from_millis(20), |_, message| match message {
                    link::Received::Message(Event::Hello { incarnation, .. }) => {
                        received.incarnations.push(incarnation)
                    }
                    link::Received::Message(Event::Goodbye) => received.goodbye = true,
                    _ => {}
                })
                .unwrap();
            kernel
                .receive(Duration::ZERO, |_, message| {
                    if let link::Received::Message(line) = message {
                        let text = String::from_utf8_lossy(line.text);
                        received.lines.push(text.into_owned());
                    }
                })
                .unwrap();
        }
    };
    wait_for("greeting", &|received| received.incarnations == [1]);
    wait_for("first line", &|received| {
        received.line("Linux version").is_some()
    });
    wait_for("last line", &|received| {
        received.line("starting guestd").is_some()
    });
    guest.machine.power_down().unwrap();
    wait_for("goodbye", &|received| received.goodbye);
    guest.see_status(Status::Ended(End::Off(Off::Guest)));
    let first = received.lines.first().unwrap();
    assert!(first.starts_with("Linux version"), "{first}");
    let failed = received.line("init: cannot");
    assert_eq!(failed, None);
}

#[test]
fn guestd_runs_with_a_plain_device_and_obeys_the_power_button() {
    daemon_runs_and_ends(Bench::with_image(Transport::Ivshmem));
}

#[test]
fn guestd_runs_with_reserved_memory_and_obeys_the_power_button() {
    daemon_runs_and_ends(Bench::with_image(Transport::Reserved));
}

#[test]
fn guestd_runs_with_a_doorbell_device_that_never_interrupts() {
    daemon_runs_and_ends(Bench::with_image(Transport::Ivshmem).with_doorbell());
}
