//! QEMU's own output, in bounded memory.
//!
//! It is a sealed memory file: writes after its end fail, which QEMU ignores. The file exists
//! as long as QEMU or this process has it open, and needs no reader (M1, M3).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// Bytes that are kept: the first ones.
const LEN: usize = 64 * 1024;

pub(crate) struct Output(File);

impl Output {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("qemu-output", flags)?;
        ftruncate(&file, LEN as u64)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        Ok(Self(file.into()))
    }

    /// Opens the output that an earlier incarnation of the monitor created.
    pub(crate) fn from_file(file: File) -> Self {
        Self(file)
    }

    /// Returns a descriptor to which QEMU writes.
    pub(crate) fn writer(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// Returns the lines so far. Characters that are not printable are replaced.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut bytes = vec![0; LEN];
        let Ok(len) = self.0.read_at(&mut bytes, 0) else {
            return Vec::new();
        };
        bytes.truncate(len);
        // Unwritten bytes are zero.
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(len);
        let text = String::from_utf8_lossy(&bytes[..end]);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| line.chars().map(printable).collect())
            .collect()
    }
}

fn printable(c: char) -> char {
    if c.is_control() {
        char::REPLACEMENT_CHARACTER
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn output_is_read_line_by_line_without_control_characters() {
        let output = Output::new().unwrap();
        output
            .writer()
            .unwrap()
            .write_all(b"one\n\ntw\x1bo")
            .unwrap();
        assert_eq!(output.lines(), ["one", "tw\u{fffd}o"]);
    }

    #[test]
    fn output_beyond_the_limit_is_refused() {
        let output = Output::new().unwrap();
        let mut writer = output.writer().unwrap();
        writer.write_all(&[b'x'; LEN]).unwrap();
        assert!(writer.write_all(b"more").is_err());
        assert_eq!(output.lines()[0].len(), LEN);
    }
}
