//! Measures the size of programs.
//!
//! On a board, flash holds code, constants, initial values and, if the program is moved to
//! another address, relocations. Limits apply to code only: it depends on the parts of the
//! library that a program uses, and not on the text that it prints.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::invocation::Invocation;
use crate::job::Reporter;

/// The size of a linked program in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) code: u64,
    /// All parts that are in flash.
    pub(super) flash: u64,
}

impl Size {
    /// Measures the program at `path`.
    pub(super) fn measure(cross: &str, path: &Path) -> Result<Self> {
        let sections = run(cross, "size", &["-A"], path)?;
        let totals = run(cross, "size", &[], path)?;
        parse(&sections, &totals)
            .with_context(|| format!("cannot parse the output of {cross}size: {sections}{totals}"))
    }
}

fn run(cross: &str, tool: &str, options: &[&str], path: &Path) -> Result<String> {
    let tool = format!("{cross}{tool}");
    let output = Command::new(&tool)
        .args(options)
        .arg(path)
        .output()
        .with_context(|| format!("cannot run {tool}"))?;
    ensure!(
        output.status.success(),
        "{tool} cannot read {}",
        path.display()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Parses the sizes of sections, and those of text and data.
fn parse(sections: &str, totals: &str) -> Option<Size> {
    let code = sections.lines().filter(|line| line.starts_with(".text"));
    let code = code.map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let row = totals.lines().nth(1)?;
    let mut columns = row
        .split_whitespace()
        .map(|column| column.parse::<u64>().ok());
    Some(Size {
        code: code.sum::<Option<u64>>().filter(|&code| code != 0)?,
        flash: columns.next()?? + columns.next()??,
    })
}

/// The prefixes and names of the functions that find segments and pass records.
const CORE_PREFIXES: [&str; 3] = ["shmr_region_", "shmr_producer_", "shmr_consumer_"];
const CORE_FUNCTIONS: [&str; 4] = [
    "shmr_registry_attach",
    "shmr_registry_lookup",
    "shmr_ring_len",
    "shmr_segment_from_memory",
];
/// Functions that every bootloader has; they do not count for the library.
const BOOTLOADER_FUNCTIONS: [&str; 5] = ["bcmp", "memcmp", "memcpy", "memmove", "memset"];

/// Keeps all sections that are in a board's memory, as U-Boot's own scripts do. Descriptions
/// of stack frames are not.
const SCRIPT: &str = "\
SECTIONS {
	.text 0x10000 : { *(.text .text.*) }
	.rodata : { *(.rodata .rodata.* .data.rel.ro .data.rel.ro.*) }
	.data : { *(.data .data.* .sdata .sdata.* .got .got.*) }
	.bss : { *(.bss .bss.* .sbss .sbss.* COMMON) }
	/DISCARD/ : { *(*) }
}
";

/// The functions of a program that passes records without a registry: both ends of a ring.
const RING_FUNCTIONS: [&str; 5] = [
    "shmr_segment_from_memory",
    "shmr_producer_open",
    "shmr_producer_push",
    "shmr_consumer_open",
    "shmr_consumer_pop",
];

/// Returns the size of region, lookup and ring in the archive `library`, and that of a ring.
pub(super) fn measure_parts(
    cross: &str,
    library: &Path,
    directory: &Path,
    reporter: &Reporter,
) -> Result<(Size, Size)> {
    let functions = core_functions(&run(cross, "nm", &[], library)?);
    ensure!(
        CORE_PREFIXES
            .iter()
            .chain(&CORE_FUNCTIONS)
            .all(|wanted| functions.iter().any(|name| name.starts_with(wanted))),
        "{} has only these functions of region, lookup and ring: {}",
        library.display(),
        functions.join(", ")
    );
    let core = measure_functions(cross, library, directory, &functions, reporter)?;
    let ring = RING_FUNCTIONS.map(str::to_owned);
    Ok((
        core,
        measure_functions(cross, library, directory, &ring, reporter)?,
    ))
}

/// Returns the size of a program that consists of these functions of the archive `library` and
/// what they call.
fn measure_functions(
    cross: &str,
    library: &Path,
    directory: &Path,
    functions: &[String],
    reporter: &Reporter,
) -> Result<Size> {
    let script = directory.join("probe.lds");
    std::fs::write(&script, SCRIPT)?;
    let probe = directory.join("probe");
    let mut link = Invocation::parse(&format!(
        "{cross}ld -static --gc-sections --unresolved-symbols=ignore-all -e"
    ))
    .arg(&functions[0])
    .arg("-T")
    .path(&script)
    .arg("-o")
    .path(&probe);
    for name in functions {
        link = link.arg("-u").arg(name);
    }
    for name in BOOTLOADER_FUNCTIONS {
        link = link.arg(format!("--defsym={name}=0"));
    }
    reporter.run("measuring a part of the library", &link.path(library), None)?;
    Size::measure(cross, &probe)
}

/// Returns the functions of region, lookup and ring that this listing by `nm` defines.
fn core_functions(listing: &str) -> Vec<String> {
    let is_core = |name: &&str| {
        let named = CORE_PREFIXES.iter().any(|part| name.starts_with(part));
        named || CORE_FUNCTIONS.contains(name)
    };
    let defined = listing.lines().filter_map(|line| {
        let (_, name) = line.split_once(" T ")?;
        Some(name)
    });
    defined.filter(is_core).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_size_are_read() {
        let sections = "u-boot  :\nsection   size  addr\n.text  376  0\n\
                        .text_rest  607296  4096\n.rodata  209795  611392\nTotal  817467\n";
        let totals = "   text\t   data\t    bss\t    dec\t    hex\tfilename\n \
                      921700\t  51600\t  48384\t1021684\t  f96f4\t/o/u-boot\n";
        let expected = Size {
            code: 607_672,
            flash: 973_300,
        };
        assert_eq!(parse(sections, totals), Some(expected));
        assert_eq!(parse("size: no such file\n", totals), None);
        assert_eq!(parse(sections, "size: no such file\n"), None);
    }

    #[test]
    fn only_functions_of_the_core_are_measured() {
        let listing = "\nshmr.o:\n                 U shmr_region_size\n\
                       0000000000000000 T shmr_region_attach\n\
                       0000000000000010 t shmr_region_check\n\
                       0000000000000018 T shmr_consumer_drain\n\
                       0000000000000020 T shmr_mutex_lock\n\
                       0000000000000030 T shmr_registry_lookup\n";
        let expected = [
            "shmr_region_attach",
            "shmr_consumer_drain",
            "shmr_registry_lookup",
        ];
        assert_eq!(core_functions(listing), expected);
    }
}
