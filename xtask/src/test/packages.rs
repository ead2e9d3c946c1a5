//! The Debian packages of the groups, each with what it is for.
//!
//! A group's commands find no programs but theirs; see [`super::programs`]. What commands
//! of this tool install by themselves is declared where they are.

use crate::debian::Package;

pub(super) const APPS: &[Package] = &[
    ("curl", "runs the examples of docs/api.md"),
    ("procps", "kill ends instances; ps and top run inside them"),
    ("qemu-system-x86", "its ivshmem device meets our server"),
    ("vim-tiny", "a full-screen editor runs inside instances"),
];

pub(super) const C: &[Package] = &[
    ("clang", "compiles the header and the C tests"),
    ("cmake", "builds the C examples as a user would"),
    ("g++", "compiles the header as C++"),
    ("gcc", "compiles the header and the C tests"),
    (
        "libclang-rt-dev",
        "sanitizes the C tests that clang compiles",
    ),
    ("make", "builds what CMake configured"),
    ("pkg-config", "builds the C examples as a user would"),
    ("valgrind", "runs the C tests"),
];

pub(super) const GUESTS: &[Package] = &[
    (
        "cpio",
        "packs the first file system of the guests with vfio",
    ),
    ("dosfstools", "makes the disk that a guest starts from"),
    ("mtools", "fills the disk that a guest starts from"),
    ("procps", "kill ends QEMU in the middle of its work"),
    ("qemu-utils", "makes a disk of QEMU's own format"),
    (
        "syslinux",
        "the boot loader of the disk that a guest starts from",
    ),
];

pub(super) const U_BOOT: &[Package] = &[
    (
        "device-tree-compiler",
        "reserves memory in the device tree of qemu_arm64",
    ),
    ("qemu-system-arm", "runs U-Boot for qemu_arm64"),
    ("qemu-system-mips", "runs U-Boot for malta64"),
];

pub(super) const PUBLISH: &[Package] = &[("git", "tells what is committed, and the last release")];

pub(super) const FUZZ: &[Package] = &[("g++", "compiles libFuzzer's runtime")];
