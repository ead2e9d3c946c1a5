//! Reads the configuration file, `kmon.toml`.
//!
//! | module       | one purpose                                  |
//! |--------------|----------------------------------------------|
//! | [`instance`] | one `[[instance]]`, by its kind              |
//! | [`values`]   | what a key's value may be                    |
//! | [`source`]   | the file's text, for errors and paths        |

mod instance;
mod source;
mod values;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use kmon_protocol::LAST_PARTITION;
use serde::Deserialize;
use toml::Spanned;

pub(crate) use instance::InstanceConfig;
use instance::RawInstance;
use source::Source;
use values::{FileCount, FileSize, LogBytes, Period};

pub(crate) use values::{Escape, InstanceName};

/// The configuration.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) prompt: Option<String>,
    /// The key that leaves a console.
    pub(crate) escape: Option<Escape>,
    /// Seconds between two statistics of an instance.
    pub(crate) period: Option<f64>,
    /// Bytes of output kept per instance.
    pub(crate) log_bytes: Option<usize>,
    /// Bytes of kernel log kept per instance.
    pub(crate) kernel_log_bytes: Option<usize>,
    /// The shell of instances that name none.
    pub(crate) shell: Option<PathBuf>,
    pub(crate) access: AccessConfig,
    pub(crate) logs: LogsConfig,
    pub(crate) instances: Vec<InstanceConfig>,
}

/// `[access]`: the users, and groups after `@`, that have a role.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AccessConfig {
    pub(crate) view: Vec<String>,
    pub(crate) operate: Vec<String>,
    pub(crate) administer: Vec<String>,
}

/// `[logs]`: the logs on disk.
#[derive(Debug, Default)]
pub(crate) struct LogsConfig {
    pub(crate) enabled: Option<bool>,
    pub(crate) directory: Option<PathBuf>,
    /// Bytes of a file.
    pub(crate) size: Option<u64>,
    /// Files of a log.
    pub(crate) count: Option<u64>,
    pub(crate) compress: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default)]
    kmon: RawKmon,
    #[serde(default)]
    access: AccessConfig,
    #[serde(default)]
    logs: RawLogs,
    #[serde(default, rename = "instance")]
    instances: Vec<RawInstance>,
}

/// `[kmon]`: the monitor itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKmon {
    prompt: Option<String>,
    escape: Option<Escape>,
    period: Option<Period>,
    log_bytes: Option<LogBytes>,
    kernel_log_bytes: Option<LogBytes>,
    shell: Option<Spanned<PathBuf>>,
}

/// `[logs]`, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLogs {
    enabled: Option<bool>,
    directory: Option<PathBuf>,
    size: Option<FileSize>,
    count: Option<FileCount>,
    compress: Option<Spanned<bool>>,
}

impl RawLogs {
    fn check(self, source: &Source) -> anyhow::Result<LogsConfig> {
        let count = self.count.map(|count| count.0);
        if let Some(compress) = &self.compress
            && *compress.get_ref()
            && count.is_some_and(|count| count < 3)
        {
            let what = "needs count = 3 or more: one file is being written, one compressed";
            return Err(source.error(compress.span(), what));
        }
        Ok(LogsConfig {
            enabled: self.enabled,
            directory: self.directory.map(|path| source.path(&path)),
            size: self.size.map(|size| size.0),
            count,
            compress: self.compress.map(Spanned::into_inner),
        })
    }
}

impl Config {
    /// Reads `path`; without one, `kmon.toml` in the working directory if it exists.
    ///
    /// # Errors
    ///
    /// One line that names the file, the line and the key.
    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let default = Path::new("kmon.toml");
        if path.is_none() && !default.exists() {
            return Ok(Self::default());
        }
        Self::check(&Source::read(path.unwrap_or(default))?)
    }

    fn check(source: &Source) -> anyhow::Result<Self> {
        let raw: RawConfig = source.parse()?;
        let mut names = HashSet::new();
        for name in raw.instances.iter().filter_map(|one| one.name.as_ref()) {
            let InstanceName(given) = name.get_ref();
            if !names.insert(given) {
                let what = format!("two instances are named `{given}`; each needs its own name");
                return Err(source.error(name.span(), &what));
            }
        }
        if raw.instances.len() > usize::from(LAST_PARTITION - 1) {
            return Err(source.error_in_file("too many instances; expected at most 127"));
        }
        let shell = raw.kmon.shell.map(|shell| source.program(&shell));
        let shell = shell.transpose()?;
        let instances = raw.instances.into_iter();
        let instances = instances.map(|one| one.check(source, shell.as_deref()));
        Ok(Self {
            prompt: raw.kmon.prompt,
            escape: raw.kmon.escape,
            period: raw.kmon.period.map(|period| period.0),
            log_bytes: raw.kmon.log_bytes.map(|bytes| bytes.0),
            kernel_log_bytes: raw.kmon.kernel_log_bytes.map(|bytes| bytes.0),
            access: raw.access,
            logs: raw.logs.check(source)?,
            instances: instances.collect::<Result<_, _>>()?,
            shell,
        })
    }
}

#[cfg(test)]
mod tests;
