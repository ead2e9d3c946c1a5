//! The program `ivshmem-vfio`: a peer in a guest, for trying the device.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Parser;
use ivshmem_server::Change;
use ivshmem_server::peer::{Party, Verb};
use shmem_core::Mapping;
use shmem_sync::EventBell;

use crate::address::Address;
use crate::device::Device;
use crate::sysfs;

/// A peer in a guest, for trying the interrupts and memory of an ivshmem-doorbell device. It does
/// what `ivshmem-peer` does on the host.
#[derive(Parser, Clone, Debug)]
#[command(name = "ivshmem-vfio", version, after_help = AFTER_HELP)]
struct Args {
    /// The device, as in 0000:00:03.0 [default: the only one]
    #[arg(long, value_name = "ADDRESS")]
    device: Option<Address>,

    /// How many vectors to use: at most as many as the device has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=2048))]
    vectors: u16,

    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
It needs the modules vfio_iommu_type1 and vfio-pci, and an IOMMU: QEMU's
  -machine q35 -device intel-iommu,intremap=on
and intel_iommu=on for the kernel. While it runs, the device is bound to vfio-pci; at its end it
goes back to its previous driver.

The device does not report which peers exist: it discards a ring for a number that no peer has.";

/// Runs the `ivshmem-vfio` program.
pub fn run() -> ExitCode {
    match run_command(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "ivshmem-vfio: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command(args: &Args) -> Result<()> {
    let address = args.device.clone().map_or_else(find_only_one, Ok)?;
    let device = Device::open(&address, args.vectors)?;
    let id = device.number().context("cannot read our number")?;
    args.verb.run(Guest { id, device }, io::stdin().as_fd())
}

fn find_only_one() -> Result<Address> {
    match &sysfs::find().context("cannot list devices")?[..] {
        [one] => Ok(one.clone()),
        [] => {
            bail!("there is no ivshmem device with interrupts: give QEMU -device ivshmem-doorbell")
        }
        several => {
            let names: Vec<_> = several.iter().map(Address::to_string).collect();
            bail!(
                "there are several devices: give --device one of {}",
                names.join(", ")
            )
        }
    }
}

/// A guest as a peer.
struct Guest {
    id: u16,
    device: Device,
}

impl Party for Guest {
    fn id(&self) -> u16 {
        self.id
    }

    fn memory(&self) -> &Arc<Mapping> {
        self.device.memory()
    }

    fn own(&self, vector: u16) -> Option<&Arc<EventBell>> {
        self.device.own(vector)
    }

    fn ring(&self, peer: u16, vector: u16) -> bool {
        self.device.ring(peer, vector).is_ok()
    }

    fn may_exist(&self, _: u16) -> bool {
        true
    }

    fn peers(&self) -> Vec<u16> {
        Vec::new()
    }

    fn update_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn update(&mut self) -> Vec<Change> {
        Vec::new()
    }
}
