//! Why a device cannot be had: one line that says what to do.

use std::fmt;
use std::io;

use crate::address::Address;

/// Why a device cannot be had.
#[derive(Debug)]
pub enum OpenError {
    /// It is not there, or is no ivshmem device.
    Missing(Address),
    /// It is ivshmem without interrupts.
    Plain(Address),
    /// A module of the kernel is missing.
    Module(&'static str),
    /// No IOMMU stands between it and the memory.
    Iommu(Address),
    /// The IOMMU does not remap interrupts.
    Remapping,
    /// vfio-pci did not take it.
    Refused(Address),
    /// Devices that it cannot be told apart from have drivers.
    Shared {
        /// The device.
        device: Address,
        /// The number of the group of all of them.
        group: String,
    },
    /// Another process has it.
    Busy(Address),
    /// It has fewer interrupts than are wanted.
    Vectors {
        /// How many it has.
        has: u32,
        /// How many are wanted.
        wanted: u16,
    },
    /// Whatever else the kernel says.
    System {
        /// What was to be done.
        what: String,
        /// The kernel's reason.
        why: io::Error,
    },
}

impl OpenError {
    /// What `what` has come to: the kernel's reason.
    pub(crate) fn system(what: impl Into<String>, why: impl Into<io::Error>) -> Self {
        let (what, why) = (what.into(), why.into());
        Self::System { what, why }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(device) => write!(f, "{device} is no ivshmem device (1af4:1110)"),
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
                "no IOMMU stands before {device}: start QEMU with -machine q35 \
                 -device intel-iommu,intremap=on, and the kernel with intel_iommu=on"
            ),
            Self::Remapping => f.write_str(
                "the IOMMU does not remap interrupts: start QEMU with \
                 -device intel-iommu,intremap=on",
            ),
            Self::Refused(device) => write!(
                f,
                "vfio-pci did not take {device}: the kernel's log (dmesg) has its reason"
            ),
            Self::Shared { device, group } => write!(
                f,
                "{device} shares IOMMU group {group} with devices that have drivers: \
                 unbind them, or put it on a bus of its own"
            ),
            Self::Busy(device) => write!(f, "another process has {device}: end it first"),
            Self::Vectors { has, wanted } => write!(
                f,
                "the device has {has} vectors, {wanted} are wanted: \
                 give QEMU -device ivshmem-doorbell,vectors={wanted}"
            ),
            Self::System { what, why } => {
                write!(f, "cannot {what}: {why}")?;
                match why.kind() {
                    io::ErrorKind::PermissionDenied => f.write_str("; run with the right to it"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for OpenError {}
