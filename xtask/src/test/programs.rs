//! The programs that a group of tests finds: those of what it declares, and no others.
//!
//! A test that runs a program which no group declares would pass wherever that program is
//! by chance, and fail on a new machine. So each group has a `PATH` of its own: the
//! directory of rustup's programs, and one of links to the programs of
//!
//! - the smallest Debian system: packages that are essential or of priority `required`
//!   (many machines lack those of priority `important`);
//! - apt, and the C compiler that the README asks for;
//! - the packages that the group declares;
//! - what all of these depend on, without what they only recommend.
//!
//! A program that is called by its absolute path is found all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where Debian's packages have programs.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// Where dpkg keeps which packages offer a program of a common name.
const ALTERNATIVES: &str = "/var/lib/dpkg/alternatives";
/// What fetches packages; the C compiler and linker, which every build needs; rustup, where
/// it is a package.
const ALWAYS: [&str; 4] = ["apt", "gcc", "libc6-dev", "rustup"];
/// Found whatever package they are of: another C compiler, and what installs packages.
const ANYWAY: [&str; 2] = ["cc", "sudo"];
/// The fields of one package, a line each.
const FIELDS: &str = "${db:Status-Status}\t${Package}\t${binary:Package}\t${Essential}\t\
                      ${Priority}\t${Pre-Depends},${Depends}\t${Provides}\n";

/// The installed Debian packages.
#[derive(Default)]
pub(super) struct Programs {
    packages: BTreeMap<String, Package>,
    /// Packages by what else they are called.
    providers: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Default)]
struct Package {
    /// What dpkg lists it as: one name for each architecture.
    listed: Vec<String>,
    base: bool,
    /// Of each dependency, the packages that satisfy it.
    depends: Vec<Vec<String>>,
}

impl Programs {
    /// Asks dpkg; nothing where there is none.
    pub(super) fn installed() -> Result<Option<Self>> {
        match dpkg(&["--show", "--showformat", FIELDS]) {
            Ok(listing) => Ok(Some(Self::parse(&listing?))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("cannot run dpkg-query"),
        }
    }

    fn parse(listing: &str) -> Self {
        let mut programs = Self::default();
        for line in listing.lines() {
            let fields: Vec<_> = line.split('\t').collect();
            let &[
                "installed",
                name,
                listed,
                essential,
                priority,
                depends,
                provides,
            ] = &fields[..]
            else {
                continue;
            };
            let package = programs.packages.entry(name.to_owned()).or_default();
            package.listed.push(listed.to_owned());
            package.base |= essential == "yes" || priority == "required";
            let depends = depends.split(',').map(alternatives);
            package.depends.extend(depends);
            for provided in provides.split(',').flat_map(alternatives) {
                let providers = programs.providers.entry(provided).or_default();
                providers.insert(name.to_owned());
            }
        }
        programs
    }

    /// Makes `directory` anew with links to the programs of a group that declares these
    /// packages; gives the `PATH` of its commands.
    pub(super) fn path(&self, declared: &[&str], directory: &Path) -> Result<String> {
        let base = self.packages.iter().filter(|(_, package)| package.base);
        let roots = base.map(|(name, _)| name.as_str());
        let packages = self.closure(roots.chain(ALWAYS).chain(declared.iter().copied()));
        let mut programs = self.programs(&packages)?;
        let common = common_names(&programs)?;
        programs.extend(common);
        for name in ANYWAY {
            if let Some(path) = on_path(name) {
                programs.entry(name.into()).or_insert(path);
            }
        }
        link(&programs, directory)?;
        let path = rustup().chain([directory.to_owned()]);
        let path = env::join_paths(path).context("a directory has a colon in its name")?;
        path.into_string()
            .ok()
            .context("the target directory's name is no text")
    }

    /// These packages and what they depend on, as far as they are installed.
    fn closure<'a>(&'a self, roots: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut left: Vec<_> = roots.flat_map(|root| self.called(root)).collect();
        while let Some(name) = left.pop() {
            if found.insert(name) {
                for wanted in &self.packages[name].depends {
                    let satisfied = wanted.iter().map(|wanted| self.called(wanted));
                    left.extend(
                        satisfied
                            .filter(|packages| !packages.is_empty())
                            .take(1)
                            .flatten(),
                    );
                }
            }
        }
        found
    }

    /// The installed packages that have this name or provide it.
    fn called(&self, name: &str) -> Vec<&str> {
        if let Some((name, _)) = self.packages.get_key_value(name) {
            return vec![name];
        }
        let providers = self.providers.get(name).into_iter().flatten();
        providers.map(String::as_str).collect()
    }

    /// The programs of these packages, by name.
    fn programs(&self, packages: &BTreeSet<&str>) -> Result<BTreeMap<String, PathBuf>> {
        let names = packages
            .iter()
            .flat_map(|name| &self.packages[*name].listed);
        let mut query = vec!["--listfiles"];
        query.extend(names.map(String::as_str));
        let files = dpkg(&query).context("cannot run dpkg-query")??;
        let mut programs = BTreeMap::new();
        for path in files.lines().map(Path::new) {
            if is_in_directory(path)
                && is_program(path)
                && let Some(name) = path.file_name()
            {
                programs.insert(name.to_string_lossy().into_owned(), path.to_owned());
            }
        }
        Ok(programs)
    }
}

/// The names in a dependency, `a (>= 1) | b:any`.
fn alternatives(dependency: &str) -> Vec<String> {
    let names = dependency.split('|').map(|item| {
        let mut words = item.trim().split([' ', '(', ':', '[']);
        words.next().unwrap_or_default().to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// What dpkg-query prints.
fn dpkg(arguments: &[&str]) -> std::io::Result<Result<String>> {
    let output = Command::new("dpkg-query").args(arguments).output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let check = || {
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "dpkg-query: {}", errors.trim());
        Ok(printed)
    };
    Ok(check())
}

fn is_in_directory(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::to_str);
    directory.is_some_and(|directory| DIRECTORIES.contains(&directory))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The names under which packages offer some of `programs`, as vi for vim.tiny: whatever
/// the machine has chosen, what only these packages would have it choose.
fn common_names(programs: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, PathBuf>> {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let known: BTreeSet<_> = programs.values().filter_map(|path| real(path)).collect();
    let is_known = |path: &str| real(Path::new(path)).is_some_and(|path| known.contains(&path));
    let entries =
        fs::read_dir(ALTERNATIVES).with_context(|| format!("cannot list {ALTERNATIVES}"))?;
    let mut names = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let links = best(&text, is_known).into_iter();
        for (link, program) in links.map(|(link, to)| (Path::new(link), Path::new(to))) {
            if is_in_directory(link)
                && is_program(program)
                && let Some(name) = link.file_name()
            {
                names.insert(name.to_string_lossy().into_owned(), program.to_owned());
            }
        }
    }
    Ok(names)
}

/// The links of one file of [`ALTERNATIVES`], each with what it leads to if the best of the
/// known programs is chosen.
///
/// Its lines are a status, the first link, name and link of each further one, and an empty
/// line; then of each choice the program, its priority, and where the further links lead.
fn best(text: &str, is_known: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
    let (head, choices) = text.split_once("\n\n").unwrap_or((text, ""));
    let head: Vec<_> = head.lines().collect();
    let links: Vec<_> = head.iter().skip(1).step_by(2).copied().collect();
    let choices: Vec<_> = choices.lines().collect();
    let choices = choices.chunks(links.len() + 1).filter_map(|lines| {
        let (program, rest) = lines.split_first()?;
        let (priority, further) = rest.split_first()?;
        Some((priority.parse::<i32>().ok()?, *program, further.to_vec()))
    });
    let known = choices.filter(|(_, program, _)| is_known(program));
    let best = known.max_by_key(|(priority, ..)| *priority);
    let leads = best.map(|(_, program, further)| [vec![program], further].concat());
    links.into_iter().zip(leads.unwrap_or_default()).collect()
}

fn link(programs: &BTreeMap<String, PathBuf>, directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", directory.display()));
        }
        _ => {}
    }
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, path) in programs {
        let at = directory.join(name);
        symlink(path, &at).with_context(|| format!("cannot make {}", at.display()))?;
    }
    Ok(())
}

fn directories() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect()
}

fn on_path(name: &str) -> Option<PathBuf> {
    let mut paths = directories()
        .into_iter()
        .map(|directory| directory.join(name));
    paths.find(|path| is_program(path))
}

/// The directories of cargo and of what rustup installed beside it.
fn rustup() -> impl Iterator<Item = PathBuf> {
    let of_debian = |directory: &Path| DIRECTORIES.map(Path::new).contains(&directory);
    let mut seen = BTreeSet::new();
    directories().into_iter().filter(move |directory| {
        is_program(&directory.join("cargo"))
            && !of_debian(directory)
            && seen.insert(directory.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a shell with this `PATH` finds a program.
    fn finds(path: &str, program: &str) -> bool {
        let mut shell = Command::new("sh");
        let line = format!("command -v '{program}'");
        let shell = shell.args(["-c", &line]).env("PATH", path);
        shell.output().unwrap().status.success()
    }

    #[test]
    fn a_group_finds_the_programs_that_it_declares_and_no_others() {
        let Some(programs) = Programs::installed().unwrap() else {
            eprintln!("skipped: no dpkg here");
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let of_group = |packages: &[&str]| programs.path(packages, directory.path()).unwrap();
        let path = of_group(&[]);
        // Any package that is here and neither of the base system nor of the compiler.
        let (package, program) = programs
            .packages
            .keys()
            .find_map(|package| {
                let of_package = programs.programs(&BTreeSet::from([package.as_str()]));
                let mut names = of_package.unwrap().into_keys();
                Some((package, names.find(|name| !finds(&path, name))?))
            })
            .expect("a package beyond the base system");
        let path = of_group(&[package]);
        assert!(finds(&path, &program), "{package}: {program}");
        let path = of_group(&[]);
        assert!(!finds(&path, &program), "made anew: {program}");
        for program in ["sh", "awk", "cc", "ld", "cargo", "dpkg-query", "ldd"] {
            assert!(finds(&path, program), "{program}");
        }
    }

    #[test]
    fn a_common_name_leads_to_a_declared_program_whatever_the_machine_has_chosen() {
        let text = "manual\n/usr/bin/vi\nvi.1.gz\n/usr/share/man/vi.1.gz\n\n\
                    /usr/bin/vim.basic\n30\n/usr/share/man/vim.1.gz\n\
                    /usr/bin/vim.tiny\n15\n\n\
                    /usr/bin/ed\n-100\n\n\n";
        let links = best(text, |path| path != "/usr/bin/vim.basic");
        let man = ("/usr/share/man/vi.1.gz", "");
        assert_eq!(links, [("/usr/bin/vi", "/usr/bin/vim.tiny"), man]);
        assert!(best(text, |_| false).is_empty());
    }

    fn installed() -> Programs {
        Programs::parse(
            "installed\tbase\tbase\tyes\trequired\tlibc:any (>= 2) | other,\t\n\
             installed\tlibc\tlibc:amd64\tno\toptional\t,\t\n\
             installed\tlibc\tlibc:i386\tno\toptional\t,\t\n\
             installed\teditor\teditor\tno\timportant\t,libc, mail | postfix\tvi (= 1)\n\
             config-files\tother\tother\tno\toptional\t,\t\n\
             installed\tpostfix\tpostfix\tno\toptional\t,absent\t\n",
        )
    }

    #[test]
    fn what_a_package_depends_on_comes_with_it() {
        let programs = installed();
        let closure = |root| programs.closure([root].into_iter()).into_iter().collect();
        let of_editor: Vec<&str> = closure("vi");
        assert_eq!(of_editor, ["editor", "libc", "postfix"]);
        let of_base: Vec<&str> = closure("base");
        assert_eq!(of_base, ["base", "libc"]);
        assert_eq!(
            programs.packages["libc"].listed,
            ["libc:amd64", "libc:i386"]
        );
    }

    #[test]
    fn the_base_system_is_the_smallest() {
        let programs = installed();
        let base = programs.packages.iter().filter(|(_, package)| package.base);
        let names: Vec<_> = base.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["base"]);
    }
}
