//! The values that keys accept.

use serde::Deserialize;

use crate::text;

/// The control character that leaves a console.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Escape(pub(crate) u8);

/// Seconds between two statistics.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Period(pub(crate) f64);

/// How many bytes a log keeps.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "usize")]
pub(crate) struct LogBytes(pub(crate) usize);

/// A name that is a valid host name.
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
            _ => {
                return Err(format!(
                    "`{text}` is not a control key, expected one like ^]"
                ));
            }
        };
        if matches!(key, b'\r' | b'\n' | 0x1b) {
            return Err(format!(
                "programs in an instance need the key `{text}` themselves; expected another one, like ^]"
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
            "`{}` is not a host name, expected letters, digits and `-`, at most 63",
            text::brief(&name)
        ))
    }
}

/// A machine's memory in MiB, written as `96M`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Memory(pub(crate) u32);

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mib = match text.split_at_checked(text.len().saturating_sub(1)) {
            Some((digits, "M")) => digits.parse().ok(),
            Some((digits, "G")) => digits
                .parse()
                .ok()
                .and_then(|gib: u32| gib.checked_mul(1024)),
            _ => None,
        };
        match mib.filter(|mib| (16..=1 << 20).contains(mib)) {
            Some(mib) => Ok(Self(mib)),
            None => Err(format!(
                "`{}` is not a memory size, expected one like 96M or 2G",
                text::brief(&text)
            )),
        }
    }
}

/// How many bytes a file of a log has, written as `1M`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct FileSize(pub(crate) u64);

impl TryFrom<String> for FileSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unit = match text.as_bytes().last() {
            Some(b'K') => 1 << 10,
            Some(b'M') => 1 << 20,
            Some(b'G') => 1 << 30,
            _ => 0,
        };
        let digits = text.get(..text.len().saturating_sub(1));
        let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
        let bytes = number.and_then(|number| number.checked_mul(unit));
        match bytes.filter(|bytes| (64 << 10..=16 << 30).contains(bytes)) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(format!(
                "`{}` is not the size of a log's file, expected one like 1M, from 64K to 16G",
                text::brief(&text)
            )),
        }
    }
}

/// How many files a log has.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "u64")]
pub(crate) struct FileCount(pub(crate) u64);

impl TryFrom<u64> for FileCount {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        if (2..=1000).contains(&count) {
            return Ok(Self(count));
        }
        Err(format!("{count} is out of range, expected 2 to 1000 files"))
    }
}

/// How many processors a machine has.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "u32")]
pub(crate) struct Vcpus(pub(crate) u32);

impl TryFrom<u32> for Vcpus {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        if (1..=64).contains(&count) {
            return Ok(Self(count));
        }
        Err(format!("{count} is out of range, expected 1 to 64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_key_is_a_control_key_that_programs_do_not_need() {
        let parse = |text: &str| Escape::try_from(text.to_owned());
        assert_eq!(parse("^]"), Ok(Escape(0x1d)));
        assert_eq!(parse("^a"), Ok(Escape(1)));
        for wrong in ["", "]", "^", "^M", "^[", "^]^]", "^é"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_memory_size_has_a_unit() {
        let parse = |text: &str| Memory::try_from(text.to_owned());
        assert_eq!(parse("96M"), Ok(Memory(96)));
        assert_eq!(parse("2G"), Ok(Memory(2048)));
        for wrong in ["", "M", "96", "8M", "96m", "-1M", "4194304G", "96\u{e9}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
