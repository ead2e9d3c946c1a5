//! Reads one `[[instance]]`: which keys its kind has, and what they mean.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shmem_core::region::MemorySource;
use toml::Spanned;

use super::source::Source;
use super::values::{InstanceName, LogBytes, Memory, Vcpus};
use crate::kind::{Accelerator, Boot, External, Kind, Qemu, Transport};

/// Memory of a machine without the key `memory`: enough for a small system.
const MEMORY_MIB: u32 = 128;
/// Found in the search path of programs.
const QEMU: &str = "qemu-system-x86_64";

/// One `[[instance]]`.
#[derive(Debug)]
pub(crate) struct InstanceConfig {
    pub(crate) name: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) log_bytes: Option<usize>,
    pub(crate) kernel_log_bytes: Option<usize>,
}

/// One `[[instance]]`, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInstance {
    kind: Option<Spanned<KindKey>>,
    pub(super) name: Option<Spanned<InstanceName>>,
    log_bytes: Option<LogBytes>,
    kernel_log_bytes: Option<LogBytes>,
    // process
    shell: Option<Spanned<PathBuf>>,
    // qemu
    memory: Option<Spanned<Memory>>,
    vcpus: Option<Spanned<Vcpus>>,
    kernel: Option<Spanned<PathBuf>>,
    initrd: Option<Spanned<PathBuf>>,
    disk: Option<Spanned<PathBuf>>,
    transport: Option<Spanned<Transport>>,
    accelerator: Option<Spanned<Accelerator>>,
    append: Option<Spanned<String>>,
    qemu: Option<Spanned<PathBuf>>,
    extra: Option<Spanned<Vec<String>>>,
    // external
    region: Option<Spanned<String>>,
    poll: Option<Spanned<bool>>,
}

/// `kind`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum KindKey {
    Process,
    Qemu,
    External,
}

impl KindKey {
    fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Qemu => "qemu",
            Self::External => "external",
        }
    }
}

fn span<T>(key: Option<&Spanned<T>>) -> Option<Range<usize>> {
    key.map(Spanned::span)
}

impl RawInstance {
    /// Checks and converts the keys. `shell` is the shell of an instance that names none.
    pub(super) fn check(
        self,
        source: &Source,
        shell: Option<&Path>,
    ) -> anyhow::Result<InstanceConfig> {
        let word = self
            .kind
            .as_ref()
            .map_or(KindKey::Process, |kind| *kind.get_ref());
        self.refuse_keys_of_other_kinds(source, word)?;
        let kind = match word {
            KindKey::Process => {
                let own = self.shell.as_ref().map(|own| source.program(own));
                let own = own.transpose()?;
                let shell = own.or(shell.map(Path::to_owned));
                Kind::Process { shell }
            }
            KindKey::Qemu => Kind::Qemu(Box::new(self.machine(source)?)),
            KindKey::External => Kind::External(self.external(source)?),
        };
        Ok(InstanceConfig {
            name: self.name.map(|name| name.into_inner().0),
            kind,
            log_bytes: self.log_bytes.map(|bytes| bytes.0),
            kernel_log_bytes: self.kernel_log_bytes.map(|bytes| bytes.0),
        })
    }

    /// Returns an error at the first key that belongs to another kind.
    fn refuse_keys_of_other_kinds(&self, source: &Source, word: KindKey) -> anyhow::Result<()> {
        use KindKey::{External, Process, Qemu};
        let keys = [
            (Process, span(self.shell.as_ref())),
            (Qemu, span(self.memory.as_ref())),
            (Qemu, span(self.vcpus.as_ref())),
            (Qemu, span(self.kernel.as_ref())),
            (Qemu, span(self.initrd.as_ref())),
            (Qemu, span(self.disk.as_ref())),
            (Qemu, span(self.transport.as_ref())),
            (Qemu, span(self.accelerator.as_ref())),
            (Qemu, span(self.append.as_ref())),
            (Qemu, span(self.qemu.as_ref())),
            (Qemu, span(self.extra.as_ref())),
            (External, span(self.region.as_ref())),
            (External, span(self.poll.as_ref())),
        ];
        let foreign = keys.into_iter().filter(|(owner, _)| *owner != word);
        let foreign = foreign.filter_map(|(owner, span)| Some((span?, owner)));
        match foreign.min_by_key(|(span, _)| span.start) {
            Some((span, owner)) => {
                let (owner, word) = (owner.name(), word.name());
                let what =
                    format!("belongs to kind = \"{owner}\"; this instance has kind = \"{word}\"");
                Err(source.error(span, &what))
            }
            None => Ok(()),
        }
    }

    /// Returns the error that a key is missing, at the key `kind`.
    fn missing(&self, source: &Source, what: &str) -> anyhow::Error {
        match &self.kind {
            Some(kind) => source.error(kind.span(), what),
            None => source.error_in_file(what),
        }
    }

    fn machine(&self, source: &Source) -> anyhow::Result<Qemu> {
        let program = match &self.qemu {
            Some(path) if path.get_ref().components().count() > 1 => source.program(path)?,
            Some(name) => name.get_ref().clone(),
            None => QEMU.into(),
        };
        Ok(Qemu {
            memory_mib: self
                .memory
                .as_ref()
                .map_or(MEMORY_MIB, |mib| mib.get_ref().0),
            vcpus: self.vcpus.as_ref().map_or(1, |count| count.get_ref().0),
            boot: self.boot(source)?,
            transport: value_or_default(&self.transport),
            accelerator: value_or_default(&self.accelerator),
            program,
            append: value_or_default(&self.append),
            extra: value_or_default(&self.extra),
        })
    }

    fn boot(&self, source: &Source) -> anyhow::Result<Boot> {
        match (&self.kernel, &self.disk) {
            (Some(kernel), None) => {
                let initrd = self.initrd.as_ref().map(|initrd| source.file(initrd));
                Ok(Boot::Kernel {
                    kernel: source.file(kernel)?,
                    initrd: initrd.transpose()?,
                })
            }
            (None, Some(disk)) => {
                let alone =
                    "needs the key kernel; a disk has a boot loader with its own parameters";
                let keys = [span(self.initrd.as_ref()), span(self.append.as_ref())];
                match keys.into_iter().flatten().next() {
                    Some(span) => Err(source.error(span, alone)),
                    None => Ok(Boot::Disk(source.file(disk)?)),
                }
            }
            (Some(_), Some(disk)) => {
                let what = "a machine starts from a kernel or from a disk; expected one of them";
                Err(source.error(disk.span(), what))
            }
            (None, None) => Err(self.missing(
                source,
                "this machine has nothing to start from; expected the key kernel or the key disk",
            )),
        }
    }

    fn external(&self, source: &Source) -> anyhow::Result<External> {
        let Some(word) = &self.region else {
            let what = "the place of its memory is missing; expected the key region";
            return Err(self.missing(source, what));
        };
        let place = word.get_ref().parse::<MemorySource>();
        let region = match place.map_err(|error| source.error(word.span(), &error.to_string()))? {
            MemorySource::Fd(_) => {
                let what = "a later KMON cannot use fd:N; expected shm:, file:, mem: or pci:";
                return Err(source.error(word.span(), what));
            }
            MemorySource::File(path) => MemorySource::File(source.path(&path)),
            MemorySource::FilePart { path, offset, len } => MemorySource::FilePart {
                path: source.path(&path),
                offset,
                len,
            },
            MemorySource::Pci(path) => MemorySource::Pci(source.path(&path)),
            place => place,
        };
        let poll = value_or_default(&self.poll);
        Ok(External { region, poll })
    }
}

fn value_or_default<T: Clone + Default>(key: &Option<Spanned<T>>) -> T {
    let key = key.as_ref().map(|key| key.get_ref().clone());
    key.unwrap_or_default()
}
