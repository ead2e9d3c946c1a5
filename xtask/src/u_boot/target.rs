//! The boards for which U-Boot is built, and their requirements.

use anyhow::{Result, bail};

use crate::debian::Package;

/// One board.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(super) about: &'static str,
    /// The prefix of the names of its compiler and binutils.
    pub(super) cross: &'static str,
    pub(super) built_for: Library,
    /// Registers that U-Boot reserves, and that the library must not use.
    pub(super) reserved: &'static [&'static str],
    /// Debian packages in addition to [`COMMON_PACKAGES`], each with its reason.
    pub(super) packages: &'static [Package],
    /// Variables for U-Boot's `make`.
    pub(super) variables: &'static [&'static str],
    /// The goals for `make`.
    pub(super) goals: &'static [&'static str],
    /// The file to run, in the build directory.
    pub(super) image: &'static str,
    /// The size of the flash memory to which the image is padded, for QEMU.
    pub(super) flash_len: Option<u64>,
    /// The limits of KMON's size, if there are any.
    pub(super) limits: Option<Limits>,
}

/// The platform for which the static library is compiled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Library {
    /// This machine.
    Host,
    /// A triple whose `core` is first compiled from Debian's source: rustup has no `core` for it,
    /// or none with these flags.
    FromSource {
        triple: &'static str,
        flags: &'static str,
    },
}

/// The largest sizes of code in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A ring.
    pub(super) ring: u64,
    /// Region, lookup and ring.
    pub(super) core: u64,
    /// All that KMON adds.
    pub(super) kmon: u64,
}

const COMMON_PACKAGES: &[Package] = &[
    ("bc", "computes constants in U-Boot's build"),
    ("bison", "generates U-Boot's configuration parser"),
    ("dpkg-dev", "verifies and unpacks U-Boot's source package"),
    ("flex", "generates U-Boot's configuration lexer"),
    ("gcc", "compiles U-Boot's own tools"),
    ("libgnutls28-dev", "U-Boot's tools sign capsules with it"),
    ("libssl-dev", "U-Boot's tools sign images with it"),
    ("make", "runs U-Boot's build"),
    ("python3-dev", "U-Boot's tools read device trees in Python"),
    ("python3-setuptools", "builds that Python module"),
    ("swig", "generates that Python module"),
    ("uuid-dev", "U-Boot's tools name partitions with it"),
];

/// Packages that compile `core` where rustup has none.
const CORE_PACKAGES: &[Package] = &[
    ("rust-web-src", "the source of Rust's core library"),
    ("rustc-web", "the compiler for that source"),
];

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "sandbox",
        about: "U-Boot as a process of this machine",
        cross: "",
        built_for: Library::Host,
        reserved: &[],
        packages: &[],
        // No window, and no slow optimisation at link time.
        variables: &["NO_SDL=1", "NO_LTO=1"],
        goals: &["u-boot", "u-boot.dtb"],
        image: "u-boot",
        flash_len: None,
        limits: None,
    },
    Target {
        name: "qemu_arm64",
        about: "64-bit ARM, little-endian, PCI",
        cross: "aarch64-linux-gnu-",
        // Soft-float: U-Boot enables no floating-point registers for C. x18 always holds U-Boot's
        // global data.
        built_for: Library::FromSource {
            triple: "aarch64-unknown-none-softfloat",
            flags: "-Zfixed-x18",
        },
        reserved: &["x18", "w18"],
        packages: &[(
            "gcc-aarch64-linux-gnu",
            "compiles U-Boot for the target qemu_arm64",
        )],
        variables: &[],
        goals: &["u-boot.bin"],
        image: "u-boot.bin",
        flash_len: None,
        limits: Some(Limits {
            ring: 6 * 1024,
            core: 15 * 1024,
            kmon: 45 * 1024,
        }),
    },
    Target {
        name: "malta64",
        about: "64-bit MIPS, big-endian, no PCI",
        cross: "mips64-linux-gnuabi64-",
        built_for: Library::FromSource {
            triple: "mips64-unknown-linux-gnuabi64",
            flags: "-Crelocation-model=static -Ctarget-feature=+noabicalls,+soft-float",
        },
        reserved: &[],
        packages: &[(
            "gcc-mips64-linux-gnuabi64",
            "compiles U-Boot for the target malta64",
        )],
        variables: &[],
        goals: &["u-boot.bin"],
        image: "flash.bin",
        flash_len: Some(4 * 1024 * 1024),
        limits: None,
    },
];

/// Returns the packages that the builds of these targets need.
pub(super) fn packages<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Vec<Package> {
    let mut packages = COMMON_PACKAGES.to_vec();
    for target in targets {
        packages.extend(target.packages);
        if let Library::FromSource { .. } = target.built_for {
            packages.extend(CORE_PACKAGES);
        }
    }
    packages
}

/// Returns the targets with these names in the table's order, or all if `names` is empty.
pub(super) fn select(names: &[String]) -> Result<Vec<&'static Target>> {
    let known = |name: &str| TARGETS.iter().any(|target| target.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        bail!(
            "no target `{unknown}`; the targets are {}",
            known.join(", ")
        );
    }
    let wanted = |target: &&Target| names.is_empty() || names.iter().any(|n| n == target.name);
    Ok(TARGETS.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_unknown_target_lists_the_targets() {
        let error = select(&["malta".into()]).unwrap_err().to_string();
        assert!(error.contains("`malta`") && error.contains("sandbox, qemu_arm64, malta64"));
    }

    #[test]
    fn targets_are_built_in_the_tables_order() {
        let chosen = select(&["malta64".into(), "sandbox".into()]).unwrap();
        let names: Vec<_> = chosen.iter().map(|target| target.name).collect();
        assert_eq!(names, ["sandbox", "malta64"]);
    }
}
