//! What a machine is made of, and what cannot be.

use std::fmt;
use std::path::{Path, PathBuf};

/// Vectors of an `ivshmem-doorbell` device: a server must not have more.
pub const VECTORS: u32 = 2;

/// The longest path of a socket, by `sockaddr_un`.
const LONGEST_SOCKET: usize = 107;
/// The most memory, in MiB, that QEMU puts below 4 GiB as a whole. More would be where
/// [`Transport::Reserved`] has the region.
const MOST_BELOW: u32 = 3072;
/// What no Linux boots with less of.
const LEAST: u32 = 16;

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What QEMU calls it; the guest's host name, if it is one and the kernel is given here.
    pub name: String,
    pub memory_mib: u32,
    pub vcpus: u32,
    pub boot: Boot,
    pub transport: Transport,
    pub accelerator: Accelerator,
    /// The socket of QEMU's monitor, which is made.
    pub qmp: PathBuf,
    /// `qemu-system-x86_64`: a path, or a name to be found.
    pub program: PathBuf,
    /// Kernel parameters behind those that the transport needs.
    pub append: String,
    /// Arguments behind all others.
    pub extra: Vec<String>,
}

/// What a machine starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A Linux kernel, which QEMU loads itself.
    Kernel {
        kernel: PathBuf,
        initrd: Option<PathBuf>,
    },
    /// A disk, which has a boot loader and its own kernel parameters. Its format is told by
    /// its name, `.qcow2` or raw: a guest writes its content.
    Disk(PathBuf),
}

/// How a guest sees the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The memory of a PCI device, `ivshmem-plain`.
    Ivshmem,
    /// Physical memory at 4 GiB, which the guest's kernel leaves alone.
    Reserved,
    /// The memory of a PCI device with interrupts, `ivshmem-doorbell`. The device gets the
    /// region from the server that listens at this socket.
    Doorbell { server: PathBuf },
}

/// What runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator: slower, and works everywhere.
    Tcg,
    /// The host's processor.
    Kvm,
}

impl Plan {
    /// An error if no machine can be made of this, as far as that can be told before.
    ///
    /// # Errors
    ///
    /// [`PlanError`] names the file or number.
    pub fn check(&self) -> Result<(), PlanError> {
        let files: &[(&'static str, &Path)] = match &self.boot {
            Boot::Kernel {
                kernel,
                initrd: Some(initrd),
            } => &[("kernel", kernel), ("initrd", initrd)],
            Boot::Kernel { kernel, .. } => &[("kernel", kernel)],
            Boot::Disk(disk) => &[("disk", disk)],
        };
        for (what, path) in files {
            if let Err(error) = std::fs::File::open(path) {
                return Err(PlanError::File(what, path.to_path_buf(), error));
            }
        }
        if self.vcpus == 0 {
            return Err(PlanError::NoCpu);
        }
        let most = match self.transport {
            Transport::Reserved => MOST_BELOW,
            _ => u32::MAX,
        };
        if !(LEAST..=most).contains(&self.memory_mib) {
            return Err(PlanError::Memory {
                mib: self.memory_mib,
                most,
            });
        }
        if self.qmp.as_os_str().len() > LONGEST_SOCKET {
            return Err(PlanError::LongPath(self.qmp.clone()));
        }
        Ok(())
    }
}

/// Why no machine can be made of a plan.
#[derive(Debug)]
pub enum PlanError {
    /// What it is for, its path, and why it cannot be read.
    File(&'static str, PathBuf, std::io::Error),
    NoCpu,
    Memory {
        mib: u32,
        most: u32,
    },
    /// A socket's path that is too long for a socket.
    LongPath(PathBuf),
}

impl fmt::Display for PlanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(what, path, error) => {
                write!(out, "{what} {}: {error}", path.display())
            }
            Self::NoCpu => out.write_str("a machine needs a processor: vcpus is 0"),
            Self::Memory { mib, .. } if *mib < LEAST => {
                write!(
                    out,
                    "{mib} MiB of memory are too little: {LEAST} are the least"
                )
            }
            Self::Memory { mib, most } => write!(
                out,
                "{mib} MiB of memory are too much for a reserved region behind them: \
                 {most} are the most"
            ),
            Self::LongPath(path) => write!(
                out,
                "the socket's path {} is longer than {LONGEST_SOCKET} bytes",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PlanError {}
