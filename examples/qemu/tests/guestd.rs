//! The guest daemon of the image finds its region by itself, and tells of its kernel.

mod support;

use std::time::Duration;

use kmon_protocol::link::{MonitorLink, Received, Waiting};
use kmon_protocol::{Event, Settings};
use kmon_qemu::{End, Off, Status, Transport};
use support::{Bench, PATIENCE, REGION_LEN};

/// What a monitor has heard.
#[derive(Default)]
struct Heard {
    incarnations: Vec<u32>,
    lines: Vec<String>,
    goodbye: bool,
}

impl Heard {
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
    let mut heard = Heard::default();
    let mut listen = |what: &str, holds: &dyn Fn(&Heard) -> bool| {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !holds(&heard) {
            let said = heard.lines.join("\n");
            assert!(std::time::Instant::now() < deadline, "no {what}:\n{said}");
            events.beat().unwrap();
            events
                .receive(Duration::from_millis(20), |_, received| match received {
                    Received::Message(Event::Hello { incarnation, .. }) => {
                        heard.incarnations.push(incarnation)
                    }
                    Received::Message(Event::Goodbye) => heard.goodbye = true,
                    _ => {}
                })
                .unwrap();
            kernel
                .receive(Duration::ZERO, |_, received| {
                    if let Received::Message(line) = received {
                        let text = String::from_utf8_lossy(line.text);
                        heard.lines.push(text.into_owned());
                    }
                })
                .unwrap();
        }
    };
    listen("greeting", &|heard| heard.incarnations == [1]);
    listen("first line", &|heard| heard.line("Linux version").is_some());
    listen("last line", &|heard| {
        heard.line("starting guestd").is_some()
    });
    guest.machine.power_down().unwrap();
    listen("goodbye", &|heard| heard.goodbye);
    guest.see_status(Status::Ended(End::Off(Off::Guest)));
    let first = heard.lines.first().unwrap();
    assert!(first.starts_with("Linux version"), "{first}");
    let failed = heard.line("init: cannot");
    assert_eq!(failed, None);
}

#[test]
fn guestd_runs_behind_a_plain_device_and_obeys_the_power_button() {
    daemon_runs_and_ends(Bench::of_image(Transport::Ivshmem));
}

#[test]
fn guestd_runs_behind_reserved_memory_and_obeys_the_power_button() {
    daemon_runs_and_ends(Bench::of_image(Transport::Reserved));
}

#[test]
fn guestd_runs_behind_a_device_with_doorbells_that_nobody_rings() {
    daemon_runs_and_ends(Bench::of_image(Transport::Ivshmem).with_doorbell());
}
