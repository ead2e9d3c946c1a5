//! The device: registers, memory, interrupts.
//!
//! - **D1** Nobody rings by a number that the device has not: a register takes any, and
//!   the device drops what is no peer's.
//! - **D2** The device goes back to its driver when nobody has its memory any more; if
//!   somebody still has, it stays with vfio-pci, where the next one finds it.
//!
//! Registers are written by system calls and not through a mapping: a BAR that is shorter than
//! a page can be mapped only where the firmware gave it a page of its own, and a device
//! that was unplugged is an error and no signal.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use shmem_core::Mapping;
use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
use shmem_sync::EventBell;
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_BAR2_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
};

use crate::address::Address;
use crate::error::OpenError;
use crate::sysfs::Loan;
use crate::vfio::{self, Opened, Range};

/// Our number.
const IV_POSITION: u64 = 8;
/// The peer above, its vector below.
const DOORBELL: u64 = 12;
/// Bytes of registers that the above needs.
const REGISTERS: u64 = 16;

/// The command register of PCI, and what is set there: the memory answers, and the
/// device may write, which is what its interrupts are.
const COMMAND: u64 = 4;
const MEMORY_SPACE: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;

/// An `ivshmem-doorbell` device of this machine.
#[derive(Debug)]
pub struct Device {
    // The order in which they are dropped: `loan` is the last (its S2).
    memory: Arc<Mapping>,
    opened: Opened,
    registers: Range,
    own: Vec<Arc<EventBell>>,
    loan: Loan,
}

impl Device {
    /// Takes the device at `address` over, with an eventfd for each of its first
    /// `vectors` interrupts (0 counts as 1). Until it is dropped nobody else has it.
    ///
    /// # Errors
    ///
    /// [`OpenError`], after which the device has the driver that it had before.
    pub fn open(address: &Address, vectors: u16) -> Result<Self, OpenError> {
        let wanted = vectors.max(1);
        let loan = Loan::of(address)?;
        let opened = vfio::open(address, &loan.group)?;
        let registers = opened.region(VFIO_PCI_BAR0_REGION_INDEX)?;
        if registers.len < REGISTERS {
            return Err(OpenError::Missing(address.clone()));
        }
        let memory = map(&opened)?;
        let has = opened.vectors()?;
        if has < u32::from(wanted) {
            return Err(OpenError::Vectors { has, wanted });
        }
        enable(&opened)?;
        let own: Result<Vec<_>, _> = (0..wanted).map(|_| EventBell::new()).collect();
        let own = own.map_err(|why| OpenError::system("make an eventfd", why))?;
        opened.trigger(&own)?;
        Ok(Self {
            memory: Arc::new(memory),
            opened,
            registers,
            own: own.into_iter().map(Arc::new).collect(),
            loan,
        })
    }

    /// Our number, by which others ring us. The server gives each incarnation of the machine
    /// another.
    ///
    /// # Errors
    ///
    /// The kernel's reason, or that the server has not given one.
    pub fn number(&self) -> io::Result<u16> {
        let mut bytes = [0; 4];
        let at = self.registers.offset + IV_POSITION;
        self.opened.device.read_exact_at(&mut bytes, at)?;
        u16::try_from(u32::from_le_bytes(bytes))
            .map_err(|_| io::Error::other("the server has given the device no number"))
    }

    /// The memory that all share.
    pub fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }

    /// What rings us for `vector`: for [`shmem_sync::EventWait`].
    pub fn own(&self, vector: u16) -> Option<&Arc<EventBell>> {
        self.own.get(usize::from(vector))
    }

    /// Interrupts a peer; nothing if it is not there, or has no such vector (D1).
    ///
    /// # Errors
    ///
    /// The kernel's reason: the device is gone.
    pub fn ring(&self, peer: u16, vector: u16) -> io::Result<()> {
        let value = u32::from(peer) << 16 | u32::from(vector);
        let at = self.registers.offset + DOORBELL;
        self.opened.device.write_all_at(&value.to_le_bytes(), at)
    }

    /// The doorbell of a peer, as `notify` takes it.
    pub fn bell(&self, peer: u16, vector: u16) -> PeerBell<'_> {
        PeerBell {
            device: self,
            peer,
            vector,
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if Arc::get_mut(&mut self.memory).is_none() {
            self.loan.keep(); // D2
        }
    }
}

/// One interrupt of one peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerBell<'d> {
    device: &'d Device,
    peer: u16,
    vector: u16,
}

impl Doorbell for PeerBell<'_> {
    fn ring(&self, _: &AtomicU32) {
        // A device that is gone rings nobody: its peers look again by themselves.
        let _ = self.device.ring(self.peer, self.vector);
    }
}

fn map(opened: &Opened) -> Result<Mapping, OpenError> {
    let Range { offset, len } = opened.region(VFIO_PCI_BAR2_REGION_INDEX)?;
    let failed = |why: io::Error| OpenError::system("map the shared memory", why);
    let len = usize::try_from(len).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    let fd = opened.device.try_clone().map_err(failed)?;
    Mapping::device(fd.into(), offset, len)
        .map_err(|error| failed(io::Error::from_raw_os_error(error.raw_os_error())))
}

/// Lets the device's memory answer and its interrupts come.
fn enable(opened: &Opened) -> Result<(), OpenError> {
    let at = opened.region(VFIO_PCI_CONFIG_REGION_INDEX)?.offset + COMMAND;
    let mut bytes = [0; 2];
    let read = opened.device.read_exact_at(&mut bytes, at);
    let command = u16::from_le_bytes(bytes) | MEMORY_SPACE | BUS_MASTER;
    read.and_then(|()| opened.device.write_all_at(&command.to_le_bytes(), at))
        .map_err(|why| OpenError::system("enable the device", why))
}
