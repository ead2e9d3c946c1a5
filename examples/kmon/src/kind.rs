//! The kinds of instances and their settings, as configured and recorded.

use std::fmt;
use std::path::PathBuf;

use kmon_protocol::link::Waiting;
use serde::{Deserialize, Serialize};
use shmem_core::region::MemorySource;

/// The kind of an instance, with its settings.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Processes of this machine, in namespaces.
    Process { shell: Option<PathBuf> },
    /// A machine under QEMU.
    Qemu(Box<Qemu>),
    /// A system that attaches to this memory and that KMON does not start.
    External(External),
}

/// A machine under QEMU.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Qemu {
    pub(crate) memory_mib: u32,
    pub(crate) vcpus: u32,
    pub(crate) boot: Boot,
    pub(crate) transport: Transport,
    pub(crate) accelerator: Accelerator,
    /// A path, or a name in the search path.
    pub(crate) program: PathBuf,
    /// Parameters for the kernel.
    pub(crate) append: String,
    /// More arguments for QEMU.
    pub(crate) extra: Vec<String>,
}

/// What a machine starts from.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Boot {
    Kernel {
        kernel: PathBuf,
        initrd: Option<PathBuf>,
    },
    Disk(PathBuf),
}

/// How a machine sees its region.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    #[default]
    Ivshmem,
    Reserved,
    Doorbell,
}

/// What runs a machine's code. The default is the translator, which works everywhere; `kvm` needs
/// the support of the processor and the kernel, and the right to use it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Accelerator {
    #[default]
    Tcg,
    Kvm,
}

/// Memory to which a system attaches that KMON does not start.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct External {
    #[serde(with = "place")]
    pub(crate) region: MemorySource,
    /// The peer runs on another kernel, although the place suggests the same one.
    pub(crate) poll: bool,
}

impl Kind {
    /// Returns its name in a configuration.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Process { .. } => "process",
            Self::Qemu(_) => "qemu",
            Self::External(_) => "external",
        }
    }

    /// Returns how KMON and the instance wait for each other without a doorbell.
    pub(crate) fn waiting(&self) -> Waiting {
        match self {
            Self::Process { .. } => Waiting::Futex,
            Self::Qemu(_) => Waiting::Poll,
            Self::External(external) if external.poll => Waiting::Poll,
            Self::External(external) => (&external.region).into(),
        }
    }

    /// Returns a machine's transport.
    pub(crate) fn transport(&self) -> Option<Transport> {
        match self {
            Self::Qemu(qemu) => Some(qemu.transport),
            _ => None,
        }
    }

    /// Returns the place of an external instance's region.
    pub(crate) fn region(&self) -> Option<&MemorySource> {
        match self {
            Self::External(external) => Some(&external.region),
            _ => None,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ivshmem => "ivshmem",
            Self::Reserved => "reserved",
            Self::Doorbell => "doorbell",
        })
    }
}

/// Converts a place to and from its form on a command line.
mod place {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use shmem_core::region::MemorySource;

    pub(super) fn serialize<S: Serializer>(place: &MemorySource, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(place)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<MemorySource, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_record() {
        let qemu = Qemu {
            memory_mib: 96,
            vcpus: 1,
            boot: Boot::Kernel {
                kernel: "/k".into(),
                initrd: None,
            },
            transport: Transport::Doorbell,
            accelerator: Accelerator::Tcg,
            program: "qemu-system-x86_64".into(),
            append: "quiet".into(),
            extra: vec!["-snapshot".into()],
        };
        let disk = Qemu {
            boot: Boot::Disk("/d.qcow2".into()),
            ..qemu.clone()
        };
        let external = External {
            region: "file:/dev/shm/ram@0x4000000+0x200000".parse().unwrap(),
            poll: true,
        };
        for kind in [
            Kind::Process { shell: None },
            Kind::Qemu(Box::new(qemu)),
            Kind::Qemu(Box::new(disk)),
            Kind::External(external),
        ] {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<Kind>(&text).unwrap(), kind, "{text}");
        }
    }
}
