//! One `[[instance]]`: which keys its kind has, and what they mean.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shmem_core::region::Place;
use toml::Spanned;

use super::source::Source;
use super::values::{InstanceName, LogBytes, Memory, Vcpus};
use crate::kind::{Accelerator, Boot, External, Kind, Qemu, Transport};

/// Memory of a machine that asks for none: enough for a small system.
const MEMORY_MIB: u32 = 128;
/// Found where programs are.
const QEMU: &str = "qemu-system-x86_64";

/// `[[instance]]`: one more of them.
#[derive(Debug)]
pub(crate) struct InstanceConfig {
    pub(crate) name: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) log_bytes: Option<usize>,
    pub(crate) kernel_log_bytes: Option<usize>,
}

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInstance {
    kind: Option<Spanned<Word>>,
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
enum Word {
    Process,
    Qemu,
    External,
}

impl Word {
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
    /// What it means; `shell` is that of instances that name none.
    pub(super) fn understand(
        self,
        source: &Source,
        shell: Option<&Path>,
    ) -> anyhow::Result<InstanceConfig> {
        let word = self
            .kind
            .as_ref()
            .map_or(Word::Process, |kind| *kind.get_ref());
        self.refuse_strangers(source, word)?;
        let kind = match word {
            Word::Process => {
                let own = self.shell.as_ref().map(|own| source.program(own));
                let own = own.transpose()?;
                let shell = own.or(shell.map(Path::to_owned));
                Kind::Process { shell }
            }
            Word::Qemu => Kind::Qemu(Box::new(self.machine(source)?)),
            Word::External => Kind::External(self.external(source)?),
        };
        Ok(InstanceConfig {
            name: self.name.map(|name| name.into_inner().0),
            kind,
            log_bytes: self.log_bytes.map(|bytes| bytes.0),
            kernel_log_bytes: self.kernel_log_bytes.map(|bytes| bytes.0),
        })
    }

    /// An error at the first key that another kind has.
    fn refuse_strangers(&self, source: &Source, word: Word) -> anyhow::Result<()> {
        use Word::{External, Process, Qemu};
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
        let strangers = keys.into_iter().filter(|(owner, _)| *owner != word);
        let strangers = strangers.filter_map(|(owner, span)| Some((span?, owner)));
        match strangers.min_by_key(|(span, _)| span.start) {
            Some((span, owner)) => {
                let (owner, word) = (owner.name(), word.name());
                let what = format!("is for kind = \"{owner}\"; this instance's is \"{word}\"");
                Err(source.error(span, &what))
            }
            None => Ok(()),
        }
    }

    /// The error that something is missing, at the kind that wants it.
    fn lacks(&self, source: &Source, what: &str) -> anyhow::Error {
        match &self.kind {
            Some(kind) => source.error(kind.span(), what),
            None => source.whole(what),
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
            transport: given(&self.transport),
            accelerator: given(&self.accelerator),
            program,
            append: given(&self.append),
            extra: given(&self.extra),
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
                let alone = "goes with kernel; a disk has a boot loader and its own";
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
            (None, None) => Err(self.lacks(
                source,
                "this machine has nothing to start from; expected the key kernel or disk",
            )),
        }
    }

    fn external(&self, source: &Source) -> anyhow::Result<External> {
        let Some(word) = &self.region else {
            let what = "nobody says where its memory is; expected the key region";
            return Err(self.lacks(source, what));
        };
        let place = word.get_ref().parse::<Place>();
        let region = match place.map_err(|error| source.error(word.span(), &error.to_string()))? {
            Place::Fd(_) => {
                let what = "the next KMON has no such descriptor; expected a place with a name";
                return Err(source.error(word.span(), what));
            }
            Place::File(path) => Place::File(source.path(&path)),
            Place::FilePart { path, offset, len } => Place::FilePart {
                path: source.path(&path),
                offset,
                len,
            },
            Place::Pci(path) => Place::Pci(source.path(&path)),
            place => place,
        };
        let poll = given(&self.poll);
        Ok(External { region, poll })
    }
}

fn given<T: Clone + Default>(key: &Option<Spanned<T>>) -> T {
    let key = key.as_ref().map(|key| key.get_ref().clone());
    key.unwrap_or_default()
}
