//! Compares `kmput` and `kmget` with `scp`, and with `base64` through `kmexec`.
//!
//! The instance is of kind `process`, and the SSH server runs on this machine, so no network and no
//! machine's emulation limits any of them. `kmput` and `kmget` compute the SHA-256 digest of a file
//! at both ends; `scp` encrypts and authenticates it; `base64` checks nothing. A round measures each
//! once, one after the other; a ratio is the median of the rounds.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MIB: usize = 1 << 20;
const LEN: usize = 256 * MIB;
const ROUNDS: usize = 7;
const QUICK_ROUNDS: usize = 1;
/// Bytes in one command of `kmexec`, whose length is limited.
const ARGUMENT: usize = 3000;
const ARGUMENTS: usize = 40;

fn main() -> Result<()> {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let bench = Bench::start()?;
    let rounds = if is_quick { QUICK_ROUNDS } else { ROUNDS };
    let mut all = Vec::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        all.push(bench.round()?);
    }
    println!("{} MiB, {rounds} rounds", LEN / MIB);
    println!("{:32}{:>10}{:>16}", "", "MiB/s", "KMON is faster");
    for (index, (name, _)) in all[0].iter().enumerate() {
        // Each way begins with KMON's own time.
        let own = if index < GETS { 0 } else { GETS };
        let rate = median(all.iter().map(|round| (LEN / MIB) as f64 / round[index].1));
        let ratio = median(all.iter().map(|round| round[index].1 / round[own].1));
        println!("{name:32}{rate:>10.0}{:>14.2} x", ratio);
    }
    Ok(())
}

/// The index of the first way back.
const GETS: usize = 3;

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// KMON with one instance, and an SSH server.
struct Bench {
    home: tempfile::TempDir,
    port: u16,
    server: Child,
    sshd: Child,
}

impl Bench {
    fn start() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let path = |name: &str| home.path().join(name);
        let mut file = File::create(path("file"))?;
        for number in 0..LEN / 8 {
            let word = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            file.write_all(&word.to_le_bytes())?;
        }
        let server = Command::new(env!("CARGO_BIN_EXE_kmon"))
            .arg("serve")
            .arg("--run-dir")
            .arg(path("run"))
            .args(["--instances", "1", "--guestd"])
            .arg(guestd()?)
            .stdin(Stdio::null())
            .spawn()?;
        for key in ["host", "user"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key)))?;
        }
        fs::rename(path("user.pub"), path("authorized"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // The server demands this directory if root runs it.
        let _ = fs::create_dir("/run/sshd");
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\n\
             AuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\n\
             PermitRootLogin prohibit-password\nPidFile none\n\
             Subsystem sftp internal-sftp\n",
            home.path().display()
        );
        fs::write(path("config"), config)?;
        let sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stderr(File::create(path("sshd.log"))?)
            .spawn()?;
        let bench = Self {
            home,
            port,
            server,
            sshd,
        };
        let is_ready = || {
            let instance = bench.kmon(&["exec", "2", "--", "true"]).output();
            instance.is_ok_and(|done| done.status.success())
                && TcpStream::connect(("127.0.0.1", port)).is_ok()
        };
        let begun = Instant::now();
        while !is_ready() {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err("the servers do not start".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn kmon(&self, words: &[&str]) -> Command {
        let mut kmon = Command::new(env!("CARGO_BIN_EXE_kmon"));
        kmon.arg("--run-dir").arg(self.path("run")).args(words);
        kmon.stdin(Stdio::null()).stdout(Stdio::null());
        kmon
    }

    fn scp(&self, from: &str, to: &str) -> Command {
        let mut scp = Command::new("scp");
        scp.args(["-q", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-i"])
            .arg(self.path("user"))
            .args(["-P", &self.port.to_string(), from, to]);
        scp
    }

    /// Measures each way once. Returns their names and seconds.
    fn round(&self) -> Result<Vec<(&'static str, f64)>> {
        let (file, copy, back) = (self.text("file"), self.text("copy"), self.text("back"));
        let mut times = Vec::new();
        let remote = |path: &str| format!("127.0.0.1:{path}");
        let time = |name, target: &str, command: &mut Command| -> Result<_> {
            // What was written before must not be written to the disk at the cost of this.
            rustix::fs::sync();
            let begun = Instant::now();
            run(command)?;
            let seconds = begun.elapsed().as_secs_f64();
            let whole = fs::read(target)? == fs::read(&file)?;
            fs::remove_file(target)?;
            if !whole {
                return Err(format!("{name} made another file").into());
            }
            Ok((name, seconds))
        };
        times.push(time(
            "kmput",
            &copy,
            &mut self.kmon(&["put", "2", &file, &copy]),
        )?);
        times.push(time("scp to", &copy, &mut self.scp(&file, &remote(&copy)))?);
        times.push(("base64 in kmexec's arguments", self.append()?));
        times.push(time(
            "kmget",
            &back,
            &mut self.kmon(&["get", "2", &file, &back]),
        )?);
        times.push(time(
            "scp from",
            &back,
            &mut self.scp(&remote(&file), &back),
        )?);
        let decode = format!(
            "{} --run-dir {} exec 2 -- base64 -w 0 {file} | base64 -d > {back}",
            env!("CARGO_BIN_EXE_kmon"),
            self.text("run")
        );
        let mut base64 = Command::new("sh");
        times.push(time(
            "base64 through kmexec",
            &back,
            base64.args(["-c", &decode]),
        )?);
        Ok(times)
    }

    /// Sends a part of the file in arguments of commands. Returns the seconds for the whole file.
    fn append(&self) -> Result<f64> {
        let line = format!(
            "echo {} | base64 -d >> {}",
            "A".repeat(ARGUMENT / 3 * 4),
            self.text("appended")
        );
        let begun = Instant::now();
        for _ in 0..ARGUMENTS {
            run(&mut self.kmon(&["exec", "2", "--", "sh", "-c", &line]))?;
        }
        Ok(begun.elapsed().as_secs_f64() * LEN as f64 / (ARGUMENT * ARGUMENTS) as f64)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The instance ends with the server.
        let _ = self.kmon(&["quit", "--all"]).status();
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        let _ = self.server.wait();
    }
}

/// Returns the guest daemon: the one that `GUESTD` names, or one in a target directory.
fn guestd() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("GUESTD") {
        return Ok(path.into());
    }
    let kmon = Path::new(env!("CARGO_BIN_EXE_kmon"));
    let guestd = kmon.with_file_name("guestd");
    match guestd.exists() {
        true => Ok(guestd),
        false => Err(format!("no {}: build guestd first", guestd.display()).into()),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {status}").into()),
    }
}
