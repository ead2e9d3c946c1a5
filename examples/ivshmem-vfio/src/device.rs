//! The device: registers, memory, interrupts.
//!
//! - **D1** A ring cannot reach anything but a peer: the register accepts any number, and the
//!   device discards a number that no peer has.
//! - **D2** The device goes back to its driver only if nothing maps its memory any more.
//!   Otherwise it stays bound to vfio-pci, where the next program finds it.
//!
//! Registers are written by system calls and not through a mapping. A BAR that is shorter than
//! a page can be mapped only if the firmware gave it a page of its own, and access to an
//! unplugged device is an error here instead of a signal.

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
use crate::sysfs::VfioBinding;
use crate::vfio::{self, Opened, Range};

/// Offset of the register with our number.
const IV_POSITION: u64 = 8;
/// Offset of the register that rings: the peer in the upper half, the vector in the lower.
const DOORBELL: u64 = 12;
/// Bytes of registers that these offsets need.
const REGISTERS: u64 = 16;

/// PCI's command register and the bits that are set in it: the memory responds, and the
/// device may write to memory, as its interrupts do.
const COMMAND: u64 = 4;
const MEMORY_SPACE: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;

/// An `ivshmem-doorbell` device of this machine.
#[derive(Debug)]
pub struct Device {
    // The order of the drops: `binding` is dropped last (its S2).
    memory: Arc<Mapping>,
    opened: Opened,
    registers: Range,
    own: Vec<Arc<EventBell>>,
    binding: VfioBinding,
}

impl Device {
    /// Takes over the device at `address`, with an eventfd for each of its first `vectors`
    /// interrupts (0 counts as 1). No other process can use it until it is dropped.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the device then has its previous driver again.
    pub fn open(address: &Address, vectors: u16) -> Result<Self, OpenError> {
        let wanted = vectors.max(1);
        let binding = VfioBinding::bind(address)?;
        let opened = vfio::open(address, &binding.group)?;
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
            binding,
        })
    }

    /// Returns our number, by which other peers ring us. The server gives each incarnation of the
    /// machine another number.
    ///
    /// # Errors
    ///
    /// The kernel's reason, or that the server has not given a number.
    pub fn number(&self) -> io::Result<u16> {
        let mut bytes = [0; 4];
        let at = self.registers.offset + IV_POSITION;
        self.opened.device.read_exact_at(&mut bytes, at)?;
        u16::try_from(u32::from_le_bytes(bytes))
            .map_err(|_| io::Error::other("the server has given the device no number"))
    }

    /// Returns the memory that all peers share.
    pub fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }

    /// Returns the eventfd of our interrupt `vector`, for [`shmem_sync::EventWait`].
    pub fn own(&self, vector: u16) -> Option<&Arc<EventBell>> {
        self.own.get(usize::from(vector))
    }

    /// Interrupts a peer. Does nothing if the peer or the vector does not exist (D1).
    ///
    /// # Errors
    ///
    /// The kernel's reason: the device is gone.
    pub fn ring(&self, peer: u16, vector: u16) -> io::Result<()> {
        let value = u32::from(peer) << 16 | u32::from(vector);
        let at = self.registers.offset + DOORBELL;
        self.opened.device.write_all_at(&value.to_le_bytes(), at)
    }

    /// Returns the doorbell of a peer, as `notify` takes it.
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
            self.binding.leave_bound(); // D2
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
        // If the device is gone, no peer is rung; peers also check by themselves.
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

/// Enables the device's memory and its interrupts.
fn enable(opened: &Opened) -> Result<(), OpenError> {
    let at = opened.region(VFIO_PCI_CONFIG_REGION_INDEX)?.offset + COMMAND;
    let mut bytes = [0; 2];
    let read = opened.device.read_exact_at(&mut bytes, at);
    let command = u16::from_le_bytes(bytes) | MEMORY_SPACE | BUS_MASTER;
    read.and_then(|()| opened.device.write_all_at(&command.to_le_bytes(), at))
        .map_err(|why| OpenError::system("enable the device", why))
}
