//! `cargo xtask install`: installs the C library for compilers and linkers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::invocation::Invocation;
use crate::workspace::Workspace;

/// Build the C library and install it
///
/// Installs the static, the shared and the bootloader library, the header, and the files by
/// which pkg-config and CMake find them. Replaces existing files of these names.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The directory to install to, such as /usr/local
    #[arg(long, value_name = "DIR")]
    prefix: PathBuf,
    /// Put the files below this directory, for packagers; their contents name only the prefix
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,
    /// Directory of the libraries, below the prefix
    #[arg(long, value_name = "DIR", default_value = "lib")]
    libdir: PathBuf,
}

/// The name by which programs load the shared library; bindings-c/build.rs sets it.
const SONAME: &str = "libshmr.so.1";

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let place = Place::from_arguments(arguments)?;
    let hosted = build(
        "cargo rustc -p shmr --lib --release --crate-type staticlib,cdylib \
         --message-format json -- --print native-static-libs",
    )?;
    let sources = workspace.root.join("bindings-c");
    place.copy(hosted.file(".a")?, "libshmr.a")?;
    let shared = format!("libshmr.so.{}", env!("CARGO_PKG_VERSION"));
    place.copy(hosted.file(".so")?, &shared)?;
    place.link(&shared, SONAME)?;
    place.link(SONAME, "libshmr.so")?;
    // Built second, since cargo gives its libshmr.a the same name.
    let bare = build(
        "cargo rustc -p shmr --lib --no-default-features --features small --profile bare \
         --crate-type staticlib --message-format json",
    )?;
    place.copy(bare.file(".a")?, "libshmr-bare.a")?;
    let header = fs::read(sources.join("include/shmr.h")).context("cannot read shmr.h")?;
    place.write(&place.prefix.join("include/shmr.h"), &header)?;
    for (template, to) in [
        ("shmr.pc.in", "pkgconfig/shmr.pc"),
        ("cmake/shmrConfig.cmake.in", "cmake/shmr/shmrConfig.cmake"),
        (
            "cmake/shmrConfigVersion.cmake.in",
            "cmake/shmr/shmrConfigVersion.cmake",
        ),
    ] {
        let text = fs::read_to_string(sources.join(template))
            .with_context(|| format!("cannot read {template}"))?;
        let text = place.fill(&text, &hosted.system)?;
        place.write(&place.libraries().join(to), text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The result of a cargo build.
struct Built {
    files: Vec<PathBuf>,
    /// The system libraries that a program with the static library must link.
    system: String,
}

impl Built {
    fn file(&self, extension: &str) -> Result<&Path> {
        let is = |file: &&PathBuf| file.to_string_lossy().ends_with(extension);
        let file = self.files.iter().find(is);
        file.map(PathBuf::as_path)
            .with_context(|| format!("the build made no libshmr{extension}"))
    }
}

/// Runs cargo, and prints the compiler's messages.
fn build(line: &str) -> Result<Built> {
    let output = Invocation::parse(line)
        .command()
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let mut built = Built {
        files: Vec::new(),
        system: String::new(),
    };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        read_message(&message, &mut built);
    }
    ensure!(output.status.success(), "the library does not build");
    Ok(built)
}

fn read_message(message: &Value, built: &mut Built) {
    const SYSTEM: &str = "native-static-libs: ";
    let text = message["message"]["message"].as_str().unwrap_or("");
    if let Some(system) = text.strip_prefix(SYSTEM) {
        built.system = system.to_owned();
    } else if let Some(rendered) = message["message"]["rendered"].as_str()
        && !rendered.starts_with("note: ")
    {
        eprint!("{rendered}");
    }
    if message["target"]["name"] == "shmr" {
        let files = message["filenames"].as_array().into_iter().flatten();
        built
            .files
            .extend(files.filter_map(Value::as_str).map(PathBuf::from));
    }
}

/// The directories to install to.
struct Place {
    prefix: PathBuf,
    destdir: Option<PathBuf>,
    libdir: PathBuf,
}

impl Place {
    fn from_arguments(arguments: &Arguments) -> Result<Self> {
        let below = arguments
            .libdir
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            below && arguments.libdir.components().count() > 0,
            "--libdir {} is not a directory below the prefix",
            arguments.libdir.display()
        );
        let destdir = arguments.destdir.as_ref().map(std::path::absolute);
        Ok(Self {
            prefix: std::path::absolute(&arguments.prefix).context("--prefix")?,
            destdir: destdir.transpose().context("--destdir")?,
            libdir: arguments.libdir.clone(),
        })
    }

    fn libraries(&self) -> PathBuf {
        self.prefix.join(&self.libdir)
    }

    /// Returns the path to which a file is written that is installed as `path`.
    fn staged(&self, path: &Path) -> PathBuf {
        match &self.destdir {
            Some(destdir) => destdir.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    fn copy(&self, from: &Path, name: &str) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(&self.libraries().join(name), &bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.prepare_path(path)?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
        Ok(())
    }

    fn link(&self, target: &str, name: &str) -> Result<()> {
        let path = self.prepare_path(&self.libraries().join(name))?;
        symlink(target, &path).with_context(|| format!("cannot make {}", path.display()))?;
        println!("{} -> {target}", path.display());
        Ok(())
    }

    /// Creates the directory of `path`, and removes an old file of that name. A program that has
    /// loaded the old library keeps it.
    fn prepare_path(&self, path: &Path) -> Result<PathBuf> {
        let path = self.staged(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot replace {}", path.display()))
            }
            _ => Ok(path),
        }
    }

    /// Replaces the `@words@` of a template.
    fn fill(&self, template: &str, system: &str) -> Result<String> {
        let up = "/..".repeat(self.libdir.components().count() + 2);
        let text = template
            .replace("@prefix@", &self.prefix.display().to_string())
            .replace("@libdir@", &self.libdir.display().to_string())
            .replace("@up@", &up)
            .replace("@version@", env!("CARGO_PKG_VERSION"))
            .replace("@soname@", SONAME)
            .replace("@system@", system)
            .replace("@system_list@", &system.replace(' ', ";"));
        match text.split('@').nth(1) {
            Some(word) => bail!("a template has an unknown @{word}@"),
            None => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(libdir: &str) -> Result<Place> {
        Place::from_arguments(&Arguments {
            prefix: "/usr".into(),
            destdir: Some("/stage".into()),
            libdir: libdir.into(),
        })
    }

    #[test]
    fn files_go_below_destdir_and_name_only_the_prefix() {
        let place = place("lib/arch").unwrap();
        let staged = place.staged(&place.libraries().join("libshmr.a"));
        assert_eq!(staged, Path::new("/stage/usr/lib/arch/libshmr.a"));
        let text = place.fill("@prefix@ @libdir@ @up@ @system_list@", "-la -lb");
        assert_eq!(text.unwrap(), "/usr lib/arch /../../../.. -la;-lb");
    }

    #[test]
    fn an_unknown_word_is_an_error() {
        assert!(place("lib").unwrap().fill("@word@", "").is_err());
    }

    #[test]
    fn libraries_stay_below_the_prefix() {
        assert!(place("/lib").is_err());
        assert!(place("../lib").is_err());
        assert!(place("").is_err());
    }
}
