//! `shmem dump`.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::Dump;
use crate::fault;
use crate::open::Opened;

/// Bytes that are copied at a time; zero bytes take no space in the file.
const CHUNK: usize = 4096;

/// Runs the command.
pub(crate) fn run(args: &Dump) -> Result<ExitCode> {
    fault::catch()?;
    let opened = args.place.open(args.offset)?;
    let name = args.file.display();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .with_context(|| format!("cannot create {name}"))?;
    copy(&opened, &mut file).with_context(|| format!("cannot write {name}"))?;
    Ok(ExitCode::SUCCESS)
}

fn copy(opened: &Opened, file: &mut File) -> io::Result<()> {
    let (memory, available) = (opened.window(), opened.available());
    file.set_len(available as u64)?;
    for start in (0..available).step_by(CHUNK) {
        let mut chunk = [0; CHUNK];
        // Memory ends at a multiple of 8; a dump of a dump may not.
        let whole = CHUNK.min(memory.len().saturating_sub(start));
        memory.read_shared(start, &mut chunk[..whole]);
        let chunk = &chunk[..CHUNK.min(available - start)];
        if chunk.iter().any(|&byte| byte != 0) {
            file.seek(SeekFrom::Start(start as u64))?;
            file.write_all(chunk)?;
        }
    }
    file.flush()
}
