//! Interrupts between a Linux guest and a process of the host, through the real device.

mod machine;

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use ivshmem_server::Client;
use ivshmem_server::peer::Verb;
use machine::{Guest, IOMMU, MEMORY, PATIENCE, USE_IOMMU, VECTORS, doorbell, serve};
use shmem_core::Mapping;
use shmem_core::primitive::AtomicU32;
use shmem_core::wait::Wait;
use shmem_sync::EventWait;
use tempfile::TempDir;

/// A guest's peer that runs in the background until it is stopped.
const IN_BACKGROUND: &str = "sleep 100000 | ivshmem-vfio --vectors 2";

fn home() -> (TempDir, PathBuf, Mapping) {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    (home, socket, Mapping::memfd("served", MEMORY).unwrap())
}

fn join(socket: &Path) -> Client {
    Client::connect(socket, VECTORS, PATIENCE).unwrap()
}

/// Waits until `client` is rung for `vector`.
fn wait_until_rung(client: &Client, vector: u16) {
    let bell = client.own(vector).unwrap();
    let started = Instant::now();
    // Only a ring ends the wait early.
    let mut wait = EventWait::forever(bell).recheck(PATIENCE);
    wait.sleep(&AtomicU32::new(0), 0);
    assert!(started.elapsed() < PATIENCE, "no peer rang");
}

/// A peer on the host that answers until its input ends.
struct Answering {
    id: u16,
    input: PipeWriter,
    thread: JoinHandle<anyhow::Result<()>>,
}

fn answer(socket: &Path) -> Answering {
    let client = join(socket);
    let id = client.id();
    let (end, input): (PipeReader, _) = pipe().unwrap();
    let thread = thread::spawn(move || Verb::Answer.run(client, end.as_fd()));
    Answering { id, input, thread }
}

impl Answering {
    fn stop(self) {
        drop(self.input);
        self.thread.join().unwrap().unwrap();
    }
}

/// Round trips to the guest, which is peer `peer`.
fn ping(client: Client, peer: u16) {
    let (end, _input) = pipe().unwrap();
    let count = 2000;
    let pinged = Verb::Ping { peer, count }.run(client, end.as_fd());
    pinged.unwrap();
}

#[test]
fn a_guest_and_the_host_share_memory_and_ring_each_other() {
    let (_home, socket, memory) = home();
    let _server = serve(&socket, &memory);
    let client = join(&socket);
    let mut guest = Guest::with_vfio(&socket);
    guest.run("ivshmem-vfio ring 0 1");
    wait_until_rung(&client, 1);
    // No such peer, and no such vector.
    guest.run("ivshmem-vfio ring 7; ivshmem-vfio ring 0 9");
    let error = guest.fails("ivshmem-vfio --vectors 3 ring 0");
    assert!(error.contains("has 2 vectors, 3 are wanted"), "{error}");

    let watch = format!("{IN_BACKGROUND} watch");
    guest.start(&watch, "we are peer 1; memory 1048576 bytes");
    let mut client = client;
    client.update();
    for vector in [0, 1, 0] {
        assert!(client.ring(1, vector));
        guest.line(&format!("vector {vector} was rung"));
    }
    let (status, output) = guest.try_run("ivshmem-vfio ring 0");
    assert_eq!(status, 1);
    assert!(
        output[0].contains("another process uses 0000:00:"),
        "{output:?}"
    );
    // It has no driver again, as before.
    guest.run("killall sleep; wait; ! ls -d /sys/bus/pci/drivers/vfio-pci/0000:*");
}

#[test]
fn a_restart_of_either_side_does_not_stop_records() {
    let (_home, socket, memory) = home();
    let server = serve(&socket, &memory);
    let mut guest = Guest::with_vfio(&socket);
    let answers = format!("{IN_BACKGROUND} answer");
    guest.start(&answers, "peer 0 answers");
    // Each is a peer of its own, with a number of its own.
    ping(join(&socket), 0);
    ping(join(&socket), 0);
    // A killed program releases nothing; the next one finds the device bound to vfio-pci.
    guest.run("killall -9 ivshmem-vfio sleep; wait");
    guest.start(&answers, "peer 0 answers");
    ping(join(&socket), 0);
    guest.run("killall sleep; wait");

    for _ in 0..2 {
        let host = answer(&socket);
        let output = guest.run(&format!("ivshmem-vfio ping {} --count 2000", host.id));
        println!("from the guest: {output:?}");
        host.stop();
    }

    // A peer that has connected needs the server no more; a new one does.
    guest.start(&answers, "peer 0 answers");
    let connected = join(&socket);
    server.stop().unwrap();
    ping(connected, 0);
    let server = serve(&socket, &memory);
    assert_eq!(join(&socket).peers().count(), 0);
    drop(guest);
    let mut guest = Guest::with_vfio(&socket);
    let line = guest.start(&answers, " answers");
    let peer = line.split(' ').nth(1).unwrap().parse().unwrap();
    ping(join(&socket), peer);
    server.stop().unwrap();
}

#[test]
fn one_line_names_what_the_machine_lacks() {
    let (_home, socket, memory) = home();
    let _server = serve(&socket, &memory);
    let ring = "ivshmem-vfio ring 0";
    let mut guest = Guest::boot(&doorbell(&socket), USE_IOMMU);
    let error = guest.fails(ring);
    assert!(error.contains("modprobe vfio-pci"), "{error}");
    guest.run("load");
    let error = guest.fails(ring);
    assert!(error.contains("-device intel-iommu,intremap=on"), "{error}");
    drop(guest);

    let mut arguments = doorbell(&socket);
    arguments.extend(["-device", "intel-iommu,intremap=off"].map(str::to_owned));
    let plain = "memory-backend-ram,id=plain,size=1M,share=on";
    arguments.extend(
        [
            "-object",
            plain,
            "-device",
            "ivshmem-plain,memdev=plain,addr=7",
        ]
        .map(str::to_owned),
    );
    let mut guest = Guest::boot(&arguments, USE_IOMMU);
    guest.run("load");
    let error = guest.fails(ring);
    assert!(error.contains("does not remap interrupts"), "{error}");
    guest.run("rmmod vfio_iommu_type1");
    let error = guest.fails(ring);
    assert!(error.contains("modprobe vfio_iommu_type1"), "{error}");
    let error = guest.fails("ivshmem-vfio --device 0000:00:07.0 ring 0");
    assert!(error.contains("0000:00:07.0 has no interrupts"), "{error}");
    drop(guest);

    let mut guest = Guest::boot(&IOMMU, USE_IOMMU);
    let error = guest.fails(ring);
    assert!(error.contains("there is no ivshmem device"), "{error}");
}
