//! Why a device cannot be opened: one line that says what to do.

use std::fmt;
use std::io;

use crate::address::Address;

/// Why a device cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// It does not exist, or it is not an ivshmem device.
    Missing(Address),
    /// It is ivshmem without interrupts.
    Plain(Address),
    /// A module of the kernel is missing.
    Module(&'static str),
    /// There is no IOMMU for it.
    Iommu(Address),
    /// The IOMMU does not remap interrupts.
    Remapping,
    /// vfio-pci did not bind to it.
    Refused(Address),
    /// Other devices in its IOMMU group have drivers.
    Shared {
        /// The device.
        device: Address,
        /// The number of its IOMMU group.
        group: String,
    },
    /// Another process uses it.
    Busy(Address),
    /// It has fewer interrupts than are wanted.
    Vectors {
        /// How many it has.
        has: u32,
        /// How many are wanted.
        wanted: u16,
    },
    /// Any other error of the kernel.
    System {
        /// What failed, as a verb phrase.
        what: String,
        /// The kernel's reason.
        why: io::Error,
    },
}

impl OpenError {
    /// An error of the kernel in `what`, a verb phrase.
    pub(crate) fn system(what: impl Into<String>, why: impl Into<io::Error>) -> Self {
        let (what, why) = (what.into(), why.into());
        Self::System { what, why }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(device) => write!(f, "{device} is not an ivshmem device (1af4:1110)"),
            Self::Plain(device) => write!(
                f,
                "{device} has no interrupts: give QEMU -device ivshmem-doorbell"
            ),
            Self::Module(module) => write!(
                f,
                "the kernel module {module} is missing: load it (modprobe {module})"
            ),
            Self::Iommu(device) => write!(
                f,
                "there is no IOMMU for {device}: start QEMU with -machine q35 \
                 -device intel-iommu,intremap=on, and the kernel with intel_iommu=on"
            ),
            Self::Remapping => f.write_str(
                "the IOMMU does not remap interrupts: start QEMU with \
                 -device intel-iommu,intremap=on",
            ),
            Self::Refused(device) => write!(
                f,
                "vfio-pci did not bind to {device}: see the kernel's log (dmesg)"
            ),
            Self::Shared { device, group } => write!(
                f,
                "{device} shares IOMMU group {group} with devices that have drivers: \
                 unbind them, or put it on a bus of its own"
            ),
            Self::Busy(device) => write!(f, "another process uses {device}: end it first"),
            Self::Vectors { has, wanted } => write!(
                f,
                "the device has {has} vectors, {wanted} are wanted: \
                 give QEMU -device ivshmem-doorbell,vectors={wanted}"
            ),
            Self::System { what, why } => {
                write!(f, "cannot {what}: {why}")?;
                match why.kind() {
                    io::ErrorKind::PermissionDenied => f.write_str("; run it as root"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for OpenError {}
