//! `kmon.toml`: what a person would otherwise say on the command line.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use kmon_protocol::LAST_PARTITION;
use nix::unistd::{AccessFlags, access};
use serde::Deserialize;

use crate::text;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) kmon: KmonConfig,
    #[serde(default, rename = "instance")]
    pub(crate) instances: Vec<InstanceConfig>,
}

/// `[kmon]`: the monitor itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KmonConfig {
    pub(crate) prompt: Option<String>,
    /// The key that leaves a console, as `^]`.
    pub(crate) escape: Option<Escape>,
    /// Seconds between two statistics of an instance.
    pub(crate) period: Option<Period>,
    /// Bytes of output kept per instance.
    pub(crate) log_bytes: Option<LogBytes>,
    /// The shell of instances that name none.
    pub(crate) shell: Option<Shell>,
}

/// `[[instance]]`: one more of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstanceConfig {
    pub(crate) name: Option<InstanceName>,
    pub(crate) shell: Option<Shell>,
}

/// The key that leaves a console: a control character.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Escape(pub(crate) u8);

/// Seconds between two statistics.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Period(pub(crate) f64);

/// Bytes of output kept per instance.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "usize")]
pub(crate) struct LogBytes(pub(crate) usize);

/// A program for the console.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PathBuf")]
pub(crate) struct Shell(pub(crate) PathBuf);

/// A name that can be a host name.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct InstanceName(pub(crate) String);

impl Default for Escape {
    fn default() -> Self {
        Self(0x1d)
    }
}

impl TryFrom<String> for Escape {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let key = match text.as_bytes() {
            [b'^', letter @ (b'@'..=b'_' | b'a'..=b'z')] => letter.to_ascii_uppercase() ^ 0x40,
            _ => return Err(format!("`{text}` is no control key, expected one like ^]")),
        };
        if matches!(key, b'\r' | b'\n' | 0x1b) {
            return Err(format!(
                "`{text}` is a key that programs need, expected one like ^]"
            ));
        }
        Ok(Self(key))
    }
}

impl TryFrom<f64> for Period {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        if (0.05..=3600.0).contains(&seconds) {
            return Ok(Self(seconds));
        }
        Err(format!(
            "{seconds} is out of range, expected seconds from 0.05 to 3600"
        ))
    }
}

impl TryFrom<usize> for LogBytes {
    type Error = String;

    fn try_from(bytes: usize) -> Result<Self, String> {
        if (64 * 1024..=1 << 30).contains(&bytes) {
            return Ok(Self(bytes));
        }
        Err(format!(
            "{bytes} is out of range, expected bytes from 65536 to 1073741824"
        ))
    }
}

impl TryFrom<PathBuf> for Shell {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        if path.is_file() && access(&path, AccessFlags::X_OK).is_ok() {
            // An instance starts in another directory.
            return std::path::absolute(path)
                .map(Self)
                .map_err(|error| error.to_string());
        }
        Err(format!(
            "`{}` is no program that can be run, expected the path of a shell",
            path.display()
        ))
    }
}

impl TryFrom<String> for InstanceName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let fits = (1..=63).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !name.starts_with('-');
        if fits {
            return Ok(Self(name));
        }
        Err(format!(
            "`{}` is no host name, expected letters, digits and `-`, at most 63",
            text::brief(&name)
        ))
    }
}

impl Config {
    /// Reads `path`; without one, `kmon.toml` here if it is there.
    ///
    /// # Errors
    ///
    /// One line that names the file, the line and the key.
    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let default = Path::new("kmon.toml");
        if path.is_none() && !default.exists() {
            return Ok(Self::default());
        }
        let path = path.unwrap_or(default);
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self::parse(&name.to_string_lossy(), &text)
    }

    fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| explain(name, text, &error))?;
        if config.instances.len() > usize::from(LAST_PARTITION - 1) {
            bail!("{name}: too many instances; expected at most 127");
        }
        let mut names = HashSet::new();
        let mut given = config.instances.iter().filter_map(|one| one.name.as_ref());
        if let Some(InstanceName(twice)) = given.find(|given| !names.insert(&given.0)) {
            bail!("{name}: two instances are named `{twice}`; give each a name of its own");
        }
        Ok(config)
    }
}

/// Turns a parser's error into one line.
fn explain(name: &str, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let message = error.message().replace('\n', " ");
    let what = message.replacen(", expected", "; expected", 1);
    let Some(span) = error.span() else {
        return anyhow!("{name}: {what}");
    };
    let before = &text[..text.floor_char_boundary(span.start)];
    let line = before.matches('\n').count();
    let key = text.lines().nth(line).and_then(|line| line.split_once('='));
    match key {
        Some((key, _)) => anyhow!("{name}:{}: key {}: {what}", line + 1, key.trim()),
        None => anyhow!("{name}:{}: {what}", line + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse("kmon.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_file_is_understood() {
        let text = "[kmon]\nprompt = 'K> '\nescape = '^A'\nperiod = 0.5\nlog_bytes = 100000\n\
                    [[instance]]\nname = 'web'\nshell = '/bin/sh'\n[[instance]]\n";
        let config = Config::parse("kmon.toml", text).unwrap();
        assert_eq!(config.kmon.escape, Some(Escape(1)));
        assert_eq!(config.instances.len(), 2);
        assert_eq!(config.instances[0].name.as_ref().unwrap().0, "web");
    }

    #[test]
    fn the_example_in_the_manual_is_understood() {
        let manual = include_str!("../../../docs/kmon.md");
        let example = manual.split("```toml").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let config = Config::parse("kmon.toml", example).unwrap();
        assert_eq!(config.instances.len(), 2);
        assert_eq!(config.kmon.escape, Some(Escape::default()));
    }

    #[test]
    fn a_typo_is_answered_with_its_line_and_what_was_expected() {
        let typo = error("[kmon]\n\npromt = 'x'\n");
        assert!(
            typo.starts_with("kmon.toml:3: key promt: unknown field `promt`; expected"),
            "{typo}"
        );
        let wrong = error("[kmon]\nperiod = 'soon'\n");
        assert!(
            wrong.starts_with("kmon.toml:2: key period: invalid type"),
            "{wrong}"
        );
        assert!(wrong.contains("; expected"), "{wrong}");
        let range = error("[kmon]\nlog_bytes = 3\n");
        assert!(
            range.starts_with("kmon.toml:2: key log_bytes: 3 is out of range; expected"),
            "{range}"
        );
        let name = error("[[instance]]\nname = 'a b'\n");
        assert!(
            name.starts_with("kmon.toml:2: key name: `a b` is no host name; expected"),
            "{name}"
        );
        for shell in ["", "/etc/passwd", "/bin", "/no/such/shell"] {
            let shell = error(&format!("[[instance]]\nshell = '{shell}'\n"));
            assert!(shell.starts_with("kmon.toml:2: key shell: `"), "{shell}");
            assert!(shell.contains("is no program that can be run"), "{shell}");
        }
        let twice = error(&"[[instance]]\nname = 'web'\n".repeat(2));
        assert!(twice.contains("two instances are named `web`"), "{twice}");
        assert!(error("[kmon\n").starts_with("kmon.toml:1: "));
        for text in [
            "[kmon]\nx = 'é",
            "\u{feff}[",
            "=",
            "a=b=c",
            "[[instance]]\n[instance]",
        ] {
            assert!(!error(text).contains('\n'));
        }
    }

    #[test]
    fn an_escape_is_a_control_key_that_programs_can_spare() {
        let parse = |text: &str| Escape::try_from(text.to_owned());
        assert_eq!(parse("^]"), Ok(Escape(0x1d)));
        assert_eq!(parse("^a"), Ok(Escape(1)));
        for wrong in ["", "]", "^", "^M", "^[", "^]^]", "^é"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
