//! Interrupts of QEMU's `ivshmem-doorbell` device in a Linux guest, through vfio-pci.
//!
//! A guest without a kernel module of its own for the device takes it over by vfio, the
//! kernel's way to drive a device from a program: the shared memory is mapped, each of
//! its interrupts is an eventfd, and a peer is rung by a store to the doorbell register.
//! On the host `ivshmem-server` has the other end.
//!
//! | module    | one purpose                                     |
//! |-----------|-------------------------------------------------|
//! | `sysfs`   | which devices there are, and whose they are     |
//! | `vfio`    | vfio's calls                                    |
//! | `device`  | the device: registers, memory, interrupts       |
//! | `error`   | why it cannot be had, and what to do            |
//! | `program` | the program `ivshmem-vfio`, a peer to try with  |
//!
//! What the guest needs: an IOMMU that remaps interrupts (QEMU: `-machine q35 -device
//! intel-iommu,intremap=on`, kernel: `intel_iommu=on`), the modules `vfio_iommu_type1` and
//! `vfio-pci`, the right to `/dev/vfio` and to sysfs. Where the kernel has `CONFIG_VFIO_NOIOMMU`
//! and was told `vfio.enable_unsafe_noiommu_mode=1`, it goes without an IOMMU.
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

pub use address::{Address, NoAddress};
pub use device::{Device, PeerBell};
pub use error::OpenError;
#[cfg(feature = "program")]
pub use program::run;
pub use sysfs::find;
