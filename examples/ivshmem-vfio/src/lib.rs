//! Interrupts of QEMU's `ivshmem-doorbell` device in a Linux guest, through vfio-pci.
//!
//! A guest without its own kernel module for the device takes it over by vfio, the
//! kernel's interface for drivers in user space: the shared memory is mapped, each of
//! its interrupts is an eventfd, and a store to the doorbell register rings a peer.
//! On the host `ivshmem-server` is the other side.
//!
//! | module    | purpose                                          |
//! |-----------|--------------------------------------------------|
//! | `sysfs`   | the devices of the machine and their drivers     |
//! | `vfio`    | vfio's ioctls                                    |
//! | `device`  | the device: registers, memory, interrupts        |
//! | `error`   | why it cannot be opened, and what to do          |
//! | `program` | the program `ivshmem-vfio`, for trying a device  |
//!
//! The guest needs an IOMMU that remaps interrupts (QEMU: `-machine q35 -device
//! intel-iommu,intremap=on`, kernel: `intel_iommu=on`), the modules `vfio_iommu_type1` and
//! `vfio-pci`, and access to `/dev/vfio` and sysfs. It works without an IOMMU if the kernel
//! has `CONFIG_VFIO_NOIOMMU` and the parameter `vfio.enable_unsafe_noiommu_mode=1`.
//!
//! ```no_run
//! use ivshmem_vfio::Device;
//! use shmem_core::doorbell::Doorbell;
//! use shmem_core::primitive::AtomicU32;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address = ivshmem_vfio::find()?.into_iter().next().ok_or("no device")?;
//! let device = Device::open(&address, 1)?;
//! println!("we are peer {}", device.number()?);
//! device.bell(0, 0).ring(&AtomicU32::new(0)); // peer 0's first interrupt
//! # Ok(())
//! # }
//! ```

mod address;
mod device;
mod error;
#[cfg(feature = "program")]
mod program;
mod sysfs;
mod vfio;

pub use address::{Address, InvalidAddress};
pub use device::{Device, PeerBell};
pub use error::OpenError;
#[cfg(feature = "program")]
pub use program::run;
pub use sysfs::find;
