//! A guest sees the memory that the monitor made, with every transport.

mod support;

use kmon_qemu::Transport;
use support::{Bench, Guest};

#[test]
fn a_guest_sees_the_region_as_the_memory_of_a_plain_device() {
    Guest::boot(Transport::Ivshmem).see_alive();
}

#[test]
fn a_guest_sees_the_region_as_physical_memory_after_its_own() {
    Guest::boot(Transport::Reserved).see_alive();
}

#[test]
fn a_guest_sees_the_region_as_the_memory_of_a_device_with_doorbells() {
    let guest = Bench::new(Transport::Ivshmem).with_doorbell().start();
    guest.see_up(1);
    guest.see_alive();
}
