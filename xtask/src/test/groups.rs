//! The groups of tests: what each needs and what it runs.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::packages;
use super::tools::{CARGO_FUZZ, NIGHTLY, OLDEST, SEMVER_CHECKS, Tool};
use crate::debian::Package;
use crate::guest;
use crate::invocation::Invocation;
use crate::release;
use crate::u_boot;
use crate::workspace::{Workspace, libraries};

/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 10;

pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// All that its steps need beside a C compiler, also what their commands install by
    /// themselves: programs of other packages are not found. See [`super::programs`].
    pub(super) packages: fn() -> Vec<Package>,
    /// Rust tools that are not part of a stable toolchain.
    pub(super) tools: &'static [Tool],
    /// The longest that one step may take.
    pub(super) limit: Duration,
    pub(super) steps: fn(&Workspace) -> Result<Vec<Step>>,
}

pub(super) enum Step {
    /// Passes or fails as a whole, by its exit status. If it prints `skipped: WHY` and
    /// succeeds, it counts as neither.
    Check(Invocation),
    /// Reports its own counts in libtest's form.
    Tests(Invocation),
    /// Weakens every memory ordering in turn.
    Orderings,
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "format",
        about: "rustfmt has nothing to change",
        packages: Vec::new,
        tools: &[],
        limit: minutes(2),
        steps: format,
    },
    Group {
        name: "clippy",
        about: "clippy has nothing to say, with and without default features",
        packages: Vec::new,
        tools: &[],
        limit: minutes(10),
        steps: clippy,
    },
    Group {
        name: "layers",
        about: "imports only go down, and no files import in a circle",
        packages: Vec::new,
        tools: &[],
        limit: minutes(2),
        steps: |_| Ok(vec![Step::Check(Invocation::parse("cargo xtask layers"))]),
    },
    Group {
        name: "unit",
        about: "unit and integration tests of the libraries and of this tool",
        packages: Vec::new,
        tools: &[],
        limit: minutes(10),
        steps: unit,
    },
    Group {
        name: "doc",
        about: "examples in the documentation run, links in it resolve",
        packages: Vec::new,
        tools: &[],
        limit: minutes(10),
        steps: doc,
    },
    Group {
        name: "publish",
        about: "the libraries' packages, with the oldest Rust and dependencies that they declare",
        packages: || packages::PUBLISH.to_vec(),
        tools: &[NIGHTLY, OLDEST, SEMVER_CHECKS],
        limit: minutes(10),
        steps: publish,
    },
    Group {
        name: "loom",
        about: "models of the lock-free parts, every interleaving",
        packages: Vec::new,
        tools: &[],
        limit: minutes(10),
        steps: loom,
    },
    Group {
        name: "orderings",
        about: "each memory ordering, weakened, makes its model fail; each relaxed access has a reason",
        packages: Vec::new,
        tools: &[],
        limit: minutes(20),
        steps: |_| {
            let marks = Invocation::parse("cargo xtask weaken --check-marks");
            Ok(vec![Step::Check(marks), Step::Orderings])
        },
    },
    Group {
        name: "apps",
        about: "the real monitor and the real guest daemon, through a terminal",
        packages: || packages::APPS.to_vec(),
        tools: &[],
        limit: minutes(10),
        steps: apps,
    },
    Group {
        name: "c",
        about: "the C interface: its header, its library, and C programs that use them",
        packages: || packages::C.to_vec(),
        tools: &[],
        limit: minutes(10),
        steps: c,
    },
    Group {
        name: "guests",
        about: "Linux guests under QEMU, from power-on to power-off",
        packages: || [packages::GUESTS, guest::PACKAGES].concat(),
        tools: &[],
        limit: minutes(10),
        steps: guests,
    },
    Group {
        name: "u-boot",
        about: "U-Boot as KMON at its serial console, on three boards, with real daemons and guests",
        packages: || [packages::U_BOOT, guest::PACKAGES, &u_boot::packages()].concat(),
        tools: &[],
        limit: minutes(15),
        steps: u_boot,
    },
    Group {
        name: "kill",
        about: "partitions die at every store, and processes at any moment",
        packages: Vec::new,
        tools: &[],
        limit: minutes(10),
        steps: kill,
    },
    Group {
        name: "fuzz",
        about: "each fuzz target for ten seconds, under AddressSanitizer",
        packages: || packages::FUZZ.to_vec(),
        tools: &[NIGHTLY, CARGO_FUZZ],
        limit: minutes(10),
        steps: fuzz,
    },
    Group {
        name: "bench",
        about: "every measurement runs once",
        packages: || guest::PACKAGES.to_vec(),
        tools: &[],
        limit: minutes(10),
        steps: bench,
    },
];

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// The groups of these names, in their own order; all if none is named.
pub(super) fn select(names: &[String]) -> Result<Vec<&'static Group>> {
    let known = |name: &str| GROUPS.iter().any(|group| group.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let known: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
        bail!("no group `{unknown}`; the groups are {}", known.join(", "));
    }
    let wanted = |group: &&Group| names.is_empty() || names.iter().any(|name| name == group.name);
    Ok(GROUPS.iter().filter(wanted).collect())
}

fn format(_: &Workspace) -> Result<Vec<Step>> {
    Ok(vec![
        Step::Check(Invocation::parse("cargo fmt --all --check")),
        Step::Check(Invocation::parse(
            "cargo fmt --manifest-path fuzz/Cargo.toml --check",
        )),
        Step::Check(Invocation::parse(
            "cargo fmt --manifest-path benches/iceoryx2/Cargo.toml --check",
        )),
    ])
}

fn clippy(_: &Workspace) -> Result<Vec<Step>> {
    let everything =
        Invocation::parse("cargo clippy --workspace --all-targets --all-features -- -D warnings");
    // What a bootloader builds: no features, no std.
    let bare = libraries("cargo clippy --no-default-features")
        .arg("--")
        .arg("-Dwarnings");
    Ok(vec![Step::Check(everything), Step::Check(bare)])
}

fn unit(_: &Workspace) -> Result<Vec<Step>> {
    Ok(vec![
        // All features: rings and lookup are small rather than fast, and caches are maintained by
        // functions, where no channel has a call line.
        Step::Tests(Invocation::parse(
            "cargo test --no-fail-fast -p shmem-core -p shmem-registry -p shmem-sync \
             --all-features --lib --tests",
        )),
        Step::Tests(Invocation::parse(
            "cargo test --no-fail-fast -p shmem-core -p shmem-registry -p shmem-channel \
             --features linux --lib --tests",
        )),
        Step::Tests(Invocation::parse(
            "cargo test --no-fail-fast -p xtask -p crash-test",
        )),
    ])
}

fn doc(_: &Workspace) -> Result<Vec<Step>> {
    let pages = libraries("cargo doc --no-deps --all-features");
    // kmon-protocol compiles the program in the project's README.
    let examples = libraries("cargo test --no-fail-fast --all-features --doc -p kmon-protocol");
    Ok(vec![
        Step::Tests(examples),
        Step::Check(pages.add_flags("RUSTDOCFLAGS", "-Dwarnings")),
    ])
}

fn publish(workspace: &Workspace) -> Result<Vec<Step>> {
    let check = |line| Step::Check(Invocation::parse(line));
    // Cargo keeps the packages of a dry run in its home, by the path of the target directory, and
    // would use those of an earlier run: so each run has another directory.
    let directory = workspace.target.join("publish");
    // It may not exist.
    let _ = fs::remove_dir_all(&directory);
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let directory = directory.join(run.to_string());
    let mut dry_run = libraries("cargo publish --dry-run").arg("--target-dir");
    dry_run = dry_run.path(&directory);
    if release::is_dirty() {
        dry_run = dry_run.arg("--allow-dirty");
    }
    Ok(vec![
        check("cargo xtask release manifests"),
        Step::Check(dry_run),
        check("cargo xtask release oldest-dependencies"),
        Step::Tests(Invocation::parse("cargo xtask release oldest-rust")),
        check("cargo xtask release semver"),
    ])
}

fn loom(workspace: &Workspace) -> Result<Vec<Step>> {
    let models = Invocation::parse(
        "cargo test --no-fail-fast --release -p shmem-core -p shmem-registry -p shmem-sync \
         --features shmem-core/alloc --test loom_* --target-dir",
    );
    Ok(vec![Step::Tests(
        models
            .path(&workspace.target.join("loom"))
            .add_flags("RUSTFLAGS", "--cfg loom")
            .set_default("LOOM_MAX_PREEMPTIONS", "3"),
    )])
}

fn apps(workspace: &Workspace) -> Result<Vec<Step>> {
    let build = Invocation::parse("cargo build --release -p guestd -p kmon");
    let tests = Invocation::parse(
        "cargo test --no-fail-fast --release -p kmon-protocol -p guestd -p kmon \
         -p shmem -p ivshmem-server --lib --bins --tests",
    );
    let guestd = workspace.target.join("release").join("guestd");
    Ok(vec![
        Step::Check(build),
        Step::Tests(tests.set("GUESTD", guestd.display().to_string())),
    ])
}

fn c(_: &Workspace) -> Result<Vec<Step>> {
    let bare = |features| {
        Step::Check(
            Invocation::parse("cargo clippy -p shmr --no-default-features --profile bare")
                .arg("--features")
                .arg(features)
                .arg("--")
                .arg("-D")
                .arg("warnings"),
        )
    };
    // Its unit tests, the generated header, and all that is written in C.
    let tests = Invocation::parse("cargo test --no-fail-fast -p shmr");
    Ok(vec![bare("small"), Step::Tests(tests)])
}

fn u_boot(workspace: &Workspace) -> Result<Vec<Step>> {
    let u_boot = Invocation::parse("cargo xtask u-boot --check");
    let image = Invocation::parse("cargo xtask guest-image");
    let guestd = Invocation::parse("cargo build --release -p guestd");
    let tests = Invocation::parse("cargo test --no-fail-fast --release -p u-boot-system-test");
    let path = workspace.target.join("release").join("guestd");
    Ok(vec![
        Step::Check(u_boot),
        Step::Check(image),
        Step::Check(guestd),
        Step::Tests(tests.set("GUESTD", path.display().to_string())),
    ])
}

fn guests(_: &Workspace) -> Result<Vec<Step>> {
    let image = Invocation::parse("cargo xtask guest-image");
    let build = Invocation::parse("cargo build --release -p kmon -p guestd -p ivshmem-server");
    // Few at a time: each guest keeps a processor busy while it boots.
    let tests = Invocation::parse(
        "cargo test --no-fail-fast --release -p ivshmem-vfio -p kmon-qemu -- --test-threads 2",
    );
    Ok(vec![
        Step::Check(image),
        Step::Check(build),
        Step::Tests(tests),
    ])
}

fn kill(_: &Workspace) -> Result<Vec<Step>> {
    // First that it can fail.
    let lines = [
        "cargo xtask kill --self-test",
        "cargo xtask kill --points 250",
        "cargo xtask kill --stall --points 120",
    ];
    Ok(lines
        .map(|line| Step::Check(Invocation::parse(line)))
        .into())
}

fn fuzz(workspace: &Workspace) -> Result<Vec<Step>> {
    let path = workspace.root.join("fuzz").join("Cargo.toml");
    let manifest = fs::read_to_string(&path).context("cannot read fuzz/Cargo.toml")?;
    let targets = fuzz_targets(&manifest).context("fuzz/Cargo.toml")?;
    let run = |name: &String| {
        Step::Check(
            Invocation::parse("cargo +nightly fuzz run")
                .arg(name)
                .arg("--")
                // libFuzzer would let one input hang for 20 minutes.
                .arg("-timeout=10")
                .arg(format!("-max_total_time={FUZZ_SECONDS}")),
        )
    };
    Ok(targets.iter().map(run).collect())
}

/// The names of the fuzz targets: each is a program of the fuzz crate.
fn fuzz_targets(manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Table = manifest.parse()?;
    let programs = manifest.get("bin").and_then(toml::Value::as_array);
    let names = programs.into_iter().flatten().filter_map(|program| {
        let name = program.get("name")?.as_str()?;
        Some(name.to_owned())
    });
    Ok(names.collect())
}

fn bench(_: &Workspace) -> Result<Vec<Step>> {
    // Criterion's `--test` runs each once and measures nothing, so the long
    // link-time optimisation of the bench profile is not needed.
    let once =
        Invocation::parse("cargo bench -p shmem-benches --profile release --bench * -- --test");
    let iceoryx2 = Invocation::parse("cargo xtask bench --only iceoryx2 --quick");
    let guest = Invocation::parse("cargo xtask bench --only guest -- --quick");
    Ok(vec![
        Step::Check(once),
        Step::Check(iceoryx2),
        Step::Check(guest),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_declares_what_its_commands_install() {
        let names = |name: &str| {
            let groups = select(&[name.to_owned()]).unwrap();
            let packages = (groups[0].packages)();
            packages
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        for group in ["guests", "u-boot", "bench"] {
            assert!(names(group).contains(&"busybox-static"), "{group}");
        }
        for package in ["swig", "rustc-web", "gcc-mips64-linux-gnuabi64"] {
            assert!(names("u-boot").contains(&package), "{package}");
        }
    }

    #[test]
    fn an_unknown_group_is_answered_with_the_known_ones() {
        let error = select(&["unit".into(), "units".into()]).err().unwrap();
        let error = error.to_string();
        assert!(error.contains("`units`") && error.contains("clippy, layers, unit, doc"));
        assert!(!error.contains('\n'));
    }

    #[test]
    fn groups_run_in_their_own_order() {
        let names: Vec<_> = select(&["unit".into(), "format".into()])
            .unwrap()
            .iter()
            .map(|group| group.name)
            .collect();
        assert_eq!(names, ["format", "unit"]);
    }

    #[test]
    fn fuzz_targets_are_the_programs_of_the_fuzz_crate() {
        let manifest = "[package]\nname = \"fuzz\"\n\
            [[bin]]\nname = \"region_attach\"\npath = \"a.rs\"\n\
            [[bin]]\nname = \"ring_consumer\"\n";
        let names = fuzz_targets(manifest).unwrap();
        assert_eq!(names, ["region_attach", "ring_consumer"]);
        assert!(fuzz_targets("[package]").unwrap().is_empty());
    }
}
