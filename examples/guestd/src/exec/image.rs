//! Executes a program of machine code directly, and never as a script.
//!
//! When the kernel refuses to execute a file, the C library's `execvp` runs it as a shell script.
//! That is right for a script without a `#!` line, but a program for another architecture would be
//! run as a script, too.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::unistd::execve;

use crate::account::Account;

const ELF: [u8; 4] = *b"\x7fELF";

/// All that the kernel needs to execute a program, prepared before the fork.
pub(super) struct Image {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// Finds the program that `account` would run, if it is machine code.
    pub(super) fn find(account: &Account, program: &OsStr, arguments: &[OsString]) -> Option<Self> {
        let variables = account.variables();
        let path = variables.iter().find(|(name, _)| *name == "PATH");
        let path = find_in(path.map_or(OsStr::new(""), |(_, path)| path), program)?;
        let words = [program.to_owned()]
            .into_iter()
            .chain(arguments.iter().cloned());
        let words = words.map(|word| CString::new(word.into_vec()).ok());
        let others =
            env::vars_os().filter(|(name, _)| !variables.iter().any(|(own, _)| name == own));
        let own = variables
            .iter()
            .map(|(name, value)| (name.into(), value.clone()));
        let environment = others
            .chain(own)
            .map(|(name, value): (OsString, OsString)| {
                CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
            });
        Some(Self {
            path: CString::new(path.into_os_string().into_vec()).ok()?,
            arguments: words.collect::<Option<_>>()?,
            environment: environment.collect::<Option<_>>()?,
        })
    }

    /// Replaces this process by the program. Makes one system call.
    ///
    /// # Errors
    ///
    /// The kernel's reason.
    pub(super) fn execute(&self) -> io::Result<()> {
        match execve(&self.path, &self.arguments, &self.environment) {
            Ok(never) => match never {},
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Returns the first file with this name in `path`, if it is machine code. A name with a slash is a
/// path.
fn find_in(path: &OsStr, program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        let program = PathBuf::from(program);
        return is_machine_code(&program).then_some(program);
    }
    let mut found = env::split_paths(path).map(|directory| directory.join(program));
    // As in `execvp`, the first file that exists.
    found
        .find(|file| file.is_file())
        .filter(|file| is_machine_code(file))
}

fn is_machine_code(file: &Path) -> bool {
    let mut magic = [0; ELF.len()];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == ELF
}
