//! What `cargo xtask install` installs, as a user of it has it: the examples are built
//! through pkg-config and CMake, and run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use shmem_core::ring::Ring;
use shmem_core::{Mapping, Region};
use shmem_registry::{Id, Registry};

use crate::artifacts::{cargo, scratch};
use crate::{ensure, package, succeed, trial, Outcome};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "installed::every_file_is_where_it_says",
            every_file_is_there,
        ),
        trial(
            "installed::the_shared_library_has_its_soname",
            it_has_its_soname,
        ),
        trial(
            "installed::a_libdir_outside_the_prefix_is_refused",
            a_wrong_libdir_is_refused,
        ),
        trial("installed::the_example_runs::pkg_config", || {
            converse(&pkg_config(false)?)
        }),
        trial("installed::the_example_runs::pkg_config_static", || {
            converse(&pkg_config(true)?)
        }),
        trial("installed::the_example_runs::cmake", || converse(&cmake()?)),
        trial(
            "installed::cmake_refuses_another_version",
            another_version_is_refused,
        ),
    ]
}

/// The prefix, and the files that the command listed.
fn prefix() -> Outcome<&'static (PathBuf, Vec<PathBuf>)> {
    type Installed = (PathBuf, Vec<PathBuf>);
    static INSTALLED: OnceLock<Result<Installed, String>> = OnceLock::new();
    let install = || {
        let prefix = scratch("installed/prefix");
        let mut install = xtask_install(&prefix);
        install.args(["--libdir", "lib/here"]);
        let listed = succeed(&mut install)
            .map_err(|failed| failed.message().unwrap_or_default().to_owned())?;
        let path = |line: &str| PathBuf::from(line.split(" -> ").next().unwrap_or(line));
        Ok((prefix, listed.lines().map(path).collect()))
    };
    let installed = INSTALLED.get_or_init(install);
    installed.as_ref().map_err(|error| error.clone().into())
}

fn xtask_install(prefix: &Path) -> Command {
    let mut command = cargo();
    command.args(["xtask", "install", "--prefix"]).arg(prefix);
    command
}

fn every_file_is_there() -> Outcome {
    let (prefix, listed) = prefix()?;
    ensure(listed.len() == 9, || format!("{listed:?}"))?;
    for file in listed {
        ensure(file.starts_with(prefix) && file.exists(), || {
            format!("{}", file.display())
        })?;
    }
    let installed = std::fs::read(prefix.join("include/shmr.h"))?;
    ensure(
        installed == crate::read("include/shmr.h").as_bytes(),
        || "another header".into(),
    )
}

fn it_has_its_soname() -> Outcome {
    let (prefix, _) = prefix()?;
    let library = prefix.join("lib/here/libshmr.so");
    let dynamic = succeed(Command::new("readelf").arg("--dynamic").arg(library))?;
    ensure(dynamic.contains("soname: [libshmr.so.1]"), || {
        dynamic.clone()
    })
}

fn a_wrong_libdir_is_refused() -> Outcome {
    let output = xtask_install(Path::new("unused"))
        .args(["--libdir", "/lib"])
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure(
        !output.status.success() && complaint.contains("--libdir /lib"),
        || complaint.into(),
    )
}

/// Where both examples were built.
fn pkg_config(fixed: bool) -> Outcome<PathBuf> {
    let (prefix, _) = prefix()?;
    let libraries = prefix.join("lib/here");
    let mut ask = Command::new("pkg-config");
    ask.env("PKG_CONFIG_PATH", libraries.join("pkgconfig"))
        .args(["--cflags", "--libs"]);
    if fixed {
        ask.arg("--static");
    }
    let flags = succeed(ask.arg("shmr"))?;
    let directory = scratch(if fixed {
        "installed/static/x"
    } else {
        "installed/shared/x"
    });
    let directory = directory.parent().expect("scratch is below a directory");
    for example in ["server", "client", "receiver", "sender"] {
        let mut compiler = Command::new("gcc");
        compiler
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror"])
            .arg(package().join(format!("examples/{example}.c")));
        for flag in flags.split_whitespace() {
            // What pkg-config says of the static library is found before the shared one.
            match (flag, fixed) {
                ("-lshmr", true) => compiler.arg("-l:libshmr.a"),
                _ => compiler.arg(flag),
            };
        }
        if !fixed {
            compiler.arg(format!("-Wl,-rpath,{}", libraries.display()));
        }
        succeed(compiler.arg("-o").arg(directory.join(example)))?;
    }
    Ok(directory.to_owned())
}

fn cmake() -> Outcome<PathBuf> {
    let (prefix, _) = prefix()?;
    let build = scratch("installed/cmake");
    let _ = std::fs::remove_dir_all(&build);
    let mut configure = Command::new("cmake");
    configure
        .arg("-S")
        .arg(package().join("examples"))
        .arg("-B")
        .arg(&build)
        .arg(format!(
            "-Dshmr_DIR={}",
            prefix.join("lib/here/cmake/shmr").display()
        ));
    succeed(&mut configure)?;
    succeed(Command::new("cmake").arg("--build").arg(&build))?;
    Ok(build)
}

fn another_version_is_refused() -> Outcome {
    let (prefix, _) = prefix()?;
    let project = scratch("installed/another/CMakeLists.txt");
    let text = "cmake_minimum_required(VERSION 3.13)\nproject(another NONE)\n\
        find_package(shmr 0.2 REQUIRED)\n";
    std::fs::write(&project, text)?;
    let directory = project.parent().expect("a file is in a directory");
    let mut configure = Command::new("cmake");
    configure
        .arg("-S")
        .arg(directory)
        .arg("-B")
        .arg(directory.join("build"));
    configure.arg(format!(
        "-Dshmr_DIR={}",
        prefix.join("lib/here/cmake/shmr").display()
    ));
    let output = configure.output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let refused = complaint.contains("shmrConfig.cmake, version: ");
    ensure(!output.status.success() && refused, || complaint.into())
}

/// Ends with its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the receiver, then senders: one that says nothing and is killed, then one that
/// speaks.
fn converse(directory: &Path) -> Outcome {
    let region = tempfile::tempdir()?;
    let region = region.path().join("region");
    let mut receiver = Command::new(directory.join("receiver"));
    let receiver = receiver.arg(&region).stdout(Stdio::piped()).spawn()?;
    let mut receiver = Running(receiver);
    let sender = || {
        let mut sender = Command::new(directory.join("sender"));
        let sender = sender
            .arg(&region)
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        sender.spawn().map(Running)
    };
    wait_for_the_region(&region)?;
    let mut killed = sender()?;
    let lines = killed.0.stdin.as_mut().ok_or("it has a standard input")?;
    lines.write_all(b"half a conv")?;
    drop(killed);
    let mut second = sender()?;
    let mut lines = second.0.stdin.take().ok_or("it has a standard input")?;
    lines.write_all(b"hello\nworld\n")?;
    drop(lines);
    ensure(second.0.wait()?.success(), || "the sender failed".into())?;
    let said = std::io::read_to_string(receiver.0.stdout.take().ok_or("it has an output")?)?;
    ensure(receiver.0.wait()?.success(), || {
        "the receiver failed".into()
    })?;
    // Whether the first sender was known before it was killed is a matter of time.
    let said = said.replace("(the sender was restarted)\n", "");
    ensure(said == "hello\nworld\n", || said.clone())
}

/// Until the receiver has made the ring: its consumer's end is claimed.
pub(crate) fn wait_for_the_region(path: &Path) -> Outcome {
    wait_until(path, "makes no region", |ring| ring.consumer_owner().is_some())
}

/// Until the ring of the region in a file is as it should be.
pub(crate) fn wait_until(path: &Path, why: &str, is_so: fn(&Ring<'_>) -> bool) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if look(path, is_so) == Some(true) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(format!("the example {why}").into())
}

/// Looks at the ring of the region in a file, if there is one.
pub(crate) fn look<T>(path: &Path, look: impl FnOnce(&Ring<'_>) -> T) -> Option<T> {
    let mapping = Mapping::file(path, None).ok()?;
    let registry = Registry::attach(Region::attach(mapping.window()).ok()?).ok()?;
    let segment = registry.lookup(Id::from_name("lines")).ok()?;
    Some(look(&Ring::attach(segment.window()).ok()?))
}
