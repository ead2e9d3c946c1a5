//! The archives from which apt gets source packages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::debian;
use crate::job::Reporter;

const SOURCES: &str = "/etc/apt/sources.list.d";
/// The name of the file that is added there, without its extension.
const ADDED: &str = "shmem-sdk-source";
const NOTE: &str = "# Written by `cargo xtask u-boot`, which fetches the source of U-Boot.\n";

/// Makes sure that apt knows the source of `package`.
pub(super) fn require_source(package: &str, may_install: bool, reporter: &Reporter) -> Result<()> {
    if source_is_known(package) {
        return Ok(());
    }
    ensure!(
        may_install,
        "apt does not know the source of {package}; add a deb-src entry to {SOURCES}, \
         and run as root: apt-get update"
    );
    if !has_source_entry()? {
        add_source_entry(reporter)?;
    }
    let update = debian::as_root("apt-get update")?;
    reporter.run("updating apt's lists", &update, None)?;
    ensure!(
        source_is_known(package),
        "apt still does not know the source of {package}; see: apt-cache showsrc {package}"
    );
    Ok(())
}

fn source_is_known(package: &str) -> bool {
    let shown = Command::new("apt-cache")
        .args(["showsrc", "--only-source", package])
        .stderr(Stdio::null())
        .output();
    shown.is_ok_and(|shown| shown.status.success() && !shown.stdout.is_empty())
}

/// Returns true if an entry for source packages is active.
fn has_source_entry() -> Result<bool> {
    let targets = Command::new("apt-get")
        .args(["indextargets", "Created-By: Sources"])
        .output()
        .context("cannot run apt-get")?;
    Ok(targets.status.success() && !targets.stdout.is_empty())
}

/// Adds the archives of Debian's binary packages as archives of source packages.
fn add_source_entry(reporter: &Reporter) -> Result<()> {
    let mut added = false;
    for (ending, convert) in [
        ("sources", source_stanzas as fn(&str) -> String),
        ("list", source_lines),
    ] {
        let entries: String = configured(ending)?
            .iter()
            .map(|text| convert(text))
            .collect();
        if entries.is_empty() {
            continue;
        }
        let path = format!("{SOURCES}/{ADDED}.{ending}");
        reporter.say(&format!("adding {path}: the archives of Debian's sources"));
        write_as_root(&path, &format!("{NOTE}{entries}"))?;
        added = true;
    }
    if !added {
        bail!("found no Debian archive in {SOURCES}; add a deb-src entry there");
    }
    Ok(())
}

/// Returns the texts of apt's configuration files with this extension.
fn configured(ending: &str) -> Result<Vec<String>> {
    let mut paths = vec![Path::new("/etc/apt/sources.list").to_owned()];
    for entry in fs::read_dir(SOURCES).with_context(|| format!("cannot list {SOURCES}"))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let is_of_kind = |path: &&PathBuf| path.extension().is_some_and(|e| e == ending);
    let texts = paths.iter().filter(is_of_kind);
    Ok(texts
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect())
}

fn write_as_root(path: &str, text: &str) -> Result<()> {
    let tee = debian::as_root("tee")?.arg(path);
    let mut child = tee
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot run tee")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    ensure!(child.wait()?.success(), "`{tee}` failed");
    Ok(())
}

/// Returns the name and the value in a line of a stanza.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim(), value.trim()))
}

/// Returns the stanzas of `text` for Debian's binary packages, changed to source packages.
fn source_stanzas(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .split(|line| line.trim().is_empty())
        .filter(|stanza| has_debian_packages(stanza))
        .map(|stanza| {
            let fields: Vec<_> = stanza
                .iter()
                .map(|line| match field(line) {
                    Some((name, _)) if name.eq_ignore_ascii_case("types") => "Types: deb-src",
                    _ => line,
                })
                .collect();
            format!("\n{}\n", fields.join("\n"))
        })
        .collect()
}

fn has_debian_packages(stanza: &[&str]) -> bool {
    let value = |wanted: &str| {
        let fields = stanza.iter().filter_map(|line| field(line));
        let mut values = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        values.next().map_or("", |(_, value)| value)
    };
    let has = |name: &str, word: &str| value(name).split_whitespace().any(|w| w == word);
    has("types", "deb")
        && !has("enabled", "no")
        && value("uris").split_whitespace().any(is_debian_archive)
}

/// Returns the lines of `text` for Debian's binary packages, changed to source packages.
fn source_lines(text: &str) -> String {
    text.lines()
        .filter_map(|line| {
            let entry = line.strip_prefix("deb ")?;
            let uri = match entry.trim_start().strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => entry,
            };
            let uri = uri.split_whitespace().next()?;
            is_debian_archive(uri).then(|| format!("deb-src {entry}\n"))
        })
        .collect()
}

/// Returns true for Debian's archives. Others may lack sources, and apt would report errors.
fn is_debian_archive(uri: &str) -> bool {
    let directory = uri.trim_end_matches('/').rsplit('/').next();
    matches!(directory, Some("debian" | "debian-security"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_for_packages_become_stanzas_for_sources() {
        let text = "Types: deb\n# a comment\nURIs: http://deb.debian.org/debian\n\
                    Suites: bookworm\nComponents: main\n\n\
                    Types: deb\nURIs: http://deb.debian.org/debian-security/\nEnabled: no\n\n\
                    Types: deb\nURIs: https://elsewhere.example/node\nSuites: stable\n";
        let expected = "\nTypes: deb-src\nURIs: http://deb.debian.org/debian\n\
                        Suites: bookworm\nComponents: main\n";
        assert_eq!(source_stanzas(text), expected);
    }

    #[test]
    fn an_archive_that_has_only_sources_is_not_repeated() {
        assert_eq!(
            source_stanzas("Types: deb-src\nURIs: http://deb.debian.org/debian\n"),
            ""
        );
    }

    #[test]
    fn lines_for_packages_become_lines_for_sources() {
        let text = "# deb http://deb.debian.org/debian bookworm main\n\
                    deb [signed-by=/k.gpg arch=amd64] http://deb.debian.org/debian bookworm main\n\
                    deb http://elsewhere.example/node nodistro main\n";
        let expected =
            "deb-src [signed-by=/k.gpg arch=amd64] http://deb.debian.org/debian bookworm main\n";
        assert_eq!(source_lines(text), expected);
    }
}
