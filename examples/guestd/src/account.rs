//! The user of the console's shell, and the environment of its programs.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, User, access, getuid};

/// The search path if the init system sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The user that the daemon runs as.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    user: String,
    home: PathBuf,
    shell: PathBuf,
    umask: Mode,
}

impl Account {
    /// Returns the current user's account; `shell` replaces the login shell.
    pub(crate) fn current(shell: Option<&Path>) -> Result<Self> {
        // Without a user database in the guest, the user is root with /bin/sh.
        let user = User::from_uid(getuid()).ok().flatten();
        let (name, home, login) = match user {
            Some(user) => (user.name, user.dir, user.shell),
            None => ("root".to_owned(), "/".into(), PathBuf::new()),
        };
        let shell = match shell {
            Some(asked) if access(asked, AccessFlags::X_OK).is_ok() => std::path::absolute(asked)?,
            Some(asked) => bail!(
                "--shell {}: not an executable file; name another one",
                asked.display()
            ),
            None if access(&login, AccessFlags::X_OK).is_ok() => login,
            None => "/bin/sh".into(),
        };
        Ok(Self {
            user: name,
            home: usable_home(home),
            shell,
            umask: current_umask(),
        })
    }

    /// Returns the user's directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Returns the command that runs the login shell. A `-` before its name makes it read the
    /// profile.
    pub(crate) fn login_shell(&self) -> Command {
        let mut command = Command::new(&self.shell);
        let name = self.shell.file_name().unwrap_or_default();
        let mut login_name = std::ffi::OsString::from("-");
        login_name.push(name);
        command.arg0(login_name);
        command
    }

    /// Returns the variables that the user's environment adds to the daemon's or replaces.
    pub(crate) fn variables(&self) -> [(&'static str, OsString); 6] {
        let own_or = |name, other: &str| env::var_os(name).unwrap_or_else(|| other.into());
        [
            ("USER", self.user.clone().into()),
            ("LOGNAME", self.user.clone().into()),
            ("HOME", self.home.clone().into()),
            ("SHELL", self.shell.clone().into()),
            ("TERM", own_or("TERM", "xterm-256color")),
            ("PATH", own_or("PATH", DEFAULT_PATH)),
        ]
    }

    /// Gives `command` the user's environment, the original file mode mask and an empty signal
    /// mask. `enter` runs last in the new process.
    pub(crate) fn prepare<F>(&self, command: &mut Command, enter: F)
    where
        F: Fn() -> io::Result<()> + Send + Sync + 'static,
    {
        command.envs(self.variables()).current_dir(&self.home);
        let umask = self.umask;
        // SAFETY: between fork and exec the closure makes plain system calls
        // only: it neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(move || {
                nix::sys::stat::umask(umask);
                SigSet::empty().thread_set_mask()?;
                enter()
            })
        };
    }
}

/// Returns the first directory that can be entered: the user's home, the inherited home, or the
/// root. The root of a user namespace often cannot enter `/root`.
fn usable_home(home: PathBuf) -> PathBuf {
    let can_enter = |path: &PathBuf| path.is_dir() && access(path, AccessFlags::X_OK).is_ok();
    let inherited = env::var_os("HOME").map(PathBuf::from);
    let mut homes = [Some(home), inherited].into_iter().flatten();
    homes.find(can_enter).unwrap_or_else(|| "/".into())
}

/// Reads the mask by setting it, which is the only way. No other thread exists yet.
fn current_umask() -> Mode {
    let mask = nix::sys::stat::umask(Mode::empty());
    nix::sys::stat::umask(mask);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_shell_is_named_with_a_dash() {
        let account = Account::current(Some(Path::new("/bin/sh"))).unwrap();
        let mut command = account.login_shell();
        let said = command.args(["-c", "echo $0"]).output().unwrap();
        assert_eq!(said.stdout, b"-sh\n");
    }

    #[test]
    fn a_shell_that_cannot_be_run_is_refused_in_one_line() {
        let error = Account::current(Some(Path::new("/etc/passwd")))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/etc/passwd") && !error.contains('\n'),
            "{error}"
        );
    }
}
