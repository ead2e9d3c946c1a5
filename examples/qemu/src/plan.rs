//! The description of a machine, and its checks.

use std::fmt;
use std::path::{Path, PathBuf};

/// Vectors of an `ivshmem-doorbell` device. The server must not have more.
pub const VECTORS: u32 = 2;

/// The longest path of a socket, by `sockaddr_un`.
const LONGEST_SOCKET: usize = 107;
/// The most memory, in MiB, that QEMU places completely below 4 GiB. The rest would overlap the
/// region of [`Transport::Reserved`].
const MOST_BELOW: u32 = 3072;
/// The least memory, in MiB, with which Linux boots.
const LEAST: u32 = 16;

/// The description of a machine.
#[derive(Clone, Debug)]
pub struct Plan {
    /// QEMU's name for it. Also the guest's host name if it is valid and the plan has a kernel.
    pub name: String,
    pub memory_mib: u32,
    pub vcpus: u32,
    pub boot: Boot,
    pub transport: Transport,
    pub accelerator: Accelerator,
    /// The socket of QEMU's monitor, which is created.
    pub qmp: PathBuf,
    /// `qemu-system-x86_64`: a path, or a name in `PATH`.
    pub program: PathBuf,
    /// Kernel parameters, after those that the transport needs.
    pub append: String,
    /// Arguments after all others.
    pub extra: Vec<String>,
}

/// The source from which a machine boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A Linux kernel, which QEMU loads itself.
    Kernel {
        kernel: PathBuf,
        initrd: Option<PathBuf>,
    },
    /// A disk with a boot loader and its own kernel parameters. Its name decides its format,
    /// `.qcow2` or raw, since a guest writes its content.
    Disk(PathBuf),
}

/// How a guest sees the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The memory of a PCI device, `ivshmem-plain`.
    Ivshmem,
    /// Physical memory at 4 GiB, which the guest's kernel does not use.
    Reserved,
    /// The memory of a PCI device with interrupts, `ivshmem-doorbell`. The device gets the
    /// region from the server that listens at this socket.
    Doorbell { server: PathBuf },
}

/// The accelerator that runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator: slower, but works on all hosts.
    Tcg,
    /// The host's processor.
    Kvm,
}

impl Plan {
    /// Checks the plan as far as possible before the start.
    ///
    /// # Errors
    ///
    /// [`PlanError`], which names the file or number.
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

/// The reason why a plan is invalid.
#[derive(Debug)]
pub enum PlanError {
    /// Its purpose, its path, and the reason why it cannot be read.
    File(&'static str, PathBuf, std::io::Error),
    NoCpu,
    Memory {
        mib: u32,
        most: u32,
    },
    /// A path that is too long for a socket.
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
                    "{mib} MiB of memory are too little: {LEAST} MiB is the minimum"
                )
            }
            Self::Memory { mib, most } => write!(
                out,
                "{mib} MiB of memory are too much for a reserved region after them: \
                 {most} MiB is the maximum"
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
