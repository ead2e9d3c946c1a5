//! A counter of boots, for machines without one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::string::ToString;

/// Increments the boot number in `file` and returns it. The first is 1; after 2^32 - 1, 1 follows.
/// For a program that numbers the starts of its machine, for example in its own messages; nothing
/// in this library needs this number.
///
/// The file is created if it does not exist, and is replaced as a whole: if the machine loses power
/// meanwhile, the file holds the old number or the new one.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if the file does not hold a number; otherwise the kernel's error.
pub fn next_boot(file: &Path) -> io::Result<u32> {
    let before = match fs::read_to_string(file) {
        Ok(text) => text.trim().parse::<u32>().map_err(|_| {
            let why = std::format!("{} does not hold a number of boots", file.display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let boot = before.wrapping_add(1).max(1);
    let fresh = file.with_extension("new");
    let mut new = File::create(&fresh)?;
    new.write_all(boot.to_string().as_bytes())?;
    new.sync_all()?;
    fs::rename(&fresh, file)?;
    if let Some(directory) = file.parent().filter(|path| !path.as_os_str().is_empty()) {
        File::open(directory)?.sync_all()?;
    }
    Ok(boot)
}
